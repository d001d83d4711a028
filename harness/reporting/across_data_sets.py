"""The family of contrasts over the data sets of a study: what holds on every one of them, and on average."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import stats
from harness.reporting.model import Cell, Column, Section, Table, difference_cell, rows_of
from harness.reporting.verdict_views import contrast_cell
from harness.results.families import KEY
from harness.text import count, joined, p_value, points, spaced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.reporting.contrasts import Verdicts
    from harness.reporting.evidence import Evidence

TITLE = "Over the data sets"
BY = [name for name in KEY if name != "dataset"]
P_VALUES = {
    "p, on every one": "p_every_holm", "p, same": "p_same_holm", "p, depends": "p_apart_holm",
    "p, average": "p_holm",
}  # fmt: skip
"""Headers of p values -> columns of `stats.over_data_sets`."""
NOTE = (
    "Each contrast of {metric} over the data sets of this study that have it, and over these alone: {few} "
    "not tell how much a difference varies from one data set to the next, so nothing here speaks of a "
    "further one, and no ranks over data sets are tested. Average: the mean over the data sets, each alike, "
    "of seeds that finished on all of them, in points, with its 95\u00a0% Student-t interval over them. "
    "On every one: the largest p over the data sets, all of which have to show it in one direction. Depends: "
    "the difference on one data set differs from that on another, seed by seed. Each p is corrected for all "
    "{many} (Holm). The verdict is the strongest claim that holds: a difference at a third of {alpha}, since "
    "three questions ask for one, and the same at {alpha}."
)


def section(evidence: Evidence) -> Section:
    """Judge the contrasts over all data sets of a study; empty for one data set."""
    judged = evidence.main
    over = table(judged)
    if over.empty:
        return Section("over-data-sets", TITLE)
    columns = [
        Column("contrast", contrast_cell, show="long"),
        Column("data sets", "data_sets", numeric=True, show="wide"),
        Column("seeds", "n", numeric=True, show="wide"),
        Column("average", difference_cell, numeric=True),
        Column("on a data set", _range, numeric=True, show="wide"),
        *(Column(name, _p(p), numeric=True, show="wide") for name, p in P_VALUES.items()),
        Column("verdict", "verdict"),
    ]
    few = "two do" if over["data_sets"].max() == 2 else "a few do"
    note = NOTE.format(
        metric=spaced(judged.family.metric), few=few, many=count(len(over), "contrast"),
        alpha=f"{judged.family.alpha:g}",
    )  # fmt: skip
    rows = rows_of(columns, over.to_dict("records"))
    words = list(_words(over, judged, tuned=evidence.tuned_verdicts is not None))
    shown = Table("over-data-sets", TITLE, note, columns, rows, over, searched=True)
    return Section("over-data-sets", TITLE, words, [shown])


def table(judged: Verdicts) -> pd.DataFrame:
    """Return what `stats.over_data_sets` says of a family; no rows where no contrast has two data sets."""
    if judged.seeds is None:
        return pd.DataFrame()
    family, seeds = judged.family, judged.seeds.drop_duplicates([*KEY, "seed"])
    return stats.over_data_sets(
        seeds, BY, margin=family.margin, alpha=family.alpha,
        within=stats.difference_limits(family.metric),
    )  # fmt: skip


def _words(over: pd.DataFrame, judged: Verdicts, *, tuned: bool) -> list[str]:
    numbers = Counter(over["verdict"])
    told = joined([f"{numbers[name]} {name}" for name in stats.OVER_DATA_SETS if numbers[name]])
    arms = " of tuned arms" if tuned else ""
    return [f"Over {joined(judged.datasets)}, of {count(len(over), 'contrast')}{arms}: {told}."]


def _p(name: str) -> Any:
    return lambda row: Cell(p_value(row[name]), key=row[name])


def _range(row: Mapping[Any, Any]) -> Cell:
    if pd.isna(row["least"]):
        return Cell("", key=float("nan"))
    ends = f"{points(row['least'], sign=True)} to {points(row['greatest'], sign=True)}"
    return Cell(ends, key=row["greatest"] - row["least"])
