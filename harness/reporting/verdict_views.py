"""The verdicts of a family as a table and as forest plots, and the main effects as a table for files."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness import plots, stats
from harness.reporting import comparison_charts
from harness.reporting.arm_figures import intervals
from harness.reporting.contrasts import EXPLORATORY, UNIT, arm, contrast, headings
from harness.reporting.model import (
    Cell,
    Column,
    Figure,
    Table,
    difference_cell,
    more_cell,
    p_cell,
    rows_of,
    share_cell,
    slug,
)
from harness.reporting.verdict_text import SHARED, inside_margin, power_words, size_words
from harness.results.families import KEY
from harness.text import DASH, between, percent, points, spaced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.reporting.contrasts import Verdicts
    from harness.reporting.data import ReportData
    from harness.study.contrasts import Contrasts

NOTE = (
    "Differences in {metric}, {paired}, in points; under each its 95\u00a0% Student-t interval, which "
    "stands by itself. Better or worse: p \u2264 {alpha}, {corrected}. The same: shown to lie within "
    "\u00b1{margin} (TOST, {alike}). Detectable: the "
    "difference that these {unit}s show with {power}; smaller ones are missed more often than one time in "
    "five. More {unit}s: the number that would then resolve {margin}. {whose}"
)
ON_ONE_KIND = " On one kind: seeds of which both arms are known to be made on one kind of processor."
TOGETHER = (
    " All together: intervals of which all hold their true difference at once, with {} (Bonferroni's; they "
    "take any dependence and unequal numbers of seeds). Holm's p decides more than they do, so such an "
    "interval may have 0 in it beside a verdict."
)
AT_LOOK = (
    " The study is looked at: p values and intervals are repeated ones, which hold at all looks together."
)
ALIKE = (
    "The same contrasts, judged by the seeds alone of which both arms were made on one kind of processor, "
    "corrected together (Holm). Fewer seeds show less: a verdict that is undecided here need not be wrong "
    "with all of them; a difference with the other sign would be a reason to train again on one kind."
)
FOREST = (
    "Each contrast's difference in {metric} with its 95\u00a0% Student-t interval ({seeds}), which stands by "
    "itself; the verdict at the right {corrected}. The band is the margin within which two arms count as the "
    "same.{scale}"
)
LOGARITHMIC = " The axis is logarithmic away from 0, since the differences span more than it could show."


def table(judged: Verdicts, name: str = "verdicts", title: str = "Verdicts") -> Table:
    """Make a table with a row for each data set and contrast: difference, p, verdict and power."""
    columns = [
        Column("data set", "dataset"),
        Column("contrast", contrast_cell, show="long"),
        Column(f"{judged.unit}s", _seeds, numeric=True, show="wide"),
        *([] if judged.alike is None else [Column("on one kind", _same_kind, numeric=True, show="wide")]),
        Column("difference", difference_cell, numeric=True),
        *([Column("all together", _together, show="wide")] if len(judged.table) > 1 else []),
        Column("p (Holm)", p_cell, numeric=True, show="wide"),
        Column("verdict", lambda row: Cell(row["verdict"], inside_margin(row))),
        Column("detectable", _detectable, numeric=True, show="wide"),
        Column(f"more {judged.unit}s", more_cell, numeric=True, show="wide"),
    ]
    rows = rows_of(columns, judged.table.to_dict("records"))
    words = note(judged) + (ON_ONE_KIND if judged.alike is not None else "")
    words += TOGETHER.format(percent(1 - judged.family.alpha, 0)) if len(judged.table) > 1 else ""
    if judged.seeds is not None and judged.seeds["overlap"].any():
        words += f" {SHARED}"
    words += AT_LOOK if judged.look else ""
    return Table(name, title, words, columns, rows, judged.table, searched=True)


def alike_table(judged: Verdicts, name: str = "verdicts") -> Iterator[Table]:
    """Make the table of verdicts from the seeds of one kind of processor alone, where not all are."""
    if judged.alike is None:
        return
    beside = judged.table[[*KEY, "n", "difference", "verdict"]].add_suffix("_all")
    both = pd.concat([judged.alike, beside], axis=1)
    columns = [
        Column("data set", "dataset"),
        Column("contrast", contrast_cell, show="long"),
        Column(
            f"{judged.unit}s",
            lambda row: Cell(str(row["n"]), f"of {row['n_all']}", row["n"]),
            numeric=True,
            show="wide",
        ),
        Column("difference", difference_cell, numeric=True),
        Column("p (Holm)", p_cell, numeric=True, show="wide"),
        Column("verdict", lambda row: Cell(row["verdict"], inside_margin(row))),
        Column("with all seeds", lambda row: Cell(row["verdict_all"], _all_seeds(row)), show="wide"),
    ]
    rows = rows_of(columns, both.to_dict("records"))
    title = "Verdicts, tuned, on one kind" if name != "verdicts" else "Verdicts on one kind of processor"
    yield Table(f"{name}-one-kind", title, ALIKE, columns, rows, judged.alike, searched=True)


def _together(row: Mapping[Any, Any]) -> Cell:
    if math.isnan(row["low_all"]):
        return Cell(DASH)
    words = f"{points(row['low_all'])} to {points(row['high_all'])}"
    return Cell("", words, key=float(row["low_all"]))  # small, so that it may take two lines


def _all_seeds(row: Mapping[Any, Any]) -> str:
    return f"{points(row['difference_all'], sign=True)} points" if row["n_all"] else ""


def _same_kind(row: Mapping[Any, Any]) -> Cell:
    return Cell(str(row["same_kind"]), f"of {row['n']}", row["same_kind"])


def note(judged: Verdicts) -> str:
    """Explain a table of verdicts."""
    family = judged.family
    whose = "Declared in the study." if family.declared else (
        "The study names no pairs or levels to contrast: these are its design's default family.")  # fmt: skip
    corrected = f"corrected for all {len(judged.table)} contrasts of the family (Holm)"
    alike = "corrected alike"
    if judged.is_single:
        corrected, alike = "for the only contrast of its family, so without a correction", "likewise"
    paired = "paired by seed" if judged.unit == "seed" else "means of blocks of seeds, paired by block"
    return NOTE.format(
        metric=spaced(family.metric), alpha=f"{family.alpha:g}", corrected=corrected, alike=alike,
        margin=size_words(family), power=power_words(alone=judged.is_single), whose=whose,
        paired=paired, unit=judged.unit,
    )  # fmt: skip


def contrast_cell(row: Mapping[Any, Any]) -> Cell:
    """Name a contrast, and under it the levels it was judged within."""
    axis = row["axis"] if row["axis"] and row["axis"] not in arm(row) else ""
    return Cell(contrast(row), ", ".join(filter(None, (axis, row["within"]))))


def _seeds(row: Mapping[Any, Any]) -> Cell:
    left = f"{row['left_out']} of {row['left_out'] + row['cells']} combinations left out"
    fewer = f"of {row['planned']}" if row["n"] < row["planned"] else ""
    return Cell(str(row["n"]), ", ".join(filter(None, (fewer, left if row["left_out"] else ""))), row["n"])


def _detectable(row: Mapping[Any, Any]) -> Cell:
    share = row["detectable"]
    return Cell(points(share) if math.isfinite(share) else DASH, key=share)


def draw(judged: Verdicts) -> Iterator[Figure]:
    """Draw the forest of a family, a large one in several figures of which all but the first are folded."""
    rows = judged.table.assign(series="", words=[label(row) for row in judged.table.to_dict("records")])
    yield from forests(judged.family, rows, "forest", "Verdicts with their intervals", plots.MOST_ROWS)


def forests(family: Contrasts, rows: pd.DataFrame, name: str, title: str, most: int) -> Iterator[Figure]:
    """Draw rows of `Verdicts.table` (with series and words) as forest plots of at most `most` contrasts."""
    if not rows["n"].gt(0).any():
        return
    labels = [contrast(row) for row in rows.to_dict("records")]
    shown = rows.assign(heading=list(headings(rows)), label=labels)
    contrasts = len(shown.drop_duplicates(KEY))
    parts = list(_parts(shown, most)) if contrasts > most else [shown]
    for number, part in enumerate(parts, start=1):
        metric = spaced(family.metric)
        bend = plots.forest_bend(part, family.margin)
        scale = LOGARITHMIC if bend else ""
        caption = FOREST.format(
            metric=metric, seeds=_over(part), corrected=_corrected(contrasts), scale=scale
        )
        across = f"difference in {metric} (points)"
        figure = plots.forest_figure(part, family.margin, across)
        chart = comparison_charts.forest(part, family.margin, across, bend)
        datasets = ", ".join(dict.fromkeys(part["dataset"]))
        several = len(parts) > 1
        heading = f"{title}, {number} of {len(parts)}: {datasets}" if several else title
        file = slug(f"{name}-{number}" if several else name)
        yield Figure(file, heading, caption, figure, folded=number > 1, chart=chart)


def _parts(rows: pd.DataFrame, most: int) -> Iterator[pd.DataFrame]:
    """Split rows into parts of about the same length, data sets apart and each contrast in one part."""
    for _, here in rows.groupby("dataset", sort=False):
        number = here.groupby(KEY, sort=False).ngroup()
        for part in np.array_split(np.arange(number.max() + 1), math.ceil((number.max() + 1) / most)):
            yield here[number.isin(part)]


def _corrected(contrasts: int) -> str:
    if contrasts == 1:
        return "belongs to the only contrast of its family"
    family = f"is corrected for all {contrasts} contrasts of the family"
    return f"{family}, so an interval may exclude 0 where the verdict is open"


def _over(rows: pd.DataFrame) -> str:
    """Say what the intervals of rows of `Verdicts.table` rest on: seeds, or blocks of seeds."""
    units = rows[UNIT] if UNIT in rows else pd.Series("seed", index=rows.index)
    said = []
    for unit in dict.fromkeys(units):
        some = sorted(rows.loc[units.eq(unit) & rows["n"].gt(0), "n"])
        said.append(
            f"none with one {unit}"
            if max(some, default=0) < 2
            else f"{between(list(map(str, some)))} {unit}s"
        )
    return " and ".join(said)


def label(row: Mapping[Any, Any]) -> str:
    """Write a verdict with its difference, as it stands beside its row."""
    return f"{row['verdict']} {points(row['difference'], sign=True)}" if row["n"] else str(row["verdict"])


def effects(reading: ReportData) -> Iterator[Table]:
    """Make the main effects of a grid a table, with the numbers of the figure of that name."""
    effects = stats.main_effects(reading.trials, reading.axes) if reading.design == "grid" else pd.DataFrame()
    if effects.empty:
        return
    columns = [
        Column("data set", "dataset"),
        Column("axis", "axis"),
        Column("level", "level"),
        Column("val accuracy", lambda row: share_cell(row["mean"], digits=2), numeric=True),
        Column("effect (points)", difference_cell, numeric=True),
        Column("seeds", "n", numeric=True),
    ]
    rows = rows_of(columns, effects.rename(columns={"effect": "difference"}).to_dict("records"))
    words = "Each level's val accuracy against the mean of all levels of its axis. "
    note = f"{EXPLORATORY} {words}{intervals(effects['n'])}"
    yield Table("effects", "Main effects", note, columns, rows, effects)
