"""Tables: a comparison as files, for a spreadsheet and for a paper."""

from __future__ import annotations

from pathlib import Path

from harness import csv_rows, places, results
from harness.comparison.comparing import Comparison
from harness.comparison.words import verdict
from harness.latex import tabular
from harness.text import difference, hundredths, minus, p_value_column

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
    head = ["data set", "arm", "seeds", "A", "B", "B \u2212 A", "p (Holm)", "verdict"]
    rows = [
        [
            str(row["dataset"]), str(row["arm"]), str(row["n"]), hundredths(row["a"]), hundredths(row["b"]),
            minus(difference(row)), p_value_column(row["p_holm"]), verdict(row),
        ]
        for row in comparison.arms.to_dict("records")
    ]  # fmt: skip
    return tabular(head, rows, "llrrrrrl")
