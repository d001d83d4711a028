"""Charts of arms and of their learning curves, to be explored in place of the page's figures.

Each takes the table that its figure is drawn from, so that both show the same numbers.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.plots.scales import kind_of, trained_ends
from harness.reporting.charts import Axis, Chart, Series, together
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
"""Points of a line: of more, as many evenly spaced ones; of many lines, fewer."""
MOST_POINTS = 12_000
"""Points of all lines of a view together, about."""
INTERVAL = "95\u00a0% interval"
WIDE = 8
"""Times that errors may differ on a linear axis."""
MARKS = "Points: val of each seed; bar and tick: their interval and mean; hollow: mean on test."
RANGE = (
    "Lines are means over seeds and all other choices; the shade spans the seeds. Solid val, dashed train."
)
EVERY_TRIAL = "Every trial of all {} has a line. Solid val, dashed train."
EVERY_ARM = (
    "A line is the mean of one arm's seeds on val; an arm that is pointed at or picked has their range and, "
    "dashed, train. All {}."
)
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
    trials = {
        key[0]: run for key, run in _runs(done[["label", "trial_id", "seed", "val_accuracy"]], ["label"])
    }
    names = [str(label) for label in shown["label"]]
    across = Axis("", names=names) if rows else Axis("rank on val")
    accuracies = [*done["val_accuracy"], *shown["shown_mean"].dropna()]
    accuracy = Axis("accuracy", percent=True, error=spans(accuracies))
    scale = " The axis is logarithmic in the error." if accuracy.error else ""
    series = [
        one
        for place, row in zip(places, shown.to_dict("records"), strict=True)
        for one in _arm(row, place, trials[row["label"]])
    ]
    note = f"{MARKS}{scale}{' ' if note else ''}{note}"
    return Chart("points", across, accuracy, series, "Arms", note, rows=rows)


def spans(accuracies: Sequence[float]) -> bool:
    """Tell whether errors differ so much that small ones would be a speck on a linear axis."""
    errors = 1 - np.asarray(accuracies, dtype=float)
    return bool(errors.size and errors.max() > WIDE * max(errors.min(), 1e-4))


def _arm(row: Mapping[Any, Any], place: int, trials: Mapping[str, Sequence[Any]]) -> list[Series]:
    name, test = str(row["label"]), row["shown_mean"]
    facts = zip(trials["trial_id"], trials["seed"], strict=True)
    labels = [f"val, {trial_label({'trial_id': trial, 'seed': seed})}" for trial, seed in facts]
    words = [f"val, mean of {count(row['n'], 'seed')}"]
    mean = Series(
        name, [place], [row["mean"]], [row["low"]], [row["high"]], words, mark="tick", span=INTERVAL
    )
    seeds = Series(name, [place] * len(labels), trials["val_accuracy"], labels=labels, mark="circle")
    beside = Series(name, [place], [test], labels=["test, mean"], mark="diamond")
    return [mean, seeds, *([beside] if math.isfinite(test) else [])]


def level_curves(panels: Sequence[Panel], hue: str) -> Chart | None:
    """Chart the learning curves of a figure's panels, one of them at a time, a name a level of `hue`.

    Of several seeds, a line is their mean and the range their lowest and highest.
    """
    shown = [panel for panel in panels if not panel.table.empty]
    charts = [
        _curves(_title(panel.title, len(shown) - 1), panel.ylabel, panel.table, _mean_lines(panel.table, hue))
        for panel in shown
    ]
    return together([replace(chart, note=RANGE) for chart in charts])


def _title(objective: str, losses: int) -> str:
    """Name a view: the loss, and of which kind where there are several."""
    if objective == "accuracy" or losses > 1:
        return objective if objective == "accuracy" else f"loss: {objective}"
    return "loss"


def arm_curves(reading: ReportData, dataset: str, ranked: pd.DataFrame) -> Chart | None:
    """Chart the learning curves of every arm: accuracy, and each kind of loss by itself.

    Few trials have a line each; of many, an arm has its mean and the range of its trials.
    """
    shown, note = kept(ranked)
    trials = reading.finished(dataset)
    trials = trials[trials["label"].isin(shown["label"])]
    single = len(trials) <= MOST_LINES
    number = max(1, 2 * (len(trials) if single else len(shown)))
    epochs = _thinned(reading.results.epochs, min(MOST_EVALUATIONS, max(20, MOST_POINTS // number)))
    joined = _joined(epochs, trials, list(shown["label"]))
    views = [("accuracy", "accuracy", joined)]
    objectives = list(dict.fromkeys(trials["objective"]))
    for objective in objectives:
        title = _title(str(objective), len(objectives))
        views.append((title, "loss", joined[joined["objective"].eq(objective)]))
    charts = []
    for title, metric, table in views:
        values = table.rename(columns={metric: "value"}).dropna(subset=["value"])
        if values.empty:
            continue
        lines = _trial_lines(values) if single else _mean_lines(values, "label")
        charts.append(_curves(title, metric, values, lines))
    words = (EVERY_TRIAL if single else EVERY_ARM).format(count(len(shown), "arm"))
    return together([replace(chart, note=f"{words} {note}".strip()) for chart in charts])


def _joined(epochs: pd.DataFrame, trials: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Join trials to their evaluations, arms in the given order."""
    facts = trials[["trial_id", "seed", "label", "objective"]]
    joined = facts.merge(epochs[["trial_id", "split", "epoch", "loss", "accuracy"]], on="trial_id")
    place = joined["label"].map({label: number for number, label in enumerate(order)})
    return joined.iloc[np.lexsort((joined["epoch"], place))]


