"""Charts of verdicts, effects, ladders and learning rates, in place of the page's figures.

Each takes the table that its figure is drawn from, so that both show the same numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pandas as pd

from harness.reporting.arm_charts import INTERVAL, spans, trial_label
from harness.reporting.charts import Axis, Chart, Mark, Series, together
from harness.stats.verdicts import IDENTICAL
from harness.text import count, p_value, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


VERDICT_COLORS = {"better": 0, "worse": 3, IDENTICAL: 2, "same within margin": 2}
OPEN_COLOR = 7
LANES = {"fixed": -0.18, "tuned": 0.18}
SPLIT_LANES = {"val": (0, -0.17), "test": (1, 0.17)}
"""A split's place in the palette, and how far from its row's middle it is drawn."""
LEFT_OUT = "A setting with a diverged or failed seed has no point here; the picture marks it."


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
        accuracy = Axis("val accuracy", percent=True, error=spans(list(here["mean"])))
        note = LEFT_OUT if len(here) < table["panel"].eq(panel).sum() else ""
        charts.append(Chart(kind, Axis("lr", log=True), accuracy, series, str(panel), note))
    return together(charts)


def _rate_line(name: str, line: pd.DataFrame, bars: str) -> Iterator[Series]:
    """Give a line its points with intervals, and rings around those that were chosen."""
    yield replace(_intervals(name, line, ("lr", "mean"), _rate_words(line)), mark="circle", span=bars)
    rings = line[line["chosen"]]
    if len(rings):
        yield Series(name, list(rings["lr"]), list(rings["mean"]), labels=_rate_words(rings), mark="hollow")


def _rate_words(line: pd.DataFrame) -> list[str]:
    return [
        f"mean of {count(int(row['n']), row.get('unit', 'seed'))}{', the lr chosen' if row['chosen'] else ''}"
        f"{', at an edge of the values tried' if row['edge'] else ''}"
        for row in line.to_dict("records")
    ]


def _intervals(name: str, table: pd.DataFrame, columns: tuple[str, str], labels: Sequence[str]) -> Series:
    """Make a series of two columns of a table, with its low and high."""
    x, y = columns
    return Series(
        name, list(table[x]), list(table[y]), list(table["low"]), list(table["high"]), labels, span=INTERVAL
    )


def forest(table: pd.DataFrame, margin: float, label: str, bend: float | None) -> Chart:
    """Chart the contrasts of a forest plot: a row each, coloured by its verdict.

    Args:
        table: heading, label, series (empty, fixed or tuned), difference, low, high, verdict, words, n and
            p_holm, as for the figure; unit, where n counts anything else than seeds.
        margin: within it two arms count as the same; a share.
        label: what the difference is.
        bend: the difference from which on the axis is logarithmic; None: it is linear.
    """
    several = len(table["heading"].unique()) > 1
    names = [
        f"{row['label']}\n{row['heading']}" if several and row["heading"] else str(row["label"])
        for row in table.to_dict("records")
    ]
    rows = {name: place for place, name in enumerate(dict.fromkeys(names))}
    lanes = [rows[name] + LANES.get(lane, 0) for name, lane in zip(names, table["series"], strict=True)]
    shown = table.assign(place=lanes)
    series = []
    for (verdict, lane), here in shown.groupby(["verdict", "series"], sort=False):
        one = _intervals(str(verdict), here, ("place", "difference"), _verdict_words(here))
        color = VERDICT_COLORS.get(str(verdict), OPEN_COLOR)
        series.append(replace(one, mark="hollow" if lane == "fixed" else "", color=color))
    beside = dict.fromkeys(rows, "")
    for name, words in zip(names, table["words"], strict=True):
        beside[name] = str(words)  # of fixed and tuned, the tuned one, which comes last
    x = Axis("", names=list(rows), beside=list(beside.values()))
    y = Axis(label, points=True, bend=bend)
    band = (-margin, margin) if margin > 0 else None
    return Chart("points", x, y, series, "Verdicts", rows=True, band=band)


def _verdict_words(table: pd.DataFrame) -> list[str]:
    words = []
    for row in table.to_dict("records"):
        p = "" if pd.isna(row["p_holm"]) else f", p (Holm) {p_value(row['p_holm'])}"
        words.append(f"{row['words']}{p}, {count(int(row['n']), row.get('unit', 'seed'))}")
    return words


def effects(table: pd.DataFrame, seeds: pd.DataFrame) -> Chart | None:
    """Chart main effects: a row a level, a view a data set.

    Args:
        table: dataset, axis, level, mean, effect, low, high, n, as for the figure.
        seeds: dataset, axis, level, seed, effect.
    """
    charts = []
    for dataset, here in table.groupby("dataset", sort=False):
        rows = {key: place for place, key in enumerate(zip(here["axis"], here["level"], strict=True))}
        names = [f"{axis}: {level}" for axis, level in rows]
        points = seeds[seeds["dataset"].eq(dataset)]
        series = []
        for axis, levels in here.groupby("axis", sort=False):
            single = points[points["axis"].eq(axis) & points["level"].isin(levels["level"])]
            at, each = (t.assign(place=[rows[axis, level] for level in t["level"]]) for t in (levels, single))
            words = [f"mean of {count(int(n), 'seed')}" for n in at["n"]]
            mean = _intervals(str(axis), at, ("place", "effect"), words)
            series.append(replace(mean, mark="tick"))
            labels = [f"seed {seed}" for seed in each["seed"]]
            places, values = list(each["place"]), list(each["effect"])
            series.append(Series(str(axis), places, values, labels=labels, mark="circle"))
        x = Axis("", names=names, beside=[percent(mean) for mean in here["mean"]])
        y = Axis("effect on val accuracy (points)", points=True)
        charts.append(Chart("points", x, y, series, str(dataset), rows=True))
    return together(charts)


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
    climb, change = list[Series](), list[Series]()
    for split in dict.fromkeys(accuracy["split"]):
        means, seeds, by, pairs = (
            _placed(table, str(split), places) for table in (accuracy, accuracies, changes, differences)
        )
        trials = [trial_label(row) for row in seeds.to_dict("records")]
        climb += _lane(str(split), means, "mean", seeds.rename(columns={"value": "mean"}), trials)
        change += _lane(str(split), by, "difference", pairs, [f"seed {seed}" for seed in pairs["seed"]])
    axis, values = Axis("", names=list(steps)), list(accuracies["value"])
    difference = Axis("difference (points)", points=True)
    changed = Chart("points", axis, difference, change, "change from the step before", rows=True)
    share = Axis("accuracy", percent=True, error=spans(values))
    return Chart("points", axis, share, climb, "accuracy by step", rows=True, others=[changed])


def _placed(table: pd.DataFrame, split: str, places: Mapping[str, int]) -> pd.DataFrame:
    """Return a split's rows with their place in its lane."""
    here = table[table["split"].eq(split) & table["label"].isin(places)]
    return here.assign(place=[places[label] + SPLIT_LANES[split][1] for label in here["label"]])


def _lane(
    split: str, means: pd.DataFrame, value: str, seeds: pd.DataFrame, labels: Sequence[str]
) -> list[Series]:
    """Give a split its lane in each row: means with intervals, and each seed."""
    color, known = SPLIT_LANES[split][0], means.dropna(subset=[value])
    words = [f"mean of {count(int(n), 'seed')}" for n in known["n"]]
    mean = replace(_intervals(split, known, ("place", value), words), mark="tick", color=color)
    mark: Mark = "diamond" if split == "test" else "circle"
    places, values = list(seeds["place"]), list(seeds[value])
    return [mean, Series(split, places, values, labels=labels, mark=mark, color=color)]
