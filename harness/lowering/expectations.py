"""Expectations of compiled code: values of a component's own function, and how far from them it may be.

Its float32 is held against the function in float64. It may be three times as far from that as PyTorch's own
float32 is, and a few units in the last place further; inf and NaN are where one of the two has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.lowering.calls import OVERRUN, Arrays

if TYPE_CHECKING:
    from torch import Tensor

Reals = NDArray[np.float64]

FACTOR = 3.0
"""Error of compiled code at most, in PyTorch's float32 errors ..."""
ROUNDING = 8 * 2.0**-23
"""... and beyond them, in parts of the value: eight units in the last place,"""
TINY = 2.0**-125
"""... and in numbers so small that processors may round them to 0."""


@dataclass(frozen=True)
class Case:
    """A call of compiled code, and `compare`, which says in words how its answer is wrong, or ""."""

    what: str
    given: Arrays
    compare: Callable[[Arrays], str]

    def complaint(self, answer: Arrays) -> str:
        """Say in words how an answer is wrong, or ""."""
        if OVERRUN in answer:
            return "it writes outside of its arrays"
        with np.errstate(all="ignore"):
            return self.compare(answer)


@dataclass(frozen=True)
class Expected:
    """Values of a function: `exact` in float64, `single` in PyTorch's float32; `error` is what is allowed."""

    exact: Reals
    single: Reals
    error: Reals

    def first_wrong(self, got: NDArray[Any]) -> tuple[int, ...] | None:
        """Return the place of the first value that is wrong."""
        values = np.asarray(got, np.float64)
        near = np.abs(values - self.exact) <= self.error
        like = np.abs(values - self.single) <= ROUNDING * np.abs(self.single) + TINY
        # PyTorch's vectors and its single numbers differ here and there: gelu(inf) is NaN, or inf.
        right = near | like | _same_limit(values, self.single) | _same_limit(values, self.exact)
        places = np.argwhere(~right)
        return tuple(map(int, places[0])) if len(places) else None


def _same_limit(a: Reals, b: Reals) -> NDArray[np.bool_]:
    """Tell where both are the same inf, or both NaN."""
    same: NDArray[np.bool_] = (np.isinf(a) & (a == b)) | (np.isnan(a) & np.isnan(b))
    return same


def error_of(exact: Reals, single: Reals) -> Reals:
    """Return PyTorch's errors; 0 where a value is not finite."""
    error = np.abs(single - exact)
    return np.where(np.isfinite(error), error, 0.0)


def allowed(error: Reals, scale: Reals) -> Reals:
    """Return how far from values of a size compiled code may be, where PyTorch has these errors."""
    size = np.where(np.isfinite(scale), np.abs(scale), 0.0)
    most: Reals = FACTOR * error + ROUNDING * size + TINY
    return most


def numpy_of(value: Tensor) -> Reals:
    """Return a tensor's numbers."""
    return np.asarray(value.detach().double().numpy(), np.float64)


def varied(value: float, variant: int) -> float:
    """Change a setting a little; one between 0.5 and 1, such as a momentum, stays there."""
    factor = (1.0, 0.7, 1.3, 0.4)[variant % 4]
    return 1 - (1 - value) * factor if 0.5 < value < 1 else value * factor
