"""Preprocessing: from raw pixels 0..max to what the network sees."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ComponentError
from harness.registry import Registry
from harness.system.process_state import called, shape_in_words

Pixels = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class PixelStatistics:
    """The facts that a preprocessing may use: the full pixel's value, and train's mean and sd over pixels.

    These are computed when they are asked for: on MNIST that takes as long as all the rest.
    """

    max: float
    train: NDArray[np.uint8]

    @functools.cached_property
    def mean(self) -> float:
        """Train's mean over all pixels."""
        return self._sums[0] / self.train.size

    @functools.cached_property
    def sd(self) -> float:
        """Train's standard deviation over all pixels."""
        n, (total, squares) = self.train.size, self._sums
        return math.sqrt((n * squares - total * total) / (n * n))

    @functools.cached_property
    def _sums(self) -> tuple[int, int]:
        """The sums of all pixels and of their squares: whole numbers, the same in any order."""
        counts = np.bincount(self.train.ravel(), minlength=256).tolist()
        return sum(v * n for v, n in enumerate(counts)), sum(v * v * n for v, n in enumerate(counts))


@dataclass(frozen=True)
class Preprocessing:
    """apply(x, pixels), or apply(x): images (N, H, W) in floats -> (N, ...), flattened afterwards."""

    name: str
    apply: Callable[..., Pixels]


preprocessings: Registry[Preprocessing] = Registry("preprocessing", Preprocessing)


def applied(name: str, apply: Callable[..., Pixels], x: Pixels, pixels: PixelStatistics) -> Pixels:
    """Preprocess images x (N, H, W), which may be changed, and return checked pixels (N, D).

    Raises:
        ComponentError: it raises, or gives other than finite numbers for each image.
    """
    what, given = f"preprocessing {name!r}", (x, pixels)[: count_arguments(apply)]
    second = " and a PixelStatistics" if len(given) == 2 else ""
    note = f" (called with images {x.shape}{second}; allowed: a function of both, or of the images alone)"
    result = np.asarray(called(what, apply, *given, note=note))
    if result.dtype.kind not in "biuf" or result.ndim < 2 or len(result) != len(x) or not result[0].size:
        raise ComponentError(
            f"{what} gives {shape_in_words(result)} for images {x.shape}; allowed: numbers ({len(x)}, ...), "
            "the pixels of each image"
        )
    bad = ~np.isfinite(result.reshape(len(x), -1)).all(1)
    if bad.any():
        raise ComponentError(
            f"{what} gives pixels that are not finite for {bad.sum()} of {len(x)} images, first of image "
            f"{np.flatnonzero(bad)[0]} (a division by a spread of 0?)"
        )
    return result.reshape(len(x), -1)


def count_arguments(apply: Callable[..., Pixels]) -> int:
    """Count the arguments of a preprocessing: images and statistics, or images alone."""
    if isinstance(apply, np.ufunc):  # whose second is where the result goes
        return 1
    try:
        inspect.signature(apply).bind(0, 0)
    except (TypeError, ValueError):  # one argument; or a function in C, which does not say
        return 1
    return 2


@preprocessings.register("unit")
def unit(x: Pixels, pixels: PixelStatistics) -> Pixels:
    """x/max, in [0, 1]."""
    return x / pixels.max


@preprocessings.register("signed")
def signed(x: Pixels, pixels: PixelStatistics) -> Pixels:
    """2x/max - 1, in [-1, 1]."""
    return 2 * x / pixels.max - 1


@preprocessings.register("standardize")
def standardize(x: Pixels, pixels: PixelStatistics) -> Pixels:
    """(x - mean)/sd, one mean and sd over all pixels of the train split."""
    return (x - pixels.mean) / pixels.sd


@preprocessings.register("invert")
def invert(x: Pixels, pixels: PixelStatistics) -> Pixels:
    """1 - x/max: dark ink on light paper."""
    return 1 - x / pixels.max


@preprocessings.register("raw")
def raw(x: Pixels, pixels: PixelStatistics) -> Pixels:  # noqa: ARG001
    """The pixels as they are, 0..max: a classic mistake, to be measured."""
    return x
