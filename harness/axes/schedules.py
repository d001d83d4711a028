"""Schedules: the factor on the learning rate at every step of a training run."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
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
    return whole_powers(gamma, clock.epoch)


@schedules.register("linear")
def linear(clock: Clock) -> Factors:
    """Straight down, to 0 after the last step."""
    return 1 - clock.step / len(clock.step)


@schedules.register("cosine")
def cosine(clock: Clock) -> Factors:
    """Half a cosine wave, to 0 after the last step (Loshchilov & Hutter 2017, without restarts)."""
    return (1 + cosine_of(np.pi * clock.step / len(clock.step))) / 2


def whole_powers(base: float, exponents: NDArray[np.int64]) -> Factors:
    """Compute base^n for whole numbers n >= 0, in decimals: the same bits on every processor.

    np.power's depend on the C library, and on the processor's instructions.
    """
    distinct, places = np.unique(exponents, return_inverse=True)
    with localcontext(prec=40):
        powers = [float(Decimal(base) ** n) if n else 1.0 for n in distinct.tolist()]
    return np.array(powers, np.float64)[places]


COSINE = tuple((-1) ** k / math.factorial(2 * k) for k in range(2, 9))
SINE = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(1, 9))
"""Coefficients of the Taylor series behind 1 - x^2 / 2 and y, enough up to a quarter of pi."""
PI_REST = 1.2246467991473532e-16
"""Pi less its float64."""


def cosine_of(x: Factors) -> Factors:
    """Compute cos(x) for x from 0 to pi, by products and sums alone: the same bits on every processor.

    np.cos's depend on the C library, and on the processor's instructions. Within one unit in the last place.
    """
    left = np.pi / 2 - x
    y = left + PI_REST / 2
    z, lost = y * y, (left - y) + PI_REST / 2  # lost: what rounding took from y
    sine = y + (y * z * _polynomial(SINE, z) + lost * (1 - 0.5 * z))
    turned = np.where(left > 0, x, (np.pi - x) + PI_REST)
    square = turned * turned
    near = 1 - 0.5 * square
    size = near + (((1 - near) - 0.5 * square) + square * square * _polynomial(COSINE, square))
    return np.where(np.abs(y) < np.pi / 4, sine, np.where(left > 0, size, -size))


def _polynomial(coefficients: Sequence[float], x: Factors) -> Factors:
    """Compute c0 + c1 x + c2 x^2 + .. ."""
    result = np.zeros_like(x)
    for c in reversed(coefficients):
        result = result * x + c
    return result
