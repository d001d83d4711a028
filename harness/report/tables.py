"""The tables of a report: rows of cells as a person reads them, with what a column sorts by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness import stats
from harness.report.declared import EXPLORATORY
from harness.report.reading import Comparison, Reading, comparisons, rank
from harness.text import hundredths, percent, points, span

NONE = "no data"
STATES = {
    "diverged": "diverged: a loss was no longer finite; an observation, not a fault",
    "failed": "failed: tried again on the next run",
    "skipped": "skipped: planned, but never to be trained",
    "pruned": "pruned: stopped early by a search",
    "": "not trained yet",
}


@dataclass(frozen=True)
class Cell:
    """Text, a smaller line under it, and what to sort by (empty: the text; always last when NaN)."""

    text: str
    small: str = ""
    key: float | None = None

    @property
    def sort(self) -> str:
        """The sort key as an attribute's text; empty sorts last."""
        if self.key is None:
            return self.text
        return "" if math.isnan(self.key) else repr(float(self.key))


@dataclass(frozen=True)
class Column:
    """A header. `show`: "" always, "wide" or "narrow" only on such a screen, "long" with room for words."""

    name: str
    numeric: bool = False
    show: str = ""


@dataclass(frozen=True)
class Table:
    """A sortable table with the words that say how to read it.

    `data`: its numbers in full, for files beside the page; None where none are written.
    """

    name: str
    title: str
    note: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    data: pd.DataFrame | None = None


@dataclass(frozen=True)
class Missing:
    """Trials without a result, for one reason on one data set."""

    state: str
    dataset: str
    reason: str
    count: int
    trials: Sequence[str]


def choices(reading: Reading) -> Iterator[Table]:
    """The tables that say which choice mattered, by design."""
    spreads = stats.axis_spreads(reading.trials, reading.axes)
    if reading.design == "grid" and not spreads.empty:
        yield _spreads(spreads)
    for comparison in comparisons(reading):
        yield _contrasts(reading, comparison)


def _spreads(spreads: pd.DataFrame) -> Table:
    columns = [Column("data set"), Column("choice"), Column("best"), Column("worst")]
    columns += [Column("spread (points)", numeric=True), Column("share", numeric=True)]
    rows = [
        [
            Cell(row["dataset"]),
            Cell(row["axis"]),
            Cell(row["best"], percent(row["best_mean"])),
            Cell(row["worst"], percent(row["worst_mean"])),
            Cell(points(row["spread"]), span(row), row["spread"]),
            Cell(NONE if math.isnan(row["share"]) else percent(row["share"]), key=row["share"]),
        ]
        for row in spreads.to_dict("records")
    ]
    note = (
        f"{EXPLORATORY} Mean val accuracy of the best and the worst level of each choice, over all other "
        "choices; under each spread its 95\u00a0% interval. The two levels were picked by the same numbers: "
        "a choice without any effect still shows a small spread. Share: of the variance between trials, what "
        "the choice alone explains (eta squared); the rest is other choices, their interplay, and seeds."
    )
    return Table("choices", "Which choice matters", note, columns, rows)


def _contrasts(reading: Reading, comparison: Comparison) -> Table:
    pairs = comparison.contrasts[["arm", "reference"]].drop_duplicates()
    test = stats.contrasts(reading.trials, pairs, "test_accuracy", "label")
    by = ["dataset", "arm", "reference"]
    both = comparison.contrasts.merge(test, on=by, how="left", suffixes=("", "_test"))
    columns = [Column("data set"), Column("arm"), Column("against")]
    columns += [Column("val (points)", numeric=True), Column("test (points)", numeric=True)]
    rows = [
        [
            Cell(row["dataset"]),
            Cell(row["label"]),
            Cell(row["reference"]),
            difference_cell({key: row[key] for key in ("difference", "low", "high", "n")}),
            difference_cell({key: row[f"{key}_test"] for key in ("difference", "low", "high", "n")}),
        ]
        for row in both.to_dict("records")
    ]
    note = (
        f"{EXPLORATORY} Differences in accuracy, paired by seed, under each its 95\u00a0% interval; each "
        "interval stands by itself."
    )
    return Table(comparison.name, comparison.title, note, columns, rows)


def difference_cell(row: Mapping[Any, Any]) -> Cell:
    """A difference in points with its interval (difference, low, high, n); no data where n is 0."""
    if not row["n"] > 0:
        return Cell(NONE, key=math.nan)
    return Cell(points(row["difference"], sign=True), span(row), row["difference"])


