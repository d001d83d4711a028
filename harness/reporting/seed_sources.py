"""The sources of a seed's variance, in a report: those that a study varies one by one.

A study with seed axes (`seed.start = 8`) has arms of which one source has a fixed seed. They are in no other
part of the report.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness import plots, stats
from harness.reporting.contrasts import read_family
from harness.reporting.data import level_words
from harness.reporting.model import NONE as NO_DATA
from harness.reporting.model import Cell, Column, Figure, Section, Table, rows_of
from harness.reporting.verdict_text import size_words
from harness.settings.schema import FIXED_SEED
from harness.stats.power_analysis import MOST_SEEDS, POWER
from harness.stats.seed_variance import EVERY, NOTHING
from harness.study.seed_axes import ALL, NONE, SOURCES
from harness.text import (
    DASH,
    as_word,
    between,
    capitalised,
    count,
    joined,
    percent,
    points,
    spaced,
    whole_percent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from harness.reporting.data import ReportData

DRAWN = ("split", "label_noise")
"""Sources that have one seed in all trials of usual arms, which is one of those that are varied."""
WHOLE = ("start", "order", EVERY)
"""Sources in whose tables all that a seed decides varies; of the first there are most trials."""
MOST_LABELS = 8  # arms of a figure
WORDS = {
    "start": "initial weights", "order": "order of the batches", "split": "split into train and val",
    "dropout": "dropout", "augmentation": "augmentation", "label_noise": "wrong labels",
    EVERY: "a trial's own seed", NOTHING: "the same trial again",
}  # fmt: skip
"""A source, or what else varies -> words."""
HOW = (
    "Each source of randomness was varied alone: each of its seeds with each seed of all the rest. Its "
    "standard deviation is that of trials that differ in nothing else, and its share the part that this "
    "variance is of the one where all vary. What two sources decide only together is in the share of both, "
    "so that shares may add up to more than 100\u00a0%. First order is what a source decides whatever the "
    "rest is; of the split that part stays, however many seeds are trained, where all of them share one."
)
SOURCES_NOTE = (
    "On {metric}. Under each number its 95\u00a0% interval (Graybill and Wang; McGraw and Wong), which takes "
    "what a source decides by itself for normal. Seeds: those of the source, times those of all the rest."
)
NEEDED_NOTE = (
    "Seeds of each of two arms with which the paired t test finds a true difference of {size} with a "
    "probability of {power}, at \u03b1 = 0.05, where what a seed decides in one arm says nothing of the "
    "other: the differences then have \u221a2 times this standard deviation, which is of trials that differ "
    "in all that a trial's own seed decides. Arms that share more need fewer; their verdicts say how many. "
    "Under each number, that at both ends of the deviation's interval."
)


def section(reading: ReportData) -> Section | None:
    """Report on the sources of variance; None if the study varies none, or no trial has finished."""
    trials = reading.results.trials
    if not varied(reading) or not trials["status"].eq("ok").any():
        return None
    table = variance(reading)
    words = [HOW, *_shares(table), *_repeated(table), *_counted(reading, table)]
    tables = [_sources(reading, table), *_needed(reading, table)]
    drawn = [_figure(table)] if table["sd"].notna().any() else []
    return Section("seed-sources", "Where the variance of a seed comes from", words, tables, drawn)


def varied(reading: ReportData) -> bool:
    """Tell whether a study varies sources of randomness alone."""
    return FIXED_SEED in reading.results.trials


def in_short(reading: ReportData) -> Iterator[str]:
    """Say which share of the variance each source has, a sentence a data set; nothing if none is varied."""
    if varied(reading):
        yield from _shares(variance(reading))


def variance(reading: ReportData) -> pd.DataFrame:
    """Return `stats.seed_variance` of a study with seed axes, by dataset and label (the arm in short)."""
    return stats.seed_variance(observations(reading), ["dataset", "label"], read_family(reading).metric)


def observations(reading: ReportData) -> pd.DataFrame:
    """Say of each trial which source has a fixed seed, and which.

    Returns:
        dataset, label, source (`EVERY`: none is fixed; `NOTHING`: all are), value (the seed), seed, status,
        and the metric. Trials with no fixed seed also stand under each of `DRAWN` that is varied, with the
        seed that they have of it.
    """
    trials, metric = reading.results.trials, read_family(reading).metric
    fixed = trials[FIXED_SEED].astype(str).tolist()
    named = [("", "", "") if name == NONE else name.rpartition(" ") for name in fixed]
    sources = [NOTHING if source == ALL else source or EVERY for source, _, _ in named]
    table = trials[["dataset", "seed", "status", metric]].assign(
        label=_labels(reading, trials), source=sources, value=[value for _, _, value in named]
    )
    usual = table["source"].eq(EVERY)
    also = []
    for source in DRAWN:
        (column,) = SOURCES[source]
        if source in sources and column in trials:
            own = trials[column][usual].dropna()
            also.append(table.loc[own.index].assign(source=source, value=[str(int(seed)) for seed in own]))
    return pd.concat([table, *also], ignore_index=True)


def _labels(reading: ReportData, trials: pd.DataFrame) -> list[str]:
    """Name the arm of each trial in short, without its fixed seed."""
    axes = [axis for axis in reading.axes if axis != FIXED_SEED]
    words = [[level_words(axis, as_word(value)) for value in trials[axis]] for axis in axes]
    return [" \u00b7 ".join(parts) for parts in zip(*words, strict=True)] if words else [""] * len(trials)


def _shares(table: pd.DataFrame) -> Iterator[str]:
    """Say which share each source has on each data set, as a range over the arms that have it."""
    alone = table[~table["source"].isin([EVERY, NOTHING])]
    for dataset, rows in alone.dropna(subset=["share"]).groupby("dataset", sort=False):
        parts = []
        most = rows["label"].nunique()
        for source, here in rows.groupby("source", sort=False):
            share = between([whole_percent(here["share"].min()), whole_percent(here["share"].max())])
            ends, arms = here[["share_low", "share_high"]].iloc[0], here["label"].nunique()
            if arms == 1 and not ends.isna().any():
                share += f" (95\u00a0% interval {_ends(ends.iloc[0], ends.iloc[1])})"
            elif arms < most:
                share += f" ({count(arms, 'arm')})"
            parts.append(f"{WORDS[str(source)]} {share}")
        of_arms = f", from the lowest to the highest of {most} arms" if most > 1 else ""
        yield (
            f"Share of the variance between seeds on {dataset}, each source varied alone{of_arms}: "
            f"{joined(parts)}; what two sources decide only together is in the share of both."
        )


def _repeated(table: pd.DataFrame) -> Iterator[str]:
    """Say whether the same trial gave the same again."""
    again = table[table["source"].eq(NOTHING)].dropna(subset=["sd"])
    if again.empty:
        return
    times = count(int(again["seeds"].sum()), "trial")
    if again["sd"].max() == 0:
        yield (
            f"Non-determinism has no share: {times} of which all seeds are fixed gave the accuracy of their "
            "first to the last digit."
        )
    else:
        yield (
            f"Non-determinism has a share: {times} of which all seeds are fixed have a standard deviation of "
            f"up to {points(float(again['sd'].max()))} points."
        )


def _counted(reading: ReportData, table: pd.DataFrame) -> Iterator[str]:
    """Say how many trials are in this section alone, and how many are in none."""
    fixed = int(reading.results.trials[FIXED_SEED].astype(str).ne(NONE).sum())
    yield f"{capitalised(count(fixed, 'trial'))} with a fixed seed are in this section alone."
    if left_out := int(table["left_out"].sum()):
        yield (
            f"{capitalised(count(left_out, 'planned trial'))} are not used: unfinished, or without one to "
            "hold them against."
        )


def _number(name: str, write: Callable[[float], str]) -> Callable[[Mapping[str, Any]], Cell]:
    """Make a function that shows a number with its interval, NAME_low to NAME_high."""

    def cell(row: Mapping[str, Any]) -> Cell:
        value, low, high = (float(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
        if math.isnan(value):
            return Cell(NO_DATA, key=math.nan)
        return Cell(write(value), "" if math.isnan(low) else f"{write(low)} to {write(high)}", value)

    return cell


def _ends(low: float, high: float) -> str:
    return f"{whole_percent(low)} to {whole_percent(high)}"


def _share(name: str) -> Callable[[Mapping[str, Any]], Cell]:
    def cell(row: Mapping[str, Any]) -> Cell:
        share, low, high = (float(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
        if math.isnan(share):  # all that a seed decides, or nothing: there is no share to have
            return Cell(DASH if row["source"] in {EVERY, NOTHING} else NO_DATA, key=math.nan)
        return Cell(whole_percent(share), "" if math.isnan(low) else _ends(low, high), share)

    return cell


def whole(seeds: float) -> str:
    """Write a number of seeds that a difference needs; NaN is more than are counted."""
    return f"over {MOST_SEEDS:,}" if math.isnan(seeds) else f"{seeds:,.0f}"


def _seeds(row: Mapping[str, Any]) -> Cell:
    """Show the seeds that a difference needs, and those at both ends of the deviation's interval."""
    if not row["sd_all"] > 0:
        return Cell(NO_DATA, key=math.nan)
    ends = f"{whole(row['needed_low'])} to {whole(row['needed_high'])}"
    return Cell(whole(row["needed"]), "" if math.isnan(row["sd_all_low"]) else ends, float(row["needed"]))


