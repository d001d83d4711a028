"""Which two arms a report looks at closely: of the declared contrasts, the one with most between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd

from harness import stats
from harness.report.declared import family
from harness.text import points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.contrasts import Levels
    from harness.report.declared import Family
    from harness.report.reading import Reading

Candidate: TypeAlias = tuple[float, str, str, str]
"""Mean difference, label of the arm, label of its reference, and what is compared, in words."""
VAL = "val_accuracy"


@dataclass(frozen=True)
class Pair:
    """Two arms of one data set, one against the other, by their labels.

    Attributes:
        dataset: which.
        arm: the label of the one that is looked at.
        reference: the label of what it is compared with.
        why: how the two were picked, a sentence.
    """

    dataset: str
    arm: str
    reference: str
    why: str


def reference_levels(reading: Reading) -> dict[str, str]:
    """The level of each axis that the study compares others with; the first where its family has none."""
    told = {levels.axis: levels.reference for levels in family(reading).levels}
    first = {axis: str(reading.trials[axis].iloc[0]) for axis in reading.axes}
    return first | {axis: level for axis, level in told.items() if axis in first}


def reference_arm(reading: Reading, dataset: str) -> str:
    """The label of the arm that the study compares others with, on a data set; empty where it has none."""
    here = reading.trials[reading.trials["dataset"].eq(dataset)]
    if reading.design == "grid":
        here = _cell(here, reference_levels(reading))
    return str(here["label"].iloc[0]) if len(here) else ""


def largest(reading: Reading, dataset: str) -> Pair | None:
    """The contrast of the study's family with the largest mean difference in val accuracy, either way.

    Picked on val, as all in a report. A contrast of levels, which is a mean over many arms, is looked at in
    one of its cells: that with the reference levels of the other axes. None where no contrast has a seed that
    both of the arms looked at finished.
    """
    of = family(reading)
    found = [each for each in _candidates(reading, dataset, of) if pd.notna(each[0])]
    if not found:
        return None
    difference, arm, reference, what = max(found, key=lambda each: abs(each[0]))
    whose = "declared contrasts" if of.declared else "contrasts of the design's default family"
    why = (
        f"Of the {len(found)} {whose} on {dataset}, the one with the largest difference in val accuracy "
        f"({points(difference, sign=True)} points): {what}."
    )
    return Pair(dataset, arm, reference, why)


def _candidates(reading: Reading, dataset: str, of: Family) -> Iterator[Candidate]:
    trials = reading.trials[reading.trials["dataset"].eq(dataset)]
    pairs = pd.DataFrame(list(of.pairs), columns=["arm", "reference"])
    labels = trials.drop_duplicates("arm").set_index("arm")["label"]
    for row in stats.contrasts(trials, pairs, VAL).to_dict("records"):
        arm, reference = labels[row["arm"]], labels[row["reference"]]
        yield row["difference"], str(arm), str(reference), f"{arm} against {reference}"
    if reading.design == "grid":
        for levels in of.levels:
            if levels.axis in reading.axes:
                yield from _levels(reading, trials, levels)


def _levels(reading: Reading, trials: pd.DataFrame, levels: Levels) -> Iterator[Candidate]:
    axis, reference = levels.axis, levels.reference
    within = [name for name in levels.within if name in reading.axes]
    each = stats.level_differences(trials, axis, reference, within, list(reading.axes), VAL)
    means = each.groupby([*within, "arm"], sort=False)["difference"].mean().reset_index()
    for row in means.to_dict("records"):
        inside = {name: str(row[name]) for name in within}
        others = {k: v for k, v in (reference_levels(reading) | inside).items() if k != axis}
        cells = [_cell(trials, others | {axis: level}) for level in (str(row["arm"]), reference)]
        seeds = [set(stats.finished(cell, VAL)["seed"]) for cell in cells]
        if seeds[0] & seeds[1]:
            first, second = (str(cell["label"].iloc[0]) for cell in cells)
            where = "".join(f", {name} {level}" for name, level in inside.items())
            rest = ", ".join(f"{name} {level}" for name, level in others.items() if name not in inside)
            what = f"{axis} {row['arm']} against {reference}{where}"
            what += f", a mean over the other choices; looked at here with {rest}" if rest else ""
            yield row["difference"], first, second, what


def _cell(trials: pd.DataFrame, levels: Mapping[str, str]) -> pd.DataFrame:
    for axis, level in levels.items():
        trials = trials[trials[axis].eq(level)]
    return trials
