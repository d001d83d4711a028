"""Confusion counts: summed over trials, and the changes from one arm to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence


def confusion_matrix(
    confusion: pd.DataFrame, trial_ids: Sequence[Hashable], classes: int, split: str = "test"
) -> pd.DataFrame:
    """Sum the confusion counts of some trials.

    Args:
        confusion: trial_id, split, label, prediction, count, with zero cells left out.
        trial_ids: the trials to sum over, usually the seeds of one arm.
        classes: how many there are; a class that never occurs keeps its row and column.
        split: `test` or `val`.

    Returns:
        Square table of ints, true labels as rows, predictions as columns.
    """
    chosen = confusion[confusion["trial_id"].isin(list(trial_ids)) & confusion["split"].eq(split)]
    counts = np.zeros((classes, classes), dtype=np.int64)
    cells = (chosen["label"].to_numpy(dtype=int), chosen["prediction"].to_numpy(dtype=int))
    np.add.at(counts, cells, chosen["count"].to_numpy(dtype=np.int64))
    names = range(classes)
    return pd.DataFrame(counts, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted"))


def confusion_differences(
    confusion: pd.DataFrame, trials: pd.DataFrame, pair: tuple[str, str], classes: int, arm: str = "arm"
) -> pd.DataFrame:
    """Subtract a reference arm's test confusion counts from an arm's, within each seed.

    Args:
        confusion: as for `confusion_matrix`.
        trials: one data set's: trial_id, `arm`, seed, status.
        pair: the arm and its reference.
        classes: as for `confusion_matrix`.
        arm: the column of `trials` that names an arm.

    Returns:
        Signed counts (S * C, C), indexed by seed and true, predictions as columns; only seeds that both
        finished. Rows sum to 0. `.groupby(level="true").sum()` is the change over all seeds.
    """
    tested = confusion.loc[confusion["split"].eq("test"), "trial_id"].unique()
    done = trials[trials["status"].eq("ok") & trials["trial_id"].isin(tested)]
    first, second = (done[done[arm].eq(name)].set_index("seed")["trial_id"] for name in pair)
    seeds = first.index.intersection(second.index, sort=False)
    changes = [
        confusion_matrix(confusion, [first[seed]], classes)
        - confusion_matrix(confusion, [second[seed]], classes)
        for seed in seeds
    ]
    none = confusion_matrix(confusion, [], classes).iloc[:0]
    return pd.concat(changes or [none], keys=list(seeds) or [-1], names=["seed"])
