"""Confusion counts, summed and compared."""

from __future__ import annotations

import pandas as pd

from harness import stats


def test_confusion_matrix_sums_trials_and_keeps_empty_classes() -> None:
    cells = pd.DataFrame(
        [("a", "test", 0, 1, 2), ("b", "test", 0, 1, 3), ("b", "val", 0, 1, 50), ("c", "test", 1, 1, 9)],
        columns=["trial_id", "split", "label", "prediction", "count"],
    )
    counts = stats.confusion_matrix(cells, ["a", "b"], 3)
    assert counts.to_numpy().tolist() == [[0, 5, 0], [0, 0, 0], [0, 0, 0]]
    assert (counts.index.name, counts.columns.name) == ("true", "predicted")


def test_confusion_differences_pair_seeds_that_both_arms_finished() -> None:
    trials = pd.DataFrame(
        [("a0", "a", 0, "ok"), ("a1", "a", 1, "ok"), ("a2", "a", 2, "diverged"),
         ("b1", "b", 1, "ok"), ("b0", "b", 0, "ok"), ("b2", "b", 2, "ok")],
        columns=["trial_id", "arm", "seed", "status"],
    )  # fmt: skip
    cells = pd.DataFrame(
        [("a0", "test", 0, 0, 9), ("a0", "test", 0, 1, 1), ("b0", "test", 0, 0, 6), ("b0", "test", 0, 1, 4),
         ("a1", "test", 0, 0, 8), ("a1", "test", 0, 1, 2), ("b1", "test", 0, 0, 10),
         ("b2", "test", 0, 1, 10), ("a1", "val", 0, 1, 99)],
        columns=["trial_id", "split", "label", "prediction", "count"],
    )  # fmt: skip
    changes = stats.confusion_differences(cells, trials, ("a", "b"), 2)
    assert changes.loc[0].to_numpy().tolist() == [[3, -3], [0, 0]]
    assert changes.loc[1].to_numpy().tolist() == [[-2, 2], [0, 0]]
    assert list(changes.index.unique("seed")) == [0, 1], "seed 2 diverged in one arm"
    assert changes.groupby(level="true").sum().to_numpy().tolist() == [[1, -1], [0, 0]]


def test_confusion_differences_without_a_common_seed_are_empty() -> None:
    trials = pd.DataFrame({"trial_id": ["a", "b"], "arm": ["a", "b"], "seed": [0, 1], "status": "ok"})
    cells = pd.DataFrame({"trial_id": ["a", "b"], "split": "test", "label": 0, "prediction": 0, "count": 1})
    changes = stats.confusion_differences(cells, trials, ("a", "b"), 2)
    assert changes.shape == (0, 2)
    assert changes.groupby(level="true").sum().empty
