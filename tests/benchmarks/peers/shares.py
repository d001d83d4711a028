"""What one process of a peer does, and what it took."""

from __future__ import annotations

import time as clock
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from cells import Cell
from numpy.typing import NDArray

SLICE = 0.7
Extent = Literal["parts", "group", "all"]


def now() -> NDArray[np.float64]:
    """Seconds that passed, and processor seconds of this process (2,), since some beginning."""
    return np.array([clock.perf_counter(), clock.process_time()])


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

    work: Cell
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
        wall: seconds for all the share's trials, data loading counted; extrapolated where not all was
            measured.
        cpu: processor seconds for them, likewise.
        trials: trials that were trained.
        extrapolated: in words, how this was made of what was measured; empty where it was measured.
        accuracies: test accuracies of trials that were trained to the end.
    """

    wall: float
    cpu: float
    trials: int = 0
    extrapolated: str = ""
    accuracies: list[float] = field(default_factory=list)


def as_json(share: Share) -> dict[str, Any]:
    """A share as it travels to another process."""
    return asdict(share)


def from_json(sent: dict[str, Any]) -> Share:
    """A share as it was sent."""
    return Share(**{**sent, "work": Cell(**sent["work"]), "rates": tuple(sent["rates"])})


def shares(work: Cell, processes: int, **how: Any) -> list[Share]:
    """Deal the trials out to processes; as many as there are trials, at most."""
    count = min(processes, work.trials)
    dealt = [work.rates[i::count] for i in range(count)]
    members = how.pop("members", 1)
    return [Share(work, rates, members=min(members, len(rates)), **how) for rates in dealt]
