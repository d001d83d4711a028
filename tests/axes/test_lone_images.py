"""A batch of one image, of which a batch norm has no variance, is told before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

import harness
from harness.errors import UsageError

MLP: dict[str, Any] = {"dataset": "digits", "hidden": [8], "norm": "batch", "epochs": 2}
CNN: dict[str, Any] = {
    "dataset": "digits",
    "architecture": "cnn",
    "channels": [4],
    "norm": "batch",
    "epochs": 2,
}


def planned(**settings: Any) -> None:
    harness.plan(harness.parse({"study": {"name": "lone", "seeds": 1}, "baseline": settings}))


@pytest.mark.parametrize(
    "settings",
    [
        {**MLP, "batch_size": 4},  # 1,293 = 323 * 4 + 1
        {**MLP, "batch_size": 1},
        {**MLP, "batch_size": 4, "epochs": None, "steps": 324},
        {**CNN, "batch_size": 4, "readout": "dense", "hidden": [6]},
        {**CNN, "batch_size": 4, "channels": [2, 3, 4], "pooling": "stride"},  # 8, 4, 2, 1 pixels a side
    ],
    ids=str,
)
def test_a_lone_image_is_told_with_what_is_allowed(settings: dict[str, Any]) -> None:
    size = settings["batch_size"]
    with pytest.raises(
        UsageError, match=f"norm 'batch': .* Another batch_size than {size}, for 1,293 training images"
    ):
        planned(**{name: value for name, value in settings.items() if value is not None})


@pytest.mark.parametrize(
    "settings",
    [
        {**MLP, "batch_size": 8},
        {**MLP, "batch_size": 4, "sampling": "replacement"},
        {**MLP, "batch_size": 4, "epochs": None, "steps": 323},
        {**MLP, "batch_size": 4, "norm": "layer"},
        {**MLP, "batch_size": 4, "hidden": []},
        {**CNN, "batch_size": 4},
        {**CNN, "batch_size": 4, "channels": [2, 3, 4]},  # the last norm is ahead of the last pooling
        {**CNN, "batch_size": 4, "architecture": "resnet", "channels": 2},
    ],
    ids=str,
)
def test_other_batches_and_norms_are_planned(settings: dict[str, Any]) -> None:
    planned(**{name: value for name, value in settings.items() if value is not None})
