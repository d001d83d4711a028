"""Weights of trained networks in a results folder, and their predictions, computed without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
from numpy.typing import NDArray

from harness.axes import formulas
from harness.axes.formulas import Array
from harness.data.arm_settings import Settings
from harness.data.datasets import Dataset
from harness.data.samples import Split, prepare
from harness.engines import numpy_engine as engine
from harness.engines.outcome import EVALUATION_BATCH
from harness.errors import MachineError, UsageError
from harness.results import Results, checksums, part_files
from harness.study.trials import Arm, Trial
from harness.system import files

REMOVE = (
    "`harness run` of the study trains the stack again; or remove the file, and it is trained where needed."
)


@dataclass(frozen=True)
class Weights:
    """A trial with its final weights under torch.nn.Linear's names: `0.weight` (out, in), `0.bias` (out,)."""

    trial: Trial
    named: Mapping[str, Array]


def file_of(results: Results, trial_id: str) -> Path:
    """Return the path of a trial's weights, which exist if the study keeps them (`keep_weights`)."""
    return results.folder / "weights" / f"{trial_id}.safetensors"


def kept(results: Results, trial_id: str, group: str) -> dict[str, Array]:
    """Read a trial's kept weights, and check that they are as its run wrote them.

    Raises:
        MachineError: they have changed, or cannot be read.
    """
    path = file_of(results, trial_id)
    _check(path, part_files.digest_of(results.folder, f"weights/{path.name}", group))
    return arrays(path)[0]


def read(path: Path, study_dataset: Dataset | None = None) -> Weights:
    """Read a trial and its weights from its file in a results folder, which also holds its settings.

    Raises:
        MachineError: it cannot be read, or has changed since the run wrote it.
    """
    _check(path, part_files.digest_of(path.parent.parent, f"weights/{path.name}"))
    named, about = arrays(path)
    try:
        settings = files.json_value(about["settings"])
        trial = Trial(about["trial_id"], Arm("", Settings(settings, study_dataset)), int(about["seed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error
    return Weights(trial, named)


def _check(path: Path, digest: str) -> None:
    """Raise MachineError if a file has changed since it was written; a file without a digest passes."""
    try:
        same = not digest or checksums.digest(path.read_bytes()) == digest
    except OSError as error:
        raise _unreadable(path, error) from error
    if not same:
        raise MachineError(f"the weights {path} changed after the run that wrote them. {REMOVE}")


def arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Read a safetensors file: its arrays by name, and its metadata.

    Raises:
        MachineError: it cannot be read.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            named = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            about = file.metadata() or {}
        with_nan = [
            name for name, array in named.items() if array.dtype.kind == "f" and np.isnan(array).any()
        ]
        if with_nan:
            raise ValueError(f"{', '.join(with_nan)} holds NaN")
    except (*files.DAMAGE, safetensors.SafetensorError) as error:
        raise _unreadable(path, error) from error
    return named, about


def _unreadable(path: Path, error: Exception) -> MachineError:
    return MachineError(f"the weights {path} cannot be read: {error!r}. Remove the file and try again.")


def probabilities(weights: Weights, split: Split) -> NDArray[np.float32]:
    """Compute the class probabilities (n, C) of a split's samples, in the split's order, in NumPy.

    Raises:
        UsageError: the network has a component without a formula.
        MachineError: the weights are of another network.
    """
    settings = weights.trial.arm.settings
    missing = formulas.missing(settings)
    if missing:
        raise UsageError(f"there is no formula for {'; '.join(missing)}")
    data = prepare(settings)
    classes = len(settings.facts.classes)
    network = engine.network_of(weights.trial, data, np.float32)
    for name, array in network.named().items():
        given = weights.named.get(name)
        if given is None or given.shape != array.shape:
            raise MachineError(f"the weights of {weights.trial.trial_id} are of another network. {REMOVE}")
        array[...] = given
    x = data[split].x
    parts = [
        engine.probabilities(network.kind, network.output(x[i : i + EVALUATION_BATCH]))
        for i in range(0, len(x), EVALUATION_BATCH)
    ]
    return np.concatenate(parts) if parts else np.empty((0, classes), np.float32)
