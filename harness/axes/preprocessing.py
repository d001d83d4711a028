"""Preprocessing: from raw pixels 0..max to what the network sees."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.registry import Registry

Pixels = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class PixelStatistics:
    """What a preprocessing may know: the full pixel's value, and train's mean and sd over all pixels.

    These are computed when they are asked for: on MNIST that takes as long as all the rest.
    """

    max: float
    train: NDArray[np.uint8]

    @functools.cached_property
    def mean(self) -> float:
        """Train's mean over all pixels."""
        return float(self.train.mean())

    @functools.cached_property
    def sd(self) -> float:
        """Train's standard deviation over all pixels."""
        return float(self.train.std())


@dataclass(frozen=True)
class Preprocessing:
    """apply(x, pixels): images (N, H, W) in floats -> (N, ...), flattened afterwards."""

    name: str
    apply: Callable[[Pixels, PixelStatistics], Pixels]


preprocessings: Registry[Preprocessing] = Registry("preprocessing", Preprocessing)


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