def arms(reading: Reading) -> Table:
    """Every arm, by data set, best validation accuracy first."""
    axes = list(reading.axes) if reading.design == "grid" else []
    first = reading.trials.drop_duplicates(["dataset", "label"])[["dataset", "label", *axes]]
    levels = {row[:2]: row[2:] for row in first.itertuples(index=False, name=None)}
    columns = [Column("data set", show="wide" if axes else ""), Column("rank", numeric=True)]
    columns += [Column("arm", show="narrow" if axes else "")]
    columns += [Column(axis, show="wide") for axis in axes]
    columns += [Column(f"{split} accuracy", numeric=True) for split in ("val", "test")]
    measured = _measured(reading)
    columns += [Column(f"test {metric}", numeric=True) for metric in measured]
    columns += [Column("seeds", numeric=True)]
    rows = [
        [
            Cell(str(row["dataset"])),
            Cell("\u2013" if math.isnan(row["rank"]) else f"{row['rank']:.0f}", key=row["rank"]),
            Cell(str(row["label"]), str(row["dataset"]) if axes else ""),
            *map(_level_cell, levels[row["dataset"], row["label"]]),
            accuracy_cell({key: row[key] for key in ("mean", "low", "high", "n")}),
            accuracy_cell({key: row[f"shown_{key}"] for key in ("mean", "low", "high", "n")}),
            *(_mean(means[(row["dataset"], row["label"])]) for means in measured.values()),
            Cell(f"{row['ok']} of {row['planned']}", troubles(row), row["ok"]),
        ]
        for row in rank(reading).to_dict("records")
    ]
    ranked = (
        "Ranked by validation accuracy; arms with a diverged or failed seed rank after those without, since "
        "survivors flatter."
        if reading.trials["val_accuracy"].notna().any()
        else "Without a validation accuracy nothing is ranked: in the study's order."
    )
    note = f"Mean over the finished seeds, under it the 95\u00a0% Student-t interval. {ranked}"
    return Table("arms", "All arms", note, columns, rows)


def _measured(reading: Reading) -> dict[str, dict[Any, dict[Any, Any]]]:
    """Each metric the study tracks -> (data set, arm) -> n, mean, low, high on test, over finished seeds."""
    by, made = ["dataset", "label"], {}
    for metric in reading.results.study["study"].get("metrics", []):
        done = stats.finished(reading.trials, f"test_{metric}")
        table = stats.summarise(done, by, f"test_{metric}").set_index(by)
        arms = reading.trials[by].drop_duplicates().itertuples(index=False, name=None)
        made[metric] = {arm: dict(table.loc[arm]) if arm in table.index else {"n": 0} for arm in arms}
    return made


def _mean(row: Mapping[Any, Any]) -> Cell:
    if not row["n"]:
        return Cell(NONE, key=math.nan)
    return Cell(_three(row["mean"]), span(row, _three), float(row["mean"]))


def _three(value: float) -> str:
    return f"{value:.3g}".replace("-", "\u2212")


def _level_cell(level: str) -> Cell:
    try:
        return Cell(level, key=float(level))
    except ValueError:
        return Cell(level)


def accuracy_cell(row: Mapping[str, Any]) -> Cell:
    """An accuracy in % with its interval (mean, low, high, n); no data where n is 0."""
    if not row["n"]:
        return Cell(NONE, key=math.nan)
    return Cell(percent(row["mean"], 2), span(row, hundredths), row["mean"])


def troubles(row: Mapping[Any, Any] | pd.Series[Any]) -> str:
    """What became of the trials that did not finish, counted as by `stats.outcomes`; empty where all did."""
    counts = {status: row[status] for status in stats.OUTCOMES if status != "ok"}
    counts["not trained"] = row["planned"] - row["ok"] - sum(counts.values())
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def missing(reading: Reading) -> list[Missing]:
    """Trials that gave no result: by state, data set and reason, each trial named."""
    trials = reading.trials
    status = trials["status"].astype(object).where(trials["status"].notna(), "")
    reason = trials["reason"].astype(object).where(trials["reason"].notna() & status.ne(""), "")
    left = trials.assign(status=status, reason=reason)[status.ne("ok")]
    return [
        Missing(STATES.get(str(state), str(state)), str(dataset), str(why), len(group), list(_named(group)))
        for (state, dataset, why), group in left.groupby(["status", "dataset", "reason"], sort=False)
    ]


def _named(group: pd.DataFrame) -> Iterator[str]:
    """One line an arm: its seeds, and the step where each diverged."""
    for label, arm in group.groupby("label", sort=False):
        steps = zip(arm["seed"], arm["diverged_step"], strict=True)
        yield f"{label}: seed " + ", ".join(
            f"{seed}" if pd.isna(step) else f"{seed} at step {step:.0f}" for seed, step in steps
        )


def provenance(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """What the run wrote down about itself, a line a fact: nested tables as dotted names, lists joined."""
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from provenance(value, f"{name}.")
        elif isinstance(value, list):
            yield name, ", ".join(map(str, value))
        else:
            yield name, "" if value is None else str(value)
