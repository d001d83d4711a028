"""Preprocessing: from raw pixels 0..max to what the network sees."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ComponentError
from harness.registry import Registry
from harness.system.process_state import called, shape_in_words

if TYPE_CHECKING:
    from harness.data.images import RawPixels

Pixels = NDArray[np.floating[Any]]
COUNTED = 10_000
"""Images of train whose pixels are counted at once."""


@dataclass(frozen=True)
class PixelStatistics:
    """The facts that a preprocessing may use: the full pixel's value, and train's mean and sd over pixels.

    These are computed when they are asked for: on MNIST that takes as long as all the rest. `train` are the
    images (N, H, W) of train as they are stored, or (N, C, H, W) of images with channels.
    """

    max: float
    train: RawPixels

    @functools.cached_property
    def mean(self) -> float:
        """Train's mean over all pixels, of all channels."""
        return sum(total for total, _ in self._sums) / self.train.size

    @functools.cached_property
    def sd(self) -> float:
        """Train's standard deviation over all pixels, of all channels."""
        total, squares = map(sum, zip(*self._sums, strict=True))
        return _spread(self.train.size, total, squares)

    @functools.cached_property
    def channel_means(self) -> NDArray[np.float64]:
        """Train's mean of each channel, (C, 1, 1); of grey images there is one."""
        size = self.train.size // len(self._sums)
        return np.array([total / size for total, _ in self._sums]).reshape(-1, 1, 1)

    @functools.cached_property
    def channel_sds(self) -> NDArray[np.float64]:
        """Train's standard deviation of each channel, (C, 1, 1); of grey images there is one."""
        size = self.train.size // len(self._sums)
        return np.array([_spread(size, *sums) for sums in self._sums]).reshape(-1, 1, 1)

    @functools.cached_property
    def _sums(self) -> list[tuple[int, int]]:
        """The sums of each channel's pixels and of their squares: whole numbers, the same in any order."""
        if self.train.ndim < 4:
            return [_sums_of(self.train)]
        return [_sums_of(self.train[:, place]) for place in range(self.train.shape[1])]


def _sums_of(pixels: RawPixels) -> tuple[int, int]:
    """Sum pixels and their squares, of some images at once, since counting takes 8 bytes a pixel."""
    counts = np.zeros(int(pixels.max(initial=0)) + 1, np.int64)
    for first in range(0, len(pixels), COUNTED):
        counts += np.bincount(pixels[first : first + COUNTED].ravel(), minlength=len(counts))
    listed = counts.tolist()
    return sum(v * n for v, n in enumerate(listed)), sum(v * v * n for v, n in enumerate(listed))


def _spread(n: int, total: int, squares: int) -> float:
    """Compute the standard deviation of n whole numbers from their sum and the sum of their squares."""
    return math.sqrt((n * squares - total * total) / (n * n))


@dataclass(frozen=True)
class Preprocessing:
    """apply(x, pixels), or apply(x): images in floats -> (N, ...), flattened afterwards.

    Images are (N, H, W), or (N, C, H, W) where they have channels. A result (N, H, W) or (N, C, H, W), of any
    height, width and number of channels, is images again; of another one, (N, D), each row is an image.
    """

    name: str
    apply: Callable[..., Pixels]


preprocessings: Registry[Preprocessing] = Registry("preprocessing", Preprocessing)


def applied(name: str, apply: Callable[..., Pixels], x: Pixels, pixels: PixelStatistics) -> Pixels:
    """Preprocess images x, (N, H, W) or (N, C, H, W), which may be changed: checked pixels (N, ...).

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
    return result


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
    """(x - mean)/sd, one mean and sd over all pixels of the train split; of colour images, one a channel.

    A channel with one value everywhere, such as an alpha channel, becomes 0.
    """
    if x.ndim == 3:
        return (x - pixels.mean) / pixels.sd
    sds = np.where(pixels.channel_sds > 0, pixels.channel_sds, 1)
    return (x - pixels.channel_means.astype(x.dtype)) / sds.astype(x.dtype)


@preprocessings.register("invert")
def invert(x: Pixels, pixels: PixelStatistics) -> Pixels:
    """1 - x/max: dark ink on light paper."""
    return 1 - x / pixels.max


@preprocessings.register("raw")
def raw(x: Pixels, pixels: PixelStatistics) -> Pixels:  # noqa: ARG001
    """The pixels as they are, 0..max: a classic mistake, to be measured."""
    return x
