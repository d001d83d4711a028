"""Predictions: what trained models said of each sample of a split, as a results folder keeps it.

`read` gives one stack's arrays, `table` one trial's rows, `hardest` what all trials make of each image. Only
NumPy and pandas; images come in `gallery`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness import checksums, files, part_files
from harness.data import SPLITS, Split
from harness.errors import UsageError
from harness.results import Results


@dataclass(frozen=True)
class Predictions:
    """What K models that trained together said of the n samples of one split.

    `label` (n,) are the samples' classes, `index` (n,) their places in the original data set (its train
    images for train and val); `predicted` (K, n) are classes, `confidence` (K, n) the probability given to
    them, which is kept to three digits.
    """

    trial_ids: tuple[str, ...]
    label: NDArray[np.int64]
    index: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which predictions are wrong, (K, n)."""
        return np.not_equal(self.predicted, self.label)


# -------------------------------------------------------------------------------------------------- reading


def read(path: Path, split: Split) -> Predictions:
    """One stack's predictions on a split.

    Raises:
        UsageError: the file is missing or damaged, or did not keep the split.
    """
    if not path.is_file():
        raise UsageError(
            f"{path} is missing: nothing was kept of these trials' predictions, or the folder was copied "
            f'without them. Set keep_predictions = ["{split}"] under [study] and train into a new folder.'
        )
    written = part_files.digest_of(path.parent.parent, f"predictions/{path.name}", path.stem)
    try:
        content = files.content_of(path)
        if written and checksums.digest(content) != written:
            raise ValueError("it changed after the run that wrote it")
        arrays = files.arrays(content)
        kept = [known for known in SPLITS if f"{known}_label" in arrays]
        if split in kept:
            return _checked(arrays, split)
    except files.DAMAGE as error:
        remove = "" if written else f"Remove it and its part, parts/{path.stem}.zip; then "
        raise UsageError(
            f"{path} is damaged: {error}. {remove}`harness run` of its study trains this stack again."
        ) from error
    wanted = ", ".join(f'"{known}"' for known in SPLITS if known in kept or known == split)
    empty = " Without a val split (val_fraction = 0) there are none of val." if split == "val" else ""
    raise UsageError(
        f"{path} has no predictions of {split}; kept were those of {', '.join(kept) or 'no split'}. Set "
        f"keep_predictions = [{wanted}] under [study] and train into a new folder (--results): what is "
        f"finished is not trained again.{empty}"
    )


def _checked(file: Mapping[str, NDArray[Any]], split: Split) -> Predictions:
    for name in (f"{split}_{what}" for what in ("label", "index", "predicted")):
        if file[name].dtype.kind not in "iu" or (file[name].size and file[name].min() < 0):
            raise ValueError(f"{name} is {file[name].dtype}; expected are whole numbers from 0 on")
    if file[f"{split}_confidence"].dtype.kind != "f":
        raise ValueError(f"{split}_confidence is {file[f'{split}_confidence'].dtype}; expected are floats")
    said = Predictions(
        tuple(str(trial_id) for trial_id in file["trial_id"]),
        file[f"{split}_label"].astype(np.int64),
        file[f"{split}_index"].astype(np.int64),
        file[f"{split}_predicted"].astype(np.int64),
        file[f"{split}_confidence"].astype(np.float32),
    )
    if file["trial_id"].ndim != 1 or said.label.ndim != 1:
        raise ValueError(f"trial_id or {split}_label is no list")
    if len(np.unique(said.index)) < len(said.index):
        raise ValueError(f"{split}_index has an image twice")
    shape = (len(said.trial_ids), len(said.label))
    for name in ("predicted", "confidence"):
        if getattr(said, name).shape != shape:
            raise ValueError(f"{split}_{name} has shape {getattr(said, name).shape}; expected is {shape}")
    if said.index.shape != said.label.shape:
        raise ValueError(f"{split}_index has shape {said.index.shape}; expected is {said.label.shape}")
    return said


def file_of(found: Results, group: str) -> Path:
    """Where a stack's predictions are."""
    return found.folder / "predictions" / f"{group}.npz"


