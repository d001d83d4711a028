"""What a plan says of a study whose seeds each have a split of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import harness
from harness.planning.plan import make
from harness.study.study import Study


def told(warnings: list[str]) -> list[str]:
    return [words for words in warnings if "resample_split" in words]


def planned(metric: str = "test_accuracy", **more: Any) -> list[str]:
    """What the plan of a study of ten seeds says of their splits."""
    study = harness.parse({
        "study": {"name": "small", "seeds": 10, "resample_split": True},
        "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8], **more},
        "axes": {"lr": [0.1, 0.2]},
        "contrasts": {"metric": metric},
    })  # fmt: skip
    return told(list(make(study).warnings))


def test_verdicts_on_test_are_said_to_be_of_these_images() -> None:
    (words,) = planned()
    assert "the same test images" in words
    assert "contrasts.metric = 'val_accuracy'" in words


def test_verdicts_by_val_are_said_to_count_seeds_for_less() -> None:
    (words,) = planned("val_accuracy")
    assert "10 seeds tell as much as 4.7 that share none" in words
    (words,) = planned("val_accuracy", val_fraction=0.5)
    assert "10 seeds tell as much as 0.9 that share none" in words


@pytest.mark.parametrize("split", [{"val_fraction": 0}, {"val_split": "last"}])
def test_a_split_that_is_not_drawn_is_said_to_be_one(split: dict[str, Any]) -> None:
    (words,) = planned(**split)
    assert "changes nothing" in words


def test_one_split_for_all_is_no_matter(study_of: Callable[..., Study]) -> None:
    assert not told(list(make(study_of()).warnings))
