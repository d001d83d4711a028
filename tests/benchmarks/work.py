"""The work that all peers of the benchmark do: trials of one network that differ in their learning rate."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from harness.axes.optimizers import optimizers
from harness.data import samples as splits
from harness.data.arm_settings import Settings
from harness.data.datasets import datasets
from harness.data.samples import Data
from harness.settings import Value

VAL_FRACTION = 0.1
LADDER = (-3.0, 1.0)  # octaves: learning rates from 1/8 to 2 times the optimizer's default
SLICE = 0.7
LEAST_BATCH = 16  # below it the ladder is lowered in proportion, so that no peer trains on NaN


Extent = Literal["parts", "group", "all"]


@dataclass(frozen=True)
class Work:
    """Trials of a ReLU network under softmax cross-entropy, one seed each, evaluated as `harness run` does.

    Train and val are evaluated before training and after every epoch, test at the end.
    """

    hidden: tuple[int, ...] = (32, 32)
    batch_size: int = 32
    optimizer: str = "sgd"
    trials: int = 64
    epochs: int = 3
    dataset: str = "mnist"
    octaves: tuple[float, float] = LADDER

    @property
    def shape(self) -> str:
        """The layers' widths: 784-32-32-10."""
        return "-".join(map(str, self.widths))

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs, hidden .., classes."""
        facts = datasets[self.dataset].facts
        return (math.prod(facts.shape), *self.hidden, len(facts.classes))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Images of train, val and test."""
        facts, train = datasets[self.dataset].facts, splits.train_size(Settings(self.settings))
        return train, facts.train - train, facts.test

    @property
    def settings(self) -> dict[str, Value]:
        """What the harness is told of every trial, as a study's baseline."""
        return {
            "dataset": self.dataset,
            "val_fraction": VAL_FRACTION,
            "preprocessing": "unit",
            "hidden": list(self.hidden),
            "activation": "relu",
            "head": "identity",
            "loss": "ce",
            "optimizer": self.optimizer,
            "batch_size": self.batch_size,
            "epochs": self.epochs,
        }

    @property
    def default_rate(self) -> float:
        """The optimizer's own learning rate, lowered for tiny batches."""
        default = float(optimizers[self.optimizer].settings["lr"].default)  # type: ignore[arg-type]
        return default * min(1.0, self.batch_size / LEAST_BATCH)

    @property
    def rates(self) -> tuple[float, ...]:
        """The trials' learning rates: a geometric ladder around the optimizer's default."""
        ladder = self.default_rate * np.logspace(*self.octaves, self.trials, base=2)
        return tuple(float(f"{rate:.6g}") for rate in ladder)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch; the last batch may be short."""
        return math.ceil(self.sizes[0] / self.batch_size)

    @property
    def steps(self) -> int:
        """Training steps of one trial."""
        return self.epochs * self.steps_per_epoch

    @property
    def flops(self) -> float:
        """Nominal dense FLOPs of all trials: forward, gradients (none of the inputs), evaluations."""
        train, val, test = self.sizes
        layers = [2.0 * i * o for i, o in itertools.pairwise(self.widths)]
        forward = sum(layers)
        trained = self.epochs * train * (3 * forward - layers[0])
        evaluated = ((self.epochs + 1) * (train + val) + test) * forward
        return self.trials * (trained + evaluated)

    def reference(self) -> Work:
        """Three trials of one epoch at an eighth of the default learning rate: what all must train alike.

        So low because the last batches of one epoch, at a constant rate, move the accuracy by points.
        """
        return replace(self, trials=3, epochs=1, octaves=(-3.0, -2.99))


@dataclass(frozen=True)
class Share:
    """What one process of a peer does.

    Attributes:
        work: all of the work.
        rates: the learning rates of this process's own trials.
        members: trials that train together, as one.
        variant: which of the peer's own forms.
        device: cpu or cuda.
        cores: cores that the peer has, all processes together.
        extent: how much is really done: steps and evaluations timed apart, one group, or all groups.
        slice: seconds of steps that are timed in `parts`, at least.
    """

    work: Work
    rates: tuple[float, ...]
    members: int = 1
    variant: str = ""
    device: str = "cpu"
    cores: int = 1
    extent: Extent = "parts"
    slice: float = SLICE

    @property
    def groups(self) -> float:
        """How many groups of `members` its trials are; a part of a group counts as a part."""
        return len(self.rates) / self.members

    @property
    def first(self) -> tuple[float, ...]:
        """The learning rates of the first group."""
        return self.rates[: self.members]

    def each(self) -> list[Share]:
        """The share cut into its groups."""
        starts = range(0, len(self.rates), self.members)
        return [replace(self, rates=self.rates[i : i + self.members]) for i in starts]


@dataclass(frozen=True)
class Timing:
    """What a share took.

    Attributes:
        seconds: of all the share's trials, data loading counted; extrapolated where not all was measured.
        measured: seconds that really passed.
        load: seconds of them that loaded, split and preprocessed the data.
        set_up: seconds of compiling, which are not counted.
        steps: training steps that were timed, of one group.
        trials: trials that were trained.
        extrapolated: in words, how `seconds` was made of what was measured; empty where it was measured.
        accuracies: test accuracies of trials that were trained to the end.
        device: where it really was trained.
    """

    seconds: float
    measured: float
    load: float
    set_up: float = 0.0
    steps: int = 0
    trials: int = 0
    extrapolated: str = ""
    accuracies: list[float] = field(default_factory=list)
    device: str = "cpu"


def as_json(share: Share) -> dict[str, Any]:
    """A share as it travels to another process."""
    return asdict(share)


def from_json(sent: dict[str, Any]) -> Share:
    """A share as it was sent."""
    listed = {name: tuple(sent["work"][name]) for name in ("hidden", "octaves")}
    work = {**sent["work"], **listed}
    return Share(**{**sent, "work": Work(**work), "rates": tuple(sent["rates"])})


def load(work: Work) -> Data:
    """The data, read and preprocessed anew: what is in memory from an earlier timing does not count."""
    splits._images.cache_clear()
    splits._prepare.cache_clear()
    return splits.prepare(Settings(work.settings))


def shares(work: Work, processes: int, **how: Any) -> list[Share]:
    """Deal the trials out to processes; as many as there are trials, at most."""
    count = min(processes, work.trials)
    dealt = [work.rates[i::count] for i in range(count)]
    members = how.pop("members", 1)
    return [Share(work, rates, members=min(members, len(rates)), **how) for rates in dealt]


def words(work: Work) -> str:
    """A cell in a few words."""
    n, epochs = work.trials, work.epochs
    told = f"{work.shape} batch {work.batch_size} {work.optimizer}, {n} trial{'s' * (n > 1)} x {epochs} epoch"
    return told + "s" * (epochs > 1) + ("" if work.dataset == "mnist" else f", {work.dataset}")
