"""A ladder in the report: each step against the one before, in sentences, a table and figures.

Test stands beside validation at every step, as readers of a ladder expect. Nothing is ordered or chosen.
"""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import plots, stats
from harness.reporting import arm_charts, comparison_charts
from harness.reporting.arm_figures import (
    ARM_CURVES,
    CURVES,
    arm_confusion,
    arm_panels,
    axis_panels,
    intervals,
)
from harness.reporting.arm_tables import troubles
from harness.reporting.contrasts import EXPLORATORY
from harness.reporting.data import ReportData
from harness.reporting.ladder_steps import Changes, Ladder, LadderStep, class_pairs, ladders
from harness.reporting.model import NONE, Cell, Column, Figure, Table, accuracy_cell, difference_cell, slug
from harness.stats.verdicts import EQUAL
from harness.text import DASH, NOT_APPLICABLE, count, interval, percent, points, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LINE = 44  # characters of a step's name in one line of a figure
ABREAST = 4  # steps whose learning curves stand side by side
UNFOLDED = 6  # up to so many steps, the page shows all confusion matrices
LADDER = (
    "Steps from top to bottom, each with all changes of the steps above it. At the right, between two steps, "
    "the change that the lower one makes, paired by seed. {} Each interval stands by itself. Nothing was "
    "chosen by these numbers, test included."
)
COUNTS = (
    "Test samples by true class (rows) and predicted class (columns), summed over the step's finished seeds. "
    "Colours span the mistakes only, up to the most frequent one, so they differ from step to step; right "
    "answers are grey, empty cells are 0."
)
CHANGE = (
    "Then the change of each count since the step before, over the seeds that both finished ({}). "
    "Blue is better: more on the framed diagonal, or fewer mistakes off it; red is worse. Colours span the "
    "changes in mistakes; empty cells did not change."
)
BASELINE = (
    "Change in {} accuracy from the baseline: the steps up to this one together, paired by "
    "seed. At the right, the mean change in points. {}"
)
NO_DIFFERENCE = {"difference": math.nan, "low": math.nan, "high": math.nan, "n": 0}
TABLE = (
    "Each step changes the settings named and keeps all others. Means over the finished seeds, "
    "under them 95\u00a0% Student-t intervals; differences from the step before are in points, paired by "
    "seed, and each interval stands by itself, uncorrected for their number: the verdicts have their own "
    "table. Nothing is chosen here."
)


def tables(reading: ReportData) -> list[Table]:
    """Make a table for each data set, with a row for each step: its changes and its accuracies."""
    every = ladders(reading)
    return [_table(reading, ladder, several=len(every) > 1) for ladder in every]


def _table(reading: ReportData, ladder: Ladder, *, several: bool) -> Table:
    columns = [Column("step"), Column("what changed", show="long")]
    columns += [Column("parameters", numeric=True, show="wide")]
    columns += [Column(f"{split} accuracy", numeric=True) for split in ("val", "test")]
    columns += [Column(f"{split} difference", numeric=True) for split in ("val", "test")]
    columns += [Column("seeds", numeric=True)]
    accuracy = {split: _by(ladder.accuracy(split), "label") for split in ("val", "test")}
    change = {split: _by(ladder.contrasts(split), "arm") for split in ("val", "test")}
    ended = _by(stats.outcomes(ladder.trials, ["label"]), "label")
    parameters = ladder.trials.groupby("label")["parameters"].max()
    rows = []
    for step in ladder.steps:
        size, outcomes = parameters[step.label], ended[step.label]
        row = [Cell(step.label, key=step.number), _changed(reading, ladder, step)]
        row += [Cell(NONE if pd.isna(size) else f"{size:,.0f}", key=size)]
        row += [accuracy_cell(accuracy[split][step.label]) for split in ("val", "test")]
        for split in ("val", "test"):
            cell = difference_cell(change[split].get(step.label, NO_DIFFERENCE))
            row.append(cell if ladder.before(step) else Cell(DASH, key=math.nan))
        done = Cell(f"{outcomes['ok']} of {outcomes['planned']}", troubles(outcomes), outcomes["ok"])
        rows.append([*row, done])
    name, title = ("rungs", "Step by step") if not several else (
        f"rungs-{slug(ladder.dataset)}", f"Step by step on {ladder.dataset}")  # fmt: skip
    return Table(name, title, TABLE, columns, rows, searched=True)


def _by(table: pd.DataFrame, key: str) -> dict[str, dict[Any, Any]]:
    return {str(row[key]): row for row in table.to_dict("records")}


