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
KINK = (
    1e-4,
    1e-5,
)  # steps of one-sided slopes: at a kink their gap stays, elsewhere it shrinks with the step
KINK_GAP = 1e-4
ROUNDING = float(np.finfo(np.float64).eps)
SINGLE = 1e-11  # a relative error from which on values are of single precision, whose kinks cannot be told
AWAY, SHORT = 1e-3, 1e-7  # from a point that may be a kink, and the steps of a piece without curvature


class Slope(NamedTuple):
    """A derivative, a bound of its error, and the slopes to the left and right where they differ."""

    value: float
    bound: float
    sides: tuple[float, float] | None = None


def slope(s: Callable[[float], float], rounding: float = ROUNDING) -> Slope:
    """Differentiate s at 0; `rounding` is the relative error of its values."""
    estimates, middle = [], s(0.0)
    size = abs(middle)
    for h in STEPS:
        near, far = (s(h), s(-h)), (s(2 * h), s(-2 * h))
        estimates.append((8 * (near[0] - near[1]) - (far[0] - far[1])) / (12 * h))
        size = max(size, abs(near[0]), abs(near[1]))
    apart = [
        abs(a - b) + 2 * rounding * size / h
        for a, b, h in zip(estimates[:-1], estimates[1:], STEPS[1:], strict=True)
    ]
    if not np.isfinite(apart).any():
        return Slope(float("nan"), float("inf"))
    best = int(np.nanargmin(apart))
    exact = rounding < SINGLE
    value = (estimates[best] + estimates[best + 1]) / 2
    return Slope(value, apart[best], _kink(s, middle) if exact else None)


def measured_rounding(s: Callable[[float], float]) -> float:
    """Measure the relative error of a function's values: about 1e-16, or 1e-7 where it uses single precision.

    On a very short piece it is a parabola; what is left is rounding.
    """
    t = np.arange(12)
    values = np.array([s(AWAY + SHORT * step) for step in t])
    size = float(np.abs(values).max())
    if not np.isfinite(values).all() or size == 0:
        return ROUNDING
    rest = values - np.polyval(np.polyfit(t, values - values[0], 2), t) - values[0]
    return max(ROUNDING, 4 * float(np.abs(rest).max()) / size)


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
