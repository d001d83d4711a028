"""A stack of modules computes what each of its networks computes alone: layer by layer, or mapped."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.axes.architectures import architectures
from harness.axes.optimizers import optimizers
from harness.check.network_stacking import form, how
from harness.data.batches import Budget
from harness.data.samples import prepare
from harness.engines import classifier, loop
from harness.engines import stack_engine as engine
from harness.engines.base import batch_indices
from harness.engines.outcome import Outcome
from harness.planning.grouping import side_by_side
from harness.study.trials import Arm, Trial, resolve

BASE: dict[str, Any] = {"dataset": "digits", "steps": 200, "batch_size": 8, "eval_every": "100 steps"}
SMALL: dict[str, list[dict[str, Any]]] = {
    "mlp": [{"norm": "batch", "hidden": [6, 6], "skip": True}, {"norm": "layer", "hidden": [6]}],
    "linear": [{}],
    "lenet5": [{"steps": 60, "eval_every": "60 steps"}],
    "cnn": [
        {"channels": [3, 3], "norm": "batch", "skip": True},
        {"channels": [3, 4], "norm": "layer", "pooling": "average", "readout": "dense", "hidden": [7]},
        {"channels": [3, 4], "pooling": "stride", "kernel": 5},
    ],
    "resnet": [{"channels": 2}],
}
"""Settings that make an architecture's networks small; of one that is not here, its defaults."""
CASES = [
    pytest.param({"architecture": one.name, **given}, id=f"{one.name}-{i}")
    for one in architectures
    for i, given in enumerate(SMALL.get(one.name, [{}]))
]
TOLERANCE = {np.float64: 1e-10, np.float32: 2e-3}
"""How far apart weights may be, as a share of the largest of their tensor."""


def trial(name: str, seed: int = 0, **settings: Any) -> Trial:
    return Trial(f"t_{name}", Arm(name, resolve({**BASE, **settings})), seed)


def members(**settings: Any) -> list[Trial]:
    """Members that differ in all in which members of a stack may."""
    takes = architectures[settings["architecture"]].settings
    left_out: dict[str, Any] = {"dropout": 0.3} if "dropout" in takes else {}
    other: dict[str, Any] = {"dropout": 0.1} if "dropout" in takes else {}
    tanh: dict[str, Any] = {"activation": "tanh"}
    gelu: dict[str, Any] = {"activation": "gelu"}
    nll: dict[str, Any] = {"head": "log_softmax", "loss": "nll"}
    return side_by_side([
        trial("sgd", 0, **settings, **left_out),
        trial("adam", 1, **settings, **left_out, **tanh, optimizer="adam", lr=0.002, weight_decay=0.01),
        trial("momentum", 1, **settings, **other, **gelu, optimizer="momentum", head="sigmoid", loss="mse"),
        trial("smooth", 0, **settings, **other, **nll, label_smoothing=0.1, schedule="cosine"),
    ])  # fmt: skip


def stack(trials: Sequence[Trial], dtype: Any = np.float64) -> Outcome:
    return engine.train(trials, prepare(trials[0].arm.settings, dtype), dtype=dtype)


def alone(one: Trial, dtype: Any = np.float64) -> Outcome:
    return loop.train([one], prepare(one.arm.settings, dtype), dtype=dtype)


def assert_same(a: Outcome, k: int, b: Outcome, tolerance: float) -> None:
    """The values of a member, running statistics among them, its curves and its predictions."""
    assert a.parameters[k] == b.parameters[0]
    assert a.weights[k].keys() == b.weights[0].keys()
    for name, right in b.weights[0].items():
        got = a.weights[k][name]
        assert got.shape == right.shape
        assert np.isfinite(right).all()
        apart = np.abs(got.astype(np.float64) - right).max() / max(1e-30, np.abs(right).max())
        assert apart <= tolerance, f"{name}: {apart:.1e} of the largest apart"
    assert [(p.step, p.split) for p in a.curve] == [(p.step, p.split) for p in b.curve]
    for p, q in zip(a.curve, b.curve, strict=True):
        assert p.loss[k] == pytest.approx(q.loss[0], rel=10 * tolerance, abs=tolerance)
    flips = (a.final["test"].predicted[k] != b.final["test"].predicted[0]).sum()
    assert flips == 0 if tolerance < 1e-6 else flips <= 4


