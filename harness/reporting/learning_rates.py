"""Accuracy against the learning rate, arm by arm, if lr is an axis of the study or was tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness import plots, stats
from harness.plots import MAX_LINES
from harness.reporting import comparison_charts
from harness.reporting.block_choices import FACTS, most_frequent
from harness.reporting.contrasts import EXPLORATORY
from harness.reporting.model import Figure, slug
from harness.reporting.tuned import read_phases
from harness.settings.schema import OF_ARM
from harness.text import points

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.reporting.data import ReportData
    from harness.reporting.tuned import Phases

MOST_PANELS = 12
LINE_AXES = ("output", "loss", "head", "optimizer")
"""Axes that become lines if varied: their levels differ in the scale of gradients and so in the best lr."""
READ = (
    "Val accuracy against the learning rate; where errors differ much, the axis is logarithmic in the error. "
    "Points are means over seeds{}. "
    "A setting with a diverged or failed seed is a cross at the bottom instead of a point. "
)
BEST = (
    "A ring marks the best lr of each line by the mean shown, so its height flatters a little; a square "
    "marks a best lr that is the lowest or highest tried, so a better one may lie beyond. "
)
CHOSEN = (
    "A ring marks the lr that tuning chose, on val with tuning seeds; a square marks a choice at an edge of "
    "the values tried. "
)
CHOSEN_MOST = "Blocks of seeds chose by themselves: the ring is at the choice that most of them made. "
FEWEST = 3  # seeds for an interval; fewer seeds have their range drawn
SETTING = ["lr", "planned", "ok", "diverged", "failed", "n", "mean", "low", "high"]


@dataclass(frozen=True)
class Sweep:
    """Trials at several learning rates, on one data set.

    `trials`: lr (a number), seed, status, val_accuracy, panel and line (words); several trials of a line, lr
    and seed are averaged.
    """

    trials: pd.DataFrame
    words: str  # a sentence on lines and panels, for the caption; may be empty
    tuned: bool  # the trials are those of tuning


def draw(reading: ReportData) -> Iterator[Figure]:
    """Draw accuracy against lr for each data set, if the study varied or tuned it."""
    phases = read_phases(reading.results)  # its doubts stand beside the tuned comparison
    tuning = None if phases is None else _tuning(reading, phases)
    chosen = pd.DataFrame(columns=FACTS) if phases is None else most_frequent(phases.chosen)
    every = _swept(reading) if tuning is None else tuning
    for dataset in reading.datasets:
        trials = every[every["dataset"].eq(dataset)]
        if len(trials["lr"].unique()) > 1 and trials["status"].eq("ok").any():
            sweep = _arranged(reading, trials, tuned=tuning is not None)
            if sweep is not None:
                yield _figure(reading, sweep, dataset, chosen[chosen["dataset"].eq(dataset)])


def _figure(reading: ReportData, sweep: Sweep, dataset: str, choices: pd.DataFrame) -> Figure:
    tuned = reading.study.tuned if sweep.tuned else []
    others = [name for name in tuned if name != "lr" and name in sweep.trials]
    words, joined = sweep.words, True
    if others:
        settings_tried = sweep.trials.drop_duplicates(["label", "lr", *others])
        joined = len(settings_tried) > len(settings_tried.drop_duplicates(["label", "lr"]))
        words += f"At each lr, the best of what was tried for {' and '.join(others)}. "
    table = settings(_best_of_others(sweep.trials, others) if others else sweep.trials)
    table = _chosen(table, sweep.trials, _choices(reading, choices)) if sweep.tuned else _best(table)
    seeds = table["n"].max()
    few = f", bars from the lower of {seeds:.0f} to the higher" if seeds > 1 else ", of which there is one"
    several = few if seeds < FEWEST else ", bars 95\u00a0% Student-t intervals"
    rings = CHOSEN if sweep.tuned else BEST
    rings += CHOSEN_MOST if sweep.tuned and reading.study.blocks else ""
    caption = f"{EXPLORATORY} {READ.format(several)}{rings}{words}{_spread_words(table)}"
    bars = "interval" if seeds >= FEWEST else "range of seeds"
    table = table.assign(joined=joined)
    title, chart = f"Accuracy against learning rate on {dataset}", comparison_charts.rates(table, bars)
    figure = plots.rates_figure(table, bars=bars)
    return Figure(f"lr-{slug(dataset)}", title, caption.strip(), figure, chart=chart)


def _swept(reading: ReportData) -> pd.DataFrame:
    """Return the trials of a study with lr as an axis; of a one-factor study, those differing in lr alone."""
    trials = reading.trials
    if "lr" not in reading.axes or reading.design not in {"grid", "one-factor"}:
        return trials.iloc[:0].assign(lr=0.0)
    if reading.design == "one-factor":
        others = [axis for axis in reading.axes if axis != "lr"]
        trials = trials[trials[others].eq(trials[others].iloc[0]).all(axis=1)]
    return trials.assign(lr=trials["lr"].astype(float))


def _tuning(reading: ReportData, phases: Phases) -> pd.DataFrame | None:
    """Return tuning's trials with the axes and the label of their arm; None if lr was not tuned."""
    if phases.tuning is None or not {OF_ARM, "lr"} <= set(phases.tuning.trials):
        return None
    if len(phases.chosen) and "lr" not in phases.chosen:
        return None
    trials = phases.tuning.trials
    names = [*(axis for axis in reading.axes if axis != "lr"), "label"]
    arms = reading.trials.drop_duplicates(["dataset", "arm"])[["dataset", "arm", *names]]
    kept = trials.drop(columns=[name for name in [*names, "arm"] if name in trials])
    joined = kept.rename(columns={OF_ARM: "arm"}).merge(arms, on=["dataset", "arm"], sort=False)
    return joined.assign(lr=pd.to_numeric(joined["lr"]))


