"""Pictures: the images that predictions are about, and what a trained model says of each.

seen = see(found, selection.choose(found, conditions="loss=ce,seed=0"), "val")
seen.table.query("wrong").sort_values("confidence")
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import documents, predictions
from harness.axes.datasets import Facts
from harness.data import Split, load
from harness.errors import UsageError
from harness.looks import short
from harness.results import Results
from harness.trained_on import dataset_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Pictures:
    """The original images (N, H, W) that a split's indices point into, with their labels and names."""

    dataset: str
    facts: Facts
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: Sequence[str]

    def class_name(self, label: int, longest: int = 20) -> str:
        """A class's name, cut in the middle where it is longer."""
        return short(self.facts.classes[label], longest)


@dataclass(frozen=True)
class Seen:
    """What one trained model says of one split: its pictures, and the rows of `predictions.table`."""

    trial_id: str
    arm: str
    split: Split
    pictures: Pictures
    table: pd.DataFrame

    @property
    def title(self) -> str:
        """Which data, which split, by which model."""
        return f"{self.pictures.dataset}, {self.split}, by {self.trial_id} ({self.arm})"


def originals(found: Results, dataset: str, split: Split) -> Pictures:
    """The images of a data set that the indices of a split point into, as the folder's trials saw them.

    Raises:
        UsageError: the data set is not known, or is another one than the trials were trained on.
        MachineError: it cannot be had.
    """
    source = dataset_of(found, dataset)
    facts = source.facts
    path = found.folder / "plan.json"
    trained_on = documents.plan(found.folder)["data"] if path.is_file() else {}
    if trained_on.get(dataset, facts.digest) != facts.digest:
        raise UsageError(
            f"{dataset} is not the data that {found.folder} was trained on: digest "
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


def see(found: Results, trial: pd.Series[Any], split: Split = "test") -> Seen:
    """What a finished trial says of a split.

    Args:
        found: a results folder, read.
        trial: the trial's row of trials.csv, as from `selection.choose`.
        split: a split that the study's `keep_predictions` names.

    Raises:
        UsageError: the predictions were not kept, are missing or damaged, or the data are other ones.
        MachineError: the data set cannot be had.
    """
    table = predictions.table(found, trial, split)
    arm = f"{trial['arm']}, seed {trial['seed']}"
    of = originals(found, str(trial["dataset"]), split)
    _check_labels(found, of, table)
    return Seen(str(trial["trial_id"]), arm, split, of, table)


def _check_labels(found: Results, of: Pictures, table: pd.DataFrame) -> None:
    """Raise a UsageError where the images are not those that the predictions (index, label) were made of."""
    index = table["index"].to_numpy()
    if index.max(initial=-1) >= len(of.labels) or (of.labels[index] != table["label"]).any():
        raise UsageError(
            f"the labels of {of.dataset} are not those that {found.folder} predicted: it was trained on "
            "other images of this name. Bring these back, or train again into a new folder."
        )


def chosen(seen: Seen, samples: Sequence[str]) -> pd.DataFrame:
    """The rows of the samples of these names, or indices in the original data set, in their order.

    Raises:
        UsageError: one of them is not in the split.
    """
    place = {int(index): i for i, index in enumerate(seen.table["index"])}
    named = {seen.pictures.names[index]: i for index, i in place.items()}
    told = [named.get(s, place.get(int(s), -1) if s.isascii() and s.isdigit() else -1) for s in samples]
    for sample, i in zip(samples, told, strict=True):
        if i < 0:
            index = seen.table["index"]
            raise UsageError(
                f"--sample {sample!r}: not in {seen.split}, which has {len(index):,} of the "
                f"{len(seen.pictures.labels):,} images there, with indices from {index.min()} to "
                f"{index.max()}; choose one of these, or its file name, or another --split"
            )
    return seen.table.iloc[told]


def hardest(found: Results, dataset: str, split: Split = "test") -> pd.DataFrame:
    """`predictions.hardest` over all finished trials on a data set, with the images' and classes' names.

    Raises:
        UsageError: nothing has finished, the split was not kept, or the data are other ones.
        MachineError: the data set cannot be had.
    """
    of = originals(found, dataset, split)

    def checked() -> Iterator[predictions.Predictions]:
        for said in predictions.stacks(found, dataset, split):
            # Before they are summed up image by image: a wrong index would take memory for as many images.
            _check_labels(found, of, pd.DataFrame({"index": said.index, "label": said.label}))
            yield said

    table = predictions.hardest(checked())
    table.insert(1, "name", [of.names[i] for i in table["index"]])
    for column in ("label", "prediction"):
        at = list(table.columns).index(column)
        table.insert(at + 1, f"{column}_name", [of.facts.classes[c] for c in table[column]])
    return table
