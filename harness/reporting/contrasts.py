"""The family of contrasts that a study declared, judged together: trials -> differences -> verdicts.

All data sets and contrasts of a family are corrected together (Holm). A contrast outside of the family is
exploratory and marked so; a folder without [contrasts] is judged by its design's default family, and the page
says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import stats
from harness.comparison.same_kind import same_kind
from harness.reporting.data import level_words
from harness.reporting.ladder_steps import ladder_steps
from harness.results import families
from harness.results.families import KEY, sides
from harness.study.contrasts import Contrasts
from harness.text import as_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.reporting.data import ReportData

COLUMNS = [
    *KEY, "planned", "n", "difference", "sd", "low", "high", "low_all", "high_all", "p", "p_holm", "p_same",
    "p_same_holm", "verdict", "within_margin", "detectable", "more_seeds", "cells", "left_out", "same_kind",
]  # fmt: skip
"""Columns of a table of verdicts, in order."""
SIDES = ("value", "reference_value")
"""Columns of differences with the means of arm and reference that were subtracted."""
UNIT = "unit"
"""The column that says what a row counts where that is not seeds: blocks of seeds, of which each chose the
settings of arms by itself."""
EXPLORATORY = "Exploratory: not in the family of contrasts that is judged together, so not corrected with it."


@dataclass(frozen=True)
class Verdicts:
    """A family of contrasts with its verdicts.

    `table`: COLUMNS, a row a data set and contrast, also those without data. axis and within are empty for a
    pair, within else in words; planned is seeds, cells and left_out are combinations of the other axes;
    low_all and high_all are as from `stats.simultaneous_intervals`; same_kind is how many of the n seeds had
    both sides made on one kind of processor; the rest is from `stats.verdicts`. `seeds`: the differences that
    were judged, a row a contrast and seed, as from `families.differences`. Where blocks of seeds chose, the
    numbers of `table` are of blocks, and it has UNIT; `seeds` still has the seeds, with their `stats.BLOCK`.
    """

    family: Contrasts  # the contrasts that are judged together
    table: pd.DataFrame
    doubts: Sequence[str]  # in words, contrasts that cannot be made at all, and why
    alike: pd.DataFrame | None = None  # the table of the seeds of one kind alone; None if all are
    seeds: pd.DataFrame | None = None  # None where there is nothing to judge, or a look has levels of its own
    look: int = 0  # seeds at the look that is told; 0 for a study that is judged once

    @property
    def datasets(self) -> list[str]:
        """Data sets that have a contrast, in the study's order."""
        return list(dict.fromkeys(self.table["dataset"]))

    @property
    def is_single(self) -> bool:
        """True if there is one contrast, whose p needs no correction."""
        return len(self.table) == 1

    @property
    def unit(self) -> str:
        """The unit that is counted: a seed, or a block of seeds."""
        return "block" if UNIT in self.table else "seed"


def read_family(reading: ReportData) -> Contrasts:
    """Return the family that the folder's study.toml declares, else its design's default.

    Raises:
        UsageError: the study.toml was edited so that its [contrasts] cannot be read.
    """
    family, is_named = families.read(reading.results.folder, reading.results.study)
    if is_named:
        return family
    arms = list(dict.fromkeys(reading.trials["arm"].astype(str)))
    if reading.design == "ladder":
        arms = [step.arm for step in ladder_steps(reading)]
    return families.default(family, reading.trials, reading.axes, reading.results.study, arms)


def reference_levels(reading: ReportData, family: Contrasts) -> dict[str, str]:
    """Return the level of each axis that its others are compared with: the family's, else the default."""
    declared = {levels.axis: as_word(levels.reference) for levels in family.levels}
    baseline = reading.results.study.get("baseline", {})

    def default(axis: str) -> str:
        return families.default_level(reading.trials, axis, baseline)

    return {axis: declared.get(axis) or default(axis) for axis in reading.axes}


@dataclass(frozen=True)
class Times:
    """A measure that is a time: a low one is better, it is known to `resolution`, and it ends at a horizon.

    `horizons` maps a data set to the horizon, which stands for the time of what never happened.
    """

    resolution: float
    horizons: Mapping[str, float]

    def known(self, differences: pd.DataFrame) -> pd.DataFrame:
        """Take out the numbers of contrasts of which neither side came to an end before the horizon."""
        ends = differences["dataset"].map(self.horizons) * (1 - stats.ROUNDED)
        early = [differences[side].lt(ends) for side in SIDES]
        some = (early[0] | early[1]).groupby([differences[name] for name in KEY]).transform("any")
        known = differences["difference"].where(some)
        return differences.assign(difference=known, resolution=self.resolution)


