"""States of networks of any modules: own loops, kept states and exports hold parameters and buffers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness import results
from harness.axes.architectures import architectures
from harness.exporting.untrained import untrained
from harness.results import Results
from harness.study.reading import parse
from harness.training import runs

STEPS = 7
COMMON: dict[str, Any] = {
    "dataset": "digits", "steps": STEPS, "eval_every": "4 steps", "optimizer": "adam", "lr": 0.01,
    "batch_size": 200,
}  # fmt: skip
NETWORKS: dict[str, dict[str, Any]] = {
    "cnn": {
        "architecture": "cnn", "channels": [4, 4], "norm": "batch", "skip": True, "dropout": 0.3,
        "readout": "dense", "hidden": [7],
    },
    "resnet": {"architecture": "resnet", "channels": 4},
    "of_all": {"architecture": "of_all"},
}  # fmt: skip


class OfAll(nn.Module):
    """Dropout of channels and of values, one module of it used twice, and running statistics."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, 6, 3), nn.BatchNorm2d(6)
        self.channels, self.values = nn.Dropout2d(0.3), nn.Dropout(0.2)
        self.hidden, self.output = nn.Linear(6 * 36, 20), nn.Linear(20, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.channels(self.norm(self.conv(self.values(x))).relu())
        x = self.values(self.hidden(x.flatten(1)).relu())
        output: Tensor = self.output(self.values(x))
        return output


@pytest.fixture
def own_architecture() -> None:
    @architectures.register("of_all")
    def of_all(shape: Any, classes: int, activation: Any) -> nn.Module:  # noqa: ARG001
        return OfAll(shape[0], classes)


def trained(folder: Path, engine: str, network: str = "cnn", weights: str = "all") -> Results:
    kept = "none" if weights == "none" else "all"
    study = parse({
        "study": {"name": "states", "seeds": [1], "keep_weights": weights, "keep_state": kept},
        "baseline": {**COMMON, **NETWORKS[network]},
    })  # fmt: skip
    runs.train(study, folder, device="cpu", workers=1, engine=engine)
    return results.read(folder)


def own_loop(trial: Any) -> nn.Module:
    model, train, loss = harness.model(trial), harness.loader(trial), harness.loss(trial)
    optimizer, step = harness.optimizer(trial, model), 0
    while step < STEPS:
        for x, y in train:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            step += 1
            if step == STEPS:
                break
    return model


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.usefixtures("own_architecture")
def test_an_own_loop_reaches_the_trial_of_the_loop_engine(network: str, tmp_path: Path) -> None:
    found = trained(tmp_path, "loop", network)
    model = own_loop(untrained({**COMMON, **NETWORKS[network], "seed": 1}))
    kept, state = harness.module_of(found).state_dict(), harness.open_checkpoint(found.trial())
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[name]), name
        assert torch.equal(value, state.model[name]), name
    assert any("num_batches_tracked" in name and value == STEPS for name, value in kept.items())


def test_a_stacks_kept_state_is_that_of_the_loop_engine(tmp_path: Path) -> None:
    stacked, loop = (
        harness.open_checkpoint(trained(tmp_path / engine, engine).trial()) for engine in ("stacked", "loop")
    )
    assert list(stacked.model) == list(loop.model)
    for name, value in loop.model.items():
        torch.testing.assert_close(stacked.model[name], value, rtol=1e-3, atol=1e-5)
    assert set(stacked.optimizer["state"]) == set(loop.optimizer["state"])
    for place, state in loop.optimizer["state"].items():
        for name, value in state.items():
            torch.testing.assert_close(stacked.optimizer["state"][place][name], value, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("engine", ["stacked", "loop"])
def test_weights_and_running_statistics_are_kept_and_exported(engine: str, tmp_path: Path) -> None:
    found = trained(tmp_path / "results", engine)
    done = harness.export(found.trial(), tmp_path / "out")
    assert done.right == done.stored
    state = torch.load(done.folder / "model.pt", weights_only=True)
    assert int(state["layer1.norm.num_batches_tracked"]) == STEPS
    assert (state["layer1.norm.running_var"] != 1).all()


@pytest.mark.parametrize("engine", ["stacked", "loop"])
def test_weights_and_running_statistics_that_were_not_kept_are_trained_again(
    engine: str, tmp_path: Path
) -> None:
    kept, again = (trained(tmp_path / weights, engine, weights=weights) for weights in ("all", "none"))
    state = harness.module_of(kept).state_dict()
    for name, value in harness.module_of(again).state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_network_is_continued_from_its_weights_alone(tmp_path: Path) -> None:
    found = trained(tmp_path / "parent", "stacked", weights="none")
    longer = harness.continue_training(found.trial(), out=tmp_path / "longer", steps=STEPS)
    assert longer.trials["status"].tolist() == ["ok"]
    norms = harness.module_of(longer).state_dict()
    assert norms["layer1.norm.num_batches_tracked"] == 2 * STEPS
