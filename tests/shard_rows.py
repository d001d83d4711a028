"""Rows of results folders that tests compare, whatever machine and stack made them."""

from __future__ import annotations

import csv
from pathlib import Path

MADE = {"group", "group_size", "group_seconds", "kernels", "host"}
"""Columns that tell how and where a row was made."""


def rows(folder: Path, table: str) -> list[tuple[tuple[str, str], ...]]:
    """The rows of a table, sorted, without what tells where they were made."""
    with (folder / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        return sorted(tuple((k, v) for k, v in row.items() if k not in MADE) for row in csv.DictReader(file))
