"""Numbers compared: how far they are off, and by which factor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from harness.check.calling import Array

DOUBLE, SINGLE = 1e-9, 2e-5
"""Relative differences to which arithmetic in float64 and in float32 agrees."""
SAME_FACTOR = 1e-5
FLOOR = 1e-3  # share of the largest number below which differences are not relative to the number itself


def error(got: Array, expected: Array) -> float:
    """Return the largest relative difference; inf where shapes differ or only one is finite."""
    if got.shape != expected.shape:
        return math.inf
    if not got.size:
        return 0.0
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(expected)
    if not np.array_equal(got[~finite], expected[~finite], equal_nan=True):
        return math.inf
    if not np.isfinite(got[finite]).all():
        return math.inf
    sizes = np.abs(expected[finite])
    floor = max(FLOOR * float(sizes.max(initial=0.0)), np.finfo(np.float64).tiny)
    return float((np.abs(got[finite] - expected[finite]) / (sizes + floor)).max(initial=0.0))


def worst(gots: Sequence[Array], expecteds: Sequence[Array]) -> float:
    """Return the largest of several errors."""
    return max(error(got, expected) for got, expected in zip(gots, expecteds, strict=True))


FACTORS: Sequence[tuple[str, Callable[[int, int], float]]] = (
    ("-1", lambda _b, _c: -1.0),
    ("2", lambda _b, _c: 2.0),
    ("1/2", lambda _b, _c: 0.5),
    ("C", lambda _b, c: c),
    ("1/C", lambda _b, c: 1 / c),
    ("B", lambda b, _c: b),
    ("1/B", lambda b, _c: 1 / b),
    ("B/C", lambda b, c: b / c),
    ("C/B", lambda b, c: c / b),
    ("1/(BC)", lambda b, c: 1 / (b * c)),
    ("BC", lambda b, c: b * c),
    ("C/2", lambda _b, c: c / 2),
    ("2/C", lambda _b, c: 2 / c),
    ("B/2", lambda b, _c: b / 2),
    ("2/B", lambda b, _c: 2 / b),
    ("1/ln 2", lambda _b, _c: 1 / math.log(2)),
    ("1/ln 10", lambda _b, _c: 1 / math.log(10)),
    ("ln 2", lambda _b, _c: math.log(2)),
)


def ratio(got: Array, expected: Array) -> float | None:
    """Return the number that `got` is times `expected`, or None where there is no such number."""
    if got.shape != expected.shape or not got.size or not np.isfinite(got).all():
        return None
    if not np.isfinite(expected).all():
        return None
    square = float((expected * expected).sum())
    if square == 0:
        return None
    value = float((got * expected).sum()) / square
    return value if value and error(got, value * expected) < SAME_FACTOR else None


def factor(gots: Sequence[Array], expecteds: Sequence[Array], sizes: Sequence[tuple[int, int]]) -> str | None:
    """Name the factor between results of batches, whose sizes are (B, C), in these letters.

    A factor that is the same number in every batch and none of those known is named by that number.
    """
    ratios = [ratio(got, expected) for got, expected in zip(gots, expecteds, strict=True)]
    values = [value for value in ratios if value is not None]
    if not values or len(values) < len(ratios):
        return None
    for name, of_size in FACTORS:
        for sign in ("",) if name == "-1" else ("", "-"):
            named = [(-1 if sign else 1) * of_size(b, c) for b, c in sizes]
            if np.allclose(values, named, rtol=SAME_FACTOR):
                return f"{sign}{name}"
    if np.allclose(values, values[0], rtol=SAME_FACTOR) and not math.isclose(
        values[0], 1, rel_tol=SAME_FACTOR
    ):
        return f"{values[0]:.6g}"
    return None
