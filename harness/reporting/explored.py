"""Charts of the page's figures: arms, learning curves, learning rates, verdicts, ladders, searches.

Each takes the table that its figure is drawn from, so that both show the same numbers.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from harness.plots.scales import kind_of
from harness.reporting.charts import Axis, Chart, Mark, Series
from harness.stats.verdicts import IDENTICAL
from harness.text import count, p_value, spaced

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
LEFT_OUT = "A setting with a diverged or failed seed has no point here; the picture marks it."
RANGE = (
    "Lines are means over seeds and all other choices; the shade spans the seeds. Solid val, dashed train."
)
EVERY_TRIAL = "Every trial of all {} has a line. Solid val, dashed train."
EVERY_ARM = (
    "A line is the mean of one arm's seeds on val; an arm that is pointed at or picked has their range and, "
    "dashed, train. All {}."
)
VERDICT_COLORS = {"better": 0, "worse": 3, IDENTICAL: 2, "same within margin": 2}
OPEN_COLOR = 7
SPLITS = ("val", "train")
LANES = {"fixed": -0.18, "tuned": 0.18}
SPLIT_LANES = {"val": (0, -0.17), "test": (1, 0.17)}
"""A split's place in the palette, and how far from its row's middle it is drawn."""
MOST_SUGGESTIONS = 5000


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
    accuracy = Axis("accuracy", percent=True, error=_spans(accuracies))
    scale = " The axis is logarithmic in the error." if accuracy.error else ""
    series = [
        one
        for place, row in zip(places, shown.to_dict("records"), strict=True)
        for one in _arm(row, place, trials[row["label"]])
    ]
    note = f"{MARKS}{scale}{' ' if note else ''}{note}"
    return Chart("points", across, accuracy, series, "Arms", note, rows=rows)


def _spans(accuracies: Sequence[float]) -> bool:
    """Tell whether errors differ so much that small ones would be a speck on a linear axis."""
    errors = 1 - np.asarray(accuracies, dtype=float)
    return bool(errors.size and errors.max() > WIDE * max(errors.min(), 1e-4))


def _arm(row: Mapping[Any, Any], place: int, trials: Mapping[str, Sequence[Any]]) -> list[Series]:
    name, test = str(row["label"]), row["shown_mean"]
    facts = zip(trials["trial_id"], trials["seed"], strict=True)
    labels = [f"val, {trial_label({'trial_id': trial, 'seed': seed})}" for trial, seed in facts]
    words = [f"val, mean of {count(row['n'], 'seed')}"]
    ends = [[row[end]] for end in ("mean", "low", "high")]
    mean = Series(name, [place], *ends, words, mark="tick", span=INTERVAL)
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
    return _together([replace(chart, note=RANGE) for chart in charts])


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
    lines = max(1, 2 * (len(trials) if single else len(shown)))
    epochs = _thinned(reading.results.epochs, min(MOST_EVALUATIONS, max(20, MOST_POINTS // lines)))
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
    return _together([replace(chart, note=f"{words} {note}".strip()) for chart in charts])


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
        ends = {"low": line["min"], "high": line["max"]} if n > 1 else {}
        label = f"{split}, mean of {n}" if n > 1 else str(split)
        yield Series(
            str(name), line["epoch"], line["mean"], **ends, labels=[label], dashed=split == "train",
            span=f"the {n} from",
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


def rates(table: pd.DataFrame, bars: str) -> Chart | None:
    """Chart accuracy against the learning rate, a view a panel, from the table of the figure.

    Args:
        table: panel, line, lr, mean, low, high, chosen, edge, n, joined.
        bars: the word for what lies between low and high.
    """
    charts = []
    for panel, here in table.dropna(subset=["mean"]).groupby("panel", sort=False):
        lines = here.sort_values("lr", kind="stable").groupby("line", sort=False)
        series = [one for name, line in lines for one in _rate_line(str(name), line, bars)]
        kind: Literal["lines", "points"] = "lines" if here["joined"].all() else "points"
        accuracy = Axis("val accuracy", percent=True, error=_spans(list(here["mean"])))
        note = LEFT_OUT if len(here) < table["panel"].eq(panel).sum() else ""
        charts.append(Chart(kind, Axis("lr", log=True), accuracy, series, str(panel), note))
    return _together(charts)


def _rate_line(name: str, line: pd.DataFrame, bars: str) -> Iterator[Series]:
    """Give a line its points with intervals, and rings around those that were chosen."""
    words = [_rate_words(row) for row in line.to_dict("records")]
    numbers = [list(line[column]) for column in ("lr", "mean", "low", "high")]
    yield Series(name, *numbers, words, mark="circle", span=bars)
    rings = line[line["chosen"]]
    if len(rings):
        words = [_rate_words(row) for row in rings.to_dict("records")]
        yield Series(name, list(rings["lr"]), list(rings["mean"]), labels=words, mark="hollow")


def _rate_words(row: Mapping[Any, Any]) -> str:
    place = ", at an edge of the values tried" if row["edge"] else ""
    chosen = f", the lr chosen{place}" if row["chosen"] else ""
    return f"mean of {count(int(row['n']), 'seed')}{chosen}"


def forest(table: pd.DataFrame, margin: float, label: str, *, bent: bool) -> Chart:
    """Chart the contrasts of a forest plot: a row each, coloured by its verdict.

    Args:
        table: heading, label, series (empty, fixed or tuned), difference, low, high, verdict, words, n and
            p_holm, as for the figure.
        margin: within it two arms count as the same; a share.
        label: what the difference is.
        bent: whether the axis is logarithmic away from 0.
    """
    several = len(table["heading"].unique()) > 1
    names = [
        f"{row['label']} ({row['heading']})" if several and row["heading"] else str(row["label"])
        for row in table.to_dict("records")
    ]
    rows = {name: place for place, name in enumerate(dict.fromkeys(names))}
    shown = table.assign(
        place=[rows[name] + LANES.get(lane, 0) for name, lane in zip(names, table["series"], strict=True)]
    )
    series = []
    for (verdict, lane), here in shown.groupby(["verdict", "series"], sort=False):
        ends = [list(here[column]) for column in ("place", "difference", "low", "high")]
        words = [_verdict_words(row) for row in here.to_dict("records")]
        color = VERDICT_COLORS.get(str(verdict), OPEN_COLOR)
        mark: Mark = "hollow" if lane == "fixed" else ""
        series.append(Series(str(verdict), *ends, words, mark=mark, span=INTERVAL, color=color))
    beside = dict.fromkeys(rows, "")
    for name, words in zip(names, table["words"], strict=True):
        beside[name] = str(words)  # of fixed and tuned, the tuned one, which comes last
    x = Axis("", names=list(rows), beside=list(beside.values()))
    y = Axis(label, points=True, bend=5 * max(margin, 0.0005) if bent else None)
    band = (-margin, margin) if margin > 0 else None
    return Chart("points", x, y, series, "Verdicts", rows=True, band=band)


def _verdict_words(row: Mapping[Any, Any]) -> str:
    p = "" if pd.isna(row["p_holm"]) else f", p (Holm) {p_value(row['p_holm'])}"
    return f"{row['words']}{p}, {count(int(row['n']), 'seed')}"


def ladder(
    steps: Sequence[str], accuracy: pd.DataFrame, accuracies: pd.DataFrame, changes: pd.DataFrame,
    differences: pd.DataFrame,
) -> Chart:  # fmt: skip
    """Chart a ladder: accuracy by step, and the change of each step from the one before.

    Args:
        steps: labels, in order.
        accuracy: label, split, mean, low, high, n.
        accuracies: label, split, value, trial_id, seed.
        changes: label, split, difference, low, high, n.
        differences: label, split, difference, seed.
    """
    places = {label: place for place, label in enumerate(steps)}
    axis = Axis("", names=list(steps))
    error = _spans(list(accuracies["value"]))
    climb, change = list[Series](), list[Series]()
    for split in dict.fromkeys(accuracy["split"]):
        means, seeds, by, pairs = (
            t[t["split"].eq(split) & t["label"].isin(places)]
            for t in (accuracy, accuracies, changes, differences)
        )
        trials = [trial_label(row) for row in seeds.to_dict("records")]
        single = [f"seed {seed}" for seed in pairs["seed"]]
        climb += _lane(str(split), means, "mean", seeds.rename(columns={"value": "mean"}), trials, places)
        change += _lane(str(split), by, "difference", pairs, single, places)
    accuracies_axis = Axis("accuracy", percent=True, error=error)
    changed = Chart(
        "points",
        axis,
        Axis("difference (points)", points=True),
        change,
        "change from the step before",
        rows=True,
    )
    return Chart("points", axis, accuracies_axis, climb, "accuracy by step", rows=True, others=[changed])


def _lane(
    split: str, means: pd.DataFrame, value: str, seeds: pd.DataFrame, labels: Sequence[str],
    places: Mapping[str, int],
) -> list[Series]:  # fmt: skip
    """Give a split its lane in each row: means with intervals, and each seed."""
    color, shift = SPLIT_LANES[split]
    known = means.dropna(subset=[value])
    words = [f"mean of {count(int(n), 'seed')}" for n in known["n"]]
    x = [places[label] + shift for label in known["label"]]
    ends = [list(known[column]) for column in (value, "low", "high")]
    mean = Series(split, x, *ends, words, mark="tick", span=INTERVAL, color=color)
    x = [places[label] + shift for label in seeds["label"]]
    mark: Mark = "diamond" if split == "test" else "circle"
    return [mean, Series(split, x, list(seeds[value]), labels=labels, mark=mark, color=color)]


def history(table: pd.DataFrame, objective: str, words: Sequence[str]) -> Chart:
    """Chart a search: each suggestion by its number and by the seconds of search, and the best so far.

    Args:
        table: number, state, value, seconds, best, so_far, as for the figure.
        objective: the value's name.
        words: a suggestion's settings, for each row.
    """
    kind = kind_of(objective, table["value"])
    labelled = table.assign(words=list(words)).tail(MOST_SUGGESTIONS)
    y = Axis(
        spaced(objective), log=kind == "log", percent=objective.endswith("accuracy"), error=kind == "error"
    )
    left = f"The last {len(labelled):,} of {len(table):,} suggestions."
    failed = "Failed ones have no point here." if labelled["value"].isna().any() else ""
    note = " ".join(filter(None, (left if len(labelled) < len(table) else "", failed)))
    charts = [
        Chart("points", x, y, list(_suggestions(labelled, column)), title, note)
        for column, title, x in (
            ("number", "by number", Axis("suggestion")),
            ("seconds", "by time", Axis("seconds of search until it was told")),
        )
    ]
    return replace(charts[0], others=charts[1:])


def _suggestions(table: pd.DataFrame, x: str) -> Iterator[Series]:
    looks: list[tuple[str, Mark, int]] = [("complete", "", 0), ("pruned", "hollow", 7)]
    for state, mark, color in looks:
        here = table[table["state"].eq(state)].dropna(subset=["value", x])
        if len(here):
            yield Series(
                state, list(here[x]), list(here["value"]), labels=list(here["words"]), mark=mark, color=color
            )
    so_far = table.dropna(subset=["so_far", x])
    yield Series("best so far", list(so_far[x]), list(so_far["so_far"]), mark="steps", color=1)
