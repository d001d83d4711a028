"""The time that trials take to a study's target: survival curves, restricted means, and their verdicts.

The contrasts of the study are judged a second time, on times, as a family of its own. It is exploratory,
unless the study declared its contrasts and its target before training.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import plots, stats
from harness.reporting import contrasts
from harness.reporting.charts import Axis, Chart, Series
from harness.reporting.contrasts import EXPLORATORY, Times
from harness.reporting.model import Cell, Column, Figure, Section, Table, number_cell, p_cell, rows_of, slug
from harness.reporting.verdict_views import contrast_cell
from harness.results import targets
from harness.settings.schema import CONFIRMED, TO_TARGET, TUNED
from harness.stats.verdicts import UNDECIDED
from harness.text import DASH, capitalised, count, joined, listed, significant, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.reporting.contrasts import Verdicts
    from harness.reporting.data import ReportData
    from harness.study.contrasts import Contrasts
    from harness.study.targets import Target

NAME, TITLE = "time-to-target", "Time to target"
MOST_CURVES = 8
NAMED = 4  # arms or contrasts that a sentence names
NONE_SOONER = "no seed sooner than the whole budget"  # of a contrast without data
STALE = (
    "trials.csv was made before the study had this target, so it has no times: `harness run` of the study "
    "adds them, and trains nothing for it."
)
RECORDED = (
    "A trial has reached the target at its first evaluation with {target}, whatever comes after; it trains "
    "on to its end. Evaluations are at most {resolution} apart: a time may be less by up to that."
)
RESTRICTED = (
    "Compared is the time up to {horizon}: a trial that had not reached the target by then, diverged ones "
    "included, has taken all of it. So each seed has a time, and arms are compared seed by seed; how far "
    "those that never reached it are behind, is not known. The mean over seeds is the restricted mean time. "
    "{units}"
)
OTHER = {
    "epochs": "An epoch is one pass over the images; where batch sizes differ, so do the steps of an epoch",
    "steps": "A step is one update of the weights; where batch sizes differ, so do the images of a step",
}
BESIDE = "{words}, which stand beside. Seconds are not compared: the trials of a stack share them."
ARMS_NOTE = (
    "Restricted mean: of the {unit} up to {horizon}, over seeds, under it the 95\u00a0% Student-t interval. "
    "Median: by when half of the seeds had reached it, if they did. The lowest means first."
)
VERDICTS_NOTE = (
    "Differences of restricted {unit}, paired by seed; less is better. p and verdicts are as those of the "
    "study's contrasts, corrected for all {many} (Holm). A mean difference is known to \u00b1{resolution} at "
    "best: tests take the worst case, and intervals are wider by as much on both sides. The same: shown to "
    "lie within \u00b1{margin}. {whose}"
)
CURVES = (
    "Share of each arm's seeds that have reached {target} (Kaplan and Meier's estimate). Where a curve ends "
    "below 100\u00a0%, the other seeds never did.{shown}"
)


@dataclass(frozen=True)
class TargetTimes:
    """The times of a results folder's trials to its study's target.

    `table`: a row an ended trial, with its columns in `ReportData.trials`, and time, reached, restricted;
    `unit` is "epochs" or "steps".
    """

    target: Target
    unit: str
    table: pd.DataFrame
    horizons: Mapping[str, float]  # data set -> time up to which all arms are compared
    resolution: float
    phase: str = ""  # of trials that are not the study's own: what their tables and figures are named after

    @property
    def column(self) -> str:
        """The column of trials.csv that holds the times."""
        return f"{self.unit}_to"

    def words(self, time: float, *, sign: bool = False) -> str:
        """Write a time with its unit."""
        number = significant(time, sign=sign)
        return f"{number} {self.unit[:-1] if number == '1' else self.unit}"


def sections(
    reading: ReportData, *, tuned: ReportData | None = None, confirmed: ReportData | None = None
) -> Iterator[Section]:
    """Report on the times of the study's trials, those of tuned arms, and those that confirm a search."""
    yield from section(reading)
    for phase, trials in ((TUNED, tuned), (CONFIRMED, confirmed)):
        if trials is not None:
            yield from section(trials, phase)


def section(reading: ReportData, phase: str = "") -> Iterator[Section]:
    """Report on the time to the study's target, if it has one and something has ended; in some `phase`."""
    target = targets.of_study(reading.results.study.get("study", {}))
    if target is None or not reading.trials["status"].isin(["ok", "diverged"]).any():
        return
    named = f"-{phase}" if phase else ""
    title = f"{TITLE}, {phase}" if phase else TITLE
    if set(TO_TARGET) <= set(reading.trials):
        yield _section(reading, replace(read(reading, target), phase=named), title)
    else:
        yield Section(f"{NAME}{named}", title, [STALE])