def _choices(reading: ReportData, chosen: pd.DataFrame) -> pd.DataFrame:
    if "lr" not in chosen:
        return pd.DataFrame(columns=["label", "lr", "edge"])
    arms = reading.trials.drop_duplicates(["dataset", "arm"])[["dataset", "arm", "label"]]
    return chosen.merge(arms, on=["dataset", "arm"])


def _arranged(reading: ReportData, trials: pd.DataFrame, *, tuned: bool) -> Sweep | None:
    """Give each trial a line and a panel: arms where these are few, else axes one by one."""
    axes = [axis for axis in reading.axes if axis != "lr" and len(trials[axis].unique()) > 1]
    if reading.design != "grid":
        line = trials["label"] if tuned else "the baseline"
        return _chunked(trials.assign(line=line), tuned=tuned)
    if not axes:
        return Sweep(trials.assign(line="every trial", panel=""), "", tuned)
    fit = [axis for axis in axes if trials[axis].nunique() <= MAX_LINES]
    if not fit:
        return None
    hue = next((axis for axis in LINE_AXES if axis in fit), fit[-1])
    others = [axis for axis in axes if axis != hue]
    arms = trials.assign(line=trials[hue], panel=_panels(trials, others))
    if arms["panel"].nunique() <= MOST_PANELS:
        return Sweep(arms, "", tuned)
    if tuned:
        first = list(dict.fromkeys(arms["panel"]))[:MOST_PANELS]
        left = arms["panel"].nunique() - MOST_PANELS
        words = f"The first {MOST_PANELS} panels; {left} more are in tuning/trials.csv. "
        return Sweep(arms[arms["panel"].isin(first)], words, tuned)
    return _averaged(trials, fit, axes)


def _panels(trials: pd.DataFrame, axes: Sequence[str]) -> pd.Series[str]:
    if not axes:
        return pd.Series("", index=trials.index)
    words = [axis + " " + trials[axis].astype(str) for axis in axes]
    return pd.concat(words, axis=1).agg(", ".join, axis=1)


def _chunked(trials: pd.DataFrame, *, tuned: bool) -> Sweep:
    """Split lines over panels, few enough in each for different colours, and limit the panels."""
    lines = list(dict.fromkeys(trials["line"]))
    place = trials["line"].map(lines.index) // MAX_LINES
    words = ""
    if place.max() >= MOST_PANELS:
        left = len(lines) - MOST_PANELS * MAX_LINES
        words = f"The first {MOST_PANELS * MAX_LINES} arms; {left} more are in tuning/trials.csv. "
    name = (place + 1).map("arms, part {}".format) if place.max() else ""
    return Sweep(trials.assign(panel=name)[place < MOST_PANELS], words, tuned)


def _averaged(trials: pd.DataFrame, fit: Sequence[str], axes: Sequence[str]) -> Sweep:
    """Make a panel for each axis, its levels averaged over the combinations that all of them finished."""
    parts, shares = [], []
    for axis in fit[:MOST_PANELS]:
        others = [other for other in axes if other != axis]
        cells = trials.assign(
            _cell=trials.groupby(others, sort=False, dropna=False).ngroup() if others else 0
        )
        keep, planned, left = _complete(cells, axis)
        shares.append(
            f"{len(keep)} of {planned} ({axis}" + (f"; not with {', '.join(left)})" if left else ")")
        )
        few = cells[cells["_cell"].isin(keep)] if len(keep) else cells.iloc[:0]
        broken = pd.Series(
            [f"{level} at lr {lr:g}" in left for level, lr in zip(few[axis], few["lr"], strict=True)],
            index=few.index, dtype=bool,
        )  # fmt: skip
        few = few.assign(status=few["status"].mask(broken, "diverged"), line=few[axis], panel=axis)
        parts.append(few)
    words = (
        "Each line averages over the combinations of the other choices that every level finished with every "
        f"seed at every lr shown: {', '.join(shares)}. A level that finished fewer than half of them at an "
        "lr is a cross there. "
    )
    return Sweep(pd.concat(parts, ignore_index=True), words, tuned=False)


