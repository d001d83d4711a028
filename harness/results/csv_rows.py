"""Rows of a results folder's CSVs as text: written fast, and reordered without parsing.

A study of 10,000 trials has millions of rows: to parse and print a cell costs more than to train it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.settings import CONTROL
from harness.system import files

CONFUSION = ["trial_id", "split", "label", "prediction", "count"]
"""Columns of confusion.csv, in order."""
FORMULA = r"'*[=+@-]"
"""Beginning of a cell that a spreadsheet would compute, after apostrophes that forbid it."""
NUMBER = r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|nan)"
RUN = re.compile(r"^([^,\n]*),.*\n(?:\1,.*\n)*", re.MULTILINE)  # rows that begin with the same cell


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
    text = files.content_of(source).decode() if isinstance(source, Path) else source.getvalue()
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    if "'" in text:  # one search, where a search of each column would take as long as reading it
        marked = re.compile("'" + FORMULA)
        for name in frame:
            frame[name] = frame[name].mask(frame[name].str.match(marked), frame[name].str[1:])
    return frame


def concatenated(texts: Iterable[str], empty: pd.DataFrame) -> pd.DataFrame:
    """Read several CSVs as one, with the columns of all and of `empty`, a table without rows.

    CSVs of one header are read together: a call costs some milliseconds, however few its rows.
    """
    bodies: dict[str, list[str]] = {}
    for text in texts:
        first, _, body = text.partition("\n")
        bodies.setdefault(first, []).append(body)
    frames = [read(io.StringIO("".join([first, "\n", *rows]))) for first, rows in bodies.items()]
    return pd.concat([empty, *frames], ignore_index=True)


def with_columns(text: str, columns: list[str]) -> str:
    """Give a CSV these columns; new ones are empty."""
    if header(text) == columns:
        return text
    return written(read(io.StringIO(text)).reindex(columns=columns, fill_value=""))


def confusion(frame: pd.DataFrame) -> str:
    """Write a table of `CONFUSION` as `to_csv` would, in a quarter of its time: ids and whole numbers."""
    cells = zip(*(frame[column].tolist() for column in CONFUSION), strict=True)
    rows = [f"{trial},{split},{label},{predicted},{n}\n" for trial, split, label, predicted, n in cells]
    return ",".join(CONFUSION) + "\n" + "".join(rows)


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
