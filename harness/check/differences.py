"""Derivatives by central differences, with a bound of their error, and kinks found.

The fourth-order difference (8 (s(h) - s(-h)) - (s(2h) - s(-2h))) / 12h is taken at several h. A large h is
wrong by the function's curvature, a small one by rounding; two neighbours that agree best, and the measured
rounding, bound the error (after Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", 1982).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from harness.check.calling import Array

STEPS = (1e-1, 3e-2, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
KINK = (1e-4, 1e-5)  # steps of one-sided slopes: at a kink their gap stays, elsewhere it shrinks
KINK_GAP = 1e-4
ROUNDING = float(np.finfo(np.float64).eps)
SINGLE = 1e-11  # a relative error from which on values are of single precision, whose kinks cannot be told
ROUGH_STEPS = (3e-2, 1e-2, 3e-3)
SINGLE_ROUNDING = 4 * float(np.finfo(np.float32).eps)
AWAY, SHORT, LONGER = 1e-3, 1e-7, 1e-4  # from a point that may be a kink, and steps without curvature
FAR, SEEN = 0.1, 1e-8  # a step after which a value that changes at all has changed by this share


class Slope(NamedTuple):
    """A derivative, a bound of its error, and the slopes to the left and right where they differ."""

    value: float
    bound: float
    sides: tuple[float, float] | None = None


def slope(s: Callable[[float], float], rounding: float = ROUNDING) -> Slope:
    """Differentiate s at 0; `rounding` is the relative error of its values."""
    middle = s(0.0)
    if rounding >= SINGLE:
        return _rough_slope(s, middle, rounding)
    estimates = [_central(s, h) for h in STEPS]
    apart = [
        abs(a.value - b.value) + 2 * rounding * max(abs(middle), a.bound) / h
        for a, b, h in zip(estimates[:-1], estimates[1:], STEPS[1:], strict=True)
    ]
    if not np.isfinite(apart).any():
        return Slope(float("nan"), float("inf"))
    best = int(np.nanargmin(apart))
    value = (estimates[best].value + estimates[best + 1].value) / 2
    return Slope(value, apart[best], _kink(s, middle))


def _central(s: Callable[[float], float], h: float) -> Slope:
    """Return the difference for one h, and in place of a bound the size of the values."""
    near, far = (s(h), s(-h)), (s(2 * h), s(-2 * h))
    difference = (8 * (near[0] - near[1]) - (far[0] - far[1])) / (12 * h)
    return Slope(difference, max(abs(near[0]), abs(near[1])))


def _rough_slope(s: Callable[[float], float], middle: float, rounding: float) -> Slope:
    """Differentiate what is computed in single precision: the middle one of three, which bound each other."""
    estimates = [_central(s, h) for h in ROUGH_STEPS]
    values = sorted(estimate.value for estimate in estimates)
    size = max(abs(middle), *(estimate.bound for estimate in estimates))
    bound = values[-1] - values[0] + 2 * rounding * size / ROUGH_STEPS[1]
    return Slope(values[1], bound if np.isfinite(bound) else float("inf"))


def measured_rounding(s: Callable[[float], float]) -> float:
    """Measure the relative error of a function's values: about 1e-16, or 1e-7 where it uses single precision.

    On a very short piece it is a parabola; what is left is rounding. In single precision a piece so short may
    be flat, and a longer one is taken.
    """
    size = abs(s(AWAY))
    if not np.isfinite(size) or size == 0:
        return ROUNDING
    rest, flat = _rest(s, SHORT)
    moves = abs(s(FAR) - s(AWAY)) > SEEN * size
    if rest < SINGLE * size and not (flat and moves):
        return max(ROUNDING, 4 * rest / size)
    return max(SINGLE_ROUNDING, 4 * _rest(s, LONGER)[0] / size)


def _rest(s: Callable[[float], float], step: float) -> tuple[float, bool]:
    """Return how far 12 values are from a parabola, and whether they are all the same."""
    t = np.arange(12)
    values = np.array([s(AWAY + step * place) for place in t])
    if not np.isfinite(values).all():
        return 0.0, False
    rest = values - values[0] - np.polyval(np.polyfit(t, values - values[0], 2), t)
    return float(np.abs(rest).max()), bool(np.ptp(values) == 0)


def _kink(s: Callable[[float], float], middle: float) -> tuple[float, float] | None:
    """Return the slopes to the left and right of 0 if they differ however small the step is."""
    sides = [((middle - s(-h)) / h, (s(h) - middle) / h) for h in KINK]
    wide, close = (abs(right - left) for left, right in sides)
    scale = max(abs(side) for side in sides[1])
    return sides[1] if close > KINK_GAP * scale and 0.5 * wide < close < 2 * wide else None


def line(
    s: Callable[[Sequence[Array]], float], inputs: Sequence[Array], direction: Sequence[Array]
) -> Callable[[float], float]:
    """Make of a function of arrays one of a number: the step from `inputs` along a direction."""
    return lambda step: s([x + step * d for x, d in zip(inputs, direction, strict=True)])


def directions(inputs: Sequence[Array], number: int, rng: np.random.Generator) -> list[list[Array]]:
    """Draw directions of length one."""
    drawn = []
    for _ in range(number):
        direction = [rng.standard_normal(x.shape) for x in inputs]
        length = float(np.sqrt(sum((d * d).sum() for d in direction)))
        drawn.append([d / length for d in direction])
    return drawn


def unit(inputs: Sequence[Array], which: int, place: tuple[int, ...]) -> list[Array]:
    """Make the direction of one element of one array."""
    direction = [np.zeros(x.shape) for x in inputs]
    direction[which][place] = 1.0
    return direction


def places(shape: tuple[int, ...], most: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """List all places in an array, or `most` that are drawn."""
    size = int(np.prod(shape))
    chosen = np.arange(size) if size <= most else np.sort(rng.choice(size, most, replace=False))
    indices = np.unravel_index(chosen, shape) if shape else ()
    return [tuple(int(i) for i in place) for place in zip(*indices, strict=True)] if shape else [()]
