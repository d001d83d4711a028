"""Rows of a results folder's CSVs as text: written fast, and reordered without parsing.

A study of 10,000 trials has millions of rows: to parse and print a cell costs more than to train it. A run
needs no more than this; to import pandas takes as long as a small study.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.settings import CONTROL
from harness.system import files

if TYPE_CHECKING:
    import pandas as pd

CONFUSION = ["trial_id", "split", "label", "prediction", "count"]
"""Columns of confusion.csv, in order."""
FORMULA = r"'*[=+@-]"
"""Beginning of a cell that a spreadsheet would compute, after apostrophes that forbid it."""
MARK = "'"
SUSPECTS = tuple(f"{before}{first}" for before in (",", '"', "\n") for first in "=+@'-")
"""Signs of a cell in a CSV that may have to be marked; to look at each cell costs more than to write all."""
NUMBER = r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|nan)"
RUN = re.compile(r"^([^,\n]*),.*\n(?:\1,.*\n)*", re.MULTILINE)  # rows that begin with the same cell

AT_ONCE = 10_000
"""Rows that are written at once: of a million, the lists of all cells would take most memory."""
LONGEST = 2**31 - 1
"""Most characters of a cell: the csv module's own limit is less than a reason may be long."""


@dataclass
class TextTable:
    """A table of texts: names of columns, and rows of as many cells."""

    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    def __getitem__(self, column: str) -> list[str]:
        """List the cells of a column; KeyError if there is none."""
        if column not in self.columns:
            raise KeyError(column)
        place = self.columns.index(column)
        return [row[place] for row in self.rows]

    def only(self, columns: Sequence[str]) -> TextTable:
        """Give a table of these columns; those that this one lacks are empty."""
        places = [self.columns.index(name) if name in self.columns else -1 for name in columns]
        return TextTable(list(columns), [[row[i] if i >= 0 else "" for i in places] for row in self.rows])

    def in_lines(self) -> TextTable:
        """Give the table with spaces for control characters in reasons, which hold others' messages."""
        if "reason" not in self.columns:
            return self
        at, control = self.columns.index("reason"), re.compile(f"{CONTROL}+")
        rows = [
            [*row[:at], control.sub(" ", row[at]), *row[at + 1 :]] if control.search(row[at]) else row
            for row in self.rows
        ]
        return TextTable(self.columns, rows)

    def written(self) -> str:
        """Write a CSV as the function `written` does."""
        blocks = (self.rows[at : at + AT_ONCE] for at in range(0, len(self.rows), AT_ONCE))
        texts = (_text(TextTable(self.columns, rows).in_lines().rows) for rows in blocks)
        return "".join([_text([self.columns]), *texts])


def _is_suspect(text: str) -> bool:
    """Tell whether a CSV may have a cell that has to be marked."""
    return text[:1] in {"=", "+", "@", "'", "-"} or any(sign in text for sign in SUSPECTS)


