"""Costs of networks other than plain mlps: seconds, bytes and sizes by hand, and in plans."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest

import harness
from harness.check.network_stacking import how
from harness.errors import UsageError
from harness.planning import networks
from harness.planning.cost import disk_bytes, flops_per_second, stack_seconds, too_large
from harness.planning.parameters import size_of
from harness.planning.plan import make
from harness.planning.stack import Stack, parameters_of, stack_bytes
from harness.settings import limits
from harness.study.study import Study
from harness.study.trials import Arm, Trial, resolve

Make = Callable[..., Study]
BASE: dict[str, Any] = {"dataset": "digits", "epochs": 2, "batch_size": 40}
STEPS = 2 * 33  # 1,293 images in batches of 40
LOOKED_AT = 3 * 1437 + 360
RATE = 1e10


def stack_of(count: int = 1, engine: str = "stacked", **settings: Any) -> Stack:
    trials = [Trial(f"t{i}", Arm(f"arm {i}", resolve({**BASE, **settings})), i) for i in range(count)]
    return Stack.of(engine, trials)


def test_seconds_of_softmax_regression_by_hand() -> None:
    """64 pixels and 10 classes: 1,280 operations; one layer, which keeps its 64 inputs."""
    products = 1280 / RATE
    image = 3 * products + 64 * networks.VALUE_SECONDS
    look = products + 64 * networks.EVALUATED_VALUE_SECONDS
    arithmetic = STEPS * 40 * image + LOOKED_AT * look
    for engine, (step, layer) in {
        "stacked": networks.STEP_SECONDS, "loop": networks.LONE_STEP_SECONDS
    }.items():  # fmt: skip
        seconds = stack_seconds(stack_of(architecture="linear", engine=engine), RATE)
        assert seconds == pytest.approx(arithmetic + STEPS * (step + layer))
    eight = stack_seconds(stack_of(8, architecture="linear"), RATE)
    assert eight == pytest.approx(8 * arithmetic + STEPS * sum(networks.STEP_SECONDS))


def test_seconds_of_convolutions_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels reach the rate of a large product; what they leave costs each value that a step keeps."""
    monkeypatch.delenv("HARNESS_KERNELS", raising=False)
    monkeypatch.setenv("CC", sys.executable)  # any program: nothing is compiled here
    stack = stack_of(2, architecture="cnn", channels=[4])
    sizes, flops = how(stack.settings).sizes, size_of(stack.settings).flops
    assert flops == 2 * (64 * 9 * 4 + 4 * 10)  # 8 x 8 pixels, their mean, 10 classes
    products = networks.COMPILED_SHARE * flops / RATE * (3 * STEPS * 40 + LOOKED_AT)
    values = networks.IMAGE_VALUE_SECONDS * sizes.all * (STEPS * 40 + LOOKED_AT)
    first, of_layer = networks.IMAGE_STEP_SECONDS
    in_kernels = 2 * (products + values) + STEPS * (first + of_layer * sizes.tensors)
    assert stack_seconds(stack, RATE) == pytest.approx(in_kernels)
    for switch, value in (("CC", "no-such-compiler"), ("CC", "'"), ("HARNESS_KERNELS", "off")):
        monkeypatch.setenv(switch, value)
        assert stack_seconds(stack, RATE) > 1.5 * in_kernels
        monkeypatch.setenv("CC", sys.executable)
    monkeypatch.delenv("HARNESS_KERNELS")
    normed = {norm: stack_of(architecture="cnn", channels=[4], norm=norm) for norm in ("batch", "layer")}
    assert stack_seconds(normed["layer"], RATE) > 1.5 * stack_seconds(normed["batch"], RATE)


def test_the_numpy_engine_costs_products_alone_and_needs_no_pytorch() -> None:
    products = 1280 / RATE * (3 * STEPS * 40 + LOOKED_AT)
    stack = stack_of(architecture="linear", engine="numpy")
    assert stack_seconds(stack, RATE) == pytest.approx(networks.BY_HAND * products)
    assert stack_bytes(stack) == 16 * 650


@pytest.mark.parametrize(
    "more",
    [
        {"channels": [32, 64]}, {"channels": [16, 32, 32]}, {"norm": "batch"}, {"kernel": 5}, {"epochs": 3},
        {"readout": "dense", "hidden": [64]}, {"architecture": "resnet"},
    ],
)  # fmt: skip
def test_more_work_takes_longer(more: dict[str, Any]) -> None:
    plain = stack_seconds(stack_of(architecture="cnn"), RATE)
    assert stack_seconds(stack_of(**{"architecture": "cnn", **more}), RATE) > 1.05 * plain


def test_an_augmentation_costs_each_seed_of_a_stack() -> None:
    for settings in ({"hidden": [16]}, {"architecture": "cnn"}):
        one, two = (stack_of(count, augmentation="flip", **settings) for count in (1, 2))
        each = STEPS * (networks.AUGMENTED_SECONDS + networks.AUGMENTED_PIXEL_SECONDS * 40 * 64)
        for stack, seeds in ((one, 1), (two, 2)):
            as_if_none = [
                Trial(
                    trial.trial_id,
                    Arm(trial.arm.name, trial.arm.settings | {"augmentation": "none"}),
                    trial.seed,
                )
                for trial in stack.trials
            ]
            less = stack_seconds(Stack.of("stacked", as_if_none), RATE)
            if "architecture" in settings:
                assert stack_seconds(stack, RATE) - less == pytest.approx(seeds * each)
            else:  # plain mlps also leave compiled code
                assert stack_seconds(stack, RATE) - less > seeds * each


@pytest.mark.parametrize("settings", [{"architecture": "cnn"}, {"architecture": "resnet"}, {"norm": "batch"}])
def test_sizes_are_those_of_the_network_that_is_trained(settings: dict[str, Any]) -> None:
    resolved = resolve({**BASE, **settings})
    network = harness.model(**{**BASE, **settings})
    assert parameters_of(resolved) == harness.count_parameters(network)
    member = networks.member_bytes(resolved)
    assert member > 4 * 4 * parameters_of(resolved)
    assert stack_bytes(stack_of(3, **settings)) == 3 * member


def test_kept_weights_of_convolutional_networks_are_counted(study_of: Make) -> None:
    none, every = (
        disk_bytes(make(study, processes=1).stacks, study)
        for study in (
            study_of({"lr": [0.1, 0.2]}, study={"keep_weights": kept, "seeds": 1}, architecture="cnn")
            for kept in ("none", "all")
        )
    )
    assert every - none == 2 * 4 * parameters_of(resolve({"dataset": "digits", "architecture": "cnn"}))


def test_a_network_that_is_too_large_is_told_by_its_settings(study_of: Make) -> None:
    channels = [1000] * 240
    problem = next(
        too_large(resolve({**BASE, "architecture": "cnn", "channels": channels, "pooling": "none"}))
    )
    assert f"parameters; allowed: up to {limits.PARAMETERS:,}" in problem
    assert problem.startswith("channels = [1000, 1000")
    with pytest.raises(UsageError, match=r"channels = .* parameters; allowed"):
        make(study_of({"channels": [[16], channels]}, architecture="cnn", pooling="none"))


def test_the_rate_of_a_core_is_a_fast_products() -> None:
    rate = flops_per_second()
    assert math.isfinite(rate)
    assert rate > 1e8
