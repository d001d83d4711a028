"""Predictions of trained models on each sample of a split, as a results folder keeps them.

`read` returns one stack's arrays, `table` one trial's rows, `hardest` a ranking of images over all trials.
Images are in `gallery`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.data.samples import SPLITS, Split
from harness.errors import UsageError
from harness.results import Results, checksums, part_files
from harness.system import files

WHOLE = ("label", "index", "predicted")
"""Arrays of a split that hold whole numbers."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of K models that trained together on the n samples of one split.

    `label` (n,) are the samples' classes, `index` (n,) their places in the original data set (its train
    images for train and val); `predicted` (K, n) are classes, `confidence` (K, n) their probabilities, kept
    to three digits.
    """

    trial_ids: tuple[str, ...]
    label: NDArray[np.int64]
    index: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Mark the wrong predictions, (K, n)."""
        return np.not_equal(self.predicted, self.label)


def read(path: Path, split: Split) -> Predictions:
    """Read one stack's predictions on a split.

    Raises:
        UsageError: the file is missing or damaged, or did not keep the split.
    """
    if not path.is_file():
        raise UsageError(
            f"{path} is missing: the predictions of these trials were not kept, or the folder was copied "
            f'without them. Set keep_predictions = ["{split}"] under [study] and train into a new folder.'
        )
    digest = part_files.digest_of(path.parent.parent, f"predictions/{path.name}", path.stem)
    try:
        content = files.content_of(path)
        if digest and checksums.digest(content) != digest:
            raise ValueError("it changed after the run that wrote it")
        arrays = files.arrays(content)
        kept = [known for known in SPLITS if f"{known}_label" in arrays]
        if split in kept:
            return _checked(arrays, split)
    except files.DAMAGE as error:
        remove = "" if digest else f"Remove it and its part, parts/{path.stem}.zip; then "
        raise UsageError(
            f"{path} is damaged: {error}. {remove}`harness run` of its study trains this stack again."
        ) from error
    wanted = ", ".join(f'"{known}"' for known in SPLITS if known in kept or known == split)
    empty = (
        " Without a val split (val_fraction = 0) there are no predictions of val." if split == "val" else ""
    )
    raise UsageError(
        f"{path} has no predictions of {split}; kept were those of {', '.join(kept) or 'no split'}. Set "
        f"keep_predictions = [{wanted}] under [study] and train into a new folder (--results): what is "
        f"finished is not trained again.{empty}"
    )


def _checked(file: Mapping[str, NDArray[Any]], split: Split) -> Predictions:
    for name in (f"{split}_{what}" for what in WHOLE):
        if file[name].dtype.kind not in "iu" or (file[name].size and file[name].min() < 0):
            raise ValueError(f"{name} is {file[name].dtype}; expected: whole numbers from 0 on")
    if file[f"{split}_confidence"].dtype.kind != "f":
        raise ValueError(f"{split}_confidence is {file[f'{split}_confidence'].dtype}; expected: floats")
    label, index, predicted = (file[f"{split}_{what}"].astype(np.int64) for what in WHOLE)
    confidence = file[f"{split}_confidence"].astype(np.float32)
    predictions = Predictions(tuple(map(str, file["trial_id"])), label, index, predicted, confidence)
    if file["trial_id"].ndim != 1 or label.ndim != 1:
        raise ValueError(f"trial_id or {split}_label is not one-dimensional")
    if len(np.unique(index)) < len(index):
        raise ValueError(f"{split}_index has an image twice")
    shape = (len(predictions.trial_ids), len(label))
    for name, expected in (("predicted", shape), ("confidence", shape), ("index", label.shape)):
        if (got := getattr(predictions, name).shape) != expected:
            raise ValueError(f"{split}_{name} has shape {got}; expected: {expected}")
    return predictions


def file_of(results: Results, group: str) -> Path:
    """Return the path of a stack's predictions."""
    return results.folder / "predictions" / f"{group}.npz"


def table(results: Results, trial: pd.Series, split: Split) -> pd.DataFrame:
    """Tabulate a finished trial's predictions on a split: index, label, predicted, confidence, wrong.

    Raises:
        UsageError: the predictions were not kept, are missing or damaged, or lack the trial.
    """
    path = file_of(results, str(trial["group"]))
    predictions = read(path, split)
    if trial["trial_id"] not in predictions.trial_ids:
        raise UsageError(
            f"{path} has no predictions of trial {trial['trial_id']} (status {trial['status']}); "
            f"it has those of {', '.join(predictions.trial_ids)}"
        )
    k = predictions.trial_ids.index(trial["trial_id"])
    columns = {"index": predictions.index, "label": predictions.label}
    array = {name: getattr(predictions, name)[k] for name in ("predicted", "confidence", "wrong")}
    return pd.DataFrame(columns | array)


