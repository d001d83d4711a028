"""A table of any tool as texts: the encoding, separator and decimal mark of a CSV, and lines of rows."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import UsageError, did_you_mean, few, quoted
from harness.results.csv_rows import LONGEST
from harness.text import TURNING

SEPARATORS = (",", ";", "\t", "|")
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "|"}
BINARY = {
    b"PK\x03\x04": "a spreadsheet or zip file: save the sheet as CSV",
    b"PAR1": "Parquet: write it as CSV (pandas: `frame.to_csv(file, index=False)`), or give the frame itself",
    b"\x1f\x8b": "compressed: unpack it (gunzip)",
    b"\x80\x04": "a pickle, which runs code when it is read: write the table as CSV",
    b"\x80\x05": "a pickle, which runs code when it is read: write the table as CSV",
    b"%PDF": "a PDF: export the table as CSV",
}
"""First bytes of files that people take for tables, and what to do about each."""
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
MISSING = frozenset(("", "nan", "na", "n/a", "#n/a", "null", "none", "-", "<na>"))
"""Cells, in lower case, that mean that there is no value."""
THOUSANDS = r"[+-]?[1-9]\d{0,2}(?:,\d{3})+"
SHOWN = 3  # lines that a message names
WHOLE = re.compile(r"^([+-]?\d+)\.0+$")
TRUTH = {"true": "1", "false": "0"}
EXCEL = re.compile(r"\s*\"?sep=(?P<sign>[,;\t|])\"?[ ,;\t|]*")
"""A first line that tells Excel, and nobody else, the separator."""


@dataclass(frozen=True)
class ReadTable:
    """A table as it was read, before anything is understood of it.

    Attributes:
        cells: a column a column, texts or (of a DataFrame) whatever it holds; rows in the file's order.
        lines: the line, or row, on which each row stands.
        place: "line" of a file, "row" of a DataFrame.
        name: the file's name, or "the table".
        decimal: "," or "."; None: to be seen from the column.
        notes: what was unusual, in words.
    """

    cells: pd.DataFrame
    lines: np.ndarray[Any, np.dtype[np.int64]]
    place: str = "line"
    name: str = "the table"
    decimal: str | None = None
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self.cells.columns)

    def only(self, kept: Any) -> ReadTable:
        """Keep the rows that a mask marks."""
        kept = np.asarray(kept, dtype=bool)
        return replace(self, cells=self.cells[kept], lines=self.lines[kept])

    def require(self, column: str, option: str) -> str:
        """Return the name of a column as the table spells it, or raise UsageError."""
        if column in self.cells:
            return column
        alike = [name for name in self.columns if name.strip().lower() == column.strip().lower()]
        if len(alike) == 1:
            return alike[0]
        raise UsageError(
            f"{option} {column}: {self.name} has no such column; {did_you_mean(column, self.columns)}"
        )

    def texts(self, column: str) -> pd.Series[str]:
        """Return a column as labels, without blanks around them; 0.0 as 0."""
        codes, values = pd.factorize(self.cells[column], use_na_sentinel=True)  # a label is spelt once
        spelt = (visible(WHOLE.sub(r"\1", str(value).strip())) for value in values)
        labels = np.array([*spelt, ""], dtype=object)
        return pd.Series(labels[codes], index=self.cells.index, dtype=object)

    def at(self, rows: Any) -> str:
        """Name the first lines of the rows that a mask marks: "lines 3, 4, 5 and 12 more"."""
        lines = [str(line) for line in self.lines[np.asarray(rows, dtype=bool)]]
        more = f" and {len(lines) - SHOWN:,} more" if len(lines) > SHOWN else ""
        return f"{self.place}{'s' if len(lines) > 1 else ''} {', '.join(lines[:SHOWN])}{more}"

    def numbers(self, column: str) -> tuple[pd.Series[float], list[str]]:
        """Return a column as numbers, NaN where there is none, and notes on how they were read.

        Raises:
            UsageError: a cell is neither a number nor empty, or its comma may mean two things.
        """
        values = self.cells[column]
        if pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
            return values.astype(float), []
        texts = values.fillna("").astype(str).str.strip()
        texts = texts.mask(texts.str.lower().isin(MISSING), "")
        texts, notes = self._without_commas(texts, column)
        filled = texts.ne("")
        if filled.any() and texts[filled].str.lower().isin(TRUTH).all():
            texts = texts.str.lower().replace(TRUTH)
            notes.append(f"{column} is true or false: read as 1 or 0")
        if filled.any() and texts[filled].str.endswith("%").all():
            texts = texts.str.rstrip("%").str.strip()
            notes.append(f"{column} is written with a % sign: read as percent")
        numbers = pd.to_numeric(texts.where(filled), errors="coerce").astype(float)
        wrong = filled & numbers.isna()
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            others = int(wrong.sum()) - 1
            raise UsageError(
                f"{self.name}, {self.place} {self.lines[first]}: {column} is {quoted(texts.iloc[first])}, "
                f"which is not a number{f' ({others:,} more like it)' if others else ''}. Allowed: a "
                "number, or an empty cell where there is none"
            )
        return numbers, notes

    def _without_commas(self, texts: pd.Series[str], column: str) -> tuple[pd.Series[str], list[str]]:
        """Turn decimal commas into points, where it is sure that they are decimal commas."""
        commas = texts.str.contains(",", regex=False)
        if not commas.any() or self.decimal == ".":
            return texts, []
        if self.decimal is None and texts[commas].str.fullmatch(THOUSANDS).all():
            cell = texts[commas].iloc[0]
            raise UsageError(
                f"{self.name}: {column} has {quoted(cell)}, which may be {cell.replace(',', '.')} or "
                f"{cell.replace(',', '')}. Say which: --decimal , (a decimal comma), or write no commas"
            )
        return texts.str.replace(",", ".", regex=False), [f"{column} has decimal commas: 0,97 read as 0.97"]


def visible(text: str) -> str:
    r"""Return a name with its control characters spelt out: they would steer the terminal that shows it.

    >>> visible("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if text.isprintable():
        return text
    return "".join(
        sign.encode("unicode_escape").decode()
        if unicodedata.category(sign) in {"Cc", "Cs"} or ord(sign) in TURNING
        else sign
        for sign in text
    )


def from_frame(frame: pd.DataFrame) -> ReadTable:
    """Take a DataFrame as a table; columns of several levels are joined by "_", as Optuna names them."""
    labels: list[object] = list(frame.columns)
    names = [
        "_".join(str(part) for part in name if str(part)) if isinstance(name, tuple) else str(name)
        for name in labels
    ]
    cells = frame.set_axis(names, axis=1).reset_index(drop=True)
    _check_names(names, "the table")
    if cells.empty:
        raise UsageError("the table has no rows; allowed: a row a run")
    return ReadTable(cells, np.arange(len(cells)), "row")


def read_csv(path: Path, decimal: str | None = None) -> ReadTable:
    """Read a CSV as texts: UTF-8, UTF-16 or Windows-1252; commas, semicolons, tabs or | between cells.

    Raises:
        UsageError: it cannot be read, is empty or binary, or has rows of other lengths than its header.
    """
    text, notes = decoded(path)
    if not text.strip():
        raise UsageError(f"{path} is empty; allowed: a header line, and a line a run")
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # an old Mac's lines end in \r alone
    separator = _separator(text)
    if separator != ",":
        notes.append(f"cells are separated by {NAMES[separator]}")
    header, rows, lines = _rows(path, text, separator)
    _check_names(header, str(path))
    if not rows:
        raise UsageError(f"{path} has a header and no rows; allowed: a line a run")
    cells = pd.DataFrame(dict(zip(header, zip(*rows, strict=True), strict=True)), dtype=object)
    return ReadTable(cells, np.asarray(lines), "line", path.name, decimal, tuple(notes))


def decoded(path: Path) -> tuple[str, list[str]]:
    """Return a file's text and a note on an unusual encoding; raise UsageError if it is no text."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read: {reason}. Name a CSV, or a samples_*.jsonl") from error
    for start, remedy in BINARY.items():
        if content.startswith(start):
            raise UsageError(f"{path} is {remedy}")
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text, notes = content.decode(encoding), list[str]()
    except UnicodeDecodeError:
        text, notes = content.decode("cp1252", errors="replace"), ["not UTF-8: read as Windows-1252"]
    if "\0" in text:
        raise UsageError(f"{path} is not a text file; allowed: a CSV, or a samples_*.jsonl")
    return text, notes


def _separator(text: str) -> str:
    """Choose the separator that gives the header most cells; a comma if there is one cell."""
    header = next(line for line in text.split("\n") if line.strip())
    if told := EXCEL.fullmatch(header):
        return told["sign"]
    return max(SEPARATORS, key=lambda sign: (len(next(csv.reader([header], delimiter=sign))), sign == ","))


def _rows(path: Path, text: str, separator: str) -> tuple[list[str], list[list[str]], list[int]]:
    """Split a CSV into its header, its rows, and the lines on which these begin."""
    csv.field_size_limit(LONGEST)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] = []
    rows, lines = [], []
    try:
        for line, row in _numbered(reader):
            if not any(map(str.strip, row)) or (not header and EXCEL.fullmatch(separator.join(row))):
                continue
            if not header:
                header = [
                    visible(name.strip()) or f"column {place}" for place, name in enumerate(row, start=1)
                ]
                continue
            if len(row) != len(header):
                raise UsageError(_other_length(path, line, row, header))
            rows.append(row)
            lines.append(line)
    except csv.Error as error:
        raise UsageError(
            f"{path}, line {reader.line_num}: {error}. The file may be cut off, or a quote may not be closed"
        ) from error
    return header, rows, lines


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    last = 0
    for row in reader:
        yield last + 1, row
        last = reader.line_num


def _other_length(path: Path, line: int, row: Sequence[str], header: Sequence[str]) -> str:
    cause = "the line may be cut off" if len(row) < len(header) else "a cell may need quotes around its comma"
    return (
        f"{path}, line {line} has {len(row)} cells and the header {len(header)}: {cause}. Repair the line, "
        "or take it out"
    )


def _check_names(names: Sequence[str], where: str) -> None:
    doubled = [name for name, times in Counter(names).items() if times > 1]
    if doubled:
        levels = {"params", "user_attrs"} & set(doubled)
        hint = "write Optuna's trials_dataframe() without multi_index" if levels else "rename all but one"
        raise UsageError(f"{where}: {few(list(map(repr, doubled)))} is the name of several columns; {hint}")
