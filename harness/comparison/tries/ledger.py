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
from harness.system import files, locks

if TYPE_CHECKING:
    import pandas as pd

FILE, LOCK = "tries.csv", ".lock-tries"
KEY = ("baseline", "trial", "metric", "margin", "alpha", "family")
"""Columns that make a row one try: other words for the change, or more seeds, are no other try."""
COLUMNS = (
    "try", "baseline", "trial", "change", "metric", "margin", "alpha", "family", "verdict", "seeds", "looks",
    "difference", "low", "high", "diverged", "baseline_diverged", "began", "judged",
)  # fmt: skip
"""Columns: baseline and trial are the ids of the arms' first trials; `try` counts those of a baseline."""
TEXT = ("baseline", "trial", "change", "metric", "verdict", "began", "judged")


@dataclass(frozen=True)
class TryCounts:
    """The place of a try among those of its baseline, and in its folder.

    Attributes:
        number: which try of its baseline it is.
        tries: how many its baseline has; `alpha` is the sum of theirs.
        all_tries: how many the folder has, of all baselines; `all_alpha` is the sum of theirs.
    """

    number: int = 0
    tries: int = 0
    alpha: float = 0.0
    all_tries: int = 0
    all_alpha: float = 0.0


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

    def write(self, row: Mapping[str, Any]) -> TryCounts:
        """Write a try, over its earlier row if it has one; count the tries of its baseline."""
        lock = locks.hold(self.folder / LOCK, "Choose a local folder with --results", timeout=60)
        try:
            return self._written(row)
        finally:
            lock.release()

    def _written(self, row: Mapping[str, Any]) -> TryCounts:
        import pandas as pd

        table = self.read()
        same, of_baseline = pd.Series(data=True, index=table.index), table["baseline"].eq(row["baseline"])
        for name in KEY:
            same &= table[name].eq(row[name] if name in TEXT else float(part_files.SIGNIFICANT % row[name]))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        earlier = table[same].head(1)
        place = len(table) if earlier.empty else int(earlier.index[0])
        number = int(of_baseline.sum()) + 1 if earlier.empty else int(earlier["try"].iloc[0])
        began = now if earlier.empty else str(earlier["began"].iloc[0])
        rows = table.to_dict("index") | {place: {"try": number, "began": began, "judged": now, **row}}
        table = pd.DataFrame(list(rows.values()), columns=list(COLUMNS))
        files.write(self.folder / FILE, csv_rows.written(table, part_files.SIGNIFICANT).encode())
        mine = table[table["baseline"].eq(row["baseline"])]
        alphas = float(mine["alpha"].sum()), float(table["alpha"].sum())
        return TryCounts(number, len(mine), alphas[0], len(table), alphas[1])
