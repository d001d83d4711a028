"""What the benchmark does: which work, which peers, how many rounds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from peers import HARNESS, PEERS
from work import Work

from harness.errors import UsageError, did_you_mean

SHAPES = ((32, 32), (200,), (512, 512))
BATCHES = (1, 16, 32, 128, 512)
OPTIMIZERS = ("sgd", "momentum", "adam")
TRIALS = (8, 64, 512)
DEFAULT = (
    *(Work(batch_size=size, optimizer=name) for name in ("sgd", "adam") for size in (32, 16, 128)),
    Work((200,), epochs=1),
    Work((512, 512), trials=8, epochs=1),
)
WITH_SLOW = (Work(), Work(optimizer="adam"))
"""The default cells at which slow peers take part."""
EVERY = tuple(
    Work(shape, size, name, trials)
    for shape, size, name, trials in itertools.product(SHAPES, BATCHES, OPTIMIZERS, TRIALS)
)
COUNTS = (10, 30, 100, 300, 1_000, 3_000, 10_000)
MOST_BY_DEFAULT = 1_000
COUNTED = (HARNESS, "in_memory_cores", "jax")
"""Who takes part where the cost of a trial is told against the number of trials."""


@dataclass(frozen=True)
class Selection:
    """What is measured.

    Attributes:
        cells: the work, one entry a cell of the table.
        peers: who, by name.
        counts: numbers of short trials whose cost is measured; none: that is left out.
        rounds: how often everything is repeated, at most.
        minutes: no round begins that would end later; the first always does.
        everywhere: slow peers take part in every cell.
        device: cpu or cuda.
        out: the folder that is written to.
    """

    cells: Sequence[Work] = DEFAULT
    peers: Sequence[str] = tuple(PEERS)
    counts: Sequence[int] = tuple(n for n in COUNTS if n <= MOST_BY_DEFAULT)
    rounds: int = 3
    minutes: float = 15.0
    everywhere: bool = False
    device: str = "cpu"
    out: Path = Path("results/bench")

    def of(self, work: Work) -> list[str]:
        """Who takes part in a cell, the harness always."""
        slow = self.everywhere or work in WITH_SLOW
        chosen = [name for name in self.peers if slow or not PEERS[name].slow]
        return list(dict.fromkeys([*chosen, HARNESS]))


def short(trials: int) -> Work:
    """Trials so short that what surrounds them is what costs: one epoch of digits."""
    return Work(trials=trials, epochs=1, dataset="digits")


def chosen_peers(text: str) -> tuple[str, ...]:
    """Peers from `jax,harness`.

    Raises:
        UsageError: there is no such peer.
    """
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in PEERS:
            raise UsageError(f"--only {name}: {did_you_mean(name, PEERS)}")
    return tuple(names) or tuple(PEERS)


def chosen_cells(text: str, epochs: int = 3) -> tuple[Work, ...]:
    """Cells from `32:sgd,128:adam:200,16:sgd:512-512:8`: batch size, optimizer, widths, trials.

    Raises:
        UsageError: that is no cell.
    """
    return tuple(_cell(part, epochs) for part in text.split(",") if part)


def _cell(text: str, epochs: int) -> Work:
    fields = [*text.split(":"), "", "", ""]
    try:
        size, optimizer, hidden, trials = int(fields[0]), fields[1] or "sgd", fields[2], int(fields[3] or 64)
        widths = tuple(int(width) for width in hidden.split("-")) if hidden else (32, 32)
    except ValueError:
        size, optimizer, widths, trials = 0, "", (), 0
    if min(size, trials, *widths) < 1 or optimizer not in OPTIMIZERS or len(fields) > 7:
        raise UsageError(
            f"--cells {text}: allowed: BATCH:OPTIMIZER[:WIDTHS[:TRIALS]], such as 32:sgd or "
            f"128:adam:512-512:8, with optimizer one of {', '.join(OPTIMIZERS)}"
        )
    return Work(widths, size, optimizer, trials, epochs)


def optimizers_of(cells: Iterable[Work]) -> list[str]:
    """The optimizers that occur, once each."""
    return list(dict.fromkeys(work.optimizer for work in cells))
