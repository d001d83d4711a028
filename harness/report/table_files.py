r"""Tables as files: CSV with all digits for whoever computes on, LaTeX (booktabs) as the page shows them.

The LaTeX is text that pdflatex reads as UTF-8: what it could not read is spelled, as \(-\) for a minus sign.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from harness import csv_rows
from harness.files import write

if TYPE_CHECKING:
    from pathlib import Path

    from harness.report.tables import Table

SPELLED = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\(<\)", ">": r"\(>\)",
    "|": r"\textbar{}", "\u00b5": r"\(\mu\)", "\u00a0": "~", "\u2212": r"\(-\)", "\u00b1": r"\(\pm\)",
    "\u2192": r"\(\to\)", "\u2190": r"\(\leftarrow\)", "\u2264": r"\(\leq\)", "\u2265": r"\(\geq\)",
    "\u00b7": r"\(\cdot\)", "\u00d7": r"\(\times\)", "\u2013": "--", "\u2014": "---",
    "\u2026": r"\dots{}", "\u2018": "`", "\u2019": "'", "\u201c": "``", "\u201d": "''",
}  # fmt: skip
OUTSIDE = re.compile(r"[^\x20-\x7e\u00c0-\u017f]")  # Latin letters with accents are read as they are


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
    """A file as a data URI, so that a page that was passed on alone still has it."""
    kind = "text/csv" if path.suffix == ".csv" else "text/plain"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def latex(table: Table) -> str:
    r"""A table as a booktabs `tabular`, a cell's smaller line in brackets; needs \usepackage{booktabs}."""
    columns = "".join("r" if column.numeric else "l" for column in table.columns)
    head = [column.name for column in table.columns]
    body = [[cell.text + (f" ({cell.small})" if cell.small else "") for cell in row] for row in table.rows]
    first, *rest = (" & ".join(map(escape, cells)) + r" \\" for cells in (head, *body))
    rest = [f"{{}}{row}" if row.startswith("[") else row for row in rest]  # "\\\\[" would ask for a space
    lines = [f"% {_comment(table.title)}. {_comment(table.note)}", r"% Needs \usepackage{booktabs}."]
    lines += [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", first, r"\midrule", *rest, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}", ""])


def escape(text: str) -> str:
    """Text that LaTeX shows literally; a character pdflatex has no letter for becomes its code point."""
    spelled = "".join(SPELLED.get(letter, letter) for letter in re.sub(r"[\t\n\r]+", " ", text))
    return OUTSIDE.sub(lambda found: f"[U+{ord(found[0]):04X}]", spelled)


def _comment(text: str) -> str:
    return " ".join(text.split())
