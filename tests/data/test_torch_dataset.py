"""A data set's raw images as a person indexes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset, random_split

import harness
from harness.data.datasets import datasets
from harness.data.samples import SPLITS, Split
from harness.errors import UsageError

RAW = datasets["digits"].load()


def test_all_images_come_in_one_numbering_raw() -> None:
    whole, test = harness.dataset("digits"), harness.dataset("digits", "test")
    assert (len(whole), len(harness.dataset("digits", "train")), len(test)) == (1797, 1437, 360)
    image, label = whole[1436]
    assert image.dtype == np.uint8
    assert image.shape == (8, 8)
    assert type(label) is int
    assert np.array_equal(image, RAW.train_images[1436])
    assert label == RAW.train_labels[1436]
    for same in (whole[1437], test[0], whole[-360]):
        assert np.array_equal(same[0], RAW.test_images[0])
        assert same[1] == RAW.test_labels[0]
    assert np.array_equal(whole.images, np.concatenate([RAW.train_images, RAW.test_images]))
    assert np.array_equal(whole.labels, np.concatenate([RAW.train_labels, RAW.test_labels]))
    assert test.index[0] == 1437
    assert whole.classes == tuple("0123456789")
    assert whole.names == ()


@pytest.mark.parametrize("split", SPLITS)
def test_a_subset_by_a_splits_index_is_the_split(split: Split) -> None:
    seen = harness.split_dataset("digits", split, val_fraction=0.2, split_seed=1)
    subset = Subset(harness.dataset("digits"), seen.index)  # type: ignore[arg-type]
    assert len(subset) == len(seen)
    for place in (0, len(seen) // 2, len(seen) - 1):
        image, label = subset[place]
        assert label == seen.y[place]
        assert np.array_equal(np.float32(image.ravel() / 16), seen.x[place].numpy())


def test_it_is_sliced_and_iterated_as_a_list() -> None:
    whole = harness.dataset("digits")
    some = whole[1435:1439]
    assert [label for _, label in some] == whole.labels[1435:1439].tolist()
    assert some.index.tolist() == [1435, 1436, 1437, 1438]
    assert np.array_equal(some.images, whole.images[1435:1439])
    assert np.array_equal(some[1:][0][0], whole.images[1436])
    assert len(whole[:0]) == 0
    assert whole[:0].images.shape == (0, 8, 8)
    assert [label for _, label in whole[::-600]] == whole.labels[::-600].tolist()


@pytest.mark.parametrize(
    "places", [[3, 1500, 3], np.array([3, 1500, 3]), torch.tensor([3, 1500, 3]), [3, -297, np.int64(3)]]
)
def test_it_takes_several_places_at_once(places: Any) -> None:
    some = harness.dataset("digits")[places]
    assert some.index.tolist() == [3, 1500, 3]
    assert np.array_equal(some.images[1], RAW.test_images[63])


def test_it_takes_truth_values() -> None:
    whole = harness.dataset("digits")
    sevens = whole[whole.labels == 7]
    assert set(sevens.labels.tolist()) == {7}
    assert len(sevens) == (whole.labels == 7).sum()
    assert len(whole[torch.from_numpy(whole.labels == 7)]) == len(sevens)


def test_a_data_loader_collates_it_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    x, y = next(iter(DataLoader(harness.dataset("digits"), batch_size=5)))
    assert (x.dtype, tuple(x.shape), y.dtype) == (torch.uint8, (5, 8, 8), torch.int64)
    assert y.tolist() == [0, 1, 2, 3, 4]
    first, _ = random_split(harness.dataset("digits"), [1000, 797])
    assert len(first) == 1000
    assert not [str(warning.message) for warning in recwarn if "writable" in str(warning.message)]


def test_writing_corrupts_no_data() -> None:
    whole = harness.dataset("digits")
    image, _ = whole[0]
    image[:] = 9  # a copy
    for array in (whole.images, harness.dataset("digits", "test").images, whole[3:5].images, whole.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert np.array_equal(harness.dataset("digits")[0][0], RAW.train_images[0])


def test_images_of_a_part_are_no_copy() -> None:
    train, again = (harness.dataset("digits", "train").images for _ in range(2))
    assert np.shares_memory(train, again)
    assert np.shares_memory(
        harness.dataset("digits", "test")[5:9].images, harness.dataset("digits", "test").images
    )


def test_it_names_files_of_a_folder(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("test", 2)):
        (tmp_path / part).mkdir()
        for i in range(count):
            Image.fromarray(np.full((3, 3), 40 * i, np.uint8)).save(tmp_path / part / f"{i % 2}_{i:03d}.png")
    table = {"format": "png", "path": str(tmp_path)}
    study = harness.parse(
        {
            "study": {"name": "own"},
            "baseline": {"dataset": "mine", "val_fraction": 0, "batch_size": 2},
            "datasets": {"mine": table},
        }
    )
    for given in (study.dataset("mine"), study, harness.plan(study).trials[0]):
        mine = harness.dataset(given)
        assert mine.names == ("0_000.png", "0_002.png", "1_001.png", "1_003.png", "0_000.png", "1_001.png")
        assert mine[4:].names == ("0_000.png", "1_001.png")
        assert mine[5][1] == 1


def test_it_reads_as_a_line() -> None:
    text = repr(harness.dataset("digits"))
    assert text.startswith("digits: 1,797 images (1,437 of train and 360 of test), 8 x 8 pixels in uint8")
    assert repr(harness.dataset("digits", "test")).startswith("digits: 360 images (360 of test)")


@pytest.mark.parametrize(
    ("place", "kind", "message"),
    [
        (1797, IndexError, r"digits\[1797\]: there are 1,797 images here; allowed: 0 to 1,796"),
        (-1798, IndexError, "1,797 images"),
        ([0, 1797], IndexError, r"digits\[1797\]"),
        (1.5, TypeError, "a whole number, a slice"),
        ("first", TypeError, "a whole number, a slice"),
        (None, TypeError, "a whole number, a slice"),
        ([1.5], TypeError, "float64"),
        ([[1]], TypeError, r"shape \(1, 1\)"),
        ([True, False], TypeError, r"shape \(2,\)"),
    ],
)
def test_other_places_are_refused(place: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        harness.dataset("digits")[place]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("digit",), "did you mean 'digits'"),
        (("digits", "val"), "harness.split_dataset"),
        (("digits", "tets"), "did you mean 'test'"),
        ((3,), "got int"),
    ],
)
def test_other_data_sets_are_refused(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        harness.dataset(*given)
