"""The work that is measured: cells by name, each a study of trials that differ in learning rate or in shape.

Each trial is evaluated as `harness run` does: train and val before training and after every epoch, test at
the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import own_components
import torch

from harness.axes.architectures import architectures
from harness.axes.optimizers import optimizers
from harness.data import samples
from harness.data.arm_settings import Settings
from harness.data.datasets import datasets
from harness.data.samples import Data
from harness.errors import UsageError, did_you_mean

VAL_FRACTION = 0.1
LADDER = (-3.0, 1.0)  # octaves: learning rates from 1/8 to 2 times the optimizer's default
LEAST_BATCH = 16  # below it the ladder is lowered in proportion, so that nobody trains on NaN
CLASSES = 10  # of every data set here
PLAIN = {"preprocessing": "unit", "activation": "relu", "head": "identity", "loss": "ce"}
LOOPS_OPTIMIZERS = ("sgd", "momentum", "adam")


@dataclass(frozen=True)
class Cell:
    """Work that is measured.

    Attributes:
        title: in tables.
        settings: what differs from ReLU, cross-entropy, SGD, batch 32, unit pixels, 784-32-32-10 on MNIST.
        trials: that differ in learning rate, unless `shapes` are there.
        epochs: passes.
        faster: by how much the learning rates are raised, for a loss whose gradients are small.
        jax: JAX takes part.
        shapes: the hidden layers of as many trials, instead of learning rates.
        study: a study file in ablations/, instead of all that.
        octaves: the lowest and the highest learning rate, relative to the default.
        same: mean test accuracies that differ by less are the same: more where few test images or few steps
            leave more to chance.
    """

    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    trials: int = 64
    epochs: int = 3
    faster: float = 1.0
    jax: bool = True
    shapes: Sequence[Sequence[int]] = ()
    study: str = ""
    octaves: Sequence[float] = LADDER
    same: float = 0.015

    def __hash__(self) -> int:
        return hash((self.title, self.trials, self.epochs))

    @property
    def whole(self) -> dict[str, Any]:
        """All settings that the cell names, as a study's baseline."""
        hidden = {"hidden": [32, 32]} if self.mlp else {}
        return {
            "dataset": "mnist", "val_fraction": VAL_FRACTION, **PLAIN, **hidden,
            "optimizer": "sgd", "batch_size": 32, **self.settings, "epochs": self.epochs,
        }  # fmt: skip

    @property
    def mlp(self) -> bool:
        """The trials' networks are plain MLPs."""
        return str(self.settings.get("architecture", "mlp")) == "mlp"

    def network(self) -> torch.nn.Module:
        """An untrained network of a cell that has another architecture, of images (B, C, H, W)."""
        asked = self.whole
        height, width = datasets[asked["dataset"]].facts.shape[:2]
        found = architectures[asked["architecture"]]
        return found.network((1, height, width), CLASSES, torch.nn.ReLU, asked)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return tuple(self.whole.get("hidden", ()))

    @property
    def batch_size(self) -> int:
        """Images of a step."""
        return int(self.whole["batch_size"])

    @property
    def optimizer(self) -> str:
        """The optimizer's name."""
        return str(self.whole["optimizer"])

    @property
    def own(self) -> bool:
        """The study needs the plugin."""
        return any(str(value).startswith(own_components.PREFIX) for value in self.settings.values())

    @property
    def plain(self) -> bool:
        """Loops written by hand can train it, too."""
        asked = self.whole
        same = all(asked[name] == value for name, value in PLAIN.items())
        named = (self.own and self.mlp) or self.shapes or self.study or asked.get("dropout")
        return same and not named and self.optimizer in LOOPS_OPTIMIZERS

    @property
    def rates(self) -> tuple[float, ...]:
        """The trials' learning rates: a geometric ladder around the optimizer's default."""
        default = float(optimizers[self.optimizer].settings["lr"].default)  # type: ignore[arg-type]
        lowered = self.faster * default * min(1.0, self.batch_size / LEAST_BATCH)
        low, high = self.octaves
        ladder = np.logspace(low, high, self.trials, base=2)
        return tuple(float(f"{lr:.6g}") for lr in lowered * ladder)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Images of train, val and test."""
        facts, train = datasets[self.whole["dataset"]].facts, samples.train_size(Settings(self.whole))
        return train, facts.train - train, facts.test

    @property
    def work(self) -> str:
        """What is the same work but for its amount: architecture and optimizer."""
        return f"{self.whole.get('architecture', 'mlp')}, {self.optimizer}"

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs, hidden .., classes."""
        return (math.prod(datasets[self.whole["dataset"]].facts.shape), *self.hidden, CLASSES)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch; the last batch may be short."""
        return math.ceil(self.sizes[0] / self.batch_size)

    @property
    def steps(self) -> int:
        """Training steps of one trial."""
        return self.epochs * self.steps_per_epoch

    def tables(self) -> dict[str, Any]:
        """The study."""
        axes = {"hidden": [list(shape) for shape in self.shapes]} if self.shapes else {"lr": list(self.rates)}
        baseline = {name: value for name, value in self.whole.items() if name not in axes}
        plugin = {"plugins": [str(Path(own_components.__file__))]} if self.own else {}
        return {"study": {"name": "bench", "seeds": 1, **plugin}, "baseline": baseline, "axes": axes}

    def shorter(self, trials: int | None, epochs: int | None) -> Cell:
        """The cell with at most so many trials and epochs."""
        n, passes = min(self.trials, trials or self.trials), min(self.epochs, epochs or self.epochs)
        cut = (n, passes) != (self.trials, self.epochs)
        title = f"{self.title} (only {n} x {passes})" if cut else self.title
        return replace(self, title=title, trials=n, epochs=passes, shapes=self.shapes[:n])

    def reference(self) -> Cell:
        """Three trials of an epoch at an eighth of the default learning rate, which loops must train alike.

        So low because the last batches of one epoch, at a constant rate, move the accuracy by points; other
        networks than MLPs are at the default, as they would not have left their start.
        """
        low = -3.0 if self.mlp else 0.0
        return replace(self, trials=3, epochs=1, octaves=(low, low + 0.01))

    def load(self) -> Data:
        """The data, read and preprocessed anew: what is in memory from an earlier timing does not count."""
        samples._images.cache_clear()
        samples._prepare.cache_clear()
        return samples.prepare(Settings(self.whole))


def _cell(title: str, **settings: Any) -> Cell:
    return Cell(title, settings)


RAGGED = [(first, second) for first in range(16, 129, 16) for second in (16, 32, 64, 128)]
GELU = {"preprocessing": "standardize", "activation": "gelu", "optimizer": "adam"}
OWN = {"activation": "bench_mish", "loss": "bench_hinge", "optimizer": "bench_lion"}
DIGITS = {"dataset": "digits"}
FEW = 16  # trials: 8 a core, where there are two
NETWORK: dict[str, Any] = {"trials": 32, "epochs": 1, "same": 0.05, "octaves": (0.0, 1.0)}
"""At lower rates, how far one epoch of a deep network comes depends on its initial weights."""
CELLS: dict[str, Cell] = {
    "ce-1": Cell("CE, ReLU, SGD, batch 1, 1 epoch", {"batch_size": 1}, epochs=1),
    "ce-8": Cell("batch 8, 1 epoch", {"batch_size": 8}, epochs=1),
    "ce-16": _cell("batch 16", batch_size=16),
    "ce-32": _cell("batch 32"),
    "ce-64": _cell("batch 64", batch_size=64),
    "ce-128": _cell("batch 128", batch_size=128),
    "ce-512": _cell("batch 512", batch_size=512),
    "few-16": Cell("batch 16, 16 trials", {"batch_size": 16}, FEW),
    "few-32": Cell("batch 32, 16 trials", {}, FEW),
    "few-128": Cell("batch 128, 16 trials", {"batch_size": 128}, FEW),
    "few-adam": Cell("Adam, 16 trials", {"optimizer": "adam"}, FEW),
    "adam-16": _cell("Adam, batch 16", optimizer="adam", batch_size=16),
    "adam": _cell("Adam", optimizer="adam"),
    "adam-128": _cell("Adam, batch 128", optimizer="adam", batch_size=128),
    "momentum": _cell("momentum", optimizer="momentum"),
    "rmsprop": _cell("RMSprop", optimizer="rmsprop"),
    "adagrad": _cell("Adagrad", optimizer="adagrad"),
    "ql": Cell("QL on softmax", {"head": "softmax", "loss": "ql"}, faster=4),
    "mse": Cell("MSE on sigmoid", {"head": "sigmoid", "loss": "mse"}, faster=16),
    "ccql": _cell("CCQL on identity", loss="ccql"),
    "standardize": _cell("standardize", preprocessing="standardize"),
    "gelu": Cell("GELU, standardize, Adam", GELU),
    "dropout": Cell("dropout 0.2, 784-64-10", {"hidden": [64], "dropout": 0.2}),
    "own": Cell("a plugin's activation, loss and optimizer", OWN, jax=False),
    "ragged": Cell("32 shapes, batch 64", {"batch_size": 64}, trials=32, jax=False, shapes=RAGGED),
    "h200": Cell("784-200-10, 1 epoch", {"hidden": [200]}, epochs=1),
    "h128": Cell("784-128-10, Adam, batch 64", {"hidden": [128], "optimizer": "adam", "batch_size": 64}, 32),
    "wide": Cell(
        "784-512-512-10, batch 128, 8 trials x 1 epoch", {"hidden": [512, 512], "batch_size": 128}, 8, 1
    ),
    "wide-32": Cell("784-512-512-10, batch 32, 8 trials x 1 epoch", {"hidden": [512, 512]}, 8, 1),
    # All trials have one seed: the last batches move all accuracies together, here from 0.80 to 0.84.
    "fashion": Cell("FashionMNIST", {"dataset": "fashion_mnist"}, same=0.06),
    "rgb": Cell(
        "noise in RGB, 3072-64-10, 2 epochs", {"dataset": "bench_rgb", "hidden": [64]}, 32, 2,
        faster=0.05, same=0.15,
    ),
    "digits": Cell("digits, 5 epochs", DIGITS, epochs=5, same=0.05),
    "digits-10": Cell("digits, 10 trials x 1 epoch", DIGITS, 10, 1, same=0.1),
    "digits-1000": Cell("digits, 1,000 trials x 1 epoch", DIGITS, 1_000, 1, same=0.1),
    "lenet5": Cell("LeNet-5, batch 64", {"architecture": "lenet5", "batch_size": 64}, **NETWORK),
    "cnn-norm": Cell(
        "a cnn with batch norm", {"architecture": "cnn", "norm": "batch"}, **{**NETWORK, "same": 0.1}
    ),
    "centres": Cell(
        "a plugin's network", {"architecture": "bench_centres", "batch_size": 64}, jax=False, **NETWORK
    ),
    "choices": Cell("the default study", trials=720, jax=False, study="choices.toml"),
}  # fmt: skip
GROUPS: Mapping[str, Sequence[str]] = {
    "default": ("ce-16", "ce-32", "ce-128", "adam-16", "adam", "adam-128", "h128", "wide", "fashion", "rgb"),
    "batches": ("ce-1", "ce-8", "ce-16", "ce-32", "ce-64", "ce-128", "ce-512"),
    "few": ("few-16", "few-32", "few-128", "few-adam"),
    "components": (
        "adam-16", "adam", "adam-128", "momentum", "rmsprop", "adagrad", "ql", "mse", "ccql", "standardize",
        "gelu", "dropout", "own", "ragged",
    ),
    "nets": ("h200", "h128", "wide", "wide-32"),
    "images": ("fashion", "rgb", "digits", "digits-10", "digits-1000"),
    "networks": ("lenet5", "cnn-norm", "centres"),
    "gate": ("few-32", "few-adam", "wide", "fashion", "own", "digits"),
    "all": tuple(CELLS),
}  # fmt: skip
"""Names for several cells."""


def chosen(text: str, trials: int | None = None, epochs: int | None = None) -> dict[str, Cell]:
    """Cells by name or by the name of a group, shortened.

    Raises:
        UsageError: there is no such cell.
    """
    names: list[str] = []
    for name in filter(None, text.split(",")):
        if name not in CELLS and name not in GROUPS:
            raise UsageError(f"--cells {name}: {did_you_mean(name, [*GROUPS, *CELLS])}")
        names += GROUPS.get(name, [name])
    return {name: CELLS[name].shorter(trials, epochs) for name in dict.fromkeys(names)}