def _changed(reading: ReportData, ladder: Ladder, step: LadderStep) -> Cell:
    if step.number == 0:
        settings = reading.study.baseline
        return Cell("the baseline", ", ".join(f"{key} {value}" for key, value in settings.items()))
    if not step.changes and not step.follows:
        same = next(other for other in ladder.steps if other.arm == step.arm)
        return Cell("nothing", f"trained once, with step {same.number}")
    also = ", ".join(_arrows(step.follows))
    return Cell(", ".join(_arrows(step.changes)), f"and so: {also}" if also else "")


def _arrows(changes: Changes) -> Iterator[str]:
    """Write changed settings in words; a setting that did not apply before or after has one value."""
    for name, (old, new) in changes.items():
        if new == NOT_APPLICABLE:
            yield f"no {name}"
        else:
            yield f"{name} {new}" if old == NOT_APPLICABLE else f"{name} {old} \u2192 {new}"


def draw(reading: ReportData) -> Iterator[Figure]:
    """Draw every data set's ladder, its confusion matrices step by step, and its learning curves."""
    every = [ladder for ladder in ladders(reading) if ladder.splits]
    for ladder in every:
        yield _climb(ladder)
    for ladder in every:
        for step in ladder.steps:
            yield from _confusion(reading, ladder, step)
    for ladder in every:
        yield from _from_baseline(ladder)
        yield from _curves(reading, ladder)


def _climb(ladder: Ladder) -> Figure:
    splits = ladder.splits
    accuracy = _stacked({split: ladder.accuracy(split) for split in splits})
    changes = _stacked({split: ladder.contrasts(split) for split in splits}).rename(columns={"arm": "label"})
    labels = [f"{points(row['difference'], sign=True)} ({span(row)})" for row in changes.to_dict("records")]
    finished = {split: stats.finished(ladder.trials, f"{split}_accuracy") for split in splits}
    facts = ["label", "trial_id", "seed"]
    seeds = _stacked({s: table[facts].assign(value=table[f"{s}_accuracy"]) for s, table in finished.items()})
    paired = _stacked({split: ladder.differences(split) for split in splits}).rename(columns={"arm": "label"})
    steps = {step.label: _row(ladder, step) for step in ladder.steps}
    figure = plots.ladder_figure(steps, accuracy, seeds, changes.assign(words=labels), paired)
    chart = comparison_charts.ladder(list(steps), accuracy, seeds, changes, paired)
    caption = LADDER.format(intervals(accuracy["n"]))
    name = f"ladder-{slug(ladder.dataset)}"
    return Figure(name, f"The ladder on {ladder.dataset}", caption, figure, chart=chart)


