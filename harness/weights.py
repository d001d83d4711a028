"""Weights: a trained network as a results folder keeps it, and its answers computed without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
from numpy.typing import NDArray

from harness import formulas
from harness.axes.datasets import datasets
from harness.data import Split, prepare
from harness.engines import numpy as engine
from harness.engines.outcome import EVALUATION_BATCH
from harness.errors import MachineError, UsageError
from harness.formulas import Array
from harness.results import Results
from harness.trials import Arm, Trial


@dataclass(frozen=True)
class Weights:
    """A trial with its final weights under torch.nn.Linear's names: `0.weight` (out, in), `0.bias` (out,)."""

    trial: Trial
    named: Mapping[str, Array]


def file_of(found: Results, trial_id: str) -> Path:
    """Where a trial's weights are, if the study keeps them (`keep_weights`)."""
    return found.folder / "weights" / f"{trial_id}.safetensors"


def read(path: Path) -> Weights:
    """A trial and its weights from its file, which says what rebuilds the network.

    Raises:
        MachineError: it cannot be read.
    """
    named, about = arrays(path)
    try:
        trial = Trial(about["trial_id"], Arm("", json.loads(about["settings"])), int(about["seed"]))
    except (KeyError, ValueError) as error:
        raise _unreadable(path, error) from error
    return Weights(trial, named)


def arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """A safetensors file's arrays by name, and its metadata.

    Raises:
        MachineError: it cannot be read.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 (no mapping)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> MachineError:
    return MachineError(f"the weights {path} cannot be read: {error!r}. Remove the file and try again.")


def probabilities(weights: Weights, split: Split) -> NDArray[np.float32]:
    """The class probabilities (n, C) of a split's samples, in the split's order, computed in NumPy.

    Raises:
        UsageError: the network has a component without a formula.
    """
    settings = weights.trial.arm.settings
    told = formulas.missing(settings)
    if told:
        raise UsageError(f"there is no formula for {'; '.join(told)}")
    data = prepare(settings)
    classes = len(datasets[str(settings["dataset"])].facts.classes)
    network = engine.Network(weights.trial, data.inputs, classes, np.float32)
    for i in range(len(network.weights)):
        network.weights[i], network.biases[i] = weights.named[f"{i}.weight"], weights.named[f"{i}.bias"]
    x = data[split].x
    parts = [
        engine.probabilities(network.kind, network.forward(x[i : i + EVALUATION_BATCH]).f)
        for i in range(0, len(x), EVALUATION_BATCH)
    ]
    return np.concatenate(parts) if parts else np.empty((0, classes), np.float32)
