"""A campaign: which cells there are, which are finished, and their tables in its folder.

cells.csv             a row a finished cell: what it tried, its incumbent, and what the machine did
METHOD-REPEAT.csv     its improvements: every evaluation that was better than all before it
confirmed.csv         a row a seed: the incumbent trained anew by the common trainer
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from cell_process import Ended
from environments import Method
from problem import INCUMBENT, LOG, Cell, Problem

from harness.errors import UsageError
from harness.system import files

CELLS, CONFIRMED = "cells.csv", "confirmed.csv"
FIXED = ("problem", "minutes")
"""Columns of cells.csv in which all cells of a campaign agree."""


@dataclass(frozen=True)
class Campaign:
    """Methods and repeats on a problem, so many minutes each, with results in `folder`.

    `work` is where cells keep what is not committed; `images` is the folder of network.py's arrays.
    """

    problem: Problem
    minutes: float
    repeats: int
    methods: Sequence[Method]
    folder: Path
    work: Path
    images: str

    def cells(self) -> pd.DataFrame:
        """Return the table of finished cells, perhaps empty.

        Raises:
            UsageError: the folder has cells of another problem or of other minutes.
        """
        table = read(self.folder / CELLS)
        given = (self.problem.name, self.minutes)
        for column, value in zip(FIXED, given, strict=True):
            others = set(table[column]) - {value} if len(table) else set()
            if others:
                raise UsageError(
                    f"{self.folder / CELLS} has cells with {column} {others.pop()}, not {value}: they "
                    "cannot be compared. Name another folder with --out, or set this one aside."
                )
        return table

    def left(self) -> list[tuple[int, Method]]:
        """Return the cells to run: all methods of a repeat before the next one, in an order that rotates."""
        table = self.cells()
        finished = set(zip(table["repeat"], table["method"], strict=True)) if len(table) else set()
        order = [
            (repeat, self.methods[(repeat + i) % len(self.methods)])
            for repeat in range(self.repeats)
            for i in range(len(self.methods))
        ]
        return [(repeat, method) for repeat, method in order if (repeat, method.name) not in finished]

    def cell(self, method: Method, repeat: int, clock: float) -> Cell:
        """Return a cell that starts at a reading of the clock, its folder empty."""
        folder = self.work / f"{method.name}-{repeat}"
        return Cell(method.name, self.problem, repeat, 60 * self.minutes, folder, self.images, clock)

    def keep(self, cell: Cell, about: Mapping[str, Any]) -> dict[str, Any]:
        """Write a finished cell's tables, its row in cells.csv last, and return that row.

        Args:
            cell: whose log and incumbent are read.
            about: further columns of its row.
        """
        log = read_log(cell)
        best = improvements(log)
        write(self.folder / f"{cell.method}-{cell.repeat}.csv", best)
        row = {
            "method": cell.method,
            "repeat": cell.repeat,
            "problem": self.problem.name,
            "minutes": self.minutes,
            "configurations": log["key"].nunique(),
            "epochs": len(log),
            "diverged": int(log["val_accuracy"].isna().sum()),
            "best_val_accuracy": best["val_accuracy"].max() if len(best) else math.nan,
            **incumbent(cell),
            **about,
        }
        table = self.cells()
        write(self.folder / CELLS, pd.concat([table, pd.DataFrame([row])], ignore_index=True))
        return row

    def confirmed(self) -> pd.DataFrame:
        """Return the table of confirmed cells, perhaps empty."""
        return read(self.folder / CONFIRMED)

    def unconfirmed(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of cells.csv whose incumbents are not confirmed yet."""
        table = self.confirmed()
        done = set(zip(table["method"], table["repeat"], strict=True)) if len(table) else set()
        for row in self.cells().to_dict("records"):
            if not pd.isna(row["val_accuracy"]) and (row["method"], row["repeat"]) not in done:
                yield {str(name): value for name, value in row.items()}

    def keep_confirmed(self, rows: pd.DataFrame) -> None:
        """Add the rows of a confirmed cell."""
        write(self.folder / CONFIRMED, pd.concat([self.confirmed(), rows], ignore_index=True))


def read(path: Path) -> pd.DataFrame:
    """Read a table, an empty one if it is not there."""
    return pd.read_csv(path) if path.is_file() else pd.DataFrame()


def write(path: Path, table: pd.DataFrame) -> None:
    """Write a table whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, table.to_csv(index=False, lineterminator="\n", float_format="%.7g").encode())


def read_log(cell: Cell) -> pd.DataFrame:
    """Return what a cell evaluated until its deadline, in the order of its seconds.

    Returns:
        seconds, key (the configuration as text), epoch, val_accuracy (NaN: diverged), and the parameters.
    """
    path = cell.folder / LOG
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [parameter.name for parameter in cell.problem.parameters]
    rows = [
        {
            "seconds": line["seconds"],
            "key": json.dumps(line["configuration"], sort_keys=True),
            "epoch": line["epoch"],
            "val_accuracy": math.nan if line["val_accuracy"] is None else line["val_accuracy"],
            **line["configuration"],
        }
        for line in map(json.loads, lines)
        if line["seconds"] <= cell.seconds
    ]
    table = pd.DataFrame(rows, columns=["seconds", "key", "epoch", "val_accuracy", *names])
    return table.sort_values("seconds", kind="stable", ignore_index=True)


def improvements(log: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a log that are better than all before them, with how much was tried by then.

    Returns:
        seconds, configurations, epochs (both up to and with this row), epoch, val_accuracy, the parameters.
    """
    values = log["val_accuracy"].fillna(-math.inf)
    counted = log.assign(configurations=(~log["key"].duplicated()).cumsum(), epochs=range(1, len(log) + 1))
    before = values.cummax().shift(fill_value=-math.inf)
    columns = ["seconds", "configurations", "epochs", *log.columns.drop(["seconds", "key"])]
    return counted.loc[values.gt(before), columns].reset_index(drop=True)


def incumbent(cell: Cell) -> dict[str, Any]:
    """Return a cell's incumbent as columns: val_accuracy, rule, incumbent_seconds, and its parameters."""
    path = cell.folder / INCUMBENT
    names = [parameter.name for parameter in cell.problem.parameters]
    if not path.is_file():
        return {"val_accuracy": math.nan, "rule": "", "incumbent_seconds": math.nan, **dict.fromkeys(names)}
    document = json.loads(path.read_text(encoding="utf-8"))
    return {
        "val_accuracy": document["val_accuracy"],
        "rule": document["rule"],
        "incumbent_seconds": document["seconds"],
        **document["configuration"],
    }


def about(ended: Ended, method: Method, load: float, machine: str, code: str) -> dict[str, Any]:
    """Return the columns of cells.csv that say how a cell was run; `code` names this checkout's."""
    return {
        "cpu_seconds": math.nan if method.detached else ended.cpu,
        "wall_seconds": ended.wall,
        "status": ended.status,
        "load": load,
        "version": " ".join([*method.requirements, code]),
        "processor": machine,
        "cores": os.cpu_count(),
    }
