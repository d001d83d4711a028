"""Numbers of the study `variance`: what each source of randomness decides, and the seeds that it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import page_parts
import pandas as pd
from page_parts import MARGIN, Finding, ends, points

from harness import plots, results, stats
from harness.reporting.seed_sources import DRAWN, WORDS, whole
from harness.results import documents
from harness.settings.schema import FIXED_SEED
from harness.stats.power_analysis import POWER
from harness.stats.seed_variance import EVERY, NOTHING
from harness.study.seed_axes import NONE
from harness.text import between, count, joined, percent, whole_percent

STUDY = "variance"
FLAT = "softmax regression"
"""The network without a hidden layer, as the study calls it."""
HALF = 0.5
NAMED = 3
"""Cases against a part of the hypothesis, at most, that are named one by one."""
SOURCES = ("start", "order", "split", "label_noise")
SCHEDULES = {"constant": "at a constant rate", "linear": "with a rate that ends at 0"}
BETWEEN = " \u00b7 "
"""What stands between network and schedule in an arm's label."""


def network_of(label: str) -> str:
    """Give the network of an arm's label, which has network and schedule in either order.

    >>> network_of("linear \u00b7 mlp 32"), network_of("mlp 32 \u00b7 linear")
    ('mlp 32', 'mlp 32')
    """
    return BETWEEN.join(part for part in label.split(BETWEEN) if part not in SCHEDULES)


def schedule_of(label: str) -> str:
    """Give the schedule of an arm's label."""
    return BETWEEN.join(part for part in label.split(BETWEEN) if part in SCHEDULES)


def trials_of(sources: pd.DataFrame) -> int:
    """Count the trials of all tables, each once: those with no fixed seed are also in tables of `DRAWN`."""
    shared = sources["source"].isin(DRAWN)
    return int(((sources["values"] - shared) * sources["seeds"]).sum())


def extent(values: pd.Series[float]) -> str:
    """Write whole numbers as one, or as a range; NaN is more than are counted."""
    ordered = values.sort_values()  # NaN last: more than all others
    low, high = whole(ordered.iloc[0]), whole(ordered.iloc[-1])
    return low if low == high else f"{low} to {high}"


def shares(values: pd.Series[float]) -> str:
    """Write shares as one, or as a range."""
    return between([whole_percent(values.min()), whole_percent(values.max())])


def told(shown: int, against: int, every: int) -> str:
    """Say what became of a part of the hypothesis, which is a statement on each of some arms.

    >>> told(shown=3, against=0, every=3), told(shown=2, against=1, every=3)
    ('holds', 'is rejected')
    >>> told(shown=2, against=0, every=3)
    'is not decided'
    """
    if against:
        return "is rejected"
    return "holds" if shown == every else "is not decided"