def judge(reading: ReportData, family: Contrasts, times: Times | None = None) -> Verdicts:
    """Judge every contrast of a family on every data set, all corrected together.

    `times`, where the family's metric is a time; the trials' column of that name holds restricted times.
    """
    doubts: list[str] = []
    if family.metric not in reading.trials:
        doubts.append(f"trials.csv has no column {family.metric}, so no contrast of it can be judged.")
        return Verdicts(family, pd.DataFrame(columns=COLUMNS), doubts)
    differences = families.differences(reading.trials, reading.axes, family, doubts)
    if differences.empty:
        return Verdicts(family, pd.DataFrame(columns=COLUMNS), doubts)
    differences = families.shared_images(differences, reading.trials, family, reading.results.study)
    differences = differences if times is None else times.known(differences)
    look = 0
    if family.looks:
        look, differences = _up_to_look(reading, family, differences, doubts)
    if differences.empty:
        return Verdicts(family, pd.DataFrame(columns=COLUMNS), doubts)
    same = same_kind(reading.trials, reading.axes, family, differences)
    known = differences["difference"].notna()
    differences = differences.assign(same_kind=same & known)
    table = _judged(reading, family, look, differences, times)
    alone = differences.assign(difference=differences["difference"].where(same))
    alike = _judged(reading, family, look, alone, times) if (known & ~same).any() else None
    return Verdicts(family, table, doubts, alike, None if look else differences, look)


def _up_to_look(
    reading: ReportData, family: Contrasts, differences: pd.DataFrame, doubts: list[str]
) -> tuple[int, pd.DataFrame]:
    """Return the last look at a study, and the differences of its seeds; none before the first look."""
    seeds: Sequence[int] = reading.results.study.get("study", {}).get("seeds", [])
    look = families.last_look(reading.trials, family, seeds)
    first = differences[differences["seed"].isin(seeds[:look])]
    behind = differences[~differences["seed"].isin(seeds[:look])]
    following = next((later for later in family.looks if later > look), 0)
    if following and (behind["difference"].notna().any() or not look):
        seen = f"; until then the look at {look} seeds stands" if look else ""
        doubts.append(
            f"The next look is at {following} seeds, and not all of them are trained yet: what is trained of "
            f"them is in no verdict{seen}."
        )
    return look, first


def _judged(
    reading: ReportData, family: Contrasts, look: int, differences: pd.DataFrame, times: Times | None
) -> pd.DataFrame:
    """Give COLUMNS of the contrasts of which these are the differences, at a look or (0) once."""
    differences = _of_blocks(differences)
    planned = differences.groupby(KEY, sort=False, as_index=False).agg(
        planned=("seed", "size"), cells=("cells", "max"), left_out=("left_out", "max"),
        same_kind=("same_kind", "sum"), overlap=("overlap", "max"),
    )  # fmt: skip
    verdicts = families.verdicts(differences, family, look, higher_is_better=times is None)
    together = stats.simultaneous_intervals(
        verdicts, families.alpha_of(family, look, int(verdicts["n"].gt(1).sum())),
        resolution=0.0 if times is None else times.resolution, overlap=planned["overlap"],
        within=stats.difference_limits(family.metric),
    )  # fmt: skip
    table = planned.drop(columns="overlap").merge(verdicts.join(together), on=KEY)
    table = reading.by_dataset(table)[COLUMNS]
    return table.assign(**{UNIT: "block"}) if stats.BLOCK in differences else table


def _of_blocks(differences: pd.DataFrame) -> pd.DataFrame:
    """Give a row a block where blocks of seeds chose: the mean of the seeds that both sides finished.

    A block is of one kind of processor if all these seeds are.
    """
    if stats.BLOCK not in differences:
        return differences
    known, by = differences["difference"].notna(), [*KEY, stats.BLOCK]
    numbers = {name: differences[name].where(known) for name in (*SIDES, "difference")}
    seeds = differences.assign(**numbers, _known=known, same_kind=differences["same_kind"] | ~known)
    facts = {"seed": "first", "cells": "max", "left_out": "max", "same_kind": "all", "_known": "any"}
    facts |= {name: "max" for name in ("resolution", "overlap") if name in differences}
    table = seeds.groupby(by, sort=False, as_index=False).agg(facts)
    table = table.merge(stats.block_means(seeds, KEY, list(numbers)), on=by)
    return table.assign(same_kind=table["same_kind"] & table["_known"]).drop(columns="_known")


def untrained(reading: ReportData, family: Contrasts, row: Mapping[Any, Any]) -> int:
    """Count the planned seeds, or blocks, of a row of `Verdicts.table` that wait for a trial to be made."""
    trials = reading.of(row["dataset"])
    waiting = sides(trials[~trials["status"].isin(stats.OUTCOMES)], family, row)
    counted = {unit for side in waiting for unit in side[stats.BLOCK if UNIT in row else "seed"]}
    return min(len(counted), int(row["planned"]) - int(row["n"]))


def contrast(row: Mapping[Any, Any]) -> str:
    """Put a row of `Verdicts.table` into words, its data set and `within` aside."""
    return f"{arm(row)} against {row['reference']}"


def arm(row: Mapping[Any, Any]) -> str:
    """Put the arm of a row of `Verdicts.table` into words: a number or a list with its axis."""
    return _side_words(row, "arm")


def level(row: Mapping[Any, Any]) -> str:
    """Put the reference of a row of `Verdicts.table` into words, as `arm`."""
    return _side_words(row, "reference")


def _side_words(row: Mapping[Any, Any], side: str) -> str:
    return level_words(row["axis"], row[side]) if row["axis"] else str(row[side])


def headings(table: pd.DataFrame) -> Iterator[str]:
    """Yield the heading of each row of `Verdicts.table` in a figure: data set, axis, and `within`."""
    for dataset, axis, within in table[["dataset", "axis", "within"]].itertuples(index=False, name=None):
        yield ", ".join(filter(None, (f"{dataset}: {axis}" if axis else dataset, within)))
