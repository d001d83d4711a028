"""Rows of measurements: one a line, written as it is measured, so that a bench goes on where it stopped.

What makes a measurement the same as an earlier one is in `KEY`: machine, cell and its size, side, instruction
set, the versions of all that the side runs, and the round. A line that was cut off is dropped.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import UsageError

KEY = ("machine", "cores", "cell", "trials", "epochs", "side", "instructions", "version", "round")
ABOUT = ("title", "measured", "load", "commit")


class NotMeasuredError(Exception):
    """A side could not do the work; the message says why."""


@dataclass(frozen=True)
class Measured:
    """What a side took for a cell.

    Attributes:
        cpu: processor seconds of all its processes.
        cpu_in_all: the same, with what is not charged (JAX's start and compilation).
        wall: seconds that passed.
        peak_mb: memory of its largest process at its peak; 0: not measured.
        trials_done: trials that were trained to the end.
        accuracy: their mean test accuracy; None: none was trained to the end.
        form: which of the side's forms.
        extrapolated: how seconds were made of what was measured; empty: all was measured.
        failed: why there is nothing of all that.
    """

    cpu: float | None = None
    cpu_in_all: float | None = None
    wall: float | None = None
    peak_mb: float = 0.0
    trials_done: int = 0
    accuracy: float | None = None
    form: str = ""
    extrapolated: str = ""
    failed: str = ""


COLUMNS = (*KEY, *ABOUT, *(one.name for one in fields(Measured)))
WORDS = (
    "machine",
    "cell",
    "side",
    "instructions",
    "version",
    "title",
    "measured",
    "commit",
    "form",
    "extrapolated",
    "failed",
)


class Rows:
    """The rows of a folder, old and new."""

    def __init__(self, file: Path) -> None:
        """Read what is there.

        Raises:
            UsageError: the file is another program's, or an older bench's; or there can be no such folder.
        """
        self.file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--out {file.parent}: {error.strerror}; allowed is a folder") from error
        if file.exists():
            _cut(file)
        if not file.exists() or not file.stat().st_size:
            _append(file, COLUMNS)
        with file.open(newline="") as lines:
            header = lines.readline().strip()
        if header != ",".join(COLUMNS):
            raise UsageError(
                f"{file}: got the columns {header[:70]} .., allowed are this bench's; name another --out"
            )
        table = pd.read_csv(file, dtype=dict.fromkeys(WORDS, str), keep_default_na=False, na_values={
            name: [""] for name in COLUMNS if name not in WORDS
        })  # fmt: skip
        self._kept: dict[tuple[str, ...], dict[str, Any]] = {}
        for values in table.to_dict("records"):
            row = {str(name): value for name, value in values.items()}
            self._kept[_key(row)] = row

    def __contains__(self, key: Mapping[str, Any]) -> bool:
        """Whether it was measured; what failed is tried again by the next call."""
        row = self._kept.get(_key(key))
        return row is not None and not row["failed"]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._kept.values())

    def add(self, key: Mapping[str, Any], about: Mapping[str, Any], measured: Measured) -> dict[str, Any]:
        """Keep a row, on the disk too."""
        row = {**key, **about, **asdict(measured)}
        _append(self.file, [row[name] for name in COLUMNS])
        self._kept[_key(row)] = row
        return row

    def table(self) -> pd.DataFrame:
        """All rows, the last of each key."""
        return pd.DataFrame(list(self), columns=list(COLUMNS))


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in KEY)


def _cut(file: Path) -> None:
    """Drop a last line that was not written to its end."""
    text = file.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(file, whole)


def _append(file: Path, values: Any) -> None:
    """One line, by one write, on the disk before anything else is measured."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(
        [
            str(value).replace("\n", " ").replace("\r", " ") if isinstance(value, str) else value
            for value in values
        ]
    )
    with file.open("ab", buffering=0) as out:
        out.write(text.getvalue().encode())
        os.fsync(out.fileno())
