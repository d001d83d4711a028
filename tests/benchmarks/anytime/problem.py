"""The problem of the anytime comparison as plain data, and the cell in which one method works on it.

Every method imports it in an environment of its own: it needs Python alone. README.md has the protocol.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

WORKERS = 2
"""Processes of one thread each, in which a method may train at the same time."""
TRAINING_SEED = 2000
"""The seed with which all configurations of the first repeat are trained; the next repeat has the next."""
LOG, INCUMBENT = "evaluations.jsonl", "incumbent.json"

Configuration: TypeAlias = "dict[str, int | float]"
"""A value for each parameter of a problem."""


class OutOfTimeError(Exception):
    """The cell's time is over: stop, and leave the incumbent as it is."""


@dataclass(frozen=True)
class Parameter:
    """Numbers from `low` to `high`, both included; `whole` ones, evenly in their logarithm with `log`."""

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> int | float:
        """Return the value at a share, 0..1, of the way from low to high: uniform shares draw evenly.

        Whole numbers are rounded from [low - 0.5, high + 0.5], as Optuna draws them.
        """
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        if self.log:
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        value = min(max(round(value) if self.whole else value, self.low), self.high)
        return int(value) if self.whole else float(value)

    def checked(self, value: Any) -> int | float:
        """Return a method's value as int or float; ValueError if it is not one of this parameter's."""
        number = int(value) if self.whole else float(value)
        if number != value or not self.low <= number <= self.high:
            kind = "a whole number" if self.whole else "a number"
            raise ValueError(f"{self.name} = {value!r}: allowed: {kind} from {self.low:g} to {self.high:g}")
        return number


@dataclass(frozen=True)
class Problem:
    """A space, and the epochs at which methods that stop early compare: the last rung is the whole budget."""

    name: str
    widest: int
    rungs: tuple[int, ...]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The space: that of Syne Tune's `mlp_fashionmnist`, with one share of dropout for both layers."""
        return (
            Parameter("width_1", 4, self.widest, log=True, whole=True),
            Parameter("width_2", 4, self.widest, log=True, whole=True),
            Parameter("batch_size", 8, 128, log=True, whole=True),
            Parameter("dropout", 0.0, 0.99),
            Parameter("lr", 1e-6, 1.0, log=True),
            Parameter("weight_decay", 1e-8, 1.0, log=True),
        )

    @property
    def epochs(self) -> int:
        """Epochs of the whole budget."""
        return self.rungs[-1]

    def checked(self, configuration: Mapping[str, Any]) -> Configuration:
        """Return a configuration with the types of its parameters; ValueError if it is not of this space."""
        names = [parameter.name for parameter in self.parameters]
        if set(configuration) != set(names):
            raise ValueError(f"a configuration of {sorted(configuration)}: allowed: {', '.join(names)}")
        return {p.name: p.checked(configuration[p.name]) for p in self.parameters}


PROBLEMS = {
    problem.name: problem
    for problem in (Problem("full", 1024, (1, 3, 9, 27)), Problem("short", 128, (1, 3, 9)))
}


