"""Images are chosen by what a person asks for, and what cannot be chosen is said in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.data.datasets import datasets
from harness.errors import UsageError
from harness.gallery import image_choice, views
from harness.gallery.image_choice import ImageChoice

NO_TEXT: Any = 5

DIGITS = datasets["digits"].load()


@pytest.mark.parametrize(
    ("number", "meant", "words"),
    [
        (15, [15], "image 15"),
        (np.int64(15), [15], "image 15"),
        ([25, 26], [25, 26], "images 25 to 26"),
        (range(25, 30), [25, 26, 27, 28, 29], "images 25 to 29"),
        (np.array([7, 3]), [7, 3], "images 7, 3"),
        ("25-29", [25, 26, 27, 28, 29], "images 25 to 29"),
        (" 3, 15 - 16,1000", [3, 15, 16, 1000], "images 3, 15, 16, 1,000"),
    ],
)
def test_images_are_chosen_by_number_in_the_order_asked_for(
    number: Any, meant: list[int], words: str
) -> None:
    for split, images, labels in (
        ("train", DIGITS.train_images, DIGITS.train_labels),
        ("test", DIGITS.test_images, DIGITS.test_labels),
    ):
        if max(meant) >= len(labels):
            continue
        chosen = ImageChoice(split, number=number).of(views.seen("digits"))
        assert chosen.table()["number"].tolist() == meant
        assert chosen.table()["label"].tolist() == labels[meant].tolist()
        np.testing.assert_array_equal(chosen.view.pixels[chosen.split][chosen.places], images[meant])
        assert chosen.words == f"digits, {split}: {words}"


def test_the_first_images_come_as_they_are_stored() -> None:
    view = views.seen("digits")
    assert ImageChoice("test", first=10).of(view).table()["number"].tolist() == list(range(10))
    sevens = ImageChoice("train", label="7", first=4).of(view)
    assert sevens.table()["number"].tolist() == np.flatnonzero(DIGITS.train_labels == 7)[:4].tolist()
    assert sevens.words == "class 7 in digits, train: the first 4 of 143 images"


def test_a_divided_split_keeps_the_numbers_of_the_files() -> None:
    val = ImageChoice("val", first=3).of(views.seen("digits", "val")).table()
    assert val["label"].tolist() == DIGITS.train_labels[val["number"]].tolist()
    (first,) = ImageChoice("val", number=int(val["number"][0])).of(views.seen("digits", "val")).places
    assert first == 0


def test_without_a_seed_other_images_come_each_time_and_the_seed_is_told() -> None:
    view = views.seen("digits")
    drawn = [ImageChoice("train", 3, count=10).of(view) for _ in range(5)]
    assert len({tuple(chosen.places) for chosen in drawn}) > 1
    for chosen in drawn:
        assert f"(seed {chosen.seed})" in chosen.words
        again = ImageChoice("train", 3, count=10, seed=chosen.seed).of(view)
        np.testing.assert_array_equal(again.places, chosen.places)
        assert chosen.table().attrs["seed"] == chosen.seed


def test_captions_say_what_is_asked_for() -> None:
    view = views.seen("fashion_mnist")
    wanted = {
        "name": "index 1", "label": "T-shirt/top", "Label: 5": "Label: T-shirt/top",
        "both": "index 1\nT-shirt/top", "none": "", "{number}: a {label}": "1: a T-shirt/top",
    }  # fmt: skip
    for captions, words in wanted.items():
        assert image_choice.captions(view, "train", [1], captions) == [words]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"number": 1437}, "image 1437: digits train has 1,437, numbers 0 to 1,436"),
        ({"number": -1}, "image -1: digits train has"),
        ({"split": "test", "number": "360"}, "image 360: digits test has 360, numbers 0 to 359"),
        (
            {"split": "val", "number": 0},
            "image 0: not in digits, val, which has 144 of 1,437 images",
        ),
        ({"split": "val", "number": 2000}, "image 2000: digits train has 1,437"),
        ({"number": "5-3"}, "the first image of a range comes first"),
        ({"number": "a"}, "allowed: 15, 25-29, or several"),
        ({"number": "1-99999"}, "allowed in one figure: 1 to 200 images"),
        ({"number": []}, "no images; allowed in one figure"),
        ({"number": range(10**9)}, "more than 200 images; allowed in one figure"),
        ({"number": 2.5}, "number = 2.5: allowed: 15,"),
        ({"number": 3, "label": 3}, "it goes with no label"),
        ({"number": 3, "seed": 0}, "it goes with no seed"),
        ({"first": 3, "count": 3}, "first takes no count and no seed"),
        ({"first": 0}, "first = 0: allowed: a whole number from 1 to 200"),
        ({"count": True}, "count = True: allowed"),
        ({"label": 10}, "label '10': digits has no such class"),
        ({"split": "test", "label": "seven"}, "label 'seven': digits has no such class"),
        ({"split": "al"}, "did you mean 'val'"),
        ({"split": 3}, "split = 3|split 3"),
        ({"seed": -1}, "seed = -1: allowed: a whole number from 0 on"),
        ({"seed": 1.5}, "seed = 1.5: allowed"),
    ],
)
def test_what_cannot_be_chosen_is_said_in_words(choice: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ImageChoice(**choice).of(views.seen("digits", choice.get("split")))


def test_an_unknown_caption_is_said_in_words() -> None:
    with pytest.raises(UsageError, match=r"captions = 'titel': .*allowed: Label: 5, both"):
        image_choice.captions(views.seen("digits"), "train", [0], "titel")
    with pytest.raises(UsageError, match=r"captions = '5': .*allowed: Label: 5, both"):
        image_choice.captions(views.seen("digits"), "train", [0], NO_TEXT)


@pytest.mark.parametrize("number", [torch.tensor(4), np.int64(4), torch.tensor([4]), np.array([4])])
def test_a_number_may_be_of_any_library(number: Any) -> None:
    assert image_choice.numbers(number) == [4]
