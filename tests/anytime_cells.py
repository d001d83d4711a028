"""Cells of the anytime comparison for tests, with formulas in place of networks and a clock that is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import problem
from problem import PROBLEMS, Cell, Configuration

FULL, SHORT = PROBLEMS["full"], PROBLEMS["short"]
GOOD: Configuration = {
    "width_1": 128, "width_2": 64, "batch_size": 32, "dropout": 0.1, "lr": 1e-3, "weight_decay": 1e-8
}  # fmt: skip


class FakeClock:
    """A clock that goes on by `step` whenever it is read."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 100.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def cell_in(folder: Path, seconds: float = 60, clock: Callable[[], float] | None = None) -> Cell:
    """A cell of the short problem, with formulas, that starts now."""
    clock = clock or FakeClock()
    return Cell("random", SHORT, 0, seconds, folder, "", clock(), clock)


def lines_of(cell: Cell) -> list[dict[str, object]]:
    return [json.loads(line) for line in (cell.folder / problem.LOG).read_text().splitlines()]
