"""Trainable parameters of a plan's networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

import harness
from harness.axes.architectures import architectures
from harness.errors import ComponentError
from harness.exporting.untrained import untrained
from harness.planning.parameters import in_words, of_settings
from harness.study.study import Study


@pytest.mark.parametrize("hidden", [[], [5], [32, 32]])
def test_the_count_is_that_of_the_network(hidden: list[int]) -> None:
    trial = untrained(
        {"dataset": "mnist", "hidden": hidden, "dropout": 0.1} if hidden else {"hidden": hidden}
    )
    assert of_settings(trial.arm.settings) == harness.count_parameters(harness.model(trial))


def test_a_plan_counts_each_arm_that_is_trained(study_of: Callable[..., Study]) -> None:
    output = [
        {"name": "fits", "head": "identity", "loss": "ce"},
        {"name": "none", "head": "softmax", "loss": "nll"},
    ]
    plan = harness.plan(study_of({"hidden": [[8], [16]], "output": output}))
    counts = plan.parameters
    assert len(plan.arms) == 4
    assert sorted(counts.values()) == [64 * 8 + 8 + 90, 64 * 16 + 16 + 170]
    assert all("fits" in name for name in counts)


def test_an_own_architecture_is_built_and_only_what_learns_is_counted() -> None:
    built: list[int] = []

    @architectures.register("half_frozen")
    def half_frozen(inputs: int, classes: int, activation: Any, *, width: int = 4) -> nn.Module:
        built.append(width)
        net = nn.Sequential(nn.Linear(inputs, width), activation(), nn.Linear(width, classes))
        net[0].requires_grad_(requires_grad=False)
        return net

    study = harness.parse({
        "study": {"name": "frozen"}, "baseline": {"dataset": "digits", "architecture": "half_frozen"},
        "axes": {"width": [4, 6], "lr": [0.1, 0.2, 0.3]},
    })  # fmt: skip
    plan = harness.plan(study)
    built.clear()
    assert sorted(set(plan.parameters.values())) == [50, 70]
    assert set(plan.flops.values()) == {2 * (64 * w + w * 10) for w in (4, 6)}
    assert built == []  # a plan has counted them, equal networks once


def test_an_architecture_that_builds_nothing_is_told() -> None:
    architectures.register("nothing")(lambda *_: None)
    settings = untrained({"dataset": "digits"}).arm.settings | {"architecture": "nothing"}
    with pytest.raises(ComponentError, match="gives NoneType"):
        of_settings(settings)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"lr": [0.1, 0.2]}, "610 trainable parameters"),
        (
            {"lr": [0.1, 0.2], "hidden": [[16], [8], [8, 8]]},
            "trainable parameters: 610 (hidden [8]), 682 (hidden [8, 8]), 1,210 (hidden [16])",
        ),
        (
            {"dataset": ["digits", "mnist"], "hidden": [[], [8]]},
            (
                "trainable parameters: 610 (dataset digits, hidden [8]), 650 (dataset digits, hidden []), "
                "6,370 (dataset mnist, hidden [8]), 7,850 (dataset mnist, hidden [])"
            ),
        ),
        ({"hidden": [[width] for width in range(1, 10)]}, "85 to 685 trainable parameters"),
    ],
)
def test_counts_in_words(study_of: Callable[..., Study], axes: dict[str, Any], words: str) -> None:
    plan = harness.plan(study_of(axes))
    assert in_words(plan.parameters, {name: arm.settings for name, arm in plan.arms.items()}) == words


def test_no_network_has_no_words() -> None:
    assert in_words({}, {}) == ""
