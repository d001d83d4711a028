"""Tables as files: CSV with all digits to compute on, LaTeX as the page shows them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from harness.results import csv_rows
from harness.system.files import write
from harness.text.latex import tabular

if TYPE_CHECKING:
    from pathlib import Path

    from harness.reporting.model import Cell, Table


def save(table: Table, folder: Path) -> tuple[Path, Path]:
    """Write a table that has `data` as `folder`/<name>.csv and .tex.

    Raises:
        MachineError: they cannot be written.
    """
    if table.data is None:
        raise ValueError(f"table {table.name!r} has no data to write")
    paths = folder / f"{table.name}.csv", folder / f"{table.name}.tex"
    text = csv_rows.written(table.data, "%.7g")
    for path, content in zip(paths, (text, latex(table)), strict=True):
        write(path, content.encode())
    return paths


def uri(path: Path) -> str:
    """Return a file as a data URI, so that a page without its folder still has it."""
    kind = "text/csv" if path.suffix == ".csv" else "text/plain"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def latex(table: Table) -> str:
    """Write a table as a booktabs `tabular`, with a cell's smaller line in brackets."""
    rows = [[_in_a_line(cell) for cell in row] for row in table.rows]
    alignment = "".join("r" if column.numeric else "l" for column in table.columns)
    comment = " ".join(f"{table.title}. {table.note}".split())
    body = tabular([column.name for column in table.columns], rows, alignment)
    return f"% {comment}\n% Needs \\usepackage{{booktabs}}.\n{body}"


def _in_a_line(cell: Cell) -> str:
    """Write a cell and its smaller line, in brackets; a smaller line alone without them."""
    if not cell.text or not cell.small:
        return cell.text or cell.small
    return f"{cell.text} ({cell.small})"
