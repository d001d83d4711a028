"""Data: a data set, split and preprocessed as a group of trials sees it."""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from harness.data.arm_settings import Settings
from harness.data.datasets import Dataset, Facts
from harness.data.images import Images
from harness.data.label_noise import flip
from harness.data.pixel_source import CHUNK, PixelSource, code_digest
from harness.data.preprocessing import Pixels, preprocessings
from harness.data.shared_arrays import Arrays, shared_arrays
from harness.data.splits import size, split
from harness.rng import stream

Split = Literal["train", "val", "test"]
TRAINED_ON: tuple[Split, Split] = ("train", "val")
"""The splits that are looked at while training goes on."""
SPLITS: tuple[Split, ...] = get_args(Split)
DATA_SETTINGS = ("dataset", "preprocessing", "val_fraction", "val_split", "split_seed")
"""Settings that decide which images there are, their division and their pixels."""
LABEL_SETTINGS = ("label_noise", "label_noise_seed")
"""Settings that decide the labels to train on."""
SMALL = 1 << 20
"""Pixels that are not worth a file for all processes: below as many, each has its own."""


@dataclass(frozen=True, eq=False)  # told apart by identity, so that what is made of it can be kept
class Samples:
    """One split: pixels x (N, D), labels y (N,), and each sample's place in the original data set.

    A row has the values of an image (C, H, W) in this order: all pixels of a channel, line by line, then the
    next channel's.

    `pixels` are an array, or a source of them and the split: then x is made when it is first asked for.
    """

    pixels: NDArray[np.floating[Any]] | tuple[PixelSource, Split]
    y: NDArray[np.int64]
    index: NDArray[np.int64]

    @functools.cached_property
    def x(self) -> NDArray[np.floating[Any]]:
        """All pixels, in this process's own memory."""
        return self.pixels[0].whole(self.pixels[1]) if isinstance(self.pixels, tuple) else self.pixels

    @property
    def width(self) -> int:
        """Values per image, D."""
        return self.pixels[0].width if isinstance(self.pixels, tuple) else int(self.pixels.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The float type of the pixels."""
        return self.pixels[0].dtype if isinstance(self.pixels, tuple) else self.pixels.dtype

    @property
    def key(self) -> str:
        """All that decides the pixels, as a text; "" where that is not known."""
        if not isinstance(self.pixels, tuple) or not self.pixels[0].key:
            return ""
        return f"{self.pixels[0].key} {self.pixels[1]}"

    def chunks(self) -> Iterator[NDArray[np.floating[Any]]]:
        """Yield x (n, D), some thousand images at once, without making all of it."""
        if isinstance(self.pixels, tuple) and "x" not in vars(self):
            yield from self.pixels[0].chunks(self.pixels[1])
        else:
            yield from (self.x[i : i + CHUNK] for i in range(0, len(self.x), CHUNK))

    def shared(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """Return arrays made of the pixels alone, read-only, which all processes share if they are large.

        Args:
            name: all else that decides them.
            make: makes them.
        """
        if not self.key or len(self.y) * self.width < SMALL:
            return make()
        return shared_arrays(f"{name} of {self.key}", make)


@dataclass(frozen=True)
class Data:
    """The data of one group of trials. Engines read `test` once, after the last step."""

    train: Samples
    val: Samples
    test: Samples
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int] | None = None
    """Channels, height and width of the images that rows of pixels are of; None where none is known."""

    def __getitem__(self, split: Split) -> Samples:
        samples: Samples = getattr(self, split)
        return samples

    @property
    def inputs(self) -> int:
        """Values per image, D."""
        return self.train.width

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image, of which a row of pixels has the values in this order."""
        shape = self.image_shape
        return shape if shape and math.prod(shape) == self.inputs else (1, 1, self.inputs)


@dataclass(frozen=True)
class _Source:
    """A data set as a key of a cache: two of one name and digest have the same images."""

    name: str
    digest: str
    dataset: Dataset = field(compare=False)

    @classmethod
    def of(cls, dataset: Dataset) -> _Source:
        return cls(dataset.name, dataset.facts.digest, dataset)


@functools.lru_cache(maxsize=2)
def _images(source: _Source) -> Images:
    return source.dataset.load()


def load(dataset: Dataset) -> Images:
    """Give the images of a data set as they came; the last two data sets are kept in memory."""
    return _images(_Source.of(dataset))


def divide(settings: Settings) -> dict[Split, NDArray[np.int64]]:
    """Give each split's indices: train and val into the train images, test into the test images."""
    labels = load(settings.data).train_labels
    rng = stream(settings.split_seed, "split")
    train, val = split(labels, settings.val_fraction, settings.val_split, rng, settings.data.blocks)
    return {"train": train, "val": val, "test": np.arange(settings.facts.test)}


def prepare(
    settings: Settings, dtype: DTypeLike = np.float32, apply: Callable[..., Pixels] | None = None
) -> Data:
    """Load, split and preprocess the data of these settings; with `apply` in place of their preprocessing.

    With `label_noise`, some labels of the train split are wrong; those of val and test never are.
    """
    chosen = tuple((name, settings[name]) for name in (*DATA_SETTINGS, *LABEL_SETTINGS) if name in settings)
    registered = preprocessings.entry(settings.preprocessing)
    code = "" if apply else registered.source_digest
    source = _Source.of(settings.data)
    return _prepare(
        chosen, source, settings.facts, np.dtype(dtype), apply or registered.component.apply, code
    )


@functools.lru_cache(maxsize=2)
def _prepare(
    chosen: tuple[tuple[str, Any], ...],
    source: _Source,
    facts: Facts,
    dtype: np.dtype[Any],
    apply: Callable[..., Pixels],
    code: str,  # noqa: ARG001 (the digest of all that the function reads, for the cache)
) -> Data:
    # Facts and function are told apart as well as their names: two studies or a notebook may share a name.
    settings = Settings(dict(chosen), source.dataset)
    images, entry = load(source.dataset), preprocessings.entry(settings.preprocessing)
    indices = divide(settings)
    ours = apply is entry.component.apply
    named = settings.preprocessing if ours else getattr(apply, "__name__", type(apply).__name__)
    shape = facts.image_shape if ours and not entry.third_party else None
    decide = [value for value in chosen if value[0] in DATA_SETTINGS[1:]]
    key = f"{source.digest} {facts.pixel_max} {decide} {dtype} {entry.code_digest} {code_digest()}"
    complete = ours and not (entry.take_digest and entry.take_digest().unseen)  # the key decides the pixels
    pixels = PixelSource(
        images, indices, facts.pixel_max, dtype, (named, apply), shape, key if complete else ""
    )
    if entry.third_party or not ours:  # what is wrong with it is told before anything is trained
        for part in indices:
            collections.deque(pixels.chunks(part), maxlen=0)

    def samples(split: Split, y: NDArray[np.int64]) -> Samples:
        return Samples((pixels, split), y, indices[split])

    labels = images.train_labels[indices["train"]]
    if settings.label_noise:
        rng = stream(settings.label_noise_seed, "label_noise")
        labels = flip(labels, settings.label_noise, len(facts.classes), rng)
    return Data(
        train=samples("train", labels),
        val=samples("val", images.train_labels[indices["val"]]),
        test=samples("test", images.test_labels),
        classes=facts.classes,
        image_shape=pixels.shape,
    )


def inputs_of(settings: Settings) -> int:
    """Count the values that a network sees of an image; a person's own preprocessing is run for that."""
    return math.prod(shape_of(settings))


def shape_of(settings: Settings) -> tuple[int, int, int]:
    """Give the shape (C, H, W) in which a network sees an image; (1, 1, D) after a preprocessing to rows."""
    if preprocessings.entry(settings.preprocessing).third_party:
        return prepare(settings).shape
    return settings.facts.image_shape


def train_size(settings: Settings) -> int:
    """Count the training images that these settings leave, without loading them."""
    n = settings.facts.train
    return n - size(n, settings.val_fraction)
