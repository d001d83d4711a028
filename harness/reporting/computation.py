"""Contrasts whose arms were computed by different kernels, or on different hosts or processors, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.reporting.contrasts import arm, contrast, level, sides
from harness.results import computation
from harness.text import capitalised, count, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from harness.reporting.contrasts import Verdicts
    from harness.reporting.data import ReportData
    from harness.results.computation import Computed

FEW = 6
"""Arms, or contrasts, that a sentence names."""
MEANING = (
    "Another kind rounds otherwise, and training carries that on: such a pair shares its start and its "
    "batches, and not all of its chance. That favours no arm, and the intervals hold it. Seconds of such a "
    "pair compare processors; steps and epochs do not."
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


def pairs(judged: Verdicts) -> tuple[str, list[str]]:
    """Count the paired seeds with both sides on one kind of processor; name the contrasts that have others.

    Both are empty where all seeds of all contrasts are of one kind.
    """
    if judged.alike is None:
        return "", []
    table = judged.table
    same, seeds = table["same_kind"].sum(), table["n"].sum()
    told = f"both sides are known to be made on one kind of processor in {same} of {seeds} paired seeds"
    mixed = table[table["same_kind"].lt(table["n"])].to_dict("records")
    several = len(judged.datasets) > 1
    return told, [f"{_name(row, several=several)} in {row['same_kind']} of {row['n']}" for row in mixed]


def _name(row: Mapping[Any, Any], *, several: bool) -> str:
    where = f" ({row['within']})" if row["within"] else ""
    return f"{contrast(row)}{where}" + (f" on {row['dataset']}" if several else "")


def kinds(judged: Verdicts) -> Iterator[str]:
    """Say how many pairs are of one kind of processor, what the others mean, and what holds without them."""
    told, mixed = pairs(judged)
    if judged.alike is None or not told:
        return
    contrasts = count(len(judged.table), "contrast")
    yield f"{capitalised(told)}; not in all of {len(mixed)} of {contrasts}: {listed(mixed, FEW)}."
    yield MEANING
    several = len(judged.datasets) > 1
    rows, alone = (table.to_dict("records") for table in (judged.table, judged.alike))
    apart = [_name(row, several=several) for row in rows if row["n"] and not row["same_kind"]]
    if apart:
        yield (
            f"No seed has both sides on one kind for {listed(apart, FEW)}: there, what the arm does cannot "
            "be told from what the processor does, unless one is trained again on the other's kind."
        )
    changed = [
        f"{_name(row, several=several)}, {row['verdict']}, then {other['verdict']}"
        for row, other in zip(rows, alone, strict=True)
        if row["verdict"] != other["verdict"]
    ]
    which = f": {listed(changed, FEW)}" if changed else ""
    yield (
        f"By the seeds of one kind alone, {len(changed) or 'none'} of {count(len(rows), 'verdict')} would be "
        f"another{which}."
    )
