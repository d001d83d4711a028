"""Charts of the page's figures: arms, learning curves, learning rates, verdicts, ladders, searches.

Each takes the table that its figure is drawn from, so that both show the same numbers.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.reporting.charts import Axis, Chart, Series
from harness.stats.verdicts import IDENTICAL
from harness.text import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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
    return _together([
        _curves(panel.title, panel.ylabel, panel.table, _mean_lines(panel.table, hue))
        for panel in panels if not panel.table.empty
    ])  # fmt: skip


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
        lines = _trial_lines(values) if single else _mean_lines(values, "label")
        charts.append(_curves(title, metric, values, lines))
    return _together([replace(chart, note=note) for chart in charts])


def _joined(reading: ReportData, trials: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Join trials to their evaluations, arms in the given order, with not too many of them a trial."""
    facts = trials[["trial_id", "seed", "label", "objective"]]
    epochs = _thinned(reading.results.epochs)
    joined = facts.merge(epochs[["trial_id", "split", "epoch", "loss", "accuracy"]], on="trial_id")
    place = joined["label"].map({label: number for number, label in enumerate(order)})
    return joined.iloc[np.lexsort((joined["epoch"], place))]


def _thinned(epochs: pd.DataFrame) -> pd.DataFrame:
    """Keep evenly spaced evaluations, the first and the last among them."""
    times = np.sort(epochs["epoch"].unique())
    if len(times) <= MOST_EVALUATIONS:
        return epochs
    places = np.unique(np.linspace(0, len(times) - 1, MOST_EVALUATIONS).round().astype(int))
    return epochs[epochs["epoch"].isin(times[places])]


def _trial_lines(table: pd.DataFrame) -> Iterator[Series]:
    """Give each trial a line: of label, trial_id, seed, split, epoch, value."""
    for name, here in table.groupby("label", sort=False, observed=True):
        for split in SPLITS:
            for (trial, seed), line in here[here["split"].eq(split)].groupby(
                ["trial_id", "seed"], sort=False
            ):
                facts = {"trial_id": trial, "seed": seed}
                label = [f"{split}, {trial_label(facts)}"]
                yield Series(
                    str(name), list(line["epoch"]), list(line["value"]), labels=label, dashed=split == "train"
                )


def _mean_lines(table: pd.DataFrame, hue: str) -> Iterator[Series]:
    """Give each level of `hue` and split a line, the mean of its values an epoch, with their range."""
    values = _thinned(table).groupby(list(dict.fromkeys([hue, "split", "epoch"])), sort=False, observed=True)
    spread = values["value"].agg(value="mean", low="min", high="max", n="count").reset_index()
    for name, here in spread.groupby(hue, sort=False, observed=True):
        for split in SPLITS:
            line = here[here["split"].eq(split)].sort_values("epoch", kind="stable")
            if line.empty:
                continue
            n = int(line["n"].max())
            ends = {end: list(line[end].where(line["n"].gt(1))) for end in ("low", "high")} if n > 1 else {}
            label = f"{split}, mean of {n}" if n > 1 else split
            yield Series(
                str(name), list(line["epoch"]), list(line["value"]), **ends, labels=[label],
                dashed=split == "train", span=f"the {n} from",
            )  # fmt: skip


def _curves(title: str, metric: str, table: pd.DataFrame, series: Iterable[Series]) -> Chart:
    """Make a chart of lines of one metric, on the scale of the values in `table` (epoch, value)."""
    values = table["value"]
    if metric == "accuracy":
        y = Axis(metric, percent=True, low=_trained(table))
    else:
        y = Axis(metric, log=bool(values.min() > 0 and values.max() / values.min() > 5))
    return Chart("lines", Axis("epoch"), y, list(series), title)


def _trained(table: pd.DataFrame) -> float | None:
    """Return where the accuracies of trained networks begin, if guessing lies below."""
    trained = table.loc[table["epoch"].gt(0), "value"]
    if table["epoch"].nunique() < 3 or not trained.min() > table["value"].min():
        return None
    return float(trained.min() - (0.06 * (table["value"].max() - trained.min()) or 0.01))


def _together(charts: Sequence[Chart]) -> Chart | None:
    return replace(charts[0], others=charts[1:]) if charts else None