def table(found: Results, trial: pd.Series, split: Split) -> pd.DataFrame:
    """What one trial said of a split: index, label, predicted, confidence, wrong; a row a sample.

    Args:
        found: a results folder, read.
        trial: a finished trial's row of trials.csv.
        split: the split; which ones are kept is the study's `keep_predictions`.

    Raises:
        UsageError: the predictions were not kept, are missing or damaged; or the trial has none.
    """
    path = file_of(found, str(trial["group"]))
    said = read(path, split)
    if trial["trial_id"] not in said.trial_ids:
        raise UsageError(
            f"{path} has no predictions of trial {trial['trial_id']} (status {trial['status']}); "
            f"it has those of {', '.join(said.trial_ids)}"
        )
    k = said.trial_ids.index(trial["trial_id"])
    return pd.DataFrame(
        {
            "index": said.index,
            "label": said.label,
            "predicted": said.predicted[k],
            "confidence": said.confidence[k],
            "wrong": said.wrong[k],
        }
    )


def stacks(found: Results, dataset: str, split: Split) -> Iterator[Predictions]:
    """The predictions of all finished trials on one data set, stack by stack.

    Raises:
        UsageError: no trial has finished, or as `read`.
    """
    done = found.trials[found.trials["dataset"].eq(dataset) & found.trials["status"].eq("ok")]
    if done.empty:
        raise UsageError(f"{found.folder} has no finished trial on {dataset}, so there are no predictions")
    for group, trials in done.groupby("group", sort=False):
        said = read(file_of(found, str(group)), split)
        finished = set(trials["trial_id"])
        at = [k for k, trial_id in enumerate(said.trial_ids) if trial_id in finished]
        yield Predictions(
            tuple(said.trial_ids[k] for k in at), said.label, said.index, said.predicted[at],
            said.confidence[at],
        )  # fmt: skip


# -------------------------------------------------------------------------------------------------- choosing


def mistakes(table: pd.DataFrame, label: int, most: int = 10) -> pd.DataFrame:
    """The misclassified samples of one true class, the surest mistake first; at most so many of them."""
    wrong = table[table["wrong"] & table["label"].eq(label)]
    return wrong.sort_values("confidence", ascending=False, kind="stable").head(most)


def telling(table: pd.DataFrame, each: int = 2) -> pd.DataFrame:
    """Samples that show what a model is like: right and sure, right and unsure, wrong and sure; some each.

    Of the sure ones, each is of another class as long as there are classes.
    """
    ordered = table.sort_values("confidence", ascending=False, kind="stable")
    right, wrong = ordered[~ordered["wrong"]], ordered[ordered["wrong"]]
    unsure = right.iloc[::-1].head(each)
    sure = right.drop(unsure.index)
    sure = sure.loc[sure.groupby("label", sort=False).cumcount().sort_values(kind="stable").index]
    return pd.concat([sure.head(each), unsure, wrong.head(each)])


def hardest(said: Iterable[Predictions]) -> pd.DataFrame:
    """What all trials together make of each image of a split, the hardest first.

    A row an image: index, label, trials (that had it in the split), wrong_share (of them), prediction (the
    most common one; of equally common ones the lowest class), mean_confidence (the mean probability that the
    trials gave to their own prediction), and wrong_probability: the mean over trials of the probability that
    they gave to wrong classes, as far as it is kept, which is all of it where the prediction is right
    (1 - confidence), and that of the prediction where it is wrong. A confidence that is not a number counts
    in neither mean.

    Ordered by wrong_share, then by wrong_probability: first what most models get wrong and are surest about,
    last what all get right and are surest about.
    """
    total = _Tally()
    for stack in said:
        total.add(stack)
    return total.table()


class _Tally:
    """Sums over trials, by the image's index in the original data set: memory does not grow with trials."""

    def __init__(self) -> None:
        self.label = np.empty(0, np.int64)
        self.votes = np.zeros((0, 0), np.int64)  # (images, classes)
        self.sums = np.zeros((4, 0))  # wrong, confidences that are numbers, their sum, wrong probabilities

    def add(self, said: Predictions) -> None:
        images = 1 + int(said.index.max(initial=-1))
        classes = 1 + int(max(said.predicted.max(initial=-1), said.label.max(initial=-1)))
        self._grow(images, classes)
        self.label[said.index] = said.label
        for predicted in said.predicted:
            self.votes[said.index, predicted] += 1
        known = np.isfinite(said.confidence)
        confidence = np.where(known, said.confidence, 0).astype(np.float64)
        doubt = np.where(said.wrong, confidence, known - confidence)
        for i, values in enumerate((said.wrong, known, confidence, doubt)):
            self.sums[i, said.index] += values.sum(0)

    def _grow(self, images: int, classes: int) -> None:
        more = max(images - len(self.label), 0)
        wider = max(classes - self.votes.shape[1], 0)
        self.label = np.pad(self.label, (0, more), constant_values=-1)
        self.votes = np.pad(self.votes, ((0, more), (0, wider)))
        self.sums = np.pad(self.sums, ((0, 0), (0, more)))

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
