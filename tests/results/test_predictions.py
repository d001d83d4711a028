"""Predictions read back are what was written, and what is made of them is what a short line of NumPy says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import results
from harness.data.arm_settings import Settings
from harness.data.samples import divide
from harness.errors import UsageError
from harness.results import Results, predictions, selection
from harness.results.predictions import Predictions

NAN = float("nan")


def make_predictions(
    label: list[int], predicted: list[list[int]], confidence: Any, index: Any = None
) -> Predictions:
    ids = tuple(f"t{k}" for k in range(len(predicted)))
    at = np.arange(len(label)) if index is None else np.array(index)
    return Predictions(
        ids, np.array(label), at, np.array(predicted), np.array(confidence, dtype=np.float32)
    )  # fmt: skip


@pytest.fixture
def kept_trials(kept_results: Path) -> Results:
    return results.read(kept_results)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_trials_table_bears_out_its_accuracy(kept_trials: Results, split: Any) -> None:
    for _, trial in kept_trials.trials[kept_trials.trials["status"].eq("ok")].iterrows():
        table = predictions.table(kept_trials, trial, split)
        assert 1 - table["wrong"].mean() == pytest.approx(trial[f"{split}_accuracy"], abs=1e-6)
        assert table["confidence"].between(0, 1).all()
        own = divide(
            Settings({"dataset": "digits", "val_fraction": 0.1, "val_split": "stratified", "split_seed": 0})
        )
        np.testing.assert_array_equal(table["index"], own[split])


def test_a_split_without_predictions_is_reported_with_the_setting(kept_trials: Results) -> None:
    best = selection.best(kept_trials).iloc[0]
    with pytest.raises(UsageError) as caught:
        predictions.table(kept_trials, best, "train")
    assert "no predictions of train; kept were those of val, test" in str(caught.value)
    assert 'keep_predictions = ["train", "val", "test"]' in str(caught.value)


def test_missing_and_damaged_files_are_named(kept_results: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(kept_results, tmp_path / "kept")
    kept_trials = results.read(folder)
    best = selection.best(kept_trials).iloc[0]
    path = predictions.file_of(kept_trials, best["group"])
    whole = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    for content in (whole[: len(whole) // 2], b"", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=f"{path.name} is damaged") as caught:
            predictions.table(kept_trials, best, "test")
        assert "`harness run` of its study trains this stack again" in str(caught.value)
    for name in (folder / "checksums.json", folder / "parts" / f"{path.stem}.zip"):
        name.unlink()  # as a folder of before there were checksums, of which the form alone can be checked
    np.savez(path, **{**arrays, "test_predicted": arrays["test_predicted"][:, 1:]})
    with pytest.raises(UsageError, match="test_predicted has shape"):
        predictions.table(kept_trials, best, "test")
    path.unlink()
    with pytest.raises(UsageError, match=f"{path.name} is missing"):
        predictions.table(kept_trials, best, "test")


def test_a_trial_without_predictions_is_named(kept_trials: Results) -> None:
    diverged = kept_trials.trials[kept_trials.trials["status"].eq("diverged")].iloc[0]
    with pytest.raises(UsageError, match=f"no predictions of trial {diverged['trial_id']}"):
        predictions.table(kept_trials, diverged, "test")


def test_mistakes_are_of_one_class_surest_first() -> None:
    table = pd.DataFrame(
        {
            "label": [0, 0, 0, 0, 1],
            "confidence": [0.5, 0.9, 0.99, 0.7, 0.8],
            "wrong": [True, True, False, True, True],
        }
    )
    assert list(predictions.mistakes(table, 0).index) == [1, 3, 0]
    assert list(predictions.mistakes(table, 0, 2).index) == [1, 3]
    assert predictions.mistakes(table, 2).empty


def test_typical_samples_are_sure_unsure_and_wrong_ones() -> None:
    table = pd.DataFrame(
        {
            "label": [3, 3, 1, 2, 2, 1, 0],
            "confidence": [0.99, 0.98, 0.97, 0.4, 0.3, 0.95, 0.6],
            "wrong": [False, False, False, False, False, True, True],
        }
    )
    assert list(predictions.telling(table, 2).index) == [0, 2, 4, 3, 5, 6]
    right = table[~table["wrong"]]
    assert not predictions.telling(right, 2)["wrong"].any()
    few = predictions.telling(right.head(2), 2)
    assert sorted(few.index) == [0, 1]


def test_hardest_orders_by_share_then_by_the_probability_of_wrong_classes() -> None:
    stack = make_predictions(
        [0, 0, 1, 1, 2],
        [[1, 0, 1, 0, 2], [1, 0, 1, 1, 2]],
        [[0.9, 0.6, 0.8, 0.7, 1.0], [0.8, 0.6, 1.0, 0.9, 1.0]],
    )
    table = predictions.hardest([stack])
    assert list(table["index"]) == [0, 3, 1, 2, 4]
    assert list(table["wrong_share"]) == [1, 0.5, 0, 0, 0]
    assert list(table["prediction"]) == [1, 0, 0, 1, 2]
    assert table["wrong_probability"].to_numpy() == pytest.approx([0.85, 0.4, 0.4, 0.1, 0.0])
    assert table["mean_confidence"].to_numpy() == pytest.approx([0.85, 0.8, 0.6, 0.9, 1.0])
    assert (table["trials"] == 2).all()


def test_hardest_counts_each_image_over_the_trials_that_had_it() -> None:
    # As with resample_split: each seed has other val images.
    table = predictions.hardest(
        [
            make_predictions([4, 5], [[4, 4]], [[0.5, 0.6]], [10, 20]),
            make_predictions([5, 6], [[4, 6]], [[NAN, 1]], [20, 35]),
        ]
    ).set_index("index")
    assert list(table["trials"]) == [2, 1, 1]
    assert list(table.loc[[10, 20, 35], "wrong_share"]) == [0, 1, 0]
    assert table.loc[20, "mean_confidence"] == pytest.approx(0.6)  # what is no number counts in no mean
    assert list(table["label"]) == [5, 4, 6]


def test_hardest_of_real_trials_agrees_with_their_tables(kept_trials: Results) -> None:
    done = kept_trials.trials[kept_trials.trials["status"].eq("ok")]
    tables = [predictions.table(kept_trials, trial, "val") for _, trial in done.iterrows()]
    table = predictions.hardest(predictions.stacks(kept_trials, "digits", "val"))
    assert (table["trials"] == len(done)).all()
    wrong = np.mean([one["wrong"] for one in tables], axis=0)
    place = {index: i for i, index in enumerate(tables[0]["index"])}
    assert table["wrong_share"].to_numpy() == pytest.approx(wrong[[place[i] for i in table["index"]]])
    assert table["wrong_share"].is_monotonic_decreasing
    for index in table["index"].head(20):
        votes = np.bincount([one["predicted"].iloc[place[index]] for one in tables])
        assert table.set_index("index").loc[index, "prediction"] == votes.argmax()


def test_stacks_without_a_finished_trial_say_so(kept_trials: Results) -> None:
    with pytest.raises(UsageError, match="no finished trial on mnist"):
        next(predictions.stacks(kept_trials, "mnist", "test"))
