"""Every level of a grid's axis against every other, for the question which of two is better.

The family of contrasts compares levels with one reference. The pairs outside of it are exploratory: they have
an interval and no verdict.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import stats
from harness.reporting.contrasts import contrast
from harness.reporting.model import Cell, Column, Section, Table, difference_cell, rows_of
from harness.text import NOT_APPLICABLE, joined, spaced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.reporting.contrasts import Verdicts
    from harness.reporting.evidence import Evidence

TITLE = "Every level against every other"
MOST_LEVELS = 12  # of an axis: more would be over 66 pairs
NO_VERDICT = "exploratory"
NOTE = (
    "Differences in {metric}, averaged over all other choices and paired by seed, in points; under each its "
    "95\u00a0% Student-t interval, which stands by itself. A pair of the family of contrasts has its "
    "corrected verdict; every other pair is exploratory, so it has none."
)
COLUMNS = ["dataset", "axis", "arm", "reference", "n", "difference", "low", "high", "verdict"]


def section(evidence: Evidence) -> Section:
    """Compare all levels of each axis of a grid in pairs; empty for other designs."""
    pairs = table(evidence)
    if pairs.empty:
        return Section("levels", TITLE)
    columns = [
        Column("data set", "dataset"),
        Column("choice", "axis"),
        Column("level against level", lambda row: Cell(contrast(row)), show="long"),
        Column("difference", difference_cell, numeric=True),
        Column("verdict", "verdict"),
    ]
    note = NOTE.format(metric=spaced(evidence.fixed.family.metric))
    rows = rows_of(columns, pairs.to_dict("records"))
    large = [axis for axis in evidence.reading.axes if axis not in set(pairs["axis"])]
    words = (
        [f"Left out: {joined(large)}, with more than {MOST_LEVELS} levels or fewer than 2."] if large else []
    )
    return Section("levels", TITLE, words, [Table("pairs", TITLE, note, columns, rows, pairs, searched=True)])


def table(evidence: Evidence) -> pd.DataFrame:
    """Return COLUMNS, a row for each data set and pair of levels, in the study's order.

    A pair of the family stands as the family has it, with its verdict.
    """
    reading, metric = evidence.reading, evidence.fixed.family.metric
    if reading.design != "grid" or metric not in reading.trials:
        return pd.DataFrame(columns=COLUMNS)
    judged = _judged(evidence.fixed)
    tables = [
        pairs
        for axis in reading.axes
        for pairs in _of_axis(evidence, axis, judged, metric)
        if not pairs.empty
    ]
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    return reading.by_dataset(pd.concat(tables, ignore_index=True))


def _judged(fixed: Verdicts) -> dict[tuple[str, str, str], dict[str, str]]:
    """Return the family's verdicts: axis, arm, reference -> data set -> verdict."""
    judged: dict[tuple[str, str, str], dict[str, str]] = {}
    rows: Sequence[Mapping[Any, Any]] = fixed.table.to_dict("records")
    for row in rows:
        if row["axis"] and not row["within"]:
            judged.setdefault((row["axis"], row["arm"], row["reference"]), {})[row["dataset"]] = row[
                "verdict"
            ]
    return judged


def _of_axis(
    evidence: Evidence, axis: str, judged: Mapping[tuple[str, str, str], Mapping[str, str]], metric: str
) -> Iterator[pd.DataFrame]:
    """Yield a table for each reference level of an axis."""
    trials = evidence.reading.trials
    levels = [level for level in trials[axis].unique() if level != NOT_APPLICABLE]
    if not 2 <= len(levels) <= MOST_LEVELS:
        return
    wanted: dict[str, list[str]] = {}
    for first, second in combinations(levels, 2):
        arm, reference = (first, second) if (axis, first, second) in judged else (second, first)
        wanted.setdefault(reference, []).append(arm)
    for reference, arms in wanted.items():
        seeds = stats.level_differences(trials, axis, reference, axes=evidence.reading.axes, metric=metric)
        seeds = seeds[seeds["arm"].isin(arms)]
        if seeds.empty:
            continue
        ends = stats.difference_limits(metric)
        pairs = stats.summarise(seeds, ["dataset", "arm", "reference"], "difference", within=ends)
        pairs = pairs.rename(columns={"mean": "difference"}).assign(axis=axis)
        pairs["verdict"] = [
            judged.get((axis, row["arm"], row["reference"]), {}).get(row["dataset"], NO_VERDICT)
            for row in pairs.to_dict("records")
        ]
        yield pairs[COLUMNS]