@pytest.mark.parametrize("settings", CASES)
def test_members_equal_themselves_alone_and_in_the_loop_engine(settings: dict[str, Any]) -> None:
    """Every architecture: several optimizers, outputs, shares of dropout and seeds in one stack."""
    trials = members(**settings)
    assert how(trials[0].arm.settings).way == "layers"
    together = stack(trials)
    for k, one in enumerate(trials):
        if k < 1:
            assert_same(together, k, stack([one]), 1e-10)
        assert_same(together, k, alone(one), 1e-10)


def test_float32_members_equal_themselves_in_the_loop_engine() -> None:
    trials = members(architecture="cnn", channels=[3, 4], norm="batch")[:2]
    together = stack(trials, np.float32)
    for k, one in enumerate(trials):
        assert_same(together, k, alone(one, np.float32), TOLERANCE[np.float32])


@functools.cache
def _every_optimizer() -> tuple[list[Trial], Outcome]:
    made = []
    for one in optimizers:
        lr = float(str(one.component.settings["lr"].default)) * 0.5
        for name, seed in (("a", 0), ("b", 1)):
            rate = lr if name == "a" else lr * 0.7
            made.append(trial(f"{one.name}-{name}", seed, architecture="cnn", channels=[2, 3], norm="batch",
                              optimizer=one.name, lr=rate))  # fmt: skip
    ordered = side_by_side(made)
    return ordered, stack(ordered)


@pytest.mark.parametrize("name", [one.name for one in optimizers])
def test_every_optimizer_in_one_stack_equals_the_loop_engine(name: str) -> None:
    trials, together = _every_optimizer()
    k = [one.arm.name for one in trials].index(f"{name}-b")
    assert_same(together, k, alone(trials[k]), 1e-10)


def test_a_diverging_member_changes_no_bit_of_another() -> None:
    def three(lr: float) -> list[Trial]:
        rates = (0.05, lr, 0.02)
        return [
            trial(f"{i}", architecture="cnn", channels=[3, 4], norm="batch", lr=rate, steps=60)
            for i, rate in enumerate(rates)
        ]

    good, bad = stack(three(0.01), np.float32), stack(three(1e30), np.float32)
    assert bad.diverged_step[1]
    assert not good.diverged_step.any()
    for k in (0, 2):
        assert all((good.weights[k][name] == value).all() for name, value in bad.weights[k].items())
        assert (good.final["val"].confidence[k] == bad.final["val"].confidence[k]).all()


def test_running_statistics_are_torchs() -> None:
    """Of one member after three steps, against the module's own, which is given the same batches."""
    one, other = (
        trial(
            name, architecture="cnn", channels=[3], norm="batch", pooling="none", steps=3,
            eval_every="3 steps", lr=1e-9,
        )
        for name in ("bn", "bn2")
    )  # fmt: skip
    together = stack([one, other])
    data = prepare(one.arm.settings, np.float64)
    model = classifier.Classifier(one, data.shape, len(data.classes)).double()
    for places in batch_indices(one, Budget.of(one.arm.settings, len(data.train.y))):
        model(torch.from_numpy(data.train.x[places]))
    right = model.state_dict()
    mine = together.weights[1]
    kinds = {name.rsplit(".", 1)[1] for name in mine}
    assert {"running_mean", "running_var", "num_batches_tracked"} <= kinds
    for name, value in right.items():
        if "running" in name or "tracked" in name:
            assert mine[name] == pytest.approx(value.numpy(), rel=1e-7)
    assert int(mine[next(n for n in mine if n.endswith("tracked"))]) == 3


# ---------------------------------------------------------------------------------------------- own networks


class Inception(nn.Module):
    """Branches, a skip, concatenation, a parameter of its own, functions of torch, shapes asked for."""

    def __init__(self, channels: int, classes: int, activation: Any) -> None:
        super().__init__()
        self.one, self.three = nn.Conv2d(channels, 3, 1), nn.Conv2d(channels, 3, 3, padding="same")
        self.norm, self.activation = nn.BatchNorm2d(6, momentum=None), activation()
        self.gate = nn.Parameter(torch.full((6, 1, 1), 0.5))
        self.narrow = nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(0.5))
        self.out = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x * 2 - 1
        y = torch.cat([self.one(x), torch.relu(self.three(x))], dim=1)
        y = y + torch.sigmoid(self.gate) * self.activation(self.norm(y))
        y = nn.functional.max_pool2d(self.narrow(y), 2) * self.scale
        b, c, _, _ = y.shape
        means = y.mean(dim=(2, 3))
        logits: Tensor = self.out(torch.cat([means, y.view(b, c, -1).amax(-1)], 1)) / 2
        return logits


