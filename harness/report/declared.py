"""The family of contrasts that a study declared, judged together: trials -> differences -> verdicts.

All data sets and contrasts of a family are corrected together (Holm). What is not in the family is
exploratory and says so; a folder without [contrasts] is judged by its design's default family, and that is
said, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import stats
from harness.contrasts import Contrasts, Levels, default_pairs
from harness.errors import UsageError
from harness.report.reading import level_words
from harness.report.rungs import ladder_steps
from harness.settings import CORE
from harness.text import NOT_APPLICABLE, as_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.report.reading import ReportData

KEY = ["dataset", "axis", "within", "arm", "reference"]
COLUMNS = [
    *KEY, "planned", "n", "difference", "sd", "low", "high", "p", "p_holm", "p_same", "p_same_holm",
    "verdict", "within_margin", "detectable", "more_seeds", "cells", "left_out",
]  # fmt: skip
EXPLORATORY = "Exploratory: not in the family of contrasts that is judged together, so not corrected with it."


@dataclass(frozen=True)
class Family:
    """Contrasts that are judged together.

    Attributes:
        declared: by the study, before it ran; else the design's default.
        metric: the column of trials.csv that is compared.
        margin: within it two arms are the same; a share.
        alpha: error of the whole family.
        pairs: arm, reference: names in the column `arm` of trials.csv.
        levels: main effects of axes.
        changed_after: trials that had been trained when the family was declared anew.
    """

    declared: bool
    metric: str
    margin: float
    alpha: float
    pairs: Sequence[tuple[str, str]]
    levels: Sequence[Levels]
    changed_after: int = 0


@dataclass(frozen=True)
class Judged:
    """A family with its verdicts.

    Attributes:
        family: what was declared.
        table: COLUMNS, a row a data set and contrast, also those without data. axis and within are empty for
            a pair, within else in words; planned is seeds, cells and left_out are combinations of the other
            axes; the rest is from `stats.verdicts`.
        doubts: in words, contrasts that cannot be made at all, and why.
    """

    family: Family
    table: pd.DataFrame
    doubts: Sequence[str]

    @property
    def datasets(self) -> list[str]:
        """Data sets that have a contrast, in the study's order."""
        return list(dict.fromkeys(self.table["dataset"]))


def family(reading: ReportData) -> Family:
    """The family that the folder's study.toml declares, else its design's default.

    Raises:
        UsageError: the study.toml was edited so that its [contrasts] cannot be read.
    """
    told = reading.results.study.get("contrasts", {})
    try:
        family = _declared(told)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{reading.results.folder / 'study.toml'}: [contrasts] cannot be read ({error!r}); allowed: "
            "metric, margin > 0, alpha between 0 and 1, pairs = [[ARM, REFERENCE]], and [[contrasts.levels]] "
            "with axis, reference and within. Restore the file, or run the study again."
        ) from error
    declared = family.declared and bool(told)
    return family if declared or family.pairs or family.levels else _default(reading, family)


def _declared(told: Mapping[str, Any]) -> Family:
    usual = Contrasts()
    margin, alpha = float(told.get("margin", usual.margin)), float(told.get("alpha", usual.alpha))
    if not margin > 0 or not 0 < alpha < 1:
        raise ValueError(f"margin {margin}, alpha {alpha}")
    pairs = [(str(arm), str(reference)) for arm, reference in told.get("pairs", [])]
    levels = [
        Levels(
            axis=str(of["axis"]), reference=as_word(of["reference"]), within=[*map(str, of.get("within", []))]
        )
        for of in told.get("levels", [])
    ]
    return Family(
        bool(told.get("declared", True)),
        str(told.get("metric", usual.metric)),
        margin,
        alpha,
        pairs,
        levels,
        int(told.get("changed_after", 0)),
    )


def _default(reading: ReportData, told: Family) -> Family:
    levels: list[Levels] = []
    if reading.design == "grid":
        levels = [Levels(axis=axis, reference=_reference(reading, axis)) for axis in reading.axes]
    arms = list(dict.fromkeys(reading.trials["arm"].astype(str)))
    if reading.design == "ladder":
        arms = [step.arm for step in ladder_steps(reading)]
    found = [(arm, reference) for arm, reference in default_pairs(reading.design, arms) if arm != reference]
    return replace(told, declared=False, pairs=list(dict.fromkeys(found)), levels=levels)


def _reference(reading: ReportData, axis: str) -> str:
    """The baseline's level of an axis, said or by default, if the grid has it; else the first."""
    there = [level for level in reading.trials[axis].unique() if level != NOT_APPLICABLE]
    default = CORE[axis].default if axis in CORE else None
    level = as_word(reading.results.study.get("baseline", {}).get(axis, default))
    return level if level in there else str(there[0])