def _stacked(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([table.assign(split=split) for split, table in tables.items()], ignore_index=True)


def _row(ladder: Ladder, step: LadderStep) -> str:
    ended = stats.outcomes(ladder.trials[ladder.trials["label"].eq(step.label)], ["label"]).iloc[0]
    left = troubles(ended)
    lines = textwrap.wrap(step.label, LINE, max_lines=2, placeholder=" \u2026")
    return "\n".join([*lines, f"{left} of {count(ended['planned'], 'seed')}"] if left else lines)


def _confusion(reading: ReportData, ladder: Ladder, step: LadderStep) -> Iterator[Figure]:
    classes = reading.classes(ladder.dataset)
    counts = arm_confusion(reading, ladder.dataset, step.arm)
    if not counts.to_numpy().any():
        return
    accuracy = _by(ladder.accuracy("test"), "label")[step.label]
    title = textwrap.shorten(f"step {step.label}", 60, placeholder=" \u2026")
    named = {f"{title}\ntest {percent(accuracy['mean'], 2)}, sum over {count(accuracy['n'], 'seed')}": counts}
    before, changes, caption = ladder.before(step), {}, COUNTS
    if before:
        differences = stats.confusion_differences(
            reading.results.confusion, ladder.trials, (step.label, before.label), len(classes), "label"
        )
        seeds = differences.index.unique("seed").size
        if seeds:
            heading = textwrap.shorten(f"minus step {before.label}", 60, placeholder=" \u2026")
            changes = {f"{heading}\nsum over {count(seeds, 'seed')}": differences.groupby(level="true").sum()}
            caption += " " + CHANGE.format(count(seeds, "seed"))
        else:
            caption += f" No seed finished both this step and step {before.number}, so no change is shown."
    name = f"confusion-{slug(ladder.dataset)}-rung-{step.number}"
    title = f"Confusion matrix of step {step.number} ({step.name}) on {ladder.dataset}"
    figure = plots.confusion_figure(named, classes, changes)
    yield Figure(name, title, caption, figure, folded=len(ladder.steps) > UNFOLDED)


def _from_baseline(ladder: Ladder) -> Iterator[Figure]:
    """Compare all steps with the first; a ladder of two steps would show the same again."""
    split = ladder.splits[0]
    first = ladder.steps[0].label
    pairs = pd.DataFrame({"arm": [step.label for step in ladder.steps[1:]], "reference": first})
    contrasts = ladder.contrasts(split, pairs)
    if len(ladder.steps) < 3 or contrasts.empty:
        return
    seeds = stats.paired_differences(ladder.trials, pairs, f"{split}_accuracy", "label")
    figure = plots.differences_figure(
        contrasts.assign(label=contrasts["arm"]), seeds.assign(label=seeds["arm"]),
        f"{split} accuracy minus that of step {first} (points)",
    )  # fmt: skip
    name, title = f"differences-{slug(ladder.dataset)}", f"Each step against the first on {ladder.dataset}"
    caption = f"{EXPLORATORY} {BASELINE.format(split, intervals(contrasts['n']))}"
    yield Figure(name, title, caption, figure, folded=True)


def _curves(reading: ReportData, ladder: Ladder) -> Iterator[Figure]:
    labels = list(stats.finished(ladder.trials, "test_accuracy")["label"].unique())
    here = ladder.trials[ladder.trials["label"].isin(labels)]
    if 0 < len(labels) <= plots.MAX_LINES:
        panels = axis_panels(reading, here, "label")
        figure, chart = plots.curves_figure(panels, "label"), arm_charts.level_curves(panels, "label")
        title = f"Learning curves by step on {ladder.dataset}"
        yield Figure(f"curves-{slug(ladder.dataset)}-rung", title, CURVES, figure, chart=chart)
    for place in range(0, len(labels), ABREAST):
        abreast = labels[place : place + ABREAST]
        figure = plots.curves_figure(arm_panels(reading, here, abreast), "split", columns=len(abreast))
        numbers = [label.split()[0] for label in (abreast[0], abreast[-1])]
        steps = f"steps {numbers[0]} to {numbers[1]}" if len(abreast) > 1 else f"step {numbers[0]}"
        title = f"Learning curves of {steps} on {ladder.dataset}"
        name = slug(steps).replace("step", "rung")  # file names keep the word of earlier reports
        yield Figure(f"curves-{slug(ladder.dataset)}-{name}", title, ARM_CURVES, figure, folded=True)


def answers(reading: ReportData) -> list[list[str]]:
    """Describe the whole climb in a paragraph, then each step in its own, with every doubt."""
    return [paragraph for ladder in ladders(reading) for paragraph in _paragraphs(reading, ladder)]


def _paragraphs(reading: ReportData, ladder: Ladder) -> Iterator[list[str]]:
    if not ladder.splits:
        yield [f"On {ladder.dataset} no step has a finished trial."]
        return
    yield [whole(ladder)]
    for step in ladder.steps:
        before = ladder.before(step)
        if before and before.arm == step.arm:
            yield [f"{_named(step)} sets nothing new: it repeats step {before.number}."]
        elif before:
            yield [*_change(ladder, step, before), *_classes(reading, ladder, step, before)]


def whole(ladder: Ladder) -> str:
    """Compare the first step with the last one that shares a finished seed with it."""
    split, first = ladder.splits[0], ladder.steps[0]
    upper = ladder.steps[1:]
    pairs = pd.DataFrame({"arm": [step.label for step in upper], "reference": first.label})
    rows = _by(ladder.contrasts(split, pairs), "arm")
    last = next((step for step in reversed(upper) if step.label in rows), None)
    accuracy = ladder.accuracy(split).set_index("label")["mean"]
    if not upper:
        return f"On {ladder.dataset} step {first.number} ({first.name}) stands alone: nothing to compare."
    if last is None:
        return f"On {ladder.dataset} no step finished a seed that step {first.number} finished too."
    row = rows[last.label]
    return (
        f"On {ladder.dataset} the ladder leads from {percent(accuracy[first.label])} {split} accuracy "
        f"(step {first.number}, {first.name}) to {percent(accuracy[last.label])} (step {last.number}, "
        f"{last.name}): {points(row['difference'], sign=True)} points ({interval(row)})"
        + (", which cannot be distinguished from no change." if _verdict(row) == "open" else ".")
    )


def _named(step: LadderStep) -> str:
    return f"Step {step.number} ({step.name})"


def _verdict(row: Mapping[Any, Any]) -> str:
    """Classify a difference by its interval: one (seed), same, adds, costs or open."""
    if row["n"] < 2:
        return "one"
    if math.isnan(row["low"]) and abs(row["difference"]) <= EQUAL:
        return "same"
    return "adds" if row["low"] > 0 else "costs" if row["high"] < 0 else "open"


def _change(ladder: Ladder, step: LadderStep, before: LadderStep) -> Iterator[str]:
    """Describe the change from the step before, hedged by its intervals."""
    rows = {split: _by(ladder.contrasts(split), "arm").get(step.label) for split in ladder.splits}
    changes = {split: row for split, row in rows.items() if row}
    if not changes:
        ended = _by(stats.outcomes(ladder.trials, ["label"]), "label")
        states = {side.number: troubles(ended[side.label]) for side in (before, step)}
        why = ", ".join(f"step {number}: {state}" for number, state in states.items() if state)
        yield f"{_named(step)} cannot be compared with step {before.number}: no seed finished both ({why})."
        return
    yield _sentence(_named(step), changes)
    n, planned = min(row["n"] for row in changes.values()), ladder.trials["label"].eq(step.label).sum()
    if n < planned:
        yield f"Only {n} of {planned} seeds finished both steps, and survivors may flatter."
    if len(step.changes) > 1:
        yield f"It changes {len(step.changes)} settings at once; their effects cannot be told apart."


def _sentence(name: str, changes: Mapping[str, Mapping[Any, Any]]) -> str:
    """Write one sentence on a step's differences, which begins with the first split's verdict."""
    (split, row), *others = changes.items()
    verdict = _verdict(row)
    if verdict == "same" and all(_verdict(other) == "same" for _, other in others):
        were = f"{split} accuracy exactly as it was"
        if others:
            were = f"{' and '.join(changes)} accuracy exactly as they were"
        return f"{name} leaves {were} in all {row['n']} seeds."
    by = f"{points(row['difference'], sign=True)} points of {split} accuracy"
    if verdict == "one":
        words = f"{name}: {by} in the only seed, so there is no interval and no verdict"
    elif verdict in {"open", "same"}:
        words = f"{name} cannot be distinguished from no change with {row['n']} seeds: {by} ({span(row)})"
    else:
        low, high = sorted((abs(row["low"]), abs(row["high"])))
        words = f"{name} {verdict} {points(abs(row['difference']))} points of {split} accuracy "
        words += f"({interval({'n': row['n'], 'low': low, 'high': high})})"
    for other_split, other in others:
        by = f"{points(other['difference'], sign=True)} ({span(other)})"
        differs = _verdict(other) != verdict and _verdict(other) in {"open", "same"}
        hedge = f"on {other_split} it cannot be distinguished from no change:" if differs else other_split
        words += f"; {hedge} {by}"
    return f"{words}."


def _classes(reading: ReportData, ladder: Ladder, step: LadderStep, before: LadderStep) -> Iterator[str]:
    """Name the two classes that are confused less often, or more often where a step makes more mistakes.

    The pair is picked among all, so its interval is widened for their number (Bonferroni).
    """
    names = reading.classes(ladder.dataset)
    pairs = class_pairs(reading.results.confusion, ladder, (step.label, before.label), len(names))
    if len(pairs) < 2 or not pairs.to_numpy().any():
        return
    worse = pairs.to_numpy().sum() > 0
    ordered = pairs.iloc[:, ::-1] if worse else -pairs
    top = _summary(ordered.iloc[:, 0], 1 - (1 - stats.CONFIDENCE) / ordered.shape[1])
    if not top["low"] > 0:
        yield "No pair of classes stands out in its changes."
        return
    first, second = (ordered.columns.get_level_values(level) for level in ("first", "second"))
    confused = [f"{names[a]} and {names[b]}" for a, b in zip(first, second, strict=True)][:2]
    more = "more" if worse else "fewer"
    words = f"Its largest change is between {confused[0]}: {top['mean']:.0f} {more} test mistakes a seed "
    words += f"({top['low']:.0f} to {top['high']:.0f}"
    words += f", widened for {ordered.shape[1]} pairs)" if ordered.shape[1] > 1 else ")"
    if ordered.shape[1] > 1 and not _summary(ordered.iloc[:, 0] - ordered.iloc[:, 1])["low"] > 0:
        words += f"; the change of {confused[1]} ({ordered.iloc[:, 1].mean():.0f}) may be as large"
    yield f"{words}."


def _summary(values: pd.Series[float], confidence: float = stats.CONFIDENCE) -> pd.Series[float]:
    table = pd.DataFrame({"group": 0, "value": values})
    return stats.summarise(table, ["group"], "value", confidence).iloc[0]
