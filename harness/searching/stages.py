"""Stages: stacks on their way from one rung to the next, in this process or in workers that stay.

A stage is a pure function: the stack's state goes in, the state at the next rung comes out. So any worker can
take any stack on, members that are pruned are left out between two stages, and of a worker that dies nothing
is lost but the stage it was in.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import executors, notes
from harness.batches import Budget
from harness.engines.states import State
from harness.errors import ComponentError, MachineError, in_words
from harness.planned_components import raised_in
from harness.stacks import Stack

if TYPE_CHECKING:
    from harness.engines.outcome import Outcome

MOST_TRIES = 3  # of a stage whose worker process dies
DIED = "its worker process died (killed, or out of memory)"


@dataclass(frozen=True)
class Stage:
    """A stack, where it is after so many seconds, and the step to train it to. Without a state it begins."""

    stack: Stack
    until: int
    device: str
    state: State | None = None
    metrics: Sequence[str] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Reached:
    """What a stage came to: all that was observed so far, the state to go on from, or why it failed."""

    stage: Stage
    outcome: Outcome | None = None
    state: State | None = None
    seconds: float = 0.0
    failure: str = ""


class _Handed:
    """Checkpoints that are handed over instead of written: `load` gives one, `save` keeps one."""

    def __init__(self, state: State | None) -> None:
        self.before, self.after = state, state

    def load(self) -> State | None:
        return self.before

    def due(self, step: int, budget: Budget) -> bool:  # noqa: ARG002 (the protocol's signature)
        return False

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        copied = {
            name: value.detach().cpu().numpy().copy() if hasattr(value, "detach") else _copy(value)
            for name, value in values.items()
        }
        self.after = State(step, copied)


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def train(stage: Stage) -> Reached:
    """Train a stack to its next rung. A fault of the stack is an answer, not an exception."""
    from harness.data import prepare
    from harness.engines.outcome import Watch

    start = time.perf_counter() - stage.seconds
    executors.check_components(stage.stack.trials)
    handed = _Handed(stage.state)
    try:
        data = prepare(stage.stack.trials[0].arm.settings)
        engine = importlib.import_module(f"harness.engines.{stage.stack.engine}")
        # Nothing is chosen by train, whose evaluation would take a quarter of the time.
        watch = Watch(
            metrics=stage.metrics, checkpoints=handed, sealed=True, until=stage.until, splits=("val",)
        )
        with executors.quiet_arithmetic(stage.stack.engine), executors.undisturbed():
            outcome = engine.train(stage.stack.trials, data, stage.device, watch=watch)
    except (MachineError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 (whatever a component does wrong, the other stacks go on)
        message = in_words(error) + ("" if isinstance(error, ComponentError) else raised_in(error))
        return Reached(stage, failure=message, seconds=time.perf_counter() - start)
    for note in outcome.notes:
        notes.warn_once(note)
    return Reached(stage, replace(outcome, weights=[]), handed.after, time.perf_counter() - start)


class Workers:
    """Worker processes that live as long as a search, or none: then stages train in this process."""

    def __init__(self, count: int, modules: Sequence[str] | None) -> None:
        self.count, self.modules = count, modules
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    def limit(self, count: int) -> None:
        """Have no more workers than memory allows for what is to come."""
        if count < self.count:
            self._stop()
            self.count = count

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._pool is not None:
            executors.stop(self._pool)
            self._pool = None

    def train(self, stages: Sequence[Stage]) -> Iterator[Reached]:
        """Train stages, the first ones first; yields them as they are done, in any order."""
        if self.count <= 1 or self.modules is None:
            yield from map(train, stages)
            return
        try:
            left = yield from self._until_a_death(stages)
        except executors.NoWorkerError as error:  # all are started with the first stage
            executors.warn_alone(error.__cause__ or error)
            self._stop()
            self.count = 1
            yield from map(train, stages)
            return
        for stage in left:
            yield self._alone(stage)

    def _alone(self, stage: Stage) -> Reached:
        """Train a stage whose worker has died once, by itself, so that it takes no other along."""
        for _ in range(MOST_TRIES - 1):
            for reached in self._until_a_death([stage]):
                return reached
        return Reached(stage, failure=f"{DIED} {MOST_TRIES} times")

    def _until_a_death(self, stages: Sequence[Stage]) -> Generator[Reached, None, list[Stage]]:
        """Train stages; gives back those that are left when a worker died."""
        flying: dict[concurrent.futures.Future[Reached], Stage] = {}
        waiting = deque(stages)
        try:
            while waiting:
                future = self._submit(waiting[0], alone=not flying)
                flying[future] = waiting.popleft()
            for future in concurrent.futures.as_completed(list(flying)):
                reached = future.result()
                del flying[future]
                yield reached
        except BrokenProcessPool:
            self._stop()
        return [*flying.values(), *waiting]

    def _submit(self, stage: Stage, *, alone: bool) -> concurrent.futures.Future[Reached]:
        """Have a stage trained; if it is `alone`, by new workers where one died since, with nothing to do."""
        try:
            return executors.submit(self._started(), train, stage)
        except BrokenProcessPool:
            if not alone:
                raise
            self._stop()
            return executors.submit(self._started(), train, stage)
        except executors.NO_PROCESS as error:
            raise executors.NoWorkerError(error) from error

    def _started(self) -> concurrent.futures.ProcessPoolExecutor:
        if self._pool is None:
            assert self.modules is not None  # noqa: S101 (else nothing trains in workers)
            self._pool = executors.pool(self.count, None, self.modules)
        return self._pool
