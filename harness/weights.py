"""Weights: a trained network as a results folder keeps it, and its answers computed without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
from numpy.typing import NDArray

from harness import checksums, files, formulas, results
from harness.arm_settings import Settings
from harness.axes.datasets import Dataset
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


def kept(found: Results, trial_id: str, group: str) -> dict[str, Array]:
    """A trial's kept weights, seen to be what its run wrote.

    Args:
        found: a results folder, read.
        trial_id: the trial's.
        group: its stack's, in trials.csv.

    Raises:
        MachineError: they are not, or cannot be read.
    """
    path = file_of(found, trial_id)
    _check(path, results.digest_of(found.folder, f"weights/{path.name}", group))
    return arrays(path)[0]


def read(path: Path, study_dataset: Dataset | None = None) -> Weights:
    """A trial and its weights from its file in a results folder, which says what rebuilds the network.

    Args:
        path: the file.
        study_dataset: the trial's data set, where its study declares it.

    Raises:
        MachineError: it cannot be read, or is not what the run wrote.
    """
    _check(path, results.digest_of(path.parent.parent, f"weights/{path.name}"))
    named, about = arrays(path)
    try:
        settings = files.json_value(about["settings"])
        trial = Trial(about["trial_id"], Arm("", Settings(settings, study_dataset)), int(about["seed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error
    return Weights(trial, named)


def _check(path: Path, digest: str) -> None:
    """Raise MachineError where a file is not what was written; of a file without a digest, nobody knows."""
    try:
        same = not digest or checksums.digest(path.read_bytes()) == digest
    except OSError as error:
        raise _unreadable(path, error) from error
    if not same:
        raise MachineError(f"the weights {path} changed after the run that wrote them. {REMOVE}")


def arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """A safetensors file's arrays by name, and its metadata.

    Raises:
        MachineError: it cannot be read.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            named = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            about = file.metadata() or {}
        odd = [name for name, array in named.items() if array.dtype.kind == "f" and np.isnan(array).any()]
        if odd:
            raise ValueError(f"{', '.join(odd)} holds what is not a number")
    except (*files.DAMAGE, safetensors.SafetensorError) as error:
        raise _unreadable(path, error) from error
    return named, about


def _unreadable(path: Path, error: Exception) -> MachineError:
    return MachineError(f"the weights {path} cannot be read: {error!r}. Remove the file and try again.")


REMOVE = (
    "`harness run` of the study trains the stack again; or remove the file, and it is trained where needed."
)


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
    classes = len(settings.facts.classes)
    network = engine.Network(weights.trial, data.inputs, classes, np.float32)
    for i in range(len(network.weights)):
        weight, bias = (weights.named.get(f"{i}.{what}") for what in ("weight", "bias"))
        shapes = network.weights[i].shape, network.biases[i].shape
        if weight is None or bias is None or (weight.shape, bias.shape) != shapes:
            raise MachineError(f"the weights of {weights.trial.trial_id} are of another network. {REMOVE}")
        network.weights[i], network.biases[i] = weight, bias
    x = data[split].x
    parts = [
        engine.probabilities(network.kind, network.forward(x[i : i + EVALUATION_BATCH]).f)
        for i in range(0, len(x), EVALUATION_BATCH)
    ]
    return np.concatenate(parts) if parts else np.empty((0, classes), np.float32)
