"""Write the page on the study `variance`: each of its numbers is read from the tables of the study's report.

python docs/findings-of-studies/variance.py results/variance
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import harness
from harness import stats
from harness.reporting.seed_sources import DRAWN, WORDS, whole
from harness.settings.schema import FIXED_SEED
from harness.stats.power_analysis import POWER
from harness.stats.seed_variance import NOTHING
from harness.study.seed_axes import NONE
from harness.text import count, percent, points

PAGE = Path(__file__).with_suffix(".md")
FLAT = "softmax regression"
"""The network without a hidden layer, as the study calls it."""
HALF = 0.5
SOURCES = ("start", "order", "split", "label_noise")
SCHEDULES = ("constant", "linear")
BETWEEN = " \u00b7 "
"""What stands between network and schedule in an arm's label."""
TEXT = """\
# Where does the variance of a small classifier come from?

**Question.** Trials of one arm differ by their seed: by the initial weights, the order of the batches, the
split into train and val, and the wrong labels where there are any. Which of these makes them differ, and how
many seeds does a difference of {margin} points need?

**Design.** [ablations/variance.toml](../../ablations/variance.toml): {arms} ({networks} networks, {datasets},
each with a constant learning rate and with one that ends at 0), of each every source of randomness varied
alone, {values} seeds of it by {seeds} seeds of all the rest: {trials}. Each source is a table of two ways
with random effects ([comparisons](../comparisons.md)). `harness run variance --report` trains and judges it;
`{command}` writes this page from the tables of its report.

**Result.** {answer}

The standard deviation of test accuracy between seeds in points, the share of the variance that each source
has alone, and the seeds of each arm that show a difference of {margin} points (power {power}), with 95 %
intervals:

{table}

{sentences}

**Limits.** Multilayer perceptrons of at most one hidden layer, five epochs, one optimizer at one learning
rate, two data sets of 28 x 28 pixels: nothing is said of others. Intervals take first-order effects for
normal. A share alone counts what a source decides together with others, so that shares may add up to more
than 100 %. The seeds needed are those of two arms of that deviation whose seeds have nothing in common; arms
that share much need fewer.
"""


def page(sources: pd.DataFrame, needed: pd.DataFrame, margin: float, paired: pd.Series[float]) -> str:
    """Write the page.

    Args:
        sources: as from `stats.seed_variance`, by dataset and label (network and schedule).
        needed: as from `stats.seeds_for_difference`, a row an arm.
        margin: the difference, as a share.
        paired: as from `paired_deviations`.
    """
    alone = sources[sources["source"].isin(SOURCES)].dropna(subset=["share"])
    starts = alone[alone["source"].eq("start")]
    return TEXT.format(
        margin=f"{100 * margin:g}", arms=count(len(needed), "arm"), power=percent(POWER, 0),
        networks=needed["label"].map(network_of).nunique(),
        datasets=count(needed["dataset"].nunique(), "data set"), values=extent(starts["values"]),
        seeds=extent(starts["seeds"]), trials=count(trials_of(sources), "trial"),
        command="python docs/findings-of-studies/variance.py results/variance",
        answer=answer(alone, needed, margin), table=table(sources, needed),
        sentences="\n\n".join(
            [*of_sources(alone), *of_schedules(needed), *of_pairs(paired), *of_repetitions(sources)]
        ),
    )  # fmt: skip


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
    """Write whole numbers as one, or as a range."""
    low, high = f"{values.min():,.0f}", f"{values.max():,.0f}"
    return low if low == high else f"{low} to {high}"


def shares(values: pd.Series[float]) -> str:
    """Write shares as one, or as a range."""
    low, high = percent(values.min(), 0), percent(values.max(), 0)
    return low if low == high else f"{low} to {high}"


def answer(alone: pd.DataFrame, needed: pd.DataFrame, margin: float) -> str:
    """Answer the question in two sentences."""
    deep = alone[~alone["label"].map(network_of).eq(FLAT)]
    start, order = (deep.loc[deep["source"].eq(source), "share"] for source in ("start", "order"))
    return (
        f"In networks with a hidden layer, the initial weights alone have {shares(start)} of the variance\n"
        f"and the order of the batches alone {shares(order)}. A difference of {100 * margin:g} points needs\n"
        f"{extent(needed['needed'])} seeds of each arm."
    )


