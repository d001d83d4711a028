"""model.py of an export: plain PyTorch, which a process without the harness runs to the same outputs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import harness
from harness import results
from harness.axes.architectures import architectures
from harness.data.samples import shape_of
from harness.engines.classifier import Classifier
from harness.exporting import models, plain_code
from harness.results import selection
from harness.study.reading import parse
from harness.study.trials import lone_trial, resolve
from harness.training import runs

ALONE = """
import builtins, sys

imported = builtins.__import__
def refused(name, *rest, **named):
    if name.partition(".")[0] == "harness":
        raise ImportError("there is no harness here")
    return imported(name, *rest, **named)
builtins.__import__ = refused

import importlib.util
from pathlib import Path

import numpy as np
import torch

x = torch.from_numpy(np.load("x.npy"))
for folder in sorted(path.parent for path in Path().glob("*/model.py")):
    spec = importlib.util.spec_from_file_location("model", folder / "model.py")
    model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model)
    network = model.Network()
    network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    network.eval()
    with torch.no_grad():
        np.save(folder / "outputs.npy", network(x).numpy())
    print(len(model.CLASSES), "harness" in sys.modules)
"""
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [9, 7], "dropout": 0.2, "activation": "leaky_relu"},
    "mlp norm": {"hidden": [8, 8], "norm": "batch", "skip": True, "activation": "gelu"},
    "linear": {"architecture": "linear", "head": "softmax", "loss": "mse"},
    "lenet5": {"architecture": "lenet5", "activation": "elu"},
    "cnn": {
        "architecture": "cnn", "channels": [4, 4], "norm": "layer", "skip": True, "readout": "dense",
        "hidden": [6], "dropout": 0.1, "pooling": "stride", "activation": "softplus",
    },
    "resnet": {"architecture": "resnet", "channels": 4, "head": "log_softmax", "loss": "nll"},
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> results.Results:
    folder = tmp_path_factory.mktemp("networks")
    study = parse({
        "study": {"name": "networks", "seeds": 1, "keep_weights": "all"},
        "baseline": {"dataset": "digits", "steps": 8, "eval_every": "8 steps"},
        "axes": {"net": [{"name": name, **settings} for name, settings in NETWORKS.items()]},
    })  # fmt: skip
    runs.train(study, folder, device="cpu", workers=1)
    return results.read(folder)


def test_a_process_without_the_harness_gets_the_same_outputs(
    trained: results.Results, tmp_path: Path
) -> None:
    folders = []
    for number, name in enumerate(NETWORKS):
        row = selection.choose(trained, None, f"net={name}")
        done = models.write_model(trained, row, tmp_path / str(number))
        assert done.files == ("model.safetensors", "model.pt", "model.py", "trial.json")
        assert done.right == done.stored
        folders.append(done.folder)
    x = torch.rand(11, 64, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "x.npy", x.numpy())
    (tmp_path / "alone.py").write_text(ALONE)
    said = subprocess.run(
        [sys.executable, "alone.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert said.stdout.split() == ["10", "False"] * len(NETWORKS)
    for folder in folders:
        with torch.no_grad():
            expected = harness.load_model(folder)(x).numpy()
        np.testing.assert_allclose(np.load(folder / "outputs.npy"), expected, 1e-6, 1e-6)
        code = (folder / "model.py").read_text()
        assert "import harness" not in code
        assert "torch._C" not in code


def classifier(build: Callable[[int], nn.Module]) -> tuple[Classifier, dict[str, Any]]:
    """A person's own network of images 8 x 8, untrained, and what an export says of it."""

    @architectures.register("own_network")
    def own_network(shape: Any, classes: int, activation: Any) -> nn.Module:  # noqa: ARG001
        return build(classes)

    # Without the checks of a plan, which refuses some of these.
    trial = lone_trial(resolve({"dataset": "digits", "architecture": "own_network"}), 0)
    settings = trial.arm.settings
    model = Classifier(trial, shape_of(settings), 10).float().eval()
    return model, {"trial_id": "t0", "settings": dict(settings), "classes": list(settings.facts.classes)}


class Everything(nn.Module):
    """Lists, tied and shared modules, parameters and buffers of its own, constants, a frozen layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding="same", padding_mode="reflect")
        self.norm, self.first = nn.BatchNorm2d(3, momentum=0.2), nn.Linear(192, classes)
        self.listed = nn.ModuleList([nn.Linear(classes, classes, bias=False) for _ in range(2)])
        self.tied, self.again = nn.Linear(classes, classes), self.first
        self.tied.weight = self.listed[0].weight  # type: ignore[assignment]
        self.scale, self.bend = nn.Parameter(torch.randn(classes)), nn.PReLU(init=0.1)
        self.register_buffer("mask", torch.ones(classes))
        self.register_buffer("order", torch.arange(classes), persistent=False)
        self.plain = torch.linspace(0, 1, classes)
        self.recurrent = nn.LSTM(classes, classes, batch_first=True)
        self.conv.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(self.norm(self.conv(x)).flatten(1))
        for layer in self.listed:
            y = y + layer(y)
        y = self.bend(y) * self.scale * self.get_buffer("mask") + self.get_buffer("order") + self.plain
        output: Tensor = self.recurrent(nn.functional.silu(self.tied(y))[:, None])[0][:, 0]
        return output


def test_an_own_module_of_every_kind_is_written() -> None:
    model, about = classifier(Everything)
    namespace: dict[str, Any] = {}
    exec(plain_code.source(model, about), namespace)  # noqa: S102
    network = namespace["Network"]()
    network.load_state_dict(model.net.state_dict())
    x = torch.rand(5, 64)
    with torch.no_grad():
        assert torch.equal(network.eval()(x), model(x))
        assert torch.equal(network(x.view(5, 1, 8, 8)), model(x))
    assert network.tied.weight is getattr(network.listed, "0").weight
    assert network.again is network.first
    assert not network.conv.weight.requires_grad
    assert list(network.state_dict()) == list(model.net.state_dict())


def branching(x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


class Branching(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return branching(self[1](self[0](x)))


class Drawing(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self[1](self[0](x))
        return z + torch.randn_like(z)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda n: Branching(nn.Flatten(), nn.Linear(64, n)), "cannot be traced: .*control flow"),
        (lambda n: Drawing(nn.Flatten(), nn.Linear(64, n)), "gives other outputs"),
        (
            lambda n: nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(64, n))),
            "module '1' .ParametrizedLinear. is not of torch.nn",
        ),
    ],
)
def test_what_cannot_be_written_is_told(build: Callable[[int], nn.Module], words: str) -> None:
    model, about = classifier(build)
    with pytest.raises(plain_code.NotPlainError, match=words):
        plain_code.source(model, about)