class Mixed(nn.Module):
    """A product of images with themselves and a sum over an index: nothing that is known layer by layer."""

    def __init__(self, channels: int, classes: int, activation: Any) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.2)
        self.activation, self.table = activation(), nn.Parameter(torch.randn(4, 4) / 2)
        self.out = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(self.activation(self.norm(self.conv(x)))).flatten(2)
        gram = torch.einsum("bcp,bdp->bcd", y, y) / y.shape[-1]
        logits: Tensor = self.out(torch.tril(torch.einsum("bcd,de->bce", gram, self.table)).flatten(1))
        return logits


class InPlace(nn.Module):
    """Layers and methods that change their images in place, and a parameter that is not trained."""

    def __init__(self, channels: int, classes: int, activation: Any) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(4, 4, 3, padding=1), nn.SiLU(inplace=True), nn.MaxPool2d(2), nn.ELU(inplace=True),
            nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.MaxPool2d(2),
            nn.SiLU(inplace=True),
        )  # fmt: skip
        self.hidden, self.activation, self.out = nn.Linear(16, 6), activation(), nn.Linear(6, classes)
        self.scale = nn.Parameter(torch.tensor(0.5), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x).flatten(1)
        y = self.activation(self.hidden(y).mul_(self.scale).relu_())
        logits: Tensor = self.out(y)
        return logits


class Tied(nn.Module):
    """A weight that two layers share, and a layer that is registered, and used, twice."""

    def __init__(self, channels: int, classes: int, activation: Any) -> None:
        super().__init__()
        self.first = nn.Linear(64 * channels, 6, bias=False)
        self.norm, self.activation = nn.BatchNorm1d(6), activation()
        self.one, self.other = nn.Linear(6, 6), nn.Linear(6, 6)
        self.other.weight = self.one.weight
        self.again, self.out = self.one, nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.norm(self.first(x.flatten(1))))
        for layer in (self.one, self.other, self.again):
            y = self.activation(layer(y))
        logits: Tensor = self.out(y)
        return logits


class Branching(nn.Module):
    """A branch on values: one by one in the loop engine."""

    def __init__(self, channels: int, classes: int, activation: Any) -> None:
        super().__init__()
        self.out, self.activation = nn.Linear(64 * channels, classes), activation()

    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(1)
        logits: Tensor = self.out(self.activation(y) if y.mean().item() > 0.3 else y)
        return logits


@pytest.mark.parametrize(
    ("made", "way", "words"),
    [
        (Inception, "layers", ""),
        (InPlace, "layers", ""),
        (Mixed, "mapped", "einsum of a parameter"),
        (Tied, "mapped", "shares a weight"),
        (Branching, "loop", "branches on values"),
    ],
)
def test_own_networks_train_as_they_do_alone(made: Any, way: str, words: str) -> None:
    def build(shape: Any, classes: int, activation: Any) -> nn.Module:
        """Build."""
        network: nn.Module = made(shape[0], classes, activation)
        return network

    architectures.register("mine")(build)
    mine: dict[str, Any] = {"architecture": "mine", "steps": 60, "eval_every": "60 steps"}
    trials = side_by_side([
        trial("a", **mine, lr=0.05), trial("c", **mine, activation="gelu", optimizer="momentum"),
        trial("b", 1, **mine, activation="tanh", optimizer="adam", lr=0.002),
    ])  # fmt: skip
    found = how(trials[0].arm.settings)
    assert found.way == way
    assert words in found.reason
    if way == "loop":
        return
    together = stack(trials)
    for k, one in enumerate(trials):
        assert_same(together, k, alone(one), 1e-10)


def test_what_an_own_network_does_with_a_setting_called_dropout_is_every_members_own() -> None:
    """It scales by it, so members of another value share no stack; those of a built-in network do."""

    class Scaled(nn.Module):
        def __init__(self, inputs: int, classes: int, share: float) -> None:
            super().__init__()
            self.out, self.share = nn.Linear(inputs, classes), share

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.out(x) * self.share
            return logits

    def build(inputs: int, classes: int, activation: Any, *, dropout: float = 0.5) -> nn.Module:  # noqa: ARG001
        """Build."""
        return Scaled(inputs, classes, dropout)

    architectures.register("mine")(build)
    for name, forms in (("mine", 2), ("cnn", 1)):
        arms = [trial(f"{share}", architecture=name, dropout=share).arm.settings for share in (0.1, 0.3)]
        assert len(set(map(form, arms))) == forms
