"""chosen.csv of merged folders of a tuned study: what each arm chose, in the order of the study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.results import csv_rows, tables
from harness.results.csv_rows import TextTable
from harness.results.merging.sources import SourceFolder
from harness.results.merging.studies import chosen_places
from harness.settings.schema import CHOSEN, SEED_BLOCK
from harness.study import seed_blocks
from harness.system import files


def together(sources: Sequence[SourceFolder]) -> TextTable | None:
    """Put the folders' choices together; None where no arm has chosen.

    Raises:
        UsageError: an arm, or its block of seeds, has two choices; names it and both folders.
    """
    found: dict[str, tuple[list[str], Path]] = {}
    there = [(source.path / CHOSEN, source) for source in sources if (source.path / CHOSEN).is_file()]
    if not there:
        return None
    read = {path: csv_rows.table(files.text(path)) for path, _ in there}
    columns = list(dict.fromkeys(name for table in read.values() for name in table.columns))
    for path, table in read.items():
        blocks = table[SEED_BLOCK] if SEED_BLOCK in table else ["0"] * len(table)
        names = map(seed_blocks.named, table["arm"], map(int, blocks))
        for arm, row in zip(names, table.only(columns).rows, strict=True):
            before, where = found.setdefault(arm, (row, path))
            if before != row:
                raise UsageError(
                    f"arm {arm!r} has two choices, in {where} and {path}: its tuning had two outcomes. "
                    "Nothing was merged; leave one folder out"
                )
    places = chosen_places(sources[0].study)
    arms = sorted(found, key=lambda arm: (places.get(arm, len(places)), arm))
    return TextTable(columns, [found[arm][0] for arm in arms])


def write(out: Path, table: TextTable | None) -> None:
    """Write chosen.csv into a results folder that is held."""
    if table is not None:
        tables.write(out, {CHOSEN: table.written().encode()})