def _thinned(epochs: pd.DataFrame, most: int = MOST_EVALUATIONS) -> pd.DataFrame:
    """Keep evenly spaced evaluations, the first and the last among them."""
    times = np.sort(epochs["epoch"].unique())
    if len(times) <= most:
        return epochs
    places = np.unique(np.linspace(0, len(times) - 1, most).round().astype(int))
    return epochs[epochs["epoch"].isin(times[places])]


def _runs(table: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[Sequence[Any], dict[str, list[Any]]]]:
    """Yield each group of a table by its key, as lists: a frame a line would take seconds for many lines."""
    order = table.groupby(list(by), sort=False, observed=True).ngroup().to_numpy()
    places = np.argsort(order, kind="stable")
    cuts = np.flatnonzero(np.diff(order[places])) + 1
    columns = {str(column): table[column].to_numpy()[places] for column in table}
    for start, end in zip([0, *cuts], [*cuts, len(places)], strict=True):
        run = {column: values[start:end].tolist() for column, values in columns.items()}
        yield [run[column][0] for column in by], run


def _val_first(table: pd.DataFrame) -> pd.DataFrame:
    """Order lines: val before train, and along a line by epoch."""
    rank = table["split"].astype(str).map({split: place for place, split in enumerate(SPLITS)})
    shown = table[rank.notna()]
    return shown.iloc[np.lexsort((shown["epoch"], rank.dropna()))]


def _trial_lines(table: pd.DataFrame) -> Iterator[Series]:
    """Give each trial a line: of label, trial_id, seed, split, epoch, value."""
    columns = ["label", "split", "trial_id", "seed"]
    for (name, split, trial, seed), line in _runs(_val_first(table), columns):
        label = f"{split}, {trial_label({'trial_id': trial, 'seed': seed})}"
        yield Series(str(name), line["epoch"], line["value"], labels=[label], dashed=split == "train")


def _mean_lines(table: pd.DataFrame, hue: str) -> Iterator[Series]:
    """Give each level of `hue` and split a line, the mean of its values an epoch, with their range."""
    values = _thinned(table).groupby([hue, "split", "epoch"], sort=False, observed=True)["value"]
    spread = values.agg(["mean", "min", "max", "count"]).reset_index()
    single = spread["count"].lt(2)
    spread = spread.assign(min=spread["min"].mask(single), max=spread["max"].mask(single))
    for (name, split), line in _runs(_val_first(spread), [hue, "split"]):
        n = max(line["count"])
        low, high = (line["min"], line["max"]) if n > 1 else ([], [])
        label = f"{split}, mean of {n}" if n > 1 else str(split)
        yield Series(
            str(name), line["epoch"], line["mean"], low, high, labels=[label], dashed=split == "train",
            span=f"the {n} from",
        )  # fmt: skip


def _curves(title: str, metric: str, table: pd.DataFrame, series: Iterable[Series]) -> Chart:
    """Make a chart of lines of one metric, on the scale of the values in `table` (epoch, value)."""
    if metric == "accuracy":
        ends = trained_ends(table)
        y = Axis(metric, percent=True, low=ends and ends[0])
    else:
        y = Axis(metric, log=kind_of(metric, table["value"]) == "log")
    return Chart("lines", Axis("epoch"), y, list(series), title)
