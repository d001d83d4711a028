"""A data set is seen as its files come, or as a study, a trial or a setting divides it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Subset

import harness
from harness.data.datasets import datasets
from harness.errors import UsageError
from harness.gallery import views
from harness.planning import plan
from harness.study.study import Study

DIGITS = datasets["digits"].load()


def test_a_name_alone_is_the_files_as_they_come() -> None:
    view = views.seen("digits")
    assert view.splits == ("train", "test")
    np.testing.assert_array_equal(view.pixels["train"], DIGITS.train_images)
    np.testing.assert_array_equal(view.labels["test"], DIGITS.test_labels)
    table = views.label_counts(view)
    assert table.groupby("split")["images"].sum().to_dict() == {"train": 1437, "test": 360}
    assert table.groupby("split")["share"].sum().tolist() == pytest.approx([1, 1])
    assert (
        table.loc[table["split"].eq("train"), "images"].tolist() == np.bincount(DIGITS.train_labels).tolist()
    )


def test_settings_a_study_a_trial_and_trained_trials_divide_alike(
    study_of: Callable[..., Study], kept_results: Path
) -> None:
    study = study_of(val_split="balanced", split_seed=3)
    divided = [
        views.seen("digits", val_split="balanced", split_seed=3),
        views.seen(study),
        views.seen(plan.make(study)),
        views.seen(plan.make(study).trials[0]),
        views.seen(harness.read(kept_results).trial(), split_seed=3, val_split="balanced"),
        views.seen(datasets["digits"], val_split="balanced", split_seed=3),
    ]
    for view in divided:
        assert view.splits == ("train", "val", "test")
        np.testing.assert_array_equal(view.numbers["val"], divided[0].numbers["val"])
    assert np.ptp(divided[0].counts("val")) == 1
    results = harness.read(kept_results)
    trained_on = views.seen(results.trial())
    np.testing.assert_array_equal(trained_on.numbers["val"], views.seen(results).numbers["val"])
    np.testing.assert_array_equal(trained_on.numbers["val"], views.seen("digits", "val").numbers["val"])


def test_a_study_of_several_data_sets_or_divisions_asks_which(study_of: Callable[..., Study]) -> None:
    several = study_of({"dataset": ["digits", "mnist"]})
    with pytest.raises(UsageError, match=r"divides its data in 2 ways \(digits, mnist\): say which one"):
        views.seen(several)
    assert views.seen(several, dataset="mnist").name == "mnist"
    ways = study_of({"val_split": ["stratified", "balanced"]})
    with pytest.raises(UsageError, match="digits-stratified, digits-balanced"):
        views.seen(ways)
    assert np.ptp(views.seen(ways, val_split="balanced").counts("val")) == 1


def test_own_images_are_seen_under_their_own_numbers_and_names() -> None:
    whole = harness.dataset("digits")
    part = whole[[3, 1500]]
    view = views.seen(part)
    assert view.numbers["train"].tolist() == [3, 1500]
    assert view.facts.pixel_max == 16
    np.testing.assert_array_equal(view.pixels["train"][1], DIGITS.test_images[1500 - 1437])
    mine = SimpleNamespace(images=np.full((3, 2, 2), 9.0), labels=[0, 1, 1], classes=["cat", "dog"])
    assert views.label_counts(views.seen(mine))["images"].tolist() == [1, 2]
    assert views.seen(mine).facts.pixel_max == 9
    assert views.seen(mine).title("train") == "own images"


@pytest.mark.parametrize(
    ("what", "settings", "said"),
    [
        ("digit", {}, "It is not a data set either: did you mean 'digits'"),
        ("digits", {"val_fractoin": 0.1}, "not a setting of the data; did you mean 'val_fraction'"),
        ("digits", {"val_fraction": 2}, "val_fraction = 2: allowed"),
        ("digits", {"val_split": ["stratified", "balanced"]}, "val_split = .*allowed: 'stratified'"),
        ("digits", {"split": "tets"}, "did you mean 'test'"),
        (3, {}, "int is no data set"),
        (SimpleNamespace(images=np.zeros((3, 4)), labels=[0, 0, 0]), {}, "allowed are images \\(N, height"),
        (SimpleNamespace(images=np.zeros((3, 4, 4)), labels=[0, 0]), {}, "allowed are images \\(N, height"),
        (SimpleNamespace(images=np.zeros((1, 4, 4)), labels=[3], classes="ab"), {}, "allowed is 0..1"),
        (SimpleNamespace(images=np.zeros((1, 4, 4)), labels=[0]), {"val_fraction": 0.1}, "not own images"),
    ],
)
def test_what_is_no_data_set_is_said_in_words(what: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        views.seen(what, **settings)


class Mine(TorchDataset[tuple[NDArray[np.uint8], int]]):
    """A student's own Dataset of all images, train first."""

    def __len__(self) -> int:
        return 1797

    def __getitem__(self, i: int) -> tuple[NDArray[np.uint8], int]:
        if i < 1437:
            return DIGITS.train_images[i], int(DIGITS.train_labels[i])
        return DIGITS.test_images[i - 1437], int(DIGITS.test_labels[i - 1437])


def test_a_dataset_of_ones_own_and_subsets_of_it_are_seen() -> None:
    whole, val = views.seen(Mine()), harness.split_dataset("digits", "val")
    np.testing.assert_array_equal(whole.pixels["train"][:1437], DIGITS.train_images)
    assert whole.facts.classes == tuple("0123456789")
    assert whole.facts.pixel_max == 16
    part = views.seen(Subset(Mine(), val.index.tolist()))
    assert part.numbers["train"].tolist() == val.index.tolist()
    expected = views.seen("digits", "val")
    np.testing.assert_array_equal(part.pixels["train"], expected.pixels["val"])
    np.testing.assert_array_equal(part.labels["train"], expected.labels["val"])
    as_seen = views.seen(val)  # flat, in floats, in 0..1
    np.testing.assert_allclose(as_seen.pixels["train"] * 16, expected.pixels["val"], rtol=1e-6)
    around_0 = views.seen(harness.split_dataset("digits", "val", preprocessing="signed"))
    np.testing.assert_allclose(around_0.pixels["train"] * 8, expected.pixels["val"], rtol=1e-6)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([1, 2], "the items of list are no pairs"),
        ([(np.zeros((2, 2)), 0.5)], "the items of list are no pairs"),
        ([(np.zeros((2, 2)), 1), (np.zeros((2, 3)), 1)], "all of one shape"),
        ([(np.zeros(3), 1)], r"images float64 of shape \(1, 3\)"),
        ([], "the items of list are no pairs"),
    ],
)
def test_items_that_are_no_images_are_said_in_words(items: list[Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        views.seen(items)