def _sources(reading: ReportData, table: pd.DataFrame) -> Table:
    columns = [
        Column("data set", "dataset"),
        Column("arm", "label"),
        Column("varied", lambda row: Cell(WORDS[row["source"]])),
        Column("deviation, points", _number("sd", points), numeric=True),
        Column("share", _share("share"), numeric=True),
        Column("first order", _share("first_order"), numeric=True, show="wide"),
        Column("all vary, points", _number("sd_all", points), numeric=True, show="wide"),
        Column("seeds", lambda row: Cell(f"{row['values']:.0f} \u00d7 {row['seeds']:.0f}"), show="wide"),
    ]
    note = SOURCES_NOTE.format(metric=spaced(read_family(reading).metric))
    rows = rows_of(columns, table.to_dict("records"))
    return Table("seed-sources", "Variance by source", note, columns, rows, data=table)


def _needed(reading: ReportData, table: pd.DataFrame) -> Iterator[Table]:
    """Show how many seeds a difference as large as the margin needs, by data set and arm."""
    known = table[table["source"].isin(WHOLE)].dropna(subset=["sd_all"])
    best_first = known.iloc[np.argsort(known["source"].map(WHOLE.index).to_numpy(), kind="stable")]
    every = best_first.drop_duplicates(["dataset", "label"]).sort_index()
    if every.empty:
        return
    family = read_family(reading)
    needed = stats.seeds_for_difference(every, family.margin)
    columns = [
        Column("data set", "dataset"),
        Column("arm", "label"),
        Column("deviation, points", _number("sd_all", points), numeric=True),
        Column("seeds needed", _seeds, numeric=True),
    ]
    note = NEEDED_NOTE.format(size=size_words(family), power=percent(POWER, 0))
    title = f"Seeds that a difference of {size_words(family)} needs"
    numbers = [name for name in map(str, needed) if name.startswith(("sd_all", "needed"))]
    shown = needed[["dataset", "label", "source", "values", "seeds", *numbers]]
    yield Table("seeds-needed", title, note, columns, rows_of(columns, shown.to_dict("records")), data=shown)


def _figure(table: pd.DataFrame) -> Figure:
    labels = list(dict.fromkeys(table["label"]))
    shown = table[table["label"].isin(labels[:MOST_LABELS]) & table["source"].ne(NOTHING)]
    more = f" Of {len(labels)} arms the first {MOST_LABELS}." if len(labels) > MOST_LABELS else ""
    caption = (
        "The standard deviation between trials that differ in one source of randomness alone, with its "
        f"95\u00a0% interval; in the last row, between trials of different seeds.{more}"
    )
    order = [source for source in WORDS if source in set(shown["source"])]
    places = shown["source"].map({source: place for place, source in enumerate(order)})
    drawn = shown.iloc[np.argsort(places.to_numpy(), kind="stable")]
    figure = plots.sources_figure(drawn.assign(source=drawn["source"].map(WORDS)))
    return Figure("seed-sources", "Standard deviation by source", caption, figure)
