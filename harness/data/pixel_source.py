"""Pixels that are preprocessed when they are asked for: a worker that maps a compressed form needs none."""

from __future__ import annotations

import functools
import hashlib
import math
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.data.images import Images, channels_first, planes
from harness.data.preprocessing import Pixels, PixelStatistics, applied
from harness.errors import ComponentError

CHUNK = 10_000  # images preprocessed at once: bounds the temporaries, not the result
SOURCES = ("images.py", "pixel_source.py", "preprocessing.py", "samples.py", "splits.py")
"""Files beside this one that decide pixels."""
KEPT = ("mean", "sd", "channel_means", "channel_sds")
"""Statistics that are not found twice."""
Shape: TypeAlias = tuple[int, int, int]
"""Channels, height and width."""
Index: TypeAlias = NDArray[np.int64]


@functools.cache
def code_digest() -> str:
    """Digest all that decides the bits of pixels beside the data set and its settings."""
    digest = hashlib.sha256(f"{np.__version__} {platform.machine()}".encode())
    for name in SOURCES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()


class PixelSource:
    """The pixels of a data set's splits, as a group of trials sees them.

    It holds the images as they came, which all groups share, and makes pixels anew each time.

    Args:
        images: the data set.
        indices: of each split, the places of its images: train and val in the train images, test in test's.
        full: the value of a full pixel.
        dtype: the float type of the pixels.
        preprocessing: its name, and its function.
        shape: channels, height and width of a preprocessed image; None where only the function knows.
        key: all that decides the pixels, as a text; "" where that is not known.
    """

    def __init__(  # noqa: PLR0913 (all that decides pixels)
        self, images: Images, indices: Mapping[Any, Index], full: float, dtype: np.dtype[Any],
        preprocessing: tuple[str, Callable[..., Pixels]], shape: Shape | None = None,
        key: str = "",
    ) -> None:  # fmt: skip
        self.images, self.indices, self.full, self.dtype = images, indices, full, dtype
        (self.name, self.apply), self.key = preprocessing, key
        self._found: dict[str, Any] = {}
        self.shape: Shape = shape or self._as_images(next(self._preprocessed("train")).shape[1:])

    @property
    def width(self) -> int:
        """Values of an image, D."""
        return math.prod(self.shape)

    def chunks(self, split: str) -> Iterator[Pixels]:
        """Yield a split's pixels (n, D), CHUNK images at once; none of an empty split.

        Raises:
            ComponentError: the preprocessing raises, or gives other than finite numbers for each image.
        """
        for chunk in self._preprocessed(split):
            yield self._rows(chunk)

    def _rows(self, chunk: Pixels) -> Pixels:
        """Give preprocessed images as rows (n, D); raise ComponentError where D is not what it was before."""
        rows = chunk.reshape(len(chunk), -1)
        if rows.shape[1] != self.width:
            raise ComponentError(
                f"preprocessing {self.name!r} gives {self.width} pixels an image, then {rows.shape[1]}; "
                "allowed: as many for each"
            )
        return np.ascontiguousarray(rows, self.dtype)

    def _preprocessed(self, split: str) -> Iterator[Pixels]:
        """Yield what the preprocessing makes of a split's images, (n, ...)."""
        raw = self.images.test_images if split == "test" else self.images.train_images
        index, statistics = self.indices[split], self._statistics()
        for i in range(0, len(index), CHUNK):
            images = np.ascontiguousarray(planes(raw[index[i : i + CHUNK]]), self.dtype)
            chunk = applied(self.name, self.apply, images, statistics)
            found = vars(statistics)
            self._found |= {name: found[name] for name in KEPT if name in found}
            yield chunk

    def _as_images(self, made: tuple[int, ...]) -> Shape:
        """Give the shape of an image of which a preprocessing makes (H, W), (C, H, W) or a row of pixels.

        A row with as many values as the image had is taken for the image.
        """
        if len(made) in {2, 3}:
            channels, height, width = made if len(made) == 3 else (1, *made)
            return channels, height, width
        before = channels_first(self.images.train_images.shape[1:])
        return before if math.prod(before) == math.prod(made) else (1, 1, math.prod(made))

    def raw(self, split: str, places: Index) -> Pixels:
        """Give images of a split as they came, (B, C, H, W) in floats, by their places in it: copies."""
        raw = self.images.test_images if split == "test" else self.images.train_images
        images = np.ascontiguousarray(planes(raw[self.indices[split][places]]), self.dtype)
        return images if images.ndim == 4 else images[:, None]

    def preprocessed(self, images: Pixels) -> Pixels:
        """Give what a network sees, (B, D), of images (B, C, H, W) in floats, which may be changed.

        Raises:
            ComponentError: as `chunks`.
        """
        given = images[:, 0] if self.images.train_images.ndim == 3 else images
        return self._rows(applied(self.name, self.apply, given, self._kept_statistics))

    @functools.cached_property
    def _kept_statistics(self) -> PixelStatistics:
        return self._statistics()

    def _statistics(self) -> PixelStatistics:
        """Return what a preprocessing may use; it copies train's images, and finds their mean once."""
        train = planes(self.images.train_images[self.indices["train"]])
        train.setflags(write=False)  # a preprocessing sees it
        statistics = PixelStatistics(self.full, train)
        vars(statistics).update(self._found)
        return statistics

    def whole(self, split: str) -> Pixels:
        """Return all pixels of a split, (N, D)."""
        pixels = np.empty((len(self.indices[split]), self.width), self.dtype)
        for i, chunk in enumerate(self.chunks(split)):
            pixels[i * CHUNK : i * CHUNK + len(chunk)] = chunk
        return pixels
