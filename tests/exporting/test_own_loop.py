"""A person's own loop over the parts of a trial reaches the trial's numbers, bit for bit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import harness
from harness.axes.architectures import architectures
from harness.axes.optimizers import optimizers
from harness.axes.schedules import schedules
from harness.data.samples import prepare
from harness.engines import loop
from harness.engines.outcome import Outcome
from harness.exporting.running_mean import RunningMean
from harness.exporting.untrained import untrained
from harness.study.trials import Trial

BASE: dict[str, Any] = {
    "dataset": "digits",
    "hidden": [12],
    "lr": 0.05,
    "batch_size": 200,
    "epochs": 2,
    "seed": 4,
}
PAGE = Path(__file__).parents[2] / "docs" / "own-loop.md"


def own_loop(trial: Trial) -> nn.Module:
    model = harness.model(trial)
    loss, train = harness.loss(trial), harness.loader(trial)
    optimizer = harness.optimizer(trial, model)
    scheduler = harness.scheduler(trial, optimizer)
    assert train.epochs is not None
    for _ in range(train.epochs):
        for x, y in train:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            scheduler.step()
    return model.eval()


def evaluated(trial: Trial, model: nn.Module, split: Any) -> RunningMean:
    mean, loss = harness.RunningMean(), harness.loss(trial, reduction="none").eval()
    with torch.no_grad():
        for x, y in harness.loader(trial, split, batch_size=2000, sampling="sequential"):
            output = model(x)
            mean.update(loss=loss(output, y), accuracy=output.argmax(1) == y)
    return mean


def trained(trial: Trial) -> Outcome:
    return loop.train([trial], prepare(trial.arm.settings))


def assert_same(trial: Trial, model: nn.Module, outcome: Outcome) -> None:
    own = {name: array.numpy() for name, array in model.state_dict().items()}
    assert [array.tobytes() for array in own.values()] == [
        np.ascontiguousarray(array).tobytes() for array in outcome.weights[0].values()
    ]
    for split in ("train", "val"):
        mean, engine = evaluated(trial, model, split), outcome.final[split]
        assert mean.loss == engine.loss[0]
        assert mean.accuracy == engine.accuracy[0]


CASES: dict[str, dict[str, Any]] = {
    **{entry.name: {"optimizer": entry.name} for entry in optimizers},
    **{entry.name: {"schedule": entry.name, "optimizer": "adam", "epochs": 3} for entry in schedules},
    "centered": {"optimizer": "rmsprop", "centered": True, "momentum": 0.5},
    "amsgrad": {"optimizer": "adam", "amsgrad": True, "weight_decay": 0.01},
    "weight decay": {"optimizer": "momentum", "weight_decay": 0.1, "dampening": 0.2},
    "replacement": {"sampling": "replacement"},
    "sequential": {"sampling": "sequential"},
    "steps within an epoch": {"steps": 3, "schedule": "linear"},
    "steps beyond an epoch": {"steps": 9, "schedule": "cosine", "sampling": "replacement"},
    "steps of whole epochs": {"steps": 14},
    "one batch": {"batch_size": 1293, "sampling": "shuffle"},
    "dropout": {"dropout": 0.3, "hidden": [12, 9], "activation": "tanh"},
    "label smoothing": {"label_smoothing": 0.2},
    "label noise": {"label_noise": 0.3},
    "head": {"head": "softmax", "loss": "mse"},
    "ccql": {"head": "softmax", "loss": "ccql", "lr": 0.5},
    "no hidden layer": {"hidden": []},
    "preprocessing": {"preprocessing": "standardize", "val_fraction": 0.3, "split_seed": 2},
    "augmentation": {"augmentation": "rotate", "rotate_degrees": 30.0, "steps": 9},
    "mixup, smoothed": {"augmentation": "mixup", "label_smoothing": 0.1, "sampling": "replacement"},
    "everything": {
        "dropout": 0.2, "label_smoothing": 0.1, "optimizer": "adamw", "weight_decay": 0.1, "lr": 0.01,
        "schedule": "cosine", "sampling": "replacement", "steps": 11, "batch_size": 130,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_own_loop_reaches_the_trial(case: str) -> None:
    settings = {**BASE, **CASES[case]}
    if "steps" in settings:
        del settings["epochs"]
    trial = untrained(settings)
    model = own_loop(trial)
    assert_same(trial, model, trained(trial))


@pytest.mark.parametrize("sampling", ["shuffle", "replacement"])
def test_an_own_architecture_with_dropout_reaches_its_trial(sampling: str) -> None:
    @architectures.register("two_dropouts")
    def two_dropouts(
        inputs: int, classes: int, activation: Callable[[], nn.Module], *, p: float = 0.4
    ) -> nn.Module:
        return nn.Sequential(
            nn.Dropout(p / 2),
            nn.Linear(inputs, 20),
            nn.BatchNorm1d(20),
            activation(),
            nn.Dropout(p),
            nn.Linear(20, classes),
        )

    trial = untrained(
        {
            "dataset": "digits",
            "architecture": "two_dropouts",
            "batch_size": 100,
            "epochs": 2,
            "sampling": sampling,
        }
    )
    torch.rand(3)  # others may draw in between
    model = own_loop(trial)
    outcome = trained(trial)
    own = {name: array.numpy() for name, array in model.state_dict().items()}
    assert {name: array.tobytes() for name, array in own.items()} == {
        name: np.asarray(array).tobytes() for name, array in outcome.weights[0].items()
    }
    assert evaluated(trial, model, "val").loss == outcome.final["val"].loss[0]


def test_a_look_at_batches_and_outputs_changes_nothing() -> None:
    trial = untrained({**BASE, "dropout": 0.3})
    plain = own_loop(trial)
    model, train, loss = harness.model(trial), harness.loader(trial), harness.loss(trial)
    optimizer = harness.optimizer(trial, model)
    next(iter(train))
    for _, (x, _y) in zip(range(3), train, strict=False):
        model(x)  # in training mode
    for _ in range(train.epochs):
        for x, y in train:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            with torch.no_grad():
                model(x[:3])
            optimizer.step()
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), plain.state_dict().values(), strict=True)
    )


def test_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of the page runs, in their order, and prints what its comments say."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks[1].splitlines()) == 12
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102 (the project's own page)
    said = re.search(r"print\(mean\)  # (.*)", blocks[2])
    assert said is not None
    assert repr(names["mean"]) == said[1]
    assert names["same"]
    row = names["results"].epochs.iloc[-1]
    assert (row.split, row.loss, row.accuracy) == (
        "val", float(f"{names['mean'].loss:.7g}"), float(f"{names['mean'].accuracy:.7g}"),
    )  # fmt: skip