def _complete(cells: pd.DataFrame, axis: str) -> tuple[list[int], int, list[str]]:
    """Find the cells that all levels finished at every lr, and the (level, lr) that finish too few.

    A level that an lr mostly breaks would leave no cell for the others: it is set aside first.
    """
    finished = cells.assign(_ok=cells["status"].eq("ok") & cells["val_accuracy"].notna())
    wide = finished.pivot_table(index="_cell", columns=[axis, "lr"], values="_ok", aggfunc="min", sort=False)
    wide = wide.fillna(0).astype(bool)
    enough = wide.mean() >= 0.5
    keep = wide.index[wide.loc[:, enough].all(axis=1)] if enough.any() else wide.index[:0]
    left = [f"{level} at lr {lr:g}" for level, lr in enough.index[~enough]]
    return [int(cell) for cell in keep], len(wide), left


def settings(trials: pd.DataFrame) -> pd.DataFrame:
    """Summarise every line at every lr over seeds: panel, line, and what `SETTING` names, then unfinished."""
    by = ["panel", "line", "lr"]
    ended = stats.outcomes(trials, by)
    done = stats.finished(trials, "val_accuracy")
    seeds = done.groupby([*by, "seed"], sort=False)["val_accuracy"].mean().reset_index()
    summary = stats.summarise(seeds, by, "val_accuracy").drop(columns="sd")
    if summary["n"].max() < FEWEST:  # an interval of two is an order of magnitude wider than they lie apart
        ends = seeds.groupby(by, sort=False)["val_accuracy"].agg(low="min", high="max").reset_index()
        summary = summary.drop(columns=["low", "high"]).merge(ends, on=by, sort=False)
    table = ended.merge(summary, on=by, how="left", sort=False)[["panel", "line", *SETTING]]
    unfinished = (table["diverged"] + table["failed"]).gt(0)
    shown = {name: table[name].mask(unfinished) for name in ("mean", "low", "high")}
    return table.assign(**shown, unfinished=unfinished)


def _best(table: pd.DataFrame) -> pd.DataFrame:
    """Mark the best mean of each line: columns chosen and edge."""
    marked = table.assign(chosen=False, edge=False)
    for _, rows in table.groupby(["panel", "line"], sort=False):
        if rows["mean"].notna().any() and len(rows) > 1:
            best = rows.index == rows["mean"].idxmax()
            marked.loc[rows.index[best], "chosen"] = True
            marked.loc[rows.index[best], "edge"] = rows["lr"][best].isin([rows["lr"].min(), rows["lr"].max()])
    return marked


def _chosen(table: pd.DataFrame, trials: pd.DataFrame, choices: pd.DataFrame) -> pd.DataFrame:
    """Mark what tuning chose: columns chosen and edge (of lr)."""
    marked = table.assign(chosen=False, edge=False)
    arms = trials.drop_duplicates("label")[["label", "panel", "line"]]
    for row in choices.merge(arms, on="label").to_dict("records"):
        line = table["panel"].eq(row["panel"]) & table["line"].eq(row["line"])
        near = np.isclose(table["lr"], float(row["lr"]), rtol=1e-6)  # an empty cell is near nothing
        marked.loc[line & near, "chosen"] = True
        marked.loc[line & near, "edge"] = "lr" in str(row["edge"]).split()
    return marked


def _best_of_others(trials: pd.DataFrame, tuned: Sequence[str]) -> pd.DataFrame:
    """Keep the trials of the setting that is best by val at each lr of an arm, of finished ones if any."""
    setting = ["label", "lr", *tuned]
    ended = stats.outcomes(trials, setting)
    done = trials.assign(val_accuracy=trials["val_accuracy"].where(trials["status"].eq("ok")))
    means = done.groupby(setting, sort=False, dropna=False)["val_accuracy"].mean().reset_index()
    ranked = ended.merge(means, on=setting).assign(_whole=lambda t: t["ok"].eq(t["planned"]))
    ranked = ranked.sort_values(["_whole", "val_accuracy"], ascending=False, kind="stable")
    return trials.merge(ranked.drop_duplicates(["label", "lr"])[setting], on=setting, sort=False)


def _spread_words(table: pd.DataFrame) -> str:
    """Compare the spread of lines at one shared lr with that at their own lr, in the widest panel."""
    panels = []
    for panel, rows in table.dropna(subset=["mean"]).groupby("panel", sort=False):
        wide = rows.pivot_table(index="line", columns="lr", values="mean", sort=False).dropna(axis=1)
        chosen_means = rows[rows["chosen"]].set_index("line")["mean"]
        if len(wide) < 2 or wide.shape[1] == 0 or len(chosen_means) < len(wide):
            continue
        lr = wide.mean().idxmax()
        panels.append((float(np.ptp(wide[lr])), float(np.ptp(chosen_means)), lr, panel))
    if not panels:
        return ""
    shared, chosen_spread, lr, panel = max(panels)
    where = f"In the panel {panel}" if len(table["panel"].unique()) > 1 else "Here"
    return (
        f"{where}, the best lr for all together ({lr:g}) leaves the lines {points(shared)} points "
        f"apart; each at its own lr, they lie {points(chosen_spread)} apart."
    )
