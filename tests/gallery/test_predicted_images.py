"""The images that predictions are about: the right ones, chosen within the split, and never other ones."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import results
from harness.data.datasets import datasets
from harness.errors import UsageError
from harness.exporting import image_files
from harness.gallery import predicted_images
from harness.results import Results, documents, predictions, selection
from harness.study.reading import parse
from harness.training import runs

DIGITS = datasets["digits"].load()


@pytest.fixture
def kept_trials(kept_results: Path) -> Results:
    return results.read(kept_results)


def test_samples_are_chosen_by_index_or_name_within_the_split(kept_trials: Results) -> None:
    seen = predicted_images.see(kept_trials, selection.best(kept_trials).iloc[0], "val")
    inside = [str(index) for index in seen.table["index"][[3, 1]]]
    assert list(predicted_images.chosen(seen, inside)["index"]) == [int(index) for index in inside]
    named = replace(seen, pictures=replace(seen.pictures, names=[f"7_{i}.png" for i in range(1437)]))
    assert list(predicted_images.chosen(named, [f"7_{inside[0]}.png"])["index"]) == [int(inside[0])]
    outside = next(str(i) for i in range(1437) if i not in set(seen.table["index"]))
    for wrong in (outside, "1437", "-1", "cat"):
        with pytest.raises(UsageError, match=f"sample '{wrong}': not in val, which has 144 of the 1,437"):
            predicted_images.chosen(seen, [wrong])


def test_images_other_than_the_predicted_ones_are_refused(
    kept_trials: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = selection.best(kept_trials).iloc[0]
    monkeypatch.setattr(documents, "plan", lambda _: {"data": {"digits": "f" * 64}})
    with pytest.raises(UsageError, match="digest ffffffffffff there"):
        predicted_images.see(kept_trials, best)
    monkeypatch.setattr(documents, "plan", lambda _: {"data": {}})
    monkeypatch.setattr(
        predicted_images, "load", lambda _: replace(DIGITS, test_labels=DIGITS.test_labels[::-1])
    )
    with pytest.raises(UsageError, match="the labels of digits are not those"):
        predicted_images.see(kept_trials, best)


def test_a_persons_own_images_are_found_by_the_folders_study_and_come_with_their_names(
    tmp_path: Path,
) -> None:
    tables = tomllib.loads(image_files.export(datasets["digits"], "npy", tmp_path / "own"))
    baseline = {"dataset": "digits_npy", "hidden": [8], "epochs": 1}
    study = parse({"study": {"name": "own", "seeds": 1}, "baseline": baseline, **tables})
    runs.train(study, tmp_path / "results", workers=1)
    kept_trials = results.read(tmp_path / "results")
    table = predicted_images.hardest(kept_trials, "digits_npy")
    of = predicted_images.originals(kept_trials, "digits_npy", "test")
    for row in table.head(5).to_dict("records"):
        image = np.load(tmp_path / "own" / "test_imgs" / row["name"])
        np.testing.assert_array_equal(of.pixels[row["index"]], image)
    (tmp_path / "own").rename(tmp_path / "gone")
    with pytest.raises(UsageError, match="own"):
        predicted_images.originals(kept_trials, "digits_npy", "test")


def test_hardest_carries_the_names_of_images_and_classes(kept_trials: Results) -> None:
    table = predicted_images.hardest(kept_trials, "digits", "val")
    plain = predictions.hardest(predictions.stacks(kept_trials, "digits", "val"))
    assert list(table["name"]) == [f"index {i}" for i in plain["index"]]
    assert list(table["label_name"]) == [str(label) for label in plain["label"]]
    assert list(table["prediction_name"]) == [str(label) for label in plain["prediction"]]
