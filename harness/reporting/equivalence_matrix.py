"""Equivalence within the margin: every level of an axis, or every arm, against every other."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import stats
from harness.reporting.data import level_words
from harness.reporting.model import Cell, Column, Section, Table, slug
from harness.reporting.verdict_text import margin_words
from harness.results import families
from harness.text import DASH, NOT_APPLICABLE, count, percent, points, spaced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.reporting.data import ReportData
    from harness.reporting.evidence import Evidence
    from harness.study.contrasts import Contrasts

TITLE = "Same within the margin"
MOST = 12
"""Levels of an axis, or arms: more would be over 66 pairs."""
BY = ["dataset", "axis", "arm", "reference"]
SAME, NOT_SHOWN = "same", "not shown"
NOTE = (
    "Pairs in {metric}{averaged}, paired by seed. Same: shown to lie within {margin} of each "
    "other (two one-sided t tests, corrected for all {many} of this section, Holm, {alpha}). Not shown is no "
    "difference either: there may be one, or too few seeds. Under each: how far apart the pair is at most, "
    "in points; with {confidence} all these bounds hold together (Bonferroni). The family of contrasts has "
    "fewer tests, so it may show what is not shown here."
)


def section(evidence: Evidence) -> Section:
    """Compare all levels of each axis of a grid, or else all arms, for equivalence; empty without pairs."""
    reading, family = evidence.main_reading, evidence.main.family
    pairs = table(reading, family)
    if pairs.empty:
        return Section("same", TITLE)
    note = NOTE.format(
        metric=spaced(family.metric), margin=margin_words(family), alpha=f"{family.alpha:g}",
        many=count(len(pairs), "pair"), confidence=percent(1 - family.alpha, 0),
        averaged=", averaged over all other choices" if reading.design == "grid" else "",
    )  # fmt: skip
    blocks = [
        (str(dataset), str(axis), block)
        for (dataset, axis), block in pairs.groupby(["dataset", "axis"], sort=False)
    ]
    words = [_count(pairs, family, tuned=evidence.tuned_verdicts is not None)]
    words += [said for block in blocks for said in _all_same(*block, family)]
    return Section("same", TITLE, [" ".join(words)], [_matrix(*block, note) for block in blocks])


def table(reading: ReportData, family: Contrasts) -> pd.DataFrame:
    """Return dataset, axis (empty: arms), arm, reference and what `stats.equivalence` says of each pair.

    None of a study that is looked at: the levels of its looks are of its family alone.
    """
    if family.looks or family.metric not in reading.trials:
        return pd.DataFrame()
    tables = [found for found in _differences(reading, family.metric) if not found.empty]
    if not tables:
        return pd.DataFrame()
    differences = pd.concat(tables, ignore_index=True)
    shared = families.shared_images(differences, reading.trials, family, reading.results.study)
    ends = stats.difference_limits(family.metric)
    judged = stats.equivalence(shared, BY, margin=family.margin, alpha=family.alpha, within=ends)
    judged = judged[judged["n"].gt(0)]
    return reading.by_dataset(judged)


def _differences(reading: ReportData, metric: str) -> Iterator[pd.DataFrame]:
    """Yield the differences, seed by seed, of all pairs: of the levels of each axis, or of the arms."""
    if reading.design != "grid":
        arms = list(dict.fromkeys(reading.trials["label"].astype(str)))
        if 2 <= len(arms) <= MOST:
            pairs = pd.DataFrame(list(combinations(arms, 2)), columns=["reference", "arm"])
            trials = reading.trials.assign(label=reading.trials["label"].astype(str))
            found = stats.paired_differences(trials, pairs, metric, arm="label", unfinished=True)
            yield found.assign(axis="")
        return
    for axis in reading.axes:
        levels = [level for level in reading.trials[axis].unique() if level != NOT_APPLICABLE]
        for place, level in enumerate(levels[:-1] if len(levels) <= MOST else []):
            found = stats.level_differences(reading.trials, axis, level, axes=reading.axes, metric=metric)
            yield found[found["arm"].isin(levels[place + 1 :])].assign(axis=axis)


def _count(pairs: pd.DataFrame, family: Contrasts, *, tuned: bool) -> str:
    same, arms = int(pairs["same"].sum()), " of tuned arms" if tuned else ""
    bounds, confidence = pairs["at_most"], percent(1 - family.alpha, 0)
    sure = f", and with {confidence} no pair is further apart than {points(bounds.max())} points"
    return (
        f"{same} of {count(len(pairs), 'pair')}{arms} {'is' if same == 1 else 'are'} shown to be the same "
        f"within {margin_words(family)}{sure if bounds.notna().all() else ''}."
    )


def _all_same(dataset: str, axis: str, pairs: pd.DataFrame, family: Contrasts) -> Iterator[str]:
    """Say that all levels of an axis, or all arms, lie within the margin; nothing for a single pair."""
    if len(pairs) > 1 and stats.all_same(pairs, family.alpha):
        levels = len({*pairs["arm"], *pairs["reference"]})
        whose = f"levels of {axis}" if axis else "arms"
        yield (
            f"All {levels} {whose} on {dataset} are shown to be the same within {margin_words(family)} of "
            "each other (each pair at the uncorrected level, since all of them have to be)."
        )


def _matrix(dataset: str, axis: str, pairs: pd.DataFrame, note: str) -> Table:
    """Make the pairs of a data set and axis a square; both halves are the same."""
    names = list(dict.fromkeys([*pairs["reference"], *pairs["arm"]]))
    found: dict[tuple[str, str], Mapping[Any, Any]] = {
        (str(row["arm"]), str(row["reference"])): row for row in pairs.to_dict("records")
    }
    rows = [[Cell(_name(axis, one)), *(_cell(found, one, other) for other in names)] for one in names]
    title = f"{dataset}: {axis or 'arms'}"
    columns = [Column(axis or "arm"), *(Column(_name(axis, name)) for name in names)]
    return Table(slug(f"same-{dataset}-{axis or 'arms'}"), title, note, columns, rows, pairs)


def _name(axis: str, level: str) -> str:
    return level_words(axis, level) if axis else level


def _cell(found: Mapping[tuple[str, str], Mapping[Any, Any]], one: str, other: str) -> Cell:
    row = found.get((one, other), found.get((other, one)))
    if row is None:
        return Cell(DASH)
    known = not pd.isna(row["at_most"])
    return Cell(SAME if row["same"] else NOT_SHOWN, f"at most {points(row['at_most'])}" if known else "")