def parts(alone: pd.DataFrame, needed: pd.DataFrame) -> Iterator[str]:
    """Say what became of each part of the hypothesis, by the intervals.

    Args:
        alone: as from `stats.seed_variance`: the rows of SOURCES.
        needed: as from `stats.seeds_for_difference`, a row an arm, with sd_all_low and sd_all_high.
    """
    flat = alone["label"].map(network_of).eq(FLAT)
    deep = alone[~flat & alone["source"].isin(["start", "order"])]
    below = deep[deep["share_high"].lt(HALF)]
    over, under = int(deep["share_low"].gt(HALF).sum()), len(below)
    cases = below["dataset"] + ", " + below["label"] + ", " + below["source"].map(WORDS)
    named = f" ({'; '.join(cases)})" if 0 < under <= NAMED else ""
    yield (
        "That in networks with a hidden layer the initial weights and the order of the batches each have "
        f"more than half of the variance {told(over, under, len(deep))}: of {count(len(deep), 'case')} (an "
        f"arm and one of the two) the interval lies above a half in {over} and below it in {under}{named}. "
        "Each interval is a 95\u00a0% one by itself: where a share is a half, one in 40 lies below by chance."
    )
    starts = alone[flat & alone["source"].eq("start")]
    some = int(starts["share_low"].gt(0).sum())
    never = starts["share"].eq(0) & starts["share_high"].isna()  # no two starts differed, so no interval
    nothing = int((starts["share_high"].le(0) | never).sum())
    yield (
        f"That {FLAT} has none of its variance from its initial weights "
        f"{told(nothing, some, len(starts))}: the interval lies above 0 in {some} of "
        f"{count(len(starts), 'arm')}, with shares of {shares(starts['share'])}."
    )
    pairs = needed.pivot_table(
        index=["dataset", "network"], columns="schedule", values=["sd_all_low", "sd_all_high"]
    )
    ratio_high = (pairs["sd_all_high", "linear"] / pairs["sd_all_low", "constant"]) ** 2
    ratio_low = (pairs["sd_all_low", "linear"] / pairs["sd_all_high", "constant"]) ** 2
    less, more = int(ratio_high.le(HALF).sum()), int(ratio_low.gt(HALF).sum())
    yield (
        "That a schedule which ends at 0 at least halves the seeds that a difference needs "
        f"{told(less, more, len(pairs))}: held end against end, the intervals of the two schedules show it "
        f"in {less} of {count(len(pairs), 'case')} (a network on a data set) and the opposite in {more}."
    )


def of_sources(alone: pd.DataFrame) -> Iterator[str]:
    """Say what each source has alone, with a hidden layer, by schedule, and without one."""
    for source, rows in alone.groupby("source", sort=False):
        flat, schedules = rows["label"].map(network_of).eq(FLAT), rows["label"].map(schedule_of)
        said = [
            f"{shares(rows.loc[~flat & schedules.eq(schedule), 'share'])} {words}"
            for schedule, words in SCHEDULES.items()
            if (~flat & schedules.eq(schedule)).any()
        ]
        deep = rows.loc[~flat, "first_order"]
        more = f"; {shares(rows.loc[flat, 'share'])} in {FLAT}" if flat.any() else ""
        yield (
            f"The {WORDS[str(source)]} alone, in networks with a hidden layer: {joined(said)}{more}. First "
            f"order, whatever the rest is: {shares(deep)}."
        )


def of_needed(needed: pd.DataFrame) -> str:
    """Say how many seeds arms need, by schedule."""
    by_schedule = needed.groupby("schedule", sort=False)["needed"]
    return joined([f"{extent(values)} seeds {SCHEDULES[str(name)]}" for name, values in by_schedule])


def of_schedules(needed: pd.DataFrame) -> str:
    """Say how many seeds the schedule that ends at 0 saves."""
    wide = needed.pivot_table(index=["dataset", "network"], columns="schedule", values="sd_all")
    ratio = (wide["linear"] / wide["constant"]) ** 2
    few = int(ratio.le(HALF).sum())
    return (
        f"With a learning rate that ends at 0, the variance is {shares(ratio)} of that with a constant one, "
        "and so, but for rounding, are the seeds that a difference needs: at most a half in "
        f"{few} of {count(len(ratio), 'case')}."
    )


def paired_deviations(trials: pd.DataFrame) -> pd.Series[float]:
    """Compare the paired differences of the two schedules with those of arms that have nothing in common.

    Args:
        trials: those with no fixed seed: dataset, network, schedule, seed, status, test_accuracy.

    Returns:
        By dataset and network, the standard deviation of the differences over that of unrelated arms with
        the same deviations: 1 where pairing by seed gains nothing.
    """
    done = stats.finished(trials, "test_accuracy")
    arms = done.pivot_table(index=["dataset", "network", "seed"], columns="schedule", values="test_accuracy")
    arms = arms[list(SCHEDULES)].dropna()
    arms["difference"] = arms["constant"] - arms["linear"]
    variances = arms.groupby(level=["dataset", "network"], sort=False).var()
    ratio: pd.Series[float] = variances["difference"] / (variances["constant"] + variances["linear"])
    return ratio**0.5


