"""The numpy engine's networks of layers: the loop engine's, from the same start, to its last digit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_agreement import assert_same_observations, assert_same_weights
from test_numpy_engine import NO_TORCH

from harness import results
from harness.axes import by_hand, formulas
from harness.axes.architectures import architectures, counting
from harness.data.batches import Budget
from harness.data.samples import prepare, shape_of
from harness.engines import classifier, loop
from harness.engines import numpy_engine as engine
from harness.engines.base import EngineOptions
from harness.engines.states import State
from harness.exporting import models
from harness.planning import parameters
from harness.results import weights
from harness.study.reading import parse
from harness.study.trials import Arm, Trial, resolve
from harness.training import runs

BASE: dict[str, Any] = {"dataset": "digits", "steps": 210, "batch_size": 8, "eval_every": "105 steps"}
CASES: dict[str, dict[str, Any]] = {
    "linear": {"architecture": "linear", "loss": "ql"},
    "lenet5": {"architecture": "lenet5", "activation": "tanh", "batch_size": 4},
    "cnn": {"architecture": "cnn", "channels": [4, 6]},
    "all of a cnn": {
        "architecture": "cnn", "channels": [4, 4, 6], "norm": "batch", "skip": True, "dropout": 0.3,
        "label_smoothing": 0.1, "activation": "gelu", "optimizer": "momentum", "augmentation": "shift",
    },
    "stride, layer norm, dense": {
        "architecture": "cnn", "channels": [4, 4], "norm": "layer", "pooling": "stride", "readout": "dense",
        "hidden": [12], "dropout": 0.2, "head": "softmax", "loss": "mse",
    },
    "average, batch norm, dense": {
        "architecture": "cnn", "channels": [4, 4], "norm": "batch", "pooling": "average", "readout": "dense",
        "hidden": [12], "optimizer": "adam", "lr": 0.003,
    },
    "no pooling": {"architecture": "cnn", "channels": [4], "kernel": 5, "pooling": "none"},
    "mlp, batch norm, skip": {
        "architecture": "mlp", "hidden": [12, 12], "norm": "batch", "skip": True, "dropout": 0.2,
    },
    "mlp, layer norm": {"architecture": "mlp", "hidden": [12, 8], "norm": "layer", "optimizer": "adamw"},
    "mlp, skip": {"architecture": "mlp", "hidden": [12, 12, 8], "skip": True, "activation": "silu"},
    "resnet": {"architecture": "resnet", "channels": 4},
    "plain net": {"architecture": "resnet", "channels": 4, "skip": False, "norm": "layer"},
}  # fmt: skip
every_case = pytest.mark.parametrize("name", CASES)


def trial(name: str, seed: int = 3, **settings: Any) -> Trial:
    return Trial("t", Arm(name, resolve({**BASE, **CASES[name], **settings})), seed)


def test_every_built_in_architecture_is_written_by_hand() -> None:
    built_in = {entry.name for entry in architectures if not entry.third_party}
    assert built_in == set(by_hand.NETWORKS) == set(formulas.ARCHITECTURES)
    assert built_in == {case["architecture"] for case in CASES.values()}


@every_case
def test_the_start_is_the_loop_engines(name: str) -> None:
    """The same names in the same order, the same bits, as many parameters as are planned."""
    one = trial(name)
    data = prepare(one.arm.settings, np.float64)
    model = classifier.Classifier(one, data.shape, 10)
    network = engine.network_of(one, data, np.float64)
    theirs, mine = classifier.weights(model), network.named()
    assert list(mine) == list(theirs)
    for key, array in mine.items():
        np.testing.assert_array_equal(array, theirs[key], err_msg=key)
    assert [array.shape for array in network.parameters] == [tuple(p.shape) for p in model.parameters()]
    count = sum(array.size for array in network.parameters)
    assert count == parameters.of_settings(one.arm.settings) == sum(p.numel() for p in model.parameters())


@every_case
def test_operations_are_those_of_the_modules(name: str) -> None:
    settings = trial(name).arm.settings
    architecture = architectures[settings.architecture]
    shape = shape_of(settings)
    net = architecture.network(shape, 10, torch.nn.Identity, settings)
    image = shape if architecture.takes_images else (64,)
    expected = counting.operations(net, image)
    assert expected
    parameters_ = sum(p.numel() for p in net.parameters())
    assert by_hand.count(settings, shape, 10, 10**9) == (parameters_, expected)
    assert by_hand.count(settings, shape, 10, 100) == (parameters_, None)


def test_an_image_that_is_too_small_has_no_operations() -> None:
    settings = resolve({**BASE, "architecture": "cnn", "channels": [4, 5, 6, 7, 8]})
    assert by_hand.count(settings, shape_of(settings), 10, 10**9)[1] is None


@every_case
def test_a_network_in_numpy_trains_as_in_the_pytorch_loop(name: str) -> None:
    """Weights and running statistics after 210 steps in float64."""
    one = trial(name)
    data = prepare(one.arm.settings, np.float64)
    mine, reference = (each.train([one], data, dtype=np.float64) for each in (engine, loop))
    assert mine.steps_done == 210
    assert not mine.diverged_step[0]
    assert mine.parameters == reference.parameters
    assert_same_weights(mine, 0, reference, 0, 1e-10)
    assert_same_observations(mine, 0, reference, 0, 1e-10)
    start = engine.network_of(one, data, np.float64).named()
    assert all((mine.weights[0][key] != array).any() for key, array in start.items())
    assert (one.arm.settings.norm == "batch") is any("running_var" in key for key in start)


@pytest.mark.parametrize("name", ["linear", "average, batch norm, dense", "mlp, layer norm"])
def test_single_precision_stays_single(name: str) -> None:
    one = trial(name, steps=21, eval_every="7 steps")
    data = prepare(one.arm.settings, np.float32)
    mine, reference = (each.train([one], data) for each in (engine, loop))
    assert_same_weights(mine, 0, reference, 0, 1e-4)
    kinds = {key: array.dtype for key, array in mine.weights[0].items()}
    assert kinds == {key: array.dtype for key, array in reference.weights[0].items()}
    assert np.dtype(np.float64) not in kinds.values()


@pytest.mark.parametrize("name", ["cnn", "mlp, batch norm, skip"])
def test_divergence_is_found_at_the_same_step(name: str) -> None:
    bad = trial(name, loss="ql", lr=1e9, preprocessing="standardize", optimizer="sgd", dropout=0.0)
    data = prepare(bad.arm.settings, np.float64)
    mine, reference = (each.train([bad], data, dtype=np.float64) for each in (engine, loop))
    assert 0 < mine.diverged_step[0] < 210
    assert_same_observations(mine, 0, reference, 0, 1e-10)
    assert "test" not in mine.final


@dataclass
class Kept:
    """Checkpoints in memory: one at step 105; or, given a state, none, but a start from it."""

    state: State | None = None
    saved: dict[str, Any] = field(default_factory=dict)

    def load(self) -> State | None:
        return self.state

    def due(self, step: int, budget: Budget) -> bool:  # noqa: ARG002
        return step == 105 and self.state is None

    def save(self, step: int, values: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.saved = {name: np.array(value) for name, value in values.items()}


def test_a_resumed_trial_ends_with_the_same_bits_and_running_statistics() -> None:
    one = trial("average, batch norm, dense", dropout=0.2)
    data = prepare(one.arm.settings)
    first = Kept()
    whole = engine.train([one], data, options=EngineOptions(checkpoints=first))
    assert "network.layer1.norm.running_var" in first.saved
    again = engine.train([one], data, options=EngineOptions(checkpoints=Kept(State(105, first.saved))))
    for key, array in whole.weights[0].items():
        np.testing.assert_array_equal(again.weights[0][key], array, err_msg=key)


WITHOUT_TORCH = """
import numpy as np
from harness.data.samples import prepare
from harness.engines import numpy_engine
from harness.study.reading import parse
from harness.study.trials import Arm, Trial, resolve
settings = {"dataset": "digits", "architecture": "cnn", "channels": [4], "norm": "batch", "steps": 5}
trial = Trial("t", Arm("a", resolve(settings)), 0)
print(numpy_engine.train([trial], prepare(trial.arm.settings)).steps_done)
"""


def test_convolutions_train_where_torch_cannot_be_imported() -> None:
    """Planning them as stacks needs it, training them by hand does not."""
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH + WITHOUT_TORCH], check=False, capture_output=True, text=True
    )
    assert done.stdout.split() == ["5"], done.stderr


STUDY: dict[str, Any] = {
    "study": {"name": "by_hand", "seeds": 1, "keep_weights": "all"},
    "baseline": {
        "dataset": "digits", "architecture": "cnn", "channels": [4, 6], "optimizer": "adam", "lr": 0.01,
        "epochs": 2,
    },
    "axes": {"norm": ["none", "batch"]},
}  # fmt: skip


def test_kept_weights_give_the_predictions_of_the_run_in_numpy_and_in_pytorch(tmp_path: Path) -> None:
    runs.train(parse(STUDY), tmp_path, engine="numpy", workers=1)
    found = results.read(tmp_path)
    assert list(found.trials.status) == ["ok"] * 2
    for _, row in found.trials.iterrows():
        kept = weights.read(weights.file_of(found, row["trial_id"]))
        p = weights.probabilities(kept, "test")
        right = (p.argmax(1) == prepare(kept.trial.arm.settings).test.y).mean()
        assert right == pytest.approx(row["test_accuracy"])
        np.testing.assert_allclose(models.probabilities(found, row), p, atol=1e-5)
