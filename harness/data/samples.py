"""Data: a data set, split and preprocessed as a group of trials sees it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from harness.data.arm_settings import Settings
from harness.data.datasets import Dataset, Facts
from harness.data.images import Images
from harness.data.label_noise import flip
from harness.data.preprocessing import Pixels, PixelStatistics, applied, preprocessings
from harness.data.splits import size, split
from harness.errors import ComponentError
from harness.rng import stream

Split = Literal["train", "val", "test"]
TRAINED_ON: tuple[Split, Split] = ("train", "val")
"""The splits that are looked at while training goes on."""
SPLITS: tuple[Split, ...] = get_args(Split)
DATA_SETTINGS = ("dataset", "preprocessing", "val_fraction", "val_split", "split_seed")
"""Settings that decide which images there are, their division and their pixels."""
LABEL_SETTINGS = ("label_noise", "label_noise_seed")
"""Settings that decide the labels to train on."""
CHUNK = 10_000  # images preprocessed at once: bounds the temporaries, not the result


@dataclass(frozen=True, eq=False)  # told apart by identity, so that what is made of it can be kept
class Samples:
    """One split: pixels x (N, D), labels y (N,), and each sample's place in the original data set."""

    x: NDArray[np.floating[Any]]
    y: NDArray[np.int64]
    index: NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """The data of one group of trials. Engines read `test` once, after the last step."""

    train: Samples
    val: Samples
    test: Samples
    classes: tuple[str, ...]

    def __getitem__(self, split: Split) -> Samples:
        samples: Samples = getattr(self, split)
        return samples

    @property
    def inputs(self) -> int:
        """Values per image, D."""
        return int(self.train.x.shape[1])


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
    train, val = split(labels, settings.val_fraction, settings.val_split, rng)
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
    images = load(source.dataset)
    train, val, test = divide(settings).values()
    raw = images.train_images[train]
    raw.setflags(write=False)  # a preprocessing sees it
    pixels = PixelStatistics(facts.pixel_max, raw)
    ours = apply is preprocessings[settings.preprocessing].apply
    named = settings.preprocessing if ours else getattr(apply, "__name__", type(apply).__name__)

    def samples(
        x: NDArray[np.uint8], y: NDArray[np.int64], index: NDArray[np.int64], width: int = 0
    ) -> Samples:
        flat = np.empty((len(x), width or raw[0].size), dtype)
        for i in range(0, len(x), CHUNK):
            chunk = applied(named, apply, x[i : i + CHUNK].astype(dtype), pixels)
            if not i and not width:
                flat = np.empty((len(x), chunk.shape[1]), dtype)
            if chunk.shape[1] != flat.shape[1]:
                raise ComponentError(
                    f"preprocessing {named!r} gives {flat.shape[1]} pixels an image, then {chunk.shape[1]}; "
                    "allowed: as many for each"
                )
            flat[i : i + CHUNK] = chunk
        return Samples(flat, y, index)

    labels = images.train_labels[train]
    if settings.label_noise:
        rng = stream(settings.label_noise_seed, "label_noise")
        labels = flip(labels, settings.label_noise, len(facts.classes), rng)
    trained_on = samples(raw, labels, train)
    width = trained_on.x.shape[1]
    return Data(
        train=trained_on,
        val=samples(images.train_images[val], images.train_labels[val], val, width),
        test=samples(images.test_images, images.test_labels, test, width),
        classes=facts.classes,
    )


def train_size(settings: Settings) -> int:
    """Count the training images that these settings leave, without loading them."""
    n = settings.facts.train
    return n - size(n, settings.val_fraction)
