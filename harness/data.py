"""Data: a data set, split and preprocessed as a group of trials sees it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from harness.axes.datasets import Facts, Images, datasets
from harness.axes.preprocessing import Pixels, PixelStatistics, applied, preprocessings
from harness.errors import ComponentError
from harness.label_noise import flip
from harness.settings import Value
from harness.splits import size, split
from harness.streams import stream

Split = Literal["train", "val", "test"]
TRAINED_ON: tuple[Split, Split] = ("train", "val")
"""The splits that are looked at while training goes on."""
SPLITS: tuple[Split, ...] = get_args(Split)
DATA_SETTINGS = ("dataset", "preprocessing", "val_fraction", "val_split", "split_seed")
"""What decides which images there are, how they are divided, and what their pixels are."""
LABEL_SETTINGS = ("label_noise", "label_noise_seed")
"""What decides which labels are trained on."""
CHUNK = 10_000  # images preprocessed at once: bounds the temporaries, not the result


@dataclass(frozen=True, eq=False)  # told apart by identity, so that what is made of it can be kept
class Samples:
    """One split: pixels x (N, D), labels y (N,), and each sample's place in the original data set."""

    x: NDArray[np.floating[Any]]
    y: NDArray[np.int64]
    index: NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """What a group trains on. Engines read `test` once, after the last step."""

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


@functools.lru_cache(maxsize=2)
def _images(dataset: str, digest: str) -> Images:  # noqa: ARG001 (a study may declare other data of this name)
    return datasets[dataset].load()


def load(dataset: str) -> Images:
    """A data set as it came; the last two are kept in memory."""
    return _images(dataset, datasets[dataset].facts.digest)


def divide(settings: Mapping[str, Value]) -> dict[Split, NDArray[np.int64]]:
    """Each split's indices: train and val into the data set's train images, test into its test images."""
    facts, labels = datasets[str(settings["dataset"])].facts, load(str(settings["dataset"])).train_labels
    rng = stream(int(settings.get("split_seed", 0)), "split")  # type: ignore[arg-type]
    how = str(settings.get("val_split", "random"))
    train, val = split(labels, float(settings["val_fraction"]), how, rng)  # type: ignore[arg-type]
    return {"train": train, "val": val, "test": np.arange(facts.test)}


def prepare(
    settings: Mapping[str, Value],
    dtype: DTypeLike = np.float32,
    apply: Callable[..., Pixels] | None = None,
) -> Data:
    """Load, split and preprocess what these settings name; with `apply` in place of their preprocessing.

    With `label_noise`, some labels of the train split are wrong; those of val and test never are.
    """
    chosen = tuple((name, settings[name]) for name in (*DATA_SETTINGS, *LABEL_SETTINGS) if name in settings)
    own = preprocessings.entry(str(settings["preprocessing"]))
    source = "" if apply else own.source_digest
    facts = datasets[str(settings["dataset"])].facts
    return _prepare(chosen, np.dtype(dtype), facts, apply or own.component.apply, source)


@functools.lru_cache(maxsize=2)
def _prepare(
    chosen: tuple[tuple[str, Any], ...],
    dtype: np.dtype[Any],
    facts: Facts,
    apply: Callable[..., Pixels],
    source: str,  # noqa: ARG001 (all that the function reads, for the cache)
) -> Data:
    # Facts and function are told apart as well as their names: a study or a notebook may redefine a name.
    settings = dict(chosen)
    images = load(settings["dataset"])
    train, val, test = divide(settings).values()
    raw = images.train_images[train]
    raw.setflags(write=False)  # a preprocessing sees it
    pixels = PixelStatistics(facts.pixel_max, raw)
    registered = str(settings["preprocessing"])
    ours = apply is preprocessings[registered].apply
    named = registered if ours else getattr(apply, "__name__", type(apply).__name__)

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
    if settings.get("label_noise"):
        rng = stream(settings.get("label_noise_seed", 0), "label_noise")
        labels = flip(labels, settings["label_noise"], len(facts.classes), rng)
    trained_on = samples(raw, labels, train)
    width = trained_on.x.shape[1]
    return Data(
        train=trained_on,
        val=samples(images.train_images[val], images.train_labels[val], val, width),
        test=samples(images.test_images, images.test_labels, test, width),
        classes=facts.classes,
    )


def train_size(settings: Mapping[str, Value]) -> int:
    """How many training images these settings leave, without loading them."""
    n = datasets[str(settings["dataset"])].facts.train
    return n - size(n, float(settings["val_fraction"]))  # type: ignore[arg-type]
