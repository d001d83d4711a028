"""Images as the kernels read them: without the pixels that have a common value, such as zero, or in full."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.data.samples import Samples
from harness.engines import kernels
from harness.engines.compiled.memory import address, zeros

PLACE_BYTES = 2
"""Bytes of a pixel's place in a compressed image."""
FEWER = 0.75
"""Common values are left out where so many times as many pixels, at most, differ from them as from zero."""
LOOKED_AT = 512
"""Images of train in which the most frequent value of each pixel is found."""


@dataclass(frozen=True)
class Compressed:
    """N images of D pixels x = u + c; image n has u = value[row[n * R]:row[(n + 1) * R]] at pixels `column`.

    `common` (D,) is c, or None where it is 0. `occurs` (D,) says at which pixels u is not zero in some image.
    There is one more image, in which u is zero, to fill up batches.
    """

    row: NDArray[np.int64]
    column: NDArray[np.uint16]
    value: NDArray[np.floating[Any]]
    common: NDArray[np.floating[Any]] | None
    occurs: NDArray[np.uint8]
    ranges: int
    """R: a row is in so many pieces, one for each range of pixels."""

    @functools.cached_property
    def struct(self) -> kernels.CImages:
        """Return the kernels' view."""
        common = None if self.common is None else address(self.common)
        return kernels.CImages(
            None, address(self.row), address(self.column), address(self.value), common, self.ranges
        )

    @property
    def size(self) -> int:
        """Return the number of images, N."""
        return (len(self.row) - 1) // self.ranges - 1


@dataclass(frozen=True)
class FullImages:
    """N images of D pixels, x (N + 1, D); the last one, of zeros, fills up batches."""

    x: NDArray[np.floating[Any]]
    common: None = None

    @functools.cached_property
    def struct(self) -> kernels.CImages:
        """Return the kernels' view."""
        return kernels.CImages(full=address(self.x))

    @functools.cached_property
    def occurs(self) -> NDArray[np.uint8]:
        """Return (D,): every pixel may differ from zero."""
        return np.ones(self.x.shape[1], np.uint8)

    @property
    def size(self) -> int:
        """Return the number of images, N."""
        return len(self.x) - 1


Stored: TypeAlias = Compressed | FullImages