def table(sources: pd.DataFrame, needed: pd.DataFrame) -> str:
    """Write a row an arm: deviation, shares by source, seeds needed."""
    head = ["data set", "arm", "deviation", *(WORDS[source] for source in SOURCES), "seeds needed"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    by_arm = {(row["dataset"], row["label"], row["source"]): row for row in sources.to_dict("records")}
    for row in needed.to_dict("records"):
        arm = (row["dataset"], row["label"])
        cells = [_share(by_arm[*arm, source]) if (*arm, source) in by_arm else "" for source in SOURCES]
        deviation = f"{points(row['sd_all'])} ({points(row['sd_all_low'])} to {points(row['sd_all_high'])})"
        seeds = f"{whole(row['needed'])} ({whole(row['needed_low'])} to {whole(row['needed_high'])})"
        lines.append(f"| {' | '.join([*arm, deviation, *cells, seeds])} |")
    return "\n".join(lines)


def _share(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["share_low"]):
        return "" if pd.isna(row["share"]) else percent(row["share"], 0)
    return f"{percent(row['share'], 0)} ({percent(row['share_low'], 0)} to {percent(row['share_high'], 0)})"


def of_sources(alone: pd.DataFrame) -> list[str]:
    """Say what each source has alone, with a hidden layer and without."""
    told = []
    for source, rows in alone.groupby("source", sort=False):
        flat = rows["label"].map(network_of).eq(FLAT)
        words, deep = WORDS[str(source)].capitalize(), rows[~flat]
        if len(deep):
            over = int(deep["share_low"].gt(HALF).sum())
            told.append(
                f"{words}, networks with a hidden layer: {shares(deep['share'])} of the variance, in {over}\n"
                f"of {count(len(deep), 'arm')} more than half of it by the interval. First order, whatever "
                f"the rest is: {shares(deep['first_order'])}."
            )
        if flat.any():
            told.append(f"{words}, {FLAT}: {shares(rows.loc[flat, 'share'])} of the variance.")
    return told


def of_schedules(needed: pd.DataFrame) -> list[str]:
    """Say how many seeds the schedule that ends at 0 saves."""
    named = needed.assign(network=needed["label"].map(network_of), schedule=needed["label"].map(schedule_of))
    wide = named.pivot_table(index=["dataset", "network"], columns="schedule", values="needed")
    if not {"constant", "linear"} <= set(wide):
        return []
    ratio = (wide["linear"] / wide["constant"]).dropna()
    few = int(ratio.le(HALF).sum())
    said = (
        f"With a learning rate that ends at 0, a difference needs {shares(ratio)} of the seeds that it\n"
        f"needs with a constant one: at most half of them in {few} of {count(len(ratio), 'case')}."
    )
    return [said]


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
    arms = arms[["constant", "linear"]].dropna()
    arms["difference"] = arms["constant"] - arms["linear"]
    variances = arms.groupby(level=["dataset", "network"], sort=False).var()
    ratio: pd.Series[float] = variances["difference"] / (variances["constant"] + variances["linear"])
    return ratio**0.5


def of_pairs(paired: pd.Series[float]) -> list[str]:
    """Say what pairing by seed gains."""
    said = (
        f"Paired by seed, the differences between the two schedules deviate {paired.min():.2f} to "
        f"{paired.max():.2f} times as\nfar as those of arms that have nothing in common, over "
        f"{count(len(paired), 'case')}."
    )
    return [said] if len(paired) else []


def of_repetitions(sources: pd.DataFrame) -> list[str]:
    """Say how far trials are apart that no seed tells apart."""
    again = sources[sources["source"].eq(NOTHING)].dropna(subset=["sd"])
    if again.empty:
        return []
    most, times = points(float(again["sd"].max())), count(int(again["seeds"].sum()), "trial")
    return [f"The same trial again: a standard deviation of at most {most} points over {times}."]


def main(folder: Path) -> None:
    """Write the page from the tables of a results folder's report."""
    sources, needed = (
        pd.read_csv(folder / "tables" / f"{name}.csv") for name in ("seed-sources", "seeds-needed")
    )
    found = harness.read(folder)
    usual = found.trials[found.trials[FIXED_SEED].astype(str).eq(NONE)]
    text = page(sources, needed, float(found.study["contrasts"]["margin"]), paired_deviations(usual))
    PAGE.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