def _section(reading: ReportData, times: TargetTimes, title: str) -> Section:
    name = f"{NAME}{times.phase}"
    words = [*_answers(times)]
    if not times.table["reached"].any():
        return Section(name, title, [*words, _recorded(times)], [_arms(times)])
    judged = judge(reading, times)
    words += [*_verdict_words(times, judged), _recorded(times), _compared(times)]
    tables = [_arms(times), *([] if judged.table.empty else [_verdicts(times, judged)])]
    return Section(name, title, words, tables, [_figure(times, dataset) for dataset in times.horizons])


def read(reading: ReportData, target: Target) -> TargetTimes:
    """Collect the times of all ended trials, in the unit of their budget: epochs, or else steps."""
    settings = reading.results.trials.loc[reading.trials.index]  # axes of `reading` are text
    unit = "steps" if settings["steps"].notna().all() else "epochs"
    trials = reading.trials.assign(end=_ends(settings, unit))
    table = stats.event_times(trials, f"{unit}_to", "end")
    horizons = {
        str(name): float(end) for name, end in table.groupby("dataset", sort=False)["end"].min().items()
    }
    table = table.assign(restricted=stats.restricted(table, table["dataset"].map(horizons)))
    resolution = _resolution(reading, target, unit) or max(horizons.values())
    return TargetTimes(target, unit, table, horizons, resolution)


def _ends(trials: pd.DataFrame, unit: str) -> pd.Series[float]:
    """Give the time at which each trial ends that trains to its end; a diverged one stopped before."""
    done = trials[f"{unit}_done"].astype(float)
    if trials[unit].notna().all():
        return done.where(trials["status"].eq("ok"), trials[unit].astype(float))
    per_step = trials["epochs_done"].astype(float) / trials["steps_done"].astype(float)
    planned = trials["epochs"].fillna(trials["steps"] * per_step)
    return done.where(trials["status"].eq("ok"), planned.astype(float))


def _resolution(reading: ReportData, target: Target, unit: str) -> float:
    """Give the longest time between two evaluations that follow each other; 0 where none does."""
    epochs = reading.results.epochs
    rows = epochs[epochs["split"].eq(target.split) & epochs["trial_id"].isin(reading.trials["trial_id"])]
    gaps = rows[unit[:-1]].diff()[rows["trial_id"].eq(rows["trial_id"].shift())]
    return float(f"{gaps.max():.6g}") if len(gaps) else 0.0


def judge(reading: ReportData, times: TargetTimes) -> Verdicts:
    """Judge the study's contrasts on restricted times; those that neither side reached have no data."""
    family = contrasts.read_family(reading)
    family = family.model_copy(update={"metric": times.column, "margin": 2 * times.resolution})
    known = times.table["restricted"].reindex(reading.trials.index)
    status = reading.trials["status"].where(known.isna(), "ok")
    timed = replace(reading, trials=reading.trials.assign(**{times.column: known, "status": status}))
    return contrasts.judge(timed, family, Times(times.resolution, times.horizons))


def _answers(times: TargetTimes) -> Iterator[str]:
    """Say of each data set how many trials reached the target, the lowest mean time, and who never did."""
    for dataset, horizon in times.horizons.items():
        table = times.table[times.table["dataset"].eq(dataset)]
        reached, budget = int(table["reached"].sum()), times.words(horizon)
        if not reached:
            trials = count(len(table), "trial")
            yield f"No arm reached {times.target.words} on {dataset} ({trials}, up to {budget})."
            continue
        some = f"{reached} of {count(len(table), 'trial')} reached {times.target.words}"
        yield f"On {dataset}, {some}. {_lowest(times, dataset)} {_never(table)}".rstrip()


def _lowest(times: TargetTimes, dataset: str) -> str:
    """Name the arm with the lowest restricted mean, and say where other arms may be as fast."""
    first, *others = _summaries(times, dataset).to_dict("records")
    horizon = times.horizons[dataset]
    if first["mean"] >= horizon * (1 - stats.ROUNDED):
        return f"None did sooner than the whole budget, {times.words(horizon)}: no arm is shown to be faster."
    interval = "no interval" if math.isnan(first["low"]) else f"95\u00a0% interval {_ends_of(first)}"
    mean = f"{times.words(first['mean'])} in the mean of {count(first['n'], 'seed')} ({interval})"
    near = [arm["label"] for arm in others if not _apart(first, arm, times.resolution)]
    lowest = f"Lowest restricted mean: {first['label']}, {mean}."
    if not near:
        return lowest
    return f"{lowest} By these intervals, it cannot be told to be faster than {listed(near, NAMED)}."


def _ends_of(arm: Mapping[Any, Any]) -> str:
    return f"{significant(arm['low'])} to {significant(arm['high'])}"


