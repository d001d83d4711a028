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

BASE: dict[str, Any] = {"dataset": "digits", "hidden": [12], "lr": 0.05, "batch_size": 200, "epochs": 2, "seed": 4}
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
