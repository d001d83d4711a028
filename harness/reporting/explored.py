"""Charts of the page's figures: arms, learning curves, learning rates, verdicts, ladders, searches.

Each takes the table that its figure is drawn from, so that both show the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness import stats
from harness.reporting.charts import Axis, Chart, Series
from harness.stats.verdicts import IDENTICAL
from harness.text import count

if TYPE_CHECKING:
    from harness.plots import Panel
    from harness.reporting.data import ReportData

MOST_ARMS = 200
"""Arms of a chart: of more, the best and the worst."""
MOST_ROWS = 24
"""Arms that have a row and a name each; of more, the rank is an axis, and pointing at an arm names it."""
MOST_LINES = 40
"""Trials that have a line each; of more, an arm has its mean and the range of its trials."""
MOST_EVALUATIONS = 120
"""Points of a line: of more, as many evenly spaced ones."""
VERDICT_COLORS = {"better": 0, "worse": 3, IDENTICAL: 2, "same within margin": 2}
OPEN_COLOR = 7
SPLITS = ("val", "train")


def trial_label(row: Mapping[Any, Any]) -> str:
    """Name a trial as a reader finds it in trials.csv, with its seed."""
    return f"trial {row['trial_id']}, seed {row['seed']}"


def kept(ranked: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the arms of a chart, all or the ends of the ranking, and words on those left out."""
    if len(ranked) <= MOST_ARMS:
        return ranked, ""
    half = MOST_ARMS // 2
    words = (
        f"The {half} best and the {half} worst of {len(ranked)} arms; all trials are in trials.csv, and all "
        "arms in the table."
    )
    return pd.concat([ranked.head(half), ranked.tail(half)]), words


def arms(ranked: pd.DataFrame, done: pd.DataFrame) -> Chart:
    """Chart the accuracies of arms: each arm's seeds, mean and interval on val, and its mean on test.

    Args:
        ranked: rows of `stats.rank_arms` of one data set, the best first, with `label`.
        done: label, trial_id, seed, val_accuracy: its finished trials.
    """
    shown, note = kept(ranked)
    rows = len(shown) <= MOST_ROWS
    places = list(range(len(shown))) if rows else [int(rank) for rank in shown["rank"]]
    trials = dict(list(done.groupby("label", sort=False, observed=True)))
    across = Axis("", names=[str(label) for label in shown["label"]]) if rows else Axis("rank on val")
    series = [
        one
        for place, row in zip(places, shown.to_dict("records"), strict=True)
        for one in _arm(row, place, trials[row["label"]])
    ]
    return Chart("points", across, Axis("accuracy", percent=True), series, "Arms", note, rows=rows)


def _arm(row: Mapping[Any, Any], place: int, trials: pd.DataFrame) -> list[Series]:
    name, test = str(row["label"]), row["shown_mean"]
    labels = [f"val, {trial_label(trial)}" for trial in trials.to_dict("records")]
    mean = Series(
        name, [place], [row["mean"]], [row["low"]], [row["high"]], [f"val, mean of {count(row['n'], 'seed')}"],
        mark="tick", span="95\u00a0% interval",
    )  # fmt: skip
    seeds = Series(name, [place] * len(trials), list(trials["val_accuracy"]), labels=labels, mark="circle")
    beside = Series(name, [place], [test], labels=["test, mean"], mark="diamond")
    return [mean, seeds, *([beside] if math.isfinite(test) else [])]


def level_curves(panels: Sequence[Panel], hue: str) -> Chart | None:
    """Chart the learning curves of a figure's panels, one of them at a time, a name a level of `hue`.

    Of several seeds, a line is their mean and the range their lowest and highest.
    """
    charts = [
        _curves(panel.title, panel.ylabel, _spread(panel.table, [hue]), hue)
        for panel in panels if not panel.table.empty
    ]  # fmt: skip
    return _together(charts)


