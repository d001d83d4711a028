"""Contrasts whose arms were computed by different kernels or on different hosts, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.reporting.contrasts import arm, level, sides
from harness.results import computation
from harness.text import count, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.reporting.contrasts import Verdicts
    from harness.reporting.data import ReportData
    from harness.results.computation import Computed

FEW = 6
"""Arms that the sentence names."""


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
