"""The predictions of a trained model together with the images that they are about.

model = see(results, selection.choose(results, conditions="loss=ce,seed=0"), "val")
model.table.query("wrong").sort_values("confidence")
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.data.datasets import Facts
from harness.data.samples import Split, load
from harness.errors import UsageError
from harness.gallery.image_choice import short
from harness.results import Results, documents, predictions
from harness.results.trained_on import dataset_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.data.images import RawPixels


@dataclass(frozen=True)
class Pictures:
    """The original images, (N, H, W) or (N, H, W, C), that a split's indices point into, and their labels."""

    dataset: str
    facts: Facts
    pixels: RawPixels
    labels: NDArray[np.int64]
    names: Sequence[str]

    def class_name(self, label: int, longest: int = 20) -> str:
        """Name a class, shortened in the middle if it is longer."""
        return short(self.facts.classes[label], longest)


@dataclass(frozen=True)
class ModelPredictions:
    """The predictions of one trained model on one split: its images, and the rows of `predictions.table`."""

    trial_id: str
    arm: str
    split: Split
    pictures: Pictures
    table: pd.DataFrame

    @property
    def title(self) -> str:
        """Title of a figure: data set, split and model."""
        return f"{self.pictures.dataset}, {self.split}, by {self.trial_id} ({self.arm})"


def originals(results: Results, dataset: str, split: Split) -> Pictures:
    """Load the images of a data set that the indices of a split point into.

    Raises:
        UsageError: the data set is unknown, or is not the one that the folder's trials were trained on.
        MachineError: it cannot be loaded.
    """
    source = dataset_of(results, dataset)
    facts = source.facts
    path = results.folder / "plan.json"
    trained_on = documents.plan(results.folder)["data"] if path.is_file() else {}
    if trained_on.get(dataset, facts.digest) != facts.digest:
        raise UsageError(
            f"{dataset} is not the data that {results.folder} was trained on: digest "
            f"{trained_on[dataset][:12]} there, {facts.digest[:12]} here. Bring the old images back, or "
            "train again into a new folder."
        )
    images = load(source)
    test = split == "test"
    pixels, labels, names = (
        (images.test_images, images.test_labels, images.test_names)
        if test
        else (images.train_images, images.train_labels, images.train_names)
    )
    return Pictures(dataset, facts, pixels, labels, names or [f"index {i}" for i in range(len(labels))])


def see(results: Results, trial: pd.Series[Any], split: Split = "test") -> ModelPredictions:
    """Read the predictions of a finished trial on a split, with the images.

    Args:
        results: a results folder, read.
        trial: the trial's row of trials.csv, as from `selection.choose`.
        split: a split that the study's `keep_predictions` names.

    Raises:
        UsageError: the predictions were not kept, are missing or damaged, or the data have changed.
        MachineError: the data set cannot be loaded.
    """
    table = predictions.table(results, trial, split)
    arm = f"{trial['arm']}, seed {trial['seed']}"
    images = originals(results, str(trial["dataset"]), split)
    _check_labels(results, images, table)
    return ModelPredictions(str(trial["trial_id"]), arm, split, images, table)


def _check_labels(results: Results, images: Pictures, table: pd.DataFrame) -> None:
    """Raise UsageError if the images are not those that the predictions (index, label) were made on."""
    index = table["index"].to_numpy()
    if index.max(initial=-1) >= len(images.labels) or (images.labels[index] != table["label"]).any():
        raise UsageError(
            f"the labels of {images.dataset} are not those that {results.folder} predicted: it was trained "
            "on other images of this name. Bring these back, or train again into a new folder."
        )


def chosen(model: ModelPredictions, samples: Sequence[str]) -> pd.DataFrame:
    """Select the rows of the samples of these names, or indices in the original data set, in their order.

    Raises:
        UsageError: one of them is not in the split.
    """
    place = {int(index): i for i, index in enumerate(model.table["index"])}
    named = {model.pictures.names[index]: i for index, i in place.items()}
    rows = [named.get(s, place.get(int(s), -1) if s.isascii() and s.isdigit() else -1) for s in samples]
    for sample, i in zip(samples, rows, strict=True):
        if i < 0:
            index = model.table["index"]
            raise UsageError(
                f"sample {sample!r}: not in {model.split}, which has {len(index):,} of the "
                f"{len(model.pictures.labels):,} images there, with indices from {index.min()} to "
                f"{index.max()}; choose one of these, or its file name, or another split"
            )
    return model.table.iloc[rows]


def hardest(results: Results, dataset: str, split: Split = "test") -> pd.DataFrame:
    """Rank images by `predictions.hardest` over all finished trials on a data set; add names.

    Raises:
        UsageError: no trial has finished, the split was not kept, or the data have changed.
        MachineError: the data set cannot be loaded.
    """
    images = originals(results, dataset, split)

    def checked() -> Iterator[predictions.Predictions]:
        for stack in predictions.stacks(results, dataset, split):
            # Before they are summed image by image: a wrong index would take memory for as many images.
            _check_labels(results, images, pd.DataFrame({"index": stack.index, "label": stack.label}))
            yield stack

    table = predictions.hardest(checked())
    table.insert(1, "name", [images.names[i] for i in table["index"]])
    for column in ("label", "prediction"):
        at = list(table.columns).index(column)
        table.insert(at + 1, f"{column}_name", [images.facts.classes[c] for c in table[column]])
    return table
