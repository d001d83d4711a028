"""Schedules: the factor on the learning rate at every step of a training run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ComponentError
from harness.registry import Registry
from harness.settings import Setting, check_declared, declared
from harness.system.process_state import called, shape_in_words

Factors = NDArray[np.float64]


@dataclass(frozen=True)
class Clock:
    """The steps of a training run: `step` (S,) is 0..S-1, `epoch` (S,) the epoch each belongs to."""

    step: NDArray[np.int64]
    epoch: NDArray[np.int64]

    @classmethod
    def of(cls, steps: int, steps_per_epoch: int) -> Clock:
        """Return the clock of a run of so many steps."""
        step = np.arange(steps)
        return cls(step, step // steps_per_epoch)


@dataclass(frozen=True)
class Schedule:
    """factor(clock, **settings) -> (S,) factors on lr, one a step."""

    name: str
    factor: Callable[..., Factors]

    def __post_init__(self) -> None:
        check_declared(self.factor)

    @property
    def settings(self) -> dict[str, Setting]:
        """The settings this schedule declares."""
        return declared(self.factor)


schedules: Registry[Schedule] = Registry("schedule", Schedule)


def factors(schedule: Schedule, clock: Clock, settings: Mapping[str, Any]) -> Factors:
    """Compute a schedule's factors (S,) on lr; raise ComponentError if they are not all finite and >= 0."""
    what, steps = f"schedule {schedule.name!r}", len(clock.step)
    allowed = f"allowed: an array ({steps},), a finite factor of at least 0 for each step"
    note = f" (it was called with a Clock of {steps} steps)"
    result = np.asarray(called(what, functools.partial(schedule.factor, **settings), clock, note=note))
    if result.shape != (steps,) or result.dtype.kind not in "biuf":
        raise ComponentError(f"{what} gives {shape_in_words(result)}; {allowed}")
    bad = np.flatnonzero(~(np.isfinite(result) & (result >= 0)))
    if bad.size:
        raise ComponentError(f"{what} gives {result[bad[0]]} at step {bad[0]}; {allowed}")
    return result.astype(np.float64)


@schedules.register("constant")
def constant(clock: Clock) -> Factors:
    """The learning rate stays."""
    return np.ones(len(clock.step))


@schedules.register("exponential")
def exponential(clock: Clock, *, gamma: float = 0.9) -> Factors:
    """Times gamma after each epoch."""
    return np.power(gamma, clock.epoch, dtype=np.float64)


@schedules.register("linear")
def linear(clock: Clock) -> Factors:
    """Straight down, to 0 after the last step."""
    return 1 - clock.step / len(clock.step)


@schedules.register("cosine")
def cosine(clock: Clock) -> Factors:
    """Half a cosine wave, to 0 after the last step (Loshchilov & Hutter 2017, without restarts)."""
    return (1 + np.cos(np.pi * clock.step / len(clock.step))) / 2