def _apart(first: Mapping[Any, Any], other: Mapping[Any, Any], resolution: float) -> bool:
    """Tell whether the intervals of two arms leave more than an evaluation between them.

    An arm whose seeds all took the same time has no spread, and its mean for both ends.
    """
    if min(first["n"], other["n"]) < 2:
        return False
    high = first["mean"] if math.isnan(first["high"]) else first["high"]
    low = other["mean"] if math.isnan(other["low"]) else other["low"]
    return bool(low - high > resolution)


def _never(table: pd.DataFrame) -> str:
    missed = [
        f"{label} in {int((~seeds['reached']).sum())} of {len(seeds)}"
        for label, seeds in table.groupby("label", sort=False)
        if not seeds["reached"].all()
    ]
    return f"Never reached: {listed(missed, NAMED)}." if missed else ""


def _verdict_words(times: TargetTimes, judged: Verdicts) -> Iterator[str]:
    """List the contrasts of each verdict, the largest differences first."""
    rows = judged.table.sort_values("difference", key=lambda sizes: -sizes.abs()).to_dict("records")
    words = {"better": "sooner", "worse": "later", "same within margin": "at the same time",
             UNDECIDED: "it cannot be told", "no data": NONE_SOONER}  # fmt: skip
    parts = [
        f"{phrase}: {listed([_named(times, row) for row in group], NAMED)}"
        for verdict, phrase in words.items()
        if (group := [row for row in rows if row["verdict"] == verdict])
    ]
    rest = sum(row["verdict"] not in words for row in rows)
    parts += [f"without a verdict: {rest}"] if rest else []
    if parts:
        yield f"{'. '.join(map(capitalised, parts))}."


def _named(times: TargetTimes, row: Mapping[Any, Any]) -> str:
    where = ", ".join(filter(None, (row["dataset"] if len(times.horizons) > 1 else "", row["within"])))
    name = contrasts.contrast(row) + (f" ({where})" if where else "")
    return f"{name} {times.words(row['difference'], sign=True)}" if row["n"] else name


def _recorded(times: TargetTimes) -> str:
    most = "at least" if times.target.metric == "accuracy" else "at most"
    level = times.target.words.removeprefix("a ")
    return RECORDED.format(target=f"{most} {level}", resolution=times.words(times.resolution))


def _compared(times: TargetTimes) -> str:
    ends = dict.fromkeys(times.words(horizon) for horizon in times.horizons.values())
    per = f" ({', '.join(times.horizons)})" if len(ends) > 1 else ""
    return RESTRICTED.format(horizon=joined(list(ends)) + per, units=BESIDE.format(words=OTHER[times.unit]))


def _summaries(times: TargetTimes, dataset: str) -> pd.DataFrame:
    """Summarise each arm: label, n, mean, low, high, reached, diverged, median_epochs, median_steps."""
    table = times.table[times.table["dataset"].eq(dataset)]
    horizon = times.horizons[dataset]
    summary = stats.summarise(table, ["label"], "restricted", within=(0.0, horizon))
    grouped = table.assign(diverged=table["status"].eq("diverged")).groupby("label", sort=False)
    counts = grouped[["reached", "diverged"]].sum().reset_index()
    summary = summary.merge(counts, on="label")
    for unit in ("epochs", "steps"):
        events = table.assign(time=table[f"{unit}_to"].astype(float).fillna(math.inf))
        # A time that is not there is longer than any; so a median needs no end.
        middle = events.groupby("label", sort=False)["time"].apply(_median)
        summary[f"median_{unit}"] = summary["label"].map(middle)
    summary = summary.assign(dataset=dataset, never=summary["reached"].eq(0))
    return summary.sort_values(["mean", "never"], kind="stable", ignore_index=True).drop(columns="never")


def _median(values: pd.Series[float]) -> float:
    """Give the time by which half have happened; NaN where half never do."""
    ordered = values.sort_values().to_list()
    middle = ordered[math.ceil(len(ordered) / 2) - 1]
    return middle if math.isfinite(middle) else math.nan


def _arms(times: TargetTimes) -> Table:
    summaries = pd.concat([_summaries(times, dataset) for dataset in times.horizons], ignore_index=True)
    other = "steps" if times.unit == "epochs" else "epochs"
    columns = [
        *[Column("data set", "dataset")] * (len(times.horizons) > 1),
        Column("arm", "label"),
        Column("reached it", _reached, numeric=True),
        Column(f"restricted mean {times.unit}", number_cell, numeric=True),
        Column(f"median {times.unit}", functools.partial(_median_cell, unit=times.unit), numeric=True),
        Column(f"median {other}", functools.partial(_median_cell, unit=other), numeric=True, show="wide"),
    ]
    horizons = joined(list(dict.fromkeys(times.words(horizon) for horizon in times.horizons.values())))
    note = ARMS_NOTE.format(unit=times.unit, horizon=horizons)
    rows = rows_of(columns, summaries.to_dict("records"))
    return Table(
        f"{NAME}{times.phase}",
        f"Time to {times.target.words}",
        note,
        columns,
        rows,
        summaries.rename(columns={"label": "arm"}),
    )


