"""The ledger of a folder of tries: every change that was tried, so that nobody forgets how many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.results import csv_rows, part_files
from harness.results.columns import check_columns
from harness.system import files

if TYPE_CHECKING:
    import pandas as pd

FILE = "tries.csv"
KEY = ("baseline", "trial", "metric", "margin", "alpha", "family")
"""Columns that make a row one try: other words for the change, or more seeds, are no other try."""
COLUMNS = (
    "try", "baseline", "trial", "change", "metric", "margin", "alpha", "family", "verdict", "seeds", "looks",
    "difference", "low", "high", "diverged", "baseline_diverged", "began", "judged",
)  # fmt: skip
"""Columns: baseline and trial are the ids of the arms' first trials; `try` counts those of a baseline."""
TEXT = ("baseline", "trial", "change", "metric", "verdict", "began", "judged")


@dataclass(frozen=True)
class Ledger:
    """The ledger of a folder."""

    folder: Path

    def read(self) -> pd.DataFrame:
        """Read the ledger; empty where there is none.

        Raises:
            UsageError: it cannot be read.
        """
        import pandas as pd

        path = self.folder / FILE
        if not path.is_file():
            return pd.DataFrame(columns=list(COLUMNS))
        try:
            table = csv_rows.read(path)
            check_columns(table.columns, COLUMNS)
            numbers = [name for name in COLUMNS if name not in TEXT]
            return table.assign(**{name: pd.to_numeric(table[name]) for name in numbers})[list(COLUMNS)]
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path} cannot be read, it was changed by another program or is damaged: {error}. It counts "
                "what was tried. Copy it back, or move it away to count from one again"
            ) from error

    def write(self, row: Mapping[str, Any]) -> tuple[int, int]:
        """Write a try, over its earlier row if it has one; return its number, and how many there are.

        Both count the tries of its baseline.
        """
        import pandas as pd

        table = self.read()
        same = pd.Series(data=True, index=table.index)
        for name in KEY:
            value = row[name] if name in TEXT else float(part_files.SIGNIFICANT % row[name])
            same &= table[name].eq(value)
        of_baseline = table["baseline"].eq(row["baseline"])
        now = datetime.now(UTC).isoformat(timespec="seconds")
        earlier = table[same]
        number = int(earlier["try"].iloc[0]) if len(earlier) else int(of_baseline.sum()) + 1
        began = str(earlier["began"].iloc[0]) if len(earlier) else now
        new = pd.DataFrame([{"try": number, "began": began, "judged": now, **row}])[list(COLUMNS)]
        table = new if table[~same].empty else pd.concat([table[~same], new], ignore_index=True)
        text = csv_rows.written(table, part_files.SIGNIFICANT)
        files.write(self.folder / FILE, text.encode())
        return number, int(table["baseline"].eq(row["baseline"]).sum())