def arm_curves(reading: ReportData, dataset: str, ranked: pd.DataFrame) -> Chart | None:
    """Chart the learning curves of every arm: accuracy, and each kind of loss by itself.

    Few trials have a line each; of many, an arm has its mean and the range of its trials.
    """
    shown, note = kept(ranked)
    trials = reading.finished(dataset)
    trials = trials[trials["label"].isin(shown["label"])]
    joined = _joined(reading, trials, list(shown["label"]))
    single = len(trials) <= MOST_LINES
    views = [("accuracy", "accuracy", joined)]
    objectives = list(dict.fromkeys(trials["objective"]))
    for objective in objectives:
        title = f"loss ({objective})" if len(objectives) > 1 else "loss"
        views.append((title, "loss", joined[joined["objective"].eq(objective)]))
    charts = []
    for title, metric, table in views:
        values = table.rename(columns={metric: "value"}).dropna(subset=["value"])
        if values.empty:
            continue
        lines = _lines(values) if single else _spread(values, ["label"])
        charts.append(_curves(title, metric, lines, "label"))
    chart = _together(charts)
    return chart and _noted(chart, note)


def _joined(reading: ReportData, trials: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Join trials to their evaluations, arms in the given order, with not too many of them a trial."""
    facts = trials[["trial_id", "seed", "label", "objective"]]
    epochs = _thinned(reading.results.epochs)
    joined = facts.merge(epochs[["trial_id", "split", "epoch", "loss", "accuracy"]], on="trial_id")
    place = {label: number for number, label in enumerate(order)}
    return joined.iloc[joined["label"].map(place).argsort(kind="stable")]


def _thinned(epochs: pd.DataFrame) -> pd.DataFrame:
    """Keep evenly spaced evaluations, the first and the last among them."""
    times = np.sort(epochs["epoch"].unique())
    if len(times) <= MOST_EVALUATIONS:
        return epochs
    places = np.unique(np.linspace(0, len(times) - 1, MOST_EVALUATIONS).round().astype(int))
    return epochs[epochs["epoch"].isin(times[places])]


def _lines(table: pd.DataFrame) -> pd.DataFrame:
    """Give each trial a line: label, split, epoch, value, low, high and the trial's words."""
    words = "trial " + table["trial_id"].astype(str) + ", seed " + table["seed"].astype(str)
    return table.assign(words=words, low=math.nan, high=math.nan)


def _spread(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Average over seeds: `by`, split, epoch, value, low, high (the ends of the seeds' values) and words."""
    columns = list(dict.fromkeys([*by, "split", "epoch"]))
    values = _thinned(table).groupby(columns, sort=False, observed=True)["value"]
    spread = values.agg(value="mean", low="min", high="max", n="count").reset_index()
    words = ["mean of " + count(n, "line") if n > 1 else "" for n in spread["n"]]
    one = spread["n"].lt(2)
    return spread.assign(
        words=words, low=spread["low"].mask(one), high=spread["high"].mask(one)
    )


def _curves(title: str, metric: str, table: pd.DataFrame, hue: str) -> Chart:
    """Make a chart of one metric from lines: `hue`, split, epoch, value, low, high, words."""
    series = []
    several = table[hue].nunique() > 1 or hue != "split"
    for name, here in table.groupby(hue, sort=False, observed=True):
        for split in SPLITS:
            part = here[here["split"].eq(split)]
            for words, line in part.groupby("words", sort=False, observed=True):
                series.append(_line(str(name), split, str(words), line.sort_values("epoch", kind="stable")))
    del several
    values = table["value"]
    if metric == "accuracy":
        return Chart("lines", Axis("epoch"), Axis(metric, percent=True, low=_trained(table)), series, title)
    log = bool(values.min() > 0 and values.max() / values.min() > 5)
    return Chart("lines", Axis("epoch"), Axis(metric, log=log), series, title)


def _line(name: str, split: str, words: str, line: pd.DataFrame) -> Series:
    ends = {end: list(line[end]) for end in ("low", "high")} if line["low"].notna().any() else {}
    labels = [", ".join(filter(None, (split, words)))]
    return Series(
        name, list(line["epoch"]), list(line["value"]), **ends, labels=labels, dashed=split == "train",
        span="lines from",
    )  # fmt: skip


def _trained(table: pd.DataFrame) -> float | None:
    """Return where the accuracies of trained networks begin, if guessing lies below."""
    trained = table.loc[table["epoch"].gt(0), "value"]
    if table["epoch"].nunique() < 3 or not trained.min() > table["value"].min():
        return None
    return float(trained.min() - (0.06 * (table["value"].max() - trained.min()) or 0.01))


def _together(charts: Sequence[Chart]) -> Chart | None:
    return replace(charts[0], others=charts[1:]) if charts else None


def _noted(chart: Chart, note: str) -> Chart:
    others = [replace(other, note=note) for other in chart.others]
    return replace(chart, note=note, others=others)