def _joined(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _text(rows: Sequence[Sequence[str]]) -> str:
    """Write rows as a CSV without a header, each cell as a table writes it."""
    text = _joined(rows)
    if _is_suspect(text):
        text = _joined([_marked(cell) for cell in row] for row in rows)
    return text


def _marked(cell: str) -> str:
    return MARK + cell if re.match(FORMULA, cell) and not re.fullmatch(NUMBER, cell) else cell


def lines(rows: Sequence[Sequence[str]]) -> list[bytes]:
    """Write rows as lines of a CSV, without their ends, each cell as a table writes it."""
    text = _text(rows)
    if text.count("\n") == len(rows):
        return text.encode().split(b"\n")[:-1]
    return [_text([row])[:-1].encode() for row in rows]  # a cell has several lines


def number(value: float) -> str:
    """Write a number with the digits that float32 holds; one that is missing (NaN) is an empty cell."""
    return "" if math.isnan(value) else f"{value:.7g}"


def table(text: str) -> TextTable:
    """Read a CSV of `written` as texts.

    Raises:
        ValueError: it has no header, or rows of other lengths.
    """
    csv.field_size_limit(LONGEST)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise ValueError(str(error)) from error
    if not rows:
        raise ValueError("it has no header")
    header, *rows = rows
    if any(len(row) != len(header) for row in rows):
        raise ValueError("it has rows of other lengths than its header")
    if MARK in text:
        marked = re.compile(MARK + FORMULA)
        rows = [[cell[1:] if marked.match(cell) else cell for cell in row] for row in rows]
    return TextTable(header, rows)


def written(frame: pd.DataFrame, float_format: str | None = None) -> str:
    """Write a table as a CSV.

    A name that a spreadsheet would compute, because it begins with = + - or @ and is not a number, gets an
    apostrophe in front, which `read` removes. Control characters in reasons, which hold other people's
    messages, become spaces.
    """
    frame = frame.copy(deep=False)
    for name in frame:
        if _holds_text(frame[name]):
            frame[name] = _as_cells(frame[name])
    return frame.to_csv(index=False, float_format=float_format, lineterminator="\n")


def _holds_text(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return isinstance(column.dtype, pd.StringDtype) or (
        column.dtype.kind == "O" and pd.api.types.infer_dtype(column) in {"string", "mixed", "mixed-integer"}
    )


def _as_cells(column: pd.Series[Any]) -> pd.Series[Any]:
    if column.name == "reason":
        column = column.str.replace(f"{CONTROL}+", " ", regex=True)
    if not column.str.startswith(("=", "+", "-", "@", "'")).any():
        return column
    formula = column.str.match(FORMULA).eq(True) & ~column.str.fullmatch(NUMBER).eq(True)
    return column.mask(formula, "'" + column.astype(str))


def read(source: Path | io.StringIO) -> pd.DataFrame:
    """Read a CSV of `written` as text, so that all digits stay as they are."""
    import pandas as pd

    text = files.content_of(source).decode() if isinstance(source, Path) else source.getvalue()
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    if "'" in text:  # one search, where a search of each column would take as long as reading it
        marked = re.compile("'" + FORMULA)
        for name in frame:
            frame[name] = frame[name].mask(frame[name].str.match(marked), frame[name].str[1:])
    return frame


def concatenated(texts: Iterable[str], columns: Sequence[str] = ()) -> TextTable:
    """Read several CSVs as one, with these columns and all others that one has."""
    return stacked([table(text) for text in texts], columns)


def stacked(tables: Sequence[TextTable], columns: Sequence[str] = ()) -> TextTable:
    """Put the rows of several tables below each other, with these columns and all others that one has."""
    every = list(dict.fromkeys([*columns, *(name for one in tables for name in one.columns)]))
    return TextTable(every, [row for one in tables for row in one.only(every).rows])


def with_columns(text: str, columns: list[str]) -> str:
    """Give a CSV these columns; new ones are empty."""
    return text if header(text) == columns else table(text).only(columns).written()


def header(text: str) -> list[str]:
    """List the columns of a CSV."""
    return text.partition("\n")[0].split(",")


def without(text: str, cells: Collection[str]) -> str:
    """Remove from a CSV the rows that begin with one of these cells."""
    rows = (run[0] for run in RUN.finditer(text, text.index("\n") + 1) if run[1] not in cells)
    return text.partition("\n")[0] + "\n" + "".join(rows)


def merged(columns: Iterable[str], texts: Iterable[str], place: Mapping[str, int]) -> str:
    """Merge CSVs of the same columns, without quoted cells, in the order `place` of their rows' first cells.

    Rows of one first cell come from the first CSV that has it, and keep their order; rows of cells without a
    place are left out.
    """
    owner: dict[str, int] = {}
    runs = [
        (place[run[1]], run[0])
        for i, text in enumerate(texts)
        for run in RUN.finditer(text, text.index("\n") + 1)
        if run[1] in place and owner.setdefault(run[1], i) == i
    ]
    runs.sort(key=lambda run: run[0])
    return ",".join(columns) + "\n" + "".join(rows for _, rows in runs)