@dataclass(frozen=True)
class Cell:
    """One method, one repeat: what it works on, until when, and where it writes.

    `images` is a folder of arrays (network.py); "" stands for a formula in place of networks, for tests.
    `start` is a reading of `clock`, which all processes of a machine share; `seconds` begin there.
    """

    method: str
    problem: Problem
    repeat: int
    seconds: float
    folder: Path
    images: str
    start: float
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)

    @property
    def seed(self) -> int:
        """The seed of the method's own random numbers."""
        return self.repeat

    @property
    def training_seed(self) -> int:
        """The seed of every training: initial weights, order of batches, dropout."""
        return TRAINING_SEED + self.repeat

    @property
    def left(self) -> float:
        """Seconds until the deadline; negative behind it."""
        return self.start + self.seconds - self.clock()

    def check_time(self) -> None:
        """Raise OutOfTimeError behind the deadline."""
        if self.left <= 0:
            raise OutOfTimeError

    def write(self, path: Path) -> None:
        """Write the cell as JSON, for the process of its method, which has another working directory."""
        known = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "clock"}
        document = known | {"problem": self.problem.name, "folder": str(self.folder.resolve())}
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path | str) -> Cell:
        """Read the cell that the session wrote; a method gets the path as its only argument."""
        known = json.loads(Path(path).read_text(encoding="utf-8"))
        known |= {"problem": PROBLEMS[known["problem"]], "folder": Path(known["folder"])}
        return cls(**known)

    def log(self, configuration: Configuration, epoch: int, val_accuracy: float) -> None:
        """Append an evaluation to the log; processes may append at the same time. NaN: training diverged."""
        line = {
            "seconds": round(self.clock() - self.start, 3),
            "configuration": configuration,
            "epoch": epoch,
            "val_accuracy": val_accuracy if math.isfinite(val_accuracy) else None,
            "seed": self.training_seed,
        }
        descriptor = os.open(self.folder / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, (json.dumps(line) + "\n").encode())  # one write: lines stay whole
        finally:
            os.close(descriptor)

    def note_incumbent(self, configuration: Mapping[str, Any], val_accuracy: float, rule: str) -> None:
        """Write down the method's incumbent, in place of the one before; nothing behind the deadline.

        Args:
            configuration: which the method would return if it were stopped now.
            val_accuracy: by which it was chosen.
            rule: a few words: "highest value at 27 epochs".
        """
        if self.left <= 0:
            return
        document = {
            "configuration": self.problem.checked(configuration),
            "val_accuracy": val_accuracy,
            "rule": rule,
            "seconds": round(self.clock() - self.start, 3),
        }
        part = self.folder / f"{INCUMBENT}.{os.getpid()}"
        part.write_text(json.dumps(document, indent=1), encoding="utf-8")
        part.replace(self.folder / INCUMBENT)


def evaluations(
    cell: Cell, configuration: Mapping[str, Any], until: int, checkpoint: Path | None = None
) -> Iterator[tuple[int, float]]:
    """Train a configuration, and yield (epoch, val accuracy) after each epoch, which is logged first.

    The last epoch is `until`, or the one in which the loss is no longer finite: its accuracy is NaN, and no
    other follows. A generator that is closed early saves no checkpoint.

    Args:
        cell: where this is logged, and whose deadline holds.
        configuration: checked against the space: ValueError before any training.
        until: epochs, counted from the beginning of training.
        checkpoint: a file to go on from if it exists, and to save to after `until`; one for each
            configuration.

    Raises:
        OutOfTimeError: the deadline came; an epoch that is not over is not logged.
    """
    checked = cell.problem.checked(configuration)
    if cell.images:
        from network import Training  # imports torch

        training: Training | Formula = Training(cell, checked)
    else:
        training = Formula(cell, checked)
    if checkpoint is not None and checkpoint.exists():
        training.load(checkpoint)
        if training.epoch >= until:
            raise ValueError(f"{checkpoint} has {training.epoch} epochs; until = {until}: allowed: more")
    while training.epoch < until:
        accuracy = training.next_epoch()
        cell.check_time()
        cell.log(checked, training.epoch, accuracy)
        yield training.epoch, accuracy
        if not math.isfinite(accuracy):
            return
    if checkpoint is not None:
        training.save(checkpoint)


def train(
    cell: Cell, configuration: Mapping[str, Any], until: int, checkpoint: Path | None = None
) -> tuple[int, float]:
    """Train as `evaluations`, and return the last epoch and its val accuracy: NaN if training diverged."""
    *_, last = evaluations(cell, configuration, until, checkpoint)
    return last


class Formula:
    """A training of microseconds, for tests: best at lr 0.001 and wide layers; lr from 0.5 on diverges."""

    def __init__(self, cell: Cell, configuration: Configuration) -> None:
        self.cell, self.configuration, self.epoch = cell, configuration, 0

    def next_epoch(self) -> float:
        """Return the accuracy after one more epoch."""
        self.cell.check_time()
        self.epoch += 1
        lr, width = self.configuration["lr"], self.configuration["width_1"]
        if lr >= 0.5:
            return math.nan
        distance = abs(math.log10(lr) + 3) / 3 + self.configuration["dropout"] / 2 + 1 / width
        return 0.1 + 0.8 * math.exp(-distance) * (1 - 0.5 / self.epoch)

    def save(self, path: Path) -> None:
        """Save the epoch."""
        path.write_text(str(self.epoch), encoding="utf-8")

    def load(self, path: Path) -> None:
        """Go on from a saved epoch."""
        self.epoch = int(path.read_text(encoding="utf-8"))
