"""Rows of a results folder's CSVs as text: written at once, and put in another order without being parsed.

A study of 10,000 trials has millions of them: to read a cell and print it again costs more than to train it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness import files
from harness.settings import CONTROL

CONFUSION = ["trial_id", "split", "label", "prediction", "count"]
"""The columns of confusion.csv."""
FORMULA = r"'*[=+@-]"
"""How a cell begins that a spreadsheet would compute, after apostrophes that say that it should not."""
NUMBER = r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|nan)"
RUN = re.compile(r"^([^,\n]*),.*\n(?:\1,.*\n)*", re.MULTILINE)  # rows that begin with the same cell


def written(frame: pd.DataFrame, float_format: str | None = None) -> str:
    """A table as a CSV.

    A name that a spreadsheet would compute, as it begins with = + - or @ and is no number, gets an apostrophe
    before it, which `read` takes away. Control characters in reasons, which hold other people's messages,
    become spaces.
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
    """A CSV of `written` as text: digits stay as they were; nothing is parsed and printed again."""
    text = files.content_of(source).decode() if isinstance(source, Path) else source.getvalue()
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    if "'" in text:  # one search, where a search of each column would take as long as reading it
        marked = re.compile("'" + FORMULA)
        for name in frame:
            frame[name] = frame[name].mask(frame[name].str.match(marked), frame[name].str[1:])
    return frame


def concatenated(texts: Iterable[str], nothing: pd.DataFrame) -> pd.DataFrame:
    """Several CSVs, read as one, under the columns of all and of `nothing`, a table without rows.

    Each header's are read at once: a reading costs some milliseconds, however few its rows.
    """
    bodies: dict[str, list[str]] = {}
    for text in texts:
        first, _, body = text.partition("\n")
        bodies.setdefault(first, []).append(body)
    frames = [read(io.StringIO("".join([first, "\n", *own]))) for first, own in bodies.items()]
    return pd.concat([nothing, *frames], ignore_index=True)


def with_columns(text: str, columns: list[str]) -> str:
    """A CSV with these columns, in which cells that it has not are empty."""
    if header(text) == columns:
        return text
    return written(read(io.StringIO(text)).reindex(columns=columns, fill_value=""))


def confusion(frame: pd.DataFrame) -> str:
    """A table of `CONFUSION` as `to_csv` writes it, in a quarter of its time: ids and whole numbers."""
    cells = zip(*(frame[column].tolist() for column in CONFUSION), strict=True)
    rows = [f"{trial},{split},{label},{said},{count}\n" for trial, split, label, said, count in cells]
    return ",".join(CONFUSION) + "\n" + "".join(rows)


def header(text: str) -> list[str]:
    """The columns of a CSV."""
    return text.partition("\n")[0].split(",")


def without(text: str, cells: Collection[str]) -> str:
    """Take out of a CSV the rows that begin with one of these cells."""
    rows = (run[0] for run in RUN.finditer(text, text.index("\n") + 1) if run[1] not in cells)
    return text.partition("\n")[0] + "\n" + "".join(rows)


def merged(columns: Iterable[str], texts: Iterable[str], place: Mapping[str, int]) -> str:
    """Several CSVs of the same columns as one, their rows in the order of their first cells.

    Rows of one first cell stay in the order in which they come; they are those of the first CSV that has it.

    Args:
        columns: what all of them have; no cell is quoted.
        texts: the CSVs, each with its header.
        place: first cell -> its place in the order; rows of other cells are left out.
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