def _reached(row: Mapping[Any, Any]) -> Cell:
    return Cell(f"{row['reached']} of {row['n']}", f"{row['diverged']} diverged" if row["diverged"] else "",
                row["reached"] / row["n"])  # fmt: skip


def _median_cell(row: Mapping[Any, Any], unit: str) -> Cell:
    median = row[f"median_{unit}"]
    return Cell(DASH if math.isnan(median) else significant(median, 4), key=median)


def _verdicts(times: TargetTimes, judged: Verdicts) -> Table:
    columns = [
        *[Column("data set", "dataset")] * (len(times.horizons) > 1),
        Column("contrast", contrast_cell, show="long"),
        Column("seeds", _seeds, numeric=True, show="wide"),
        Column(f"difference ({times.unit})", _difference, numeric=True),
        Column("p (Holm)", p_cell, numeric=True, show="wide"),
        Column("verdict", _verdict),
        Column("detectable", _detectable, numeric=True, show="wide"),
    ]
    family = judged.family
    note = VERDICTS_NOTE.format(
        unit=times.unit, many=len(judged.table), resolution=times.words(times.resolution),
        margin=times.words(family.margin), whose=_whose(family),
    )  # fmt: skip
    rows = rows_of(columns, judged.table.to_dict("records"))
    return Table(f"{NAME}-verdicts{times.phase}", "Verdicts on the time", note, columns, rows, judged.table)


def _whose(family: Contrasts) -> str:
    """Say whether the study declared the family and its target before there was anything to look at."""
    if not family.declared or family.changed_after:
        return EXPLORATORY
    if family.target_after:
        trained = count(family.target_after, "trial")
        return f"Exploratory: the target was given after {trained} had been trained and could be read."
    return "Declared in the study with its target, before training: a family of its own."


def _seeds(row: Mapping[Any, Any]) -> Cell:
    return Cell(str(row["n"]), f"of {row['planned']}" if row["n"] < row["planned"] else "", row["n"])


def _difference(row: Mapping[Any, Any]) -> Cell:
    if not row["n"]:
        return Cell(NONE_SOONER, key=math.nan)
    return Cell(significant(row["difference"], sign=True), span(row, significant), row["difference"])


def _verdict(row: Mapping[Any, Any]) -> Cell:
    return Cell(row["verdict"], {"better": "sooner", "worse": "later"}.get(row["verdict"], ""))


def _detectable(row: Mapping[Any, Any]) -> Cell:
    size = row["detectable"]
    return Cell(significant(size) if math.isfinite(size) else DASH, key=size)


def _figure(times: TargetTimes, dataset: str) -> Figure:
    """Draw the survival curves of the arms with the lowest means on a data set."""
    order = list(_summaries(times, dataset)["label"])
    shown = order[:MOST_CURVES]
    table = times.table[times.table["dataset"].eq(dataset)]
    table = table[table["label"].isin(shown)].assign(order=lambda rows: rows["label"].map(shown.index))
    curves = stats.survival_curves(table.sort_values("order", kind="stable"), ["label"])
    left = f" The {MOST_CURVES} lowest means of {len(order)} arms." if len(order) > MOST_CURVES else ""
    caption = CURVES.format(target=times.target.words, shown=left)
    figure = plots.survival_figure(curves, times.horizons[dataset], times.unit)
    several = f" on {dataset}" if len(times.horizons) > 1 else ""
    title = f"Share of seeds at the target, over {times.unit}{several}"
    return Figure(
        slug(f"{NAME}-{dataset}{times.phase}"), title, caption, figure,
        chart=_chart(curves, shown, times),
    )  # fmt: skip


def _chart(curves: pd.DataFrame, labels: Sequence[str], times: TargetTimes) -> Chart:
    """Give the same curves to be explored: steps, each of two points."""
    series = []
    for label in labels:
        here = curves[curves["label"].eq(label)]
        x, y = list(here["time"]), list(here["share"])
        stepped_x = [time for pair in zip(x, x, strict=True) for time in pair]
        stepped_y = [share for pair in zip([0.0, *y[:-1]], y, strict=True) for share in pair]
        series.append(Series(label, stepped_x, stepped_y, labels=[f"{label}: seeds at {times.target.words}"]))
    return Chart("lines", Axis(times.unit), Axis("seeds that reached it", percent=True), series)