def of_repetitions(sources: pd.DataFrame) -> str:
    """Say how far trials are apart that no seed tells apart."""
    again = sources[sources["source"].eq(NOTHING)].dropna(subset=["sd"])
    times = count(int(again["seeds"].sum()), "trial")
    if again["sd"].max() == 0:
        return f"The same trial again gave the same accuracy to the last digit, in all of {times}."
    most = points(float(again["sd"].max()))
    return f"The same trial again: a standard deviation of at most {most} points over {times}."


def rows_of(sources: pd.DataFrame, needed: pd.DataFrame) -> list[list[str]]:
    """Write a row an arm: data set, label, deviation, shares by source, seeds needed."""
    by_arm = {(row["dataset"], row["label"], row["source"]): row for row in sources.to_dict("records")}
    written = []
    for row in needed.to_dict("records"):
        arm = (row["dataset"], row["label"])
        cells = [_share(by_arm[*arm, source]) if (*arm, source) in by_arm else "" for source in SOURCES]
        deviation = f"{points(row['sd_all'])} ({ends(row['sd_all_low'], row['sd_all_high'])})"
        seeds = f"{whole(row['needed'])} ({whole(row['needed_low'])} to {whole(row['needed_high'])})"
        written.append([*arm, deviation, *cells, seeds])
    return written


def _share(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["share_low"]):
        return "" if pd.isna(row["share"]) else whole_percent(row["share"])
    share, low, high = (whole_percent(row[name]) for name in ("share", "share_low", "share_high"))
    return f"{share} ({low} to {high})"


def finding(folders: Mapping[str, Path]) -> Finding:
    """Read the study's results folder and make what its page shows.

    Raises:
        UsageError: the folder is not one of results.
        OSError: it has no report's tables.
    """
    folder = folders[STUDY]
    trials, study = results.read_trials(folder), documents.study(folder)
    sources, needed = (
        pd.read_csv(folder / "tables" / f"{name}.csv") for name in ("seed-sources", "seeds-needed")
    )
    needed["network"], needed["schedule"] = (needed["label"].map(of) for of in (network_of, schedule_of))
    alone = sources[sources["source"].isin(SOURCES)].dropna(subset=["share"])
    starts = alone[alone["source"].eq("start")]
    paired = paired_deviations(trials[trials[FIXED_SEED].astype(str).eq(NONE)])
    words = {
        "hypothesis": study["study"]["hypothesis"].strip(), "margin": f"{100 * MARGIN:g}",
        "power": percent(POWER, 0), "arms": count(len(needed), "arm"),
        "networks": needed["network"].nunique(), "datasets": count(needed["dataset"].nunique(), "data set"),
        "values": extent(starts["values"]), "seeds": extent(starts["seeds"]),
        "trials": count(trials_of(sources), "trial"), "needed": of_needed(needed),
        "parts": list(parts(alone, needed)), "sources": [WORDS[source] for source in SOURCES],
        "rows": rows_of(sources, needed), "alone": list(of_sources(alone)), "schedules": of_schedules(needed),
        "paired": (f"{paired.min():.2f}", f"{paired.max():.2f}", count(len(paired), "case")),
        "repeated": of_repetitions(sources), "took": page_parts.took([folder]),
        "left_out": count(int(sources["left_out"].sum()), "planned trial"),
    }  # fmt: skip
    drawn = sources[sources["source"].isin([*SOURCES, EVERY])].dropna(subset=["sd"])
    drawn = drawn.sort_values("source", key=lambda column: column.map(list(WORDS).index), kind="stable")
    figure = plots.sources_figure(drawn.assign(source=drawn["source"].map(WORDS)))
    return Finding(words, {"sources": sources, "needed": needed}, figure)