def judge(reading: ReportData, of: Family) -> Judged:
    """Judge every contrast of a family on every data set, all corrected together."""
    doubts: list[str] = []
    if of.metric not in reading.trials:
        doubts.append(f"trials.csv has no column {of.metric}, so no contrast of it can be judged.")
        return Judged(of, pd.DataFrame(columns=COLUMNS), doubts)
    found = [_pairs(reading, of, doubts), *(_levels(reading, of, levels, doubts) for levels in of.levels)]
    found = [table for table in found if not table.empty]
    if not found:
        return Judged(of, pd.DataFrame(columns=COLUMNS), doubts)
    differences = pd.concat(found, ignore_index=True)
    planned = differences.groupby(KEY, sort=False, as_index=False).agg(
        planned=("seed", "size"), cells=("cells", "max"), left_out=("left_out", "max")
    )
    ends = stats.difference_limits(of.metric)
    judged = stats.verdicts(differences, KEY, margin=of.margin, alpha=of.alpha, within=ends)
    table = planned.merge(judged, on=KEY)
    place = {dataset: place for place, dataset in enumerate(reading.datasets)}
    table = table.sort_values("dataset", key=lambda name: name.map(place), kind="stable")
    return Judged(of, table.reset_index(drop=True)[COLUMNS], doubts)


def _pairs(reading: ReportData, of: Family, doubts: list[str]) -> pd.DataFrame:
    """The differences of pairs of arms: KEY, seed, difference, cells, left_out; a row a planned seed."""
    trials = reading.trials.assign(arm=reading.trials["arm"].astype(str))
    known = set(trials["arm"])
    pairs = pd.DataFrame(list(of.pairs), columns=["arm", "reference"]).drop_duplicates()
    found = stats.paired_differences(trials, pairs, of.metric, unfinished=True)
    met = set(found[["arm", "reference"]].itertuples(index=False, name=None))
    for arm, reference in pairs.itertuples(index=False, name=None):
        absent = [repr(name) for name in (arm, reference) if name not in known]
        if absent:
            why = f"trials.csv has no arm {' and no arm '.join(absent)}"
            doubts.append(f"{arm} against {reference} cannot be judged: {why}.")
        elif (arm, reference) not in met:
            doubts.append(f"{arm} against {reference} cannot be judged: they share no data set and seed.")
    return found.assign(axis="", within="", cells=1, left_out=0)


def _levels(reading: ReportData, of: Family, levels: Levels, doubts: list[str]) -> pd.DataFrame:
    """The differences of an axis' levels from the reference: as from `_pairs`."""
    axis, within = levels.axis, list(levels.within)
    absent = [column for column in (axis, *within) if column not in reading.trials]
    if absent:
        doubts.append(f"The levels of {axis} cannot be judged: trials.csv has no column {absent[0]}.")
        return pd.DataFrame()
    trials = reading.trials.assign(**{name: reading.trials[name].map(as_word) for name in (axis, *within)})
    if not trials[axis].eq(levels.reference).any():
        why = f"no trial has the reference level {levels.reference!r}"
        doubts.append(f"The levels of {axis} cannot be judged: {why}.")
        return pd.DataFrame()
    axes = list(dict.fromkeys([*reading.axes, axis, *within]))
    found = stats.level_differences(
        trials, axis, levels.reference, within=within, axes=axes, metric=of.metric
    )
    found = found[found["arm"].ne(NOT_APPLICABLE)]
    at = [_within(within, values) for values in found[within].to_numpy().tolist()] if within else ""
    return found.assign(axis=axis, within=at)


def untrained(reading: ReportData, of: Family, row: Mapping[Any, Any]) -> int:
    """How many planned seeds of a row of `Judged.table` wait for a trial that was not trained yet."""
    trials = reading.trials[reading.trials["dataset"].eq(row["dataset"])]
    waiting = trials[~trials["status"].isin(stats.OUTCOMES)]
    side = waiting[row["axis"]].map(as_word) if row["axis"] else waiting["arm"].astype(str)
    waiting = waiting[side.isin([row["arm"], row["reference"]])]
    within = next((levels.within for levels in of.levels if levels.axis == row["axis"]), [])
    if row["within"] and len(waiting):
        cells = waiting[list(within)].map(as_word).to_numpy().tolist()
        waiting = waiting[[_within(within, cell) == row["within"] for cell in cells]]
    return min(int(waiting["seed"].nunique()), int(row["planned"]) - int(row["n"]))


def _within(axes: Sequence[str], values: Sequence[object]) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in zip(axes, values, strict=True))


def words(metric: str) -> str:
    """A column of trials.csv in words: test_accuracy is "test accuracy"."""
    return metric.replace("_", " ")


def contrast(row: Mapping[Any, Any]) -> str:
    """A row of `Judged.table` in words, its data set and `within` aside."""
    return f"{arm(row)} against {row['reference']}"


def arm(row: Mapping[Any, Any]) -> str:
    """The arm of a row of `Judged.table` in words: a level that is a number or a list needs its axis."""
    return level_words(row["axis"], row["arm"]) if row["axis"] else str(row["arm"])


def headings(table: pd.DataFrame) -> Iterator[str]:
    """What the rows of `Judged.table` stand under in a figure: data set, axis, what it was judged within."""
    for dataset, axis, within in table[["dataset", "axis", "within"]].itertuples(index=False, name=None):
        yield ", ".join(filter(None, (f"{dataset}: {axis}" if axis else dataset, within)))
