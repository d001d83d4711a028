"""Workers in simulated time, whose stages train nothing, and end in an order that a seed decides."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import pytest

from harness.engines.outcome import Outcome, Point
from harness.engines.states import State
from harness.planning.stack import budget_of
from harness.searching import joining, loop, rounds
from harness.searching.rounds import StageResult, StageTask


class Killed(BaseException):
    """Stands for a kill of the search's process: no handler of exceptions catches it."""


class SimulatedWorkers:
    """Workers whose stages take as long as they have members and evaluations, times what the seed draws.

    `idle` is the simulated time for which workers had nothing to do while others trained, `busy` that for
    which they trained. After `dies_after` results the search is killed.
    """

    last: SimulatedWorkers

    def __init__(self, seed: int, count: int, dies_after: int, spread: float) -> None:
        self.count, self.idle, self.busy = count, 0.0, 0.0
        self._rng, self._dies_after, self._spread = np.random.default_rng(seed), dies_after, spread
        SimulatedWorkers.last = self

    def start(self, engines: Any, *, early: bool = False) -> None:
        pass

    def facts(self) -> dict[str, Any]:
        return {}

    def limit(self, count: int) -> None:
        pass

    def close(self) -> None:
        pass

    def serve(
        self, take: Callable[[], Any], _: Sequence[str], meanwhile: Callable[[], bool], **__: bool
    ) -> Generator[Any]:
        now, number = 0.0, 0
        flight: list[tuple[float, int, Any]] = []
        while True:
            while len(flight) < self.count and (task := take()) is not None:
                number += 1
                heapq.heappush(flight, (now + self._duration(task), number, task))
            if meanwhile():
                continue
            if not flight:
                return
            free = self.count - len(flight)
            end, _order, task = heapq.heappop(flight)
            self.idle += free * (end - now)
            self.busy += (self.count - free) * (end - now)
            now = end
            yield observed(task)
            self._dies_after -= 1
            if not self._dies_after:
                raise Killed

    def _duration(self, task: StageTask) -> float:
        begun = 0 if task.state is None else task.state.step
        steps = budget_of(task.stack).eval_steps
        evaluations = steps.index(task.until) - steps.index(begun)
        return len(task.stack.trials) * evaluations * float(np.exp(self._spread * self._rng.normal()))


def observed(task: StageTask) -> StageResult:
    """Return a stage's result without training: each trial's curve is its own, and rises."""
    trials, budget = task.stack.trials, budget_of(task.stack)
    draws = [np.random.default_rng(zlib.crc32(trial.trial_id.encode())).random(2) for trial in trials]
    start, rise = np.array(draws).T
    until = [step for step in budget.eval_steps if step <= task.until]
    curve = [
        Point(budget.epoch_of(step), step, "val", 1 - accuracy, accuracy)
        for i, step in enumerate(until)
        for accuracy in [(start + rise * i / len(budget.eval_steps)) / 2]
    ]
    zeros = np.zeros(len(trials), np.int64)
    outcome = Outcome(zeros, zeros + 10, budget.epoch_of(task.until), task.until, curve)
    return StageResult(task, outcome, State(task.until, {}), task.seconds + 1.0)


class _NoEngine:
    def select(self, state: State, *_: Any) -> State:
        return state

    def join(self, states: Sequence[State], *_: Any) -> State:
        return states[0]


def simulate(
    monkeypatch: pytest.MonkeyPatch,
    seed: int = 0,
    *,
    count: int = 2,
    dies_after: int = 0,
    spread: float = 1.0,
) -> None:
    """Have searches use such workers, and train nothing."""
    monkeypatch.setattr(
        loop, "workers_for", lambda *_, **__: SimulatedWorkers(seed, count, dies_after, spread)
    )
    for module in (rounds, joining):
        monkeypatch.setattr(module, "engine", lambda _: _NoEngine())