def common_pixels(some: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Find the most frequent value of each pixel, (D,), in some images (n, D).

    Of values that are equally frequent it is the smallest.
    """
    some = np.sort(some, axis=0)
    places = np.arange(len(some))[:, None]
    starts = np.where(np.vstack([np.ones_like(some[:1], bool), some[1:] != some[:-1]]), places, 0)
    longest = (places - np.maximum.accumulate(starts)).argmax(0)
    common: NDArray[np.floating[Any]] = some[longest, np.arange(some.shape[1])]
    return common


def _looked_at(samples: Samples) -> NDArray[np.floating[Any]]:
    """Return LOOKED_AT images, from all of the split."""
    step, first, some = max(1, len(samples.y) // LOOKED_AT), 0, []
    for chunk in samples.chunks():
        some.append(chunk[-first % step :: step].copy())
        first += len(chunk)
    return np.concatenate(some)[:LOOKED_AT]


def _size(x: NDArray[np.floating[Any]], common: NDArray[np.floating[Any]] | None) -> int:
    """Count the pixels that are not `common`, or not zero."""
    zero = None if common is None else address(common)
    return int(kernels.library(x.dtype).compressed_size(address(x), zero, *x.shape))


@dataclass(frozen=True, eq=False)
class SparseForm:
    """The form in which a data set's images have the fewest pixels to compute: x = u + common."""

    common: NDArray[np.floating[Any]] | None
    density: float

    @functools.cached_property
    def key(self) -> str:
        """Return a digest of what is left out."""
        return "zeros" if self.common is None else hashlib.sha256(self.common.tobytes()).hexdigest()


@functools.cache
def code_digest() -> str:
    """Digest the code that makes a sparse form: files of another version are not read."""
    paths = (Path(__file__), kernels.SOURCE.with_name("images.h"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


@functools.lru_cache(maxsize=2)
def sparse_form(train: Samples) -> SparseForm:
    """Find the sparse form of a data set: zeros are left out, or common values where these are many more.

    Zeros are cheaper: a pixel that is zero in a whole batch needs no step.
    """
    made = train.shared(f"common pixels by {code_digest()}", lambda: _densities(train))
    zeros_out, common_out = made["density"].tolist()
    form = SparseForm(made["common"], common_out)
    return form if common_out < FEWER * zeros_out else SparseForm(None, zeros_out)


def _densities(train: Samples) -> dict[str, NDArray[Any]]:
    """Find the common values of pixels, and the shares of pixels that are not zero, and not common."""
    common = common_pixels(_looked_at(train))
    sizes = np.sum([[_size(x, None), _size(x, common)] for x in train.chunks()], axis=0)
    return {"common": common, "density": np.asarray(sizes / (len(train.y) * train.width))}


def in_full(samples: Samples, form: SparseForm) -> bool:
    """Tell whether images take fewer bytes in full than compressed, or are too large for compressed ones."""
    size = samples.dtype.itemsize
    return form.density > size / (size + PLACE_BYTES) or samples.width > np.iinfo(np.uint16).max


@functools.lru_cache(maxsize=6)  # the splits of two data sets, as `data.prepare` keeps them
def in_rows(samples: Samples) -> FullImages:
    """Return a split's images in full: of a large data set, the same memory in all processes."""
    return FullImages(samples.shared("images in full", lambda: {"x": _whole(samples)})["x"])


def stored(samples: Samples, form: SparseForm, *, full: bool) -> Stored:
    """Return a split's images, in full or not."""
    return in_rows(samples) if full else compressed(samples, form)


def _whole(samples: Samples) -> NDArray[np.floating[Any]]:
    x = zeros((len(samples.y) + 1, samples.width), samples.dtype)
    at = 0
    for chunk in samples.chunks():
        x[at : at + len(chunk)] = chunk
        at += len(chunk)
    return x


def compressed(samples: Samples, form: SparseForm) -> Compressed:
    """Return a split's images in a sparse form: of a large data set, the same memory in all processes."""
    ranges = int(kernels.library(samples.dtype).ranges_of(samples.width))  # as the build in use has them
    return _compressed(samples, form, ranges)


@functools.lru_cache(maxsize=6)  # the splits of two data sets, as `data.prepare` keeps them
def _compressed(samples: Samples, form: SparseForm, ranges: int) -> Compressed:
    made = samples.shared(
        f"images in {ranges} ranges without {form.key} by {code_digest()}",
        lambda: _compress(samples, form, ranges),
    )
    return Compressed(made["row"], made["column"], made["value"], form.common, made["occurs"], ranges)


def _compress(samples: Samples, form: SparseForm, ranges: int) -> dict[str, NDArray[Any]]:
    """Compress a split, some thousand images at once."""
    library = kernels.library(samples.dtype)
    common = None if form.common is None else address(form.common)
    rows, columns, values, total = [], [np.empty(0, np.uint16)], [np.empty(0, samples.dtype)], 0
    for x in samples.chunks():
        size = _size(x, form.common)
        row = np.empty(len(x) * ranges + 1, np.int64)
        column, value = np.empty(size, np.uint16), np.empty(size, x.dtype)
        library.compress(address(x), common, *x.shape, address(row), address(column), address(value))
        rows.append(row[:-1] + total)
        columns.append(column)
        values.append(value)
        total += size
    rows.append(np.full(ranges + 1, total, np.int64))  # an image without pixels
    column = np.concatenate(columns)
    occurs = np.zeros(samples.width, np.uint8)
    occurs[column] = 1
    return {"row": np.concatenate(rows), "column": column, "value": np.concatenate(values), "occurs": occurs}


class Transposer:
    """Transposes batches of compressed images: for each pixel, the images in which u is not zero.

    Its memory is reused.
    """

    def __init__(self, inputs: int, dtype: np.dtype[Any]) -> None:
        """Prepare for images of so many pixels, in a type."""
        self.inputs, self.dtype = inputs, dtype
        self.starts, self.samples = zeros((0,), np.int32), zeros((0,), np.int32)
        self.values = zeros((0,), dtype)

    def __call__(self, images: Stored, index: NDArray[np.int64]) -> kernels.Turned:
        """Transpose batches (.., B) by their places, contiguous."""
        size, batches = index.shape[-1], index.size // index.shape[-1]
        if len(self.starts) < (starts := batches * (self.inputs + 2)):
            self.starts = np.empty(starts, np.int32)
        if len(self.samples) < (values := index.size * self.inputs):
            self.samples, self.values = np.empty(values, np.int32), np.empty(values, self.dtype)
        turned = kernels.Turned(address(self.starts), address(self.samples), address(self.values))
        library = kernels.library(self.dtype)
        library.turn(images.struct, address(index), batches, size, self.inputs, turned)
        return turned


class Expander:
    """Lays out batches in full, u (.., B, row) of which the first D of a row are pixels. Memory is reused."""

    def __init__(self, inputs: int, dtype: np.dtype[Any]) -> None:
        """Prepare for images of so many pixels, in a type."""
        self.inputs, self.library = inputs, kernels.library(dtype)
        self.row, self.full = int(self.library.row_of(inputs)), zeros((0,), dtype)

    def __call__(self, images: Stored, index: NDArray[np.int64], count: int) -> NDArray[np.floating[Any]]:
        """Lay out the first `count` images of each batch (.., B) by their places, contiguous."""
        self.reserve(index.size)
        size, batches = index.shape[-1], index.size // index.shape[-1]
        expand, full = self.library.expand, address(self.full)
        expand(images.struct, address(index), batches, size, count, self.inputs, full)
        return self.full

    def reserve(self, images: int) -> NDArray[np.floating[Any]]:
        """Return room for so many images."""
        if len(self.full) < images * self.row:
            self.full = zeros((images * self.row,), self.full.dtype)
        return self.full
