"""Contrasts whose arms were computed by different kernels, or on different hosts or processors, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from harness.reporting.contrasts import arm, contrast, judge, level, read_family
from harness.reporting.data import prepare
from harness.results import Results, computation, documents, read_trials
from harness.results.families import sides
from harness.text import count, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from harness.reporting.contrasts import Verdicts
    from harness.reporting.data import ReportData
    from harness.results.computation import Computed

FEW = 6
"""Arms, or contrasts, that a sentence names."""
MEANING = (
    "Another kind rounds otherwise, and training carries that on: such a pair shares its start and its "
    "batches, and not all of its chance. By itself that favours no arm; it adds to the spread that intervals "
    "show. Seconds of such a pair compare processors; steps and epochs do not."
)


def sentence(reading: ReportData, judged: Verdicts) -> Iterator[str]:
    """Say which arms of contrasts were computed differently; nothing where they were computed alike."""
    if not computation.differ([computation.computed(reading.trials)]):
        return
    told: dict[str, Computed] = {}
    differing = 0
    for row in judged.table.to_dict("records"):
        found = [computation.computed(side) for side in sides(reading.of(row["dataset"]), judged.family, row)]
        if not all(found) or not computation.differ(found):
            continue
        differing += 1
        where = f" ({row['within']})" if row["within"] else ""
        where += f" on {row['dataset']}" if len(judged.datasets) > 1 else ""
        told |= {f"{arm(row)}{where}": found[0], f"{level(row)}{where}": found[1]}
    if not told:
        return
    arms = [f"{name}: {computation.words(side)}" for name, side in told.items()]
    of = f"{differing} of {count(len(judged.table), 'contrast')}"
    yield (
        f"In {of}, not all trials were computed alike: {listed(arms, FEW)}; "
        f"{computation.consequence(told.values())}."
    )


def in_short(judged: Verdicts) -> str:
    """Count the paired seeds with both arms on one kind of processor; "" where all are."""
    if judged.alike is None:
        return ""
    told = f"several kinds; both arms are known to be made on the same one in {_counted(judged)} paired seeds"
    apart = _apart(judged)
    if not apart:
        return f"{told}."
    return f"{told}, in none of {apart[0] if len(apart) == 1 else count(len(apart), 'contrast')}."


def of_folder(folder: Path) -> str:
    """Say of the contrasts of a results folder what `in_short` does; reads its trials alone.

    Raises:
        UsageError: it is not a results folder, or cannot be read.
    """
    found = Results(folder, read_trials(folder), pd.DataFrame(), pd.DataFrame(), documents.study(folder), {})
    reading = prepare(found)
    return in_short(judge(reading, read_family(reading)))


def _counted(judged: Verdicts) -> str:
    return f"{judged.table['same_kind'].sum()} of {judged.table['n'].sum()}"


def _apart(judged: Verdicts) -> list[str]:
    """Name the contrasts of which no seed has both arms on one kind of processor."""
    rows = judged.table.to_dict("records")
    return [_name(judged, row) for row in rows if row["n"] and not row["same_kind"]]


def _name(judged: Verdicts, row: Mapping[Any, Any]) -> str:
    where = f" ({row['within']})" if row["within"] else ""
    return f"{contrast(row)}{where}" + (f" on {row['dataset']}" if len(judged.datasets) > 1 else "")


def kinds(judged: Verdicts) -> Iterator[str]:
    """Say how many pairs are of one kind of processor, what the others mean, and what holds without them."""
    if judged.alike is None:
        return
    rows, alone = (table.to_dict("records") for table in (judged.table, judged.alike))
    mixed = [
        f"{_name(judged, row)} ({row['same_kind']} of {row['n']})"
        for row in rows
        if row["same_kind"] < row["n"]
    ]
    have = "has" if len(mixed) == 1 else "have"
    yield (
        f"Both arms are known to be made on one kind of processor in {_counted(judged)} paired seeds; "
        f"{len(mixed)} of {count(len(rows), 'contrast')} {have} others: {listed(mixed, FEW)}."
    )
    yield MEANING
    apart = _apart(judged)
    if apart:
        yield (
            f"No seed has both arms on one kind for {listed(apart, FEW)}: there, what the arm does cannot "
            "be told from what the processor does, unless one is trained again on the other's kind."
        )
    changed = [
        f"{_name(judged, row)}, {other['verdict']} instead of {row['verdict']}"
        for row, other in zip(rows, alone, strict=True)
        if row["verdict"] != other["verdict"]
    ]
    which = f": {listed(changed, FEW)}" if changed else ""
    yield (
        f"By the seeds of one kind alone, {len(changed) or 'none'} of {count(len(rows), 'verdict')} would be "
        f"another{which}."
    )
