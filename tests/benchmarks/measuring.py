"""Rounds: every side of every cell once a round, in an order that rotates, if it is not measured yet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from cells import Cell
from instructions import NATIVE
from rows import Measured, NotMeasuredError, Rows
from sides import TITLES, Side

from harness.system import machine
from harness.system.resources import cores


@dataclass
class Bench:
    """A bench under way.

    Attributes:
        cells: name -> what is measured.
        sides: name -> who does it.
        rows: what was measured, by this call and by earlier ones.
        commit: of this checkout.
        tell: what a person sees.
        deadline: nothing begins that would probably end later (time.monotonic).
        instructions: the sets that are measured, one after the other.
        warm: (side, cell, instruction set) that this call has warmed up.
        broken: what failed in this call: it is not tried again in it.
    """

    cells: Mapping[str, Cell]
    sides: Mapping[str, Side]
    rows: Rows
    commit: str
    tell: Callable[[str], None]
    deadline: float = float("inf")
    instructions: Sequence[str] = (NATIVE,)
    warm: set[tuple[str, str, str]] = field(default_factory=set)
    broken: set[tuple[str, str, str]] = field(default_factory=set)
    versions: dict[tuple[str, str], str] = field(default_factory=dict)
    took: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def remember(self) -> None:
        """Let the sides take the forms that earlier calls chose."""
        for row in self.rows:
            side, held = row["side"], row["instructions"]
            taking = side in self.sides and held in self.instructions and not row["failed"]
            if taking and row["version"] == self.version(side, held):
                self.sides[side].remember(row)

    def version(self, side: str, held: str) -> str:
        """What a side runs; read once."""
        if (side, held) not in self.versions:
            self.versions[side, held] = self.sides[side].version(held)
        return self.versions[side, held]

    def key(self, name: str, side: str, held: str, i: int) -> dict[str, Any]:
        """What makes a measurement another one."""
        cell = self.cells[name]
        return {
            "machine": machine.model(), "cores": cores(), "cell": name, "trials": cell.trials,
            "epochs": cell.epochs, "side": side, "instructions": held, "version": self.version(side, held),
            "round": i,
        }  # fmt: skip

    def planned(self, i: int) -> Iterator[tuple[str, str, str]]:
        """Cell, side and instruction set of a round, in its order."""
        for name, cell in self.cells.items():
            for held in self.instructions:
                taking = [side for side, one in self.sides.items() if one.takes(cell)]
                turn = i % len(taking)
                yield from ((name, side, held) for side in [*taking[turn:], *taking[:turn]])

    def missing(self, i: int) -> list[tuple[str, str, str]]:
        """What a round still lacks."""
        return [
            (name, side, held)
            for name, side, held in self.planned(i)
            if self.key(name, side, held, i) not in self.rows and (name, side, held) not in self.broken
        ]

    def table(self) -> pd.DataFrame:
        """The rows of what is measured here, by the code and the versions that there are now."""
        wanted = {
            (name, cell.trials, cell.epochs, side, held, self.version(side, held))
            for name, cell in self.cells.items() for side in self.sides for held in self.instructions
        }  # fmt: skip
        rows = self.rows.table()
        columns = ["cell", "trials", "epochs", "side", "instructions", "version"]
        own = pd.Series(
            [tuple(row) in wanted for row in rows[columns].itertuples(index=False)], rows.index, bool
        )
        return rows[own & rows["machine"].eq(machine.model()) & rows["cores"].eq(cores())]

    def one_round(self, i: int) -> bool:
        """Measure what a round lacks; False if the time was over before."""
        for name, side, held in self.missing(i):
            if time.monotonic() + self.took.get((name, side, held), 0.0) > self.deadline:
                return False
            begun = time.monotonic()
            self._measure(name, side, held, i)
            self.took[name, side, held] = time.monotonic() - begun
        return True

    def _measure(self, name: str, side: str, held: str, i: int) -> None:
        cell, who = self.cells[name], self.sides[side]
        about = {
            "title": cell.title, "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "load": round(os.getloadavg()[0], 2), "commit": self.commit,
        }  # fmt: skip
        try:
            if (name, side, held) not in self.warm:  # in each call: another revision's checkout is a new one
                self.warm.add((name, side, held))
                who.warm_up(cell, held)
            measured = who.measure(cell, held)
        except NotMeasuredError as error:
            measured = Measured(failed=str(error)[-1500:])
            self.broken.add((name, side, held))
        row = self.rows.add(self.key(name, side, held, i), about, measured)
        self.tell(told(row))


def told(row: Mapping[str, Any]) -> str:
    """A row in words."""
    held = "" if row["instructions"] == NATIVE else f" ({row['instructions']})"
    where = f"round {row['round'] + 1}: {row['title']}: {TITLES[row['side']]}{held}"
    if row["failed"]:
        return f"{where} failed: {row['failed']}"
    form = f" ({row['form']})" if row["form"] else ""
    accuracy = "" if row["accuracy"] is None else f", accuracy {row['accuracy']:.4f}"
    return f"{where}: {row['cpu']:.2f} CPU s, {row['wall']:.1f} s{accuracy}{form}"
