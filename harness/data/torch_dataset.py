"""Data sets and their splits as PyTorch's Dataset: raw images, and what a network sees of them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from harness.data import samples
from harness.data.datasets import Dataset
from harness.data.images import size_in_words
from harness.data.samples import Samples
from harness.errors import UsageError, did_you_mean, few

if TYPE_CHECKING:
    from harness.data.images import RawPixels

Part = Literal["all", "train", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


class RawDataset(TorchDataset[tuple["RawPixels", int]]):
    """The images of a data set as they came, indexable as a list: (image (H, W) or (H, W, C), label).

    `index` numbers the images of all splits in one list: those of train come first, then those of test.

    Attributes:
        name: the data set's name.
        classes: the class names, in label order.
        index: each image's number among all, (N,).
        labels: the labels (N,), int64, read-only.
        names: the names of the images' files, where they have any.
    """

    def __init__(self, dataset: Dataset, index: NDArray[np.int64]) -> None:
        images = samples.load(dataset)
        self._dataset, self._parts = dataset, (images.train_images, images.test_images)
        self.name, self.classes = dataset.name, dataset.facts.classes
        self.index = _read_only(index)
        self.labels = _read_only(np.concatenate([images.train_labels, images.test_labels])[index])
        names = (*images.train_names, *images.test_names)
        self.names = tuple(names[i] for i in index) if names else ()

    @property
    def images(self) -> RawPixels:
        """All images (N, H, W) or (N, H, W, C), uint8 or uint16, read-only: a `.copy()` may be changed."""
        train, test = self._parts
        n, total = len(train), len(train) + len(test)
        whole = {(0, n): train, (n, total): test}
        if len(self.index) and (np.diff(self.index) == 1).all():
            ends = int(self.index[0]), int(self.index[-1]) + 1
            part = next(
                (
                    part[ends[0] - a : ends[1] - a]
                    for (a, b), part in whole.items()
                    if a <= ends[0] and ends[1] <= b
                ),
                None,
            )
            if part is not None:
                return _read_only(part.view())
        return _read_only(self._gathered)

    @functools.cached_property
    def _gathered(self) -> RawPixels:
        train, test = self._parts
        n = len(train)
        gathered = np.empty((len(self.index), *train.shape[1:]), train.dtype)
        of_train = self.index < n
        gathered[of_train] = train[self.index[of_train]]
        gathered[~of_train] = test[self.index[~of_train] - n]
        return gathered

    def __len__(self) -> int:
        return len(self.index)

    @overload
    def __getitem__(self, place: int) -> tuple[RawPixels, int]: ...
    @overload
    def __getitem__(self, place: slice | Sequence[int] | NDArray[Any] | Tensor) -> RawDataset: ...
    def __getitem__(self, place: Any) -> Any:
        """Give an image, a copy, and its label; of a slice, or of several places, a smaller RawDataset."""
        if isinstance(place, slice) or np.ndim(place):
            return RawDataset(self._dataset, self._chosen(place))
        number = self._number(place)
        train, test = self._parts
        i = int(self.index[number])
        image = train[i] if i < len(train) else test[i - len(train)]
        return image.copy(), int(self.labels[number])

    def _number(self, place: Any) -> int:
        try:
            number = operator.index(place)
        except TypeError:
            raise TypeError(
                f"{self.name}[{place!r:.60}]: allowed: a whole number, a slice, or a list or array of numbers"
            ) from None
        if not -len(self) <= number < len(self):
            allowed = f"0 to {len(self) - 1:,}, or -1 for the last one" if len(self) else "none"
            raise IndexError(
                f"{self.name}[{number}]: there are {len(self):,} images here; allowed: {allowed}"
            )
        return number % len(self)

    def _chosen(self, place: Any) -> NDArray[np.int64]:
        index: NDArray[np.int64] = self.index
        if isinstance(place, slice):
            return index[place]
        places: NDArray[Any] = np.asarray(place)
        if places.dtype == bool and places.shape == self.index.shape:
            return index[np.flatnonzero(places)]
        if places.ndim != 1 or (places.dtype.kind not in "iu" and places.size):
            raise TypeError(
                f"{self.name}[...]: got an array of {places.dtype} of shape {places.shape}; allowed: whole "
                f"numbers (n,), or a truth value for each image, ({len(self)},)"
            )
        numbers: NDArray[np.int64] = index[[self._number(i) for i in places.tolist()]]
        return numbers

    def __iter__(self) -> Iterator[tuple[RawPixels, int]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        size, pixel = size_in_words(self._parts[0].shape[1:]), self._parts[0].dtype.name
        n = int((self.index < len(self._parts[0])).sum())
        counts = {"train": n, "test": len(self) - n}
        parts = " and ".join(f"{count:,} of {part}" for part, count in counts.items() if count)
        return (
            f"{self.name}: {len(self):,} images ({parts or 'none'}), {size} in {pixel}; "
            f"{len(self.classes)} classes: {few(self.classes)}"
        )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array = array.view()
    array.setflags(write=False)
    return array


def raw(dataset: Dataset, part: Part = "all") -> RawDataset:
    """Give the raw images of a data set: all, those of train, or those of test."""
    if part not in PARTS:
        if str(part) == "val":
            raise UsageError("split = 'val': a study's share of train, harness.split_dataset(name, 'val')")
        raise UsageError(f"split = {part!r}: {did_you_mean(str(part), PARTS)}")
    facts = dataset.facts
    ends = {
        "all": (0, facts.train + facts.test),
        "train": (0, facts.train),
        "test": (facts.train, facts.train + facts.test),
    }
    return RawDataset(dataset, np.arange(*ends[part]))


class SplitDataset(TorchDataset[tuple[Tensor, Tensor]]):
    """One split as a map-style Dataset: (pixels (D,) in floats, label () in int64) by place in the split.

    Attributes:
        x: all pixels, (N, D), or (N, ...) where a preprocessing gives channels. A row has the values of an
            image (C, H, W), in this order.
        y: all labels, (N,), int64.
        index: each image's number in `harness.dataset(name)`: train images first, then test images.
        shape: height and width of an image as it came, and its channels where it has some.
        image_shape: channels, height and width, for networks that want them back: `x.view(-1, *image_shape)`.
        classes: the class names, in label order.
    """

    def __init__(
        self, samples: Samples, shape: tuple[int, ...] = (), classes: Sequence[str] = (), first: int = 0,
        item: tuple[int, ...] = (), image_shape: tuple[int, int, int] | None = None,
    ) -> None:  # fmt: skip
        """Make a Dataset of a split, as `harness.data.samples.prepare` gives it.

        `first` is the number of the first image that the split's places count from; `item` the shape of one
        image's pixels, where that is not (D,); `image_shape` is that of the images that rows are of.
        """
        self.x, self.y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)
        if item:
            self.x = self.x.view(-1, *item)
        self.index = torch.from_numpy(samples.index + first)
        self.shape, self.classes = shape or (samples.width,), tuple(classes)
        self.image_shape = image_shape or (1, 1, samples.width)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return self.x[place], self.y[place]

    def __repr__(self) -> str:
        pixels = " x ".join(map(str, self.x.shape[1:]))
        return f"{len(self):,} images, {pixels} pixels in float32, with labels of {len(self.classes)} classes"


def collate(samples: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Stack samples into a batch: pixels (B, D) and labels (B,)."""
    x, y = zip(*samples, strict=True)
    return torch.stack(x), torch.stack(y)
