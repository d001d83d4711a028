"""Tables: a comparison as files, for a spreadsheet and for a paper."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from harness import csv_rows, places, results
from harness.comparison.comparing import Comparison
from harness.comparison.words import verdict
from harness.text import difference, hundredths, p_value_column

CSV, LATEX = "differences.csv", "differences.tex"


def check_out(out: Path) -> None:
    """Raise UsageError where no files can be written into `out`, before anything is computed."""
    places.check_folder(out)


def write(comparison: Comparison, out: Path) -> list[Path]:
    """Write differences.csv (a row an arm, shares) and differences.tex (booktabs, points) into a folder.

    Raises:
        UsageError: `out` is a file.
        MachineError: it cannot be written.
    """
    check_out(out)
    text = csv_rows.written(comparison.arms, results.SIGNIFICANT)
    results.write(out / CSV, text.encode())
    results.write(out / LATEX, latex(comparison).encode())
    return [out / CSV, out / LATEX]


def latex(comparison: Comparison) -> str:
    """The arms as a booktabs tabular: seeds, both means in percent, the difference in points, p, verdict."""
    rows = comparison.arms.to_dict("records")
    table = pd.DataFrame(
        {
            "data set": [row["dataset"] for row in rows],
            "arm": [row["arm"] for row in rows],
            "seeds": [row["n"] for row in rows],
            "A": [hundredths(row["a"]) for row in rows],
            "B": [hundredths(row["b"]) for row in rows],
            "B $-$ A": [difference(row).replace("-", "$-$") for row in rows],
            "$p$ (Holm)": [p_value_column(row["p_holm"]).replace("<", "$<$") for row in rows],
            "verdict": [verdict(row) for row in rows],
        }
    )
    styled = table.style.hide(axis="index").format(escape="latex", subset=["data set", "arm"])
    return str(styled.to_latex(hrules=True, column_format="llrrrrrl"))