def stacks(results: Results, dataset: str, split: Split) -> Iterator[Predictions]:
    """Read the predictions of all finished trials on one data set, stack by stack.

    Raises:
        UsageError: no trial has finished, or see `read`.
    """
    done = results.trials[results.trials["dataset"].eq(dataset) & results.trials["status"].eq("ok")]
    if done.empty:
        raise UsageError(f"{results.folder} has no finished trial on {dataset}, so there are no predictions")
    for group, trials in done.groupby("group", sort=False):
        predictions = read(file_of(results, str(group)), split)
        finished = set(trials["trial_id"])
        at = [k for k, trial_id in enumerate(predictions.trial_ids) if trial_id in finished]
        yield replace(
            predictions,
            trial_ids=tuple(predictions.trial_ids[k] for k in at),
            predicted=predictions.predicted[at],
            confidence=predictions.confidence[at],
        )


def mistakes(table: pd.DataFrame, label: int, most: int | None = 10) -> pd.DataFrame:
    """Select the misclassified samples of one true class, the surest mistake first; `most` or all."""
    wrong = table[table["wrong"] & table["label"].eq(label)]
    return wrong.sort_values("confidence", ascending=False, kind="stable").iloc[:most]


def telling(table: pd.DataFrame, per_kind: int = 2) -> pd.DataFrame:
    """Select samples that characterise a model: `per_kind` right and sure, right and unsure, wrong and sure.

    The sure ones are of different classes, as long as there are classes.
    """
    ordered = table.sort_values("confidence", ascending=False, kind="stable")
    right, wrong = ordered[~ordered["wrong"]], ordered[ordered["wrong"]]
    unsure = right.iloc[::-1].head(per_kind)
    sure = right.drop(unsure.index)
    sure = sure.loc[sure.groupby("label", sort=False).cumcount().sort_values(kind="stable").index]
    return pd.concat([sure.head(per_kind), unsure, wrong.head(per_kind)])


def hardest(predictions: Iterable[Predictions]) -> pd.DataFrame:
    """Rank the images of a split by how many trials get them wrong, the hardest first.

    A row an image: index, label, trials (that had it in the split), wrong_share (of them), prediction (the
    most common one; of equally common ones the lowest class), mean_confidence (the mean probability of the
    trials' own predictions), and wrong_probability: the mean over trials of the probability of wrong classes.
    Of that, a right prediction keeps all of it (1 - confidence), a wrong one only its own. A confidence that
    is not a number counts in neither mean.

    Ordered by wrong_share, then by wrong_probability: first the images that most models get wrong and are
    surest about, last those that all get right and are surest about.
    """
    total = _Tally()
    for stack in predictions:
        total.add(stack)
    return total.table()


class _Tally:
    """Sums over trials by the image's index in the original data set, so memory does not grow with trials."""

    def __init__(self) -> None:
        self.label = np.empty(0, np.int64)
        self.votes = np.zeros((0, 0), np.int64)  # (images, classes)
        self.sums = np.zeros((4, 0))  # wrong, confidences that are numbers, their sum, wrong probabilities

    def add(self, predictions: Predictions) -> None:
        highest = int(max(predictions.predicted.max(initial=-1), predictions.label.max(initial=-1)))
        more = max(1 + int(predictions.index.max(initial=-1)) - len(self.label), 0)
        self.label = np.pad(self.label, (0, more), constant_values=-1)
        self.votes = np.pad(self.votes, ((0, more), (0, max(1 + highest - self.votes.shape[1], 0))))
        self.sums = np.pad(self.sums, ((0, 0), (0, more)))
        self.label[predictions.index] = predictions.label
        for predicted in predictions.predicted:
            self.votes[predictions.index, predicted] += 1
        known = np.isfinite(predictions.confidence)
        confidence = np.where(known, predictions.confidence, 0).astype(np.float64)
        doubt = np.where(predictions.wrong, confidence, known - confidence)
        for i, values in enumerate((predictions.wrong, known, confidence, doubt)):
            self.sums[i, predictions.index] += values.sum(0)

    def table(self) -> pd.DataFrame:
        at = np.flatnonzero(self.label >= 0)
        votes, (wrong, known, confidence, doubt) = self.votes[at], self.sums[:, at]
        trials, counted = votes.sum(1), np.where(known > 0, known, np.nan)
        rows = pd.DataFrame(
            {
                "index": at,
                "label": self.label[at],
                "trials": trials,
                "wrong_share": wrong / trials,
                "prediction": votes.argmax(1) if len(at) else at,
                "mean_confidence": confidence / counted,
                "wrong_probability": doubt / counted,
            }
        )
        order = ["wrong_share", "wrong_probability"]
        return rows.sort_values(order, ascending=False, kind="stable", ignore_index=True)
