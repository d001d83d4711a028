"""Workers in simulated time: stages train in this process, and end in an order that a seed decides."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from harness.planning.stack import budget_of
from harness.searching import loop
from harness.training.executors import run_task


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

    def start(self, engines: Any) -> None:
        pass

    def limit(self, count: int) -> None:
        pass

    def close(self) -> None:
        pass

    def serve(
        self, take: Callable[[], Any], _: Sequence[str], meanwhile: Callable[[], bool], **__: bool
    ) -> Generator[Any]:
        now, number, flight = 0.0, 0, []
        while True:
            while len(flight) < self.count and (task := take()) is not None:
                number += 1
                heapq.heappush(flight, (now + self._duration(task), number, task))
            if meanwhile():
                continue
            if not flight:
                return
            free = self.count - len(flight)
            end, _, task = heapq.heappop(flight)
            self.idle += free * (end - now)
            self.busy += (self.count - free) * (end - now)
            now = end
            yield run_task(task)
            self._dies_after -= 1
            if not self._dies_after:
                raise Killed

    def _duration(self, task: Any) -> float:
        begun = 0 if task.state is None else task.state.step
        steps = budget_of(task.stack).eval_steps
        evaluations = steps.index(task.until) - steps.index(begun)
        return len(task.stack.trials) * evaluations * float(np.exp(self._spread * self._rng.normal()))


def simulate(
    monkeypatch: Any, seed: int = 0, *, count: int = 2, dies_after: int = 0, spread: float = 1.0
) -> None:
    """Have searches train with such workers."""
    monkeypatch.setattr(loop, "Workers", lambda *_: SimulatedWorkers(seed, count, dies_after, spread))
