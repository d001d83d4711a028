"""What a report says and shows of a ladder: rung by rung, each against the one before.

Test stands beside validation at every rung, since that is how a ladder is read. Nothing is ordered or chosen.
"""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import plots, stats
from harness.report.declared import EXPLORATORY
from harness.report.figures import (
    ARM_CURVES,
    CURVES,
    Drawn,
    arm_confusion,
    arm_panels,
    axis_panels,
    intervals,
    slug,
)  # fmt: skip
from harness.report.reading import Reading
from harness.report.rungs import Changes, Ladder, Rung, class_pairs, ladders
from harness.report.tables import NONE, Cell, Column, Table, accuracy_cell, difference_cell, troubles
from harness.stats.verdicts import EQUAL
from harness.text import NOT_APPLICABLE, count, interval, percent, points, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WIDEST = 44  # characters of a rung's name in one line of a figure
ABREAST = 4  # rungs whose learning curves stand side by side
OPEN = 6  # rungs up to which the page shows every confusion matrix unasked
LADDER = (
    "Rungs from top to bottom, each with all that the rungs above it changed. At the right, between two "
    "rungs, what the lower one changed, paired by seed. {} Each interval stands by itself. Nothing was "
    "chosen by these numbers, test included."
)
COUNTS = (
    "Test samples by true class (rows) and predicted class (columns), summed over the rung's finished seeds. "
    "Colours span the mistakes only, up to the most frequent one, so they differ from rung to rung; right "
    "answers are grey, empty cells are 0."
)
CHANGE = (
    "Then what became of each count since the rung before, over the seeds that both finished ({}). "
    "Blue is better: more on the framed diagonal, or fewer mistakes off it; red is worse. Colours span the "
    "changes in mistakes; empty cells did not change."
)
BASELINE = (
    "Change in {} accuracy from the baseline: all that the rungs up to this one changed together, paired by "
    "seed. At the right, the mean change in points. {}"
)
TABLE = (
    "Each rung changes what is named and keeps the rest of the rung before. Means over the finished seeds, "
    "under them 95\u00a0% Student-t intervals; differences from the rung before are in points, paired by "
    "seed, and each interval stands by itself, uncorrected for their number: the verdicts are in a table of "
    "their own. Nothing is chosen here."
)


# ------------------------------------------------------------------------------------------------ the table


def tables(reading: Reading) -> list[Table]:
    """A table a data set, a row a rung: what changed, and what came of it."""
    ladder = ladders(reading)
    return [_table(reading, each, several=len(ladder) > 1) for each in ladder]


def _table(reading: Reading, ladder: Ladder, *, several: bool) -> Table:
    columns = [Column("rung"), Column("what changed", show="long")]
    columns += [Column("parameters", numeric=True, show="wide")]
    columns += [Column(f"{split} accuracy", numeric=True) for split in ("val", "test")]
    columns += [Column(f"{split} difference", numeric=True) for split in ("val", "test")]
    columns += [Column("seeds", numeric=True)]
    accuracy = {split: _by(ladder.accuracy(split), "label") for split in ("val", "test")}
    change = {split: _by(ladder.contrasts(split), "arm") for split in ("val", "test")}
    ended = _by(stats.outcomes(ladder.trials, ["label"]), "label")
    parameters = ladder.trials.groupby("label")["parameters"].max()
    rows = []
    for rung in ladder.rungs:
        size, of = parameters[rung.label], ended[rung.label]
        row = [Cell(rung.label, key=rung.number), _changed(reading, ladder, rung)]
        row += [Cell(NONE if pd.isna(size) else f"{size:,.0f}", key=size)]
        row += [accuracy_cell(accuracy[split][rung.label]) for split in ("val", "test")]
        for split in ("val", "test"):
            before = ladder.before(rung)
            told = difference_cell(change[split].get(rung.label, {"n": 0}))
            row.append(told if before else Cell("\u2013", key=math.nan))
        rows.append([*row, Cell(f"{of['ok']} of {of['planned']}", troubles(of), of["ok"])])
    name, title = ("rungs", "Rung by rung") if not several else (
        f"rungs-{slug(ladder.dataset)}", f"Rung by rung on {ladder.dataset}")  # fmt: skip
    return Table(name, title, TABLE, columns, rows)


def _by(table: pd.DataFrame, key: str) -> dict[str, dict[Any, Any]]:
    return {str(row[key]): row for row in table.to_dict("records")}


def _changed(reading: Reading, ladder: Ladder, rung: Rung) -> Cell:
    if rung.number == 0:
        given = reading.results.study.get("baseline", {})
        return Cell("the baseline", ", ".join(f"{key} {value}" for key, value in given.items()))
    if not rung.changes and not rung.follows:
        same = next(other for other in ladder.rungs if other.arm == rung.arm)
        return Cell("nothing", f"trained once, with rung {same.number}")
    also = ", ".join(_arrows(rung.follows))
    return Cell(", ".join(_arrows(rung.changes)), f"and so: {also}" if also else "")


def _arrows(changes: Changes) -> Iterator[str]:
    """Changed settings in words; one that came or went has but one side."""
    for name, (old, new) in changes.items():
        if new == NOT_APPLICABLE:
            yield f"no {name}"
        else:
            yield f"{name} {new}" if old == NOT_APPLICABLE else f"{name} {old} \u2192 {new}"


# ---------------------------------------------------------------------------------------------- the figures


def draw(reading: Reading) -> Iterator[Drawn]:
    """Draw every data set's ladder, its confusion matrices rung by rung, and its learning curves."""
    every = [ladder for ladder in ladders(reading) if ladder.splits]
    for ladder in every:
        yield _climb(ladder)
    for ladder in every:
        for rung in ladder.rungs:
            yield from _confusion(reading, ladder, rung)
    for ladder in every:
        yield from _from_baseline(ladder)
        yield from _curves(reading, ladder)


def _climb(ladder: Ladder) -> Drawn:
    splits = ladder.splits
    accuracy = _stacked({split: ladder.accuracy(split) for split in splits})
    changes = _stacked({split: ladder.contrasts(split) for split in splits}).rename(columns={"arm": "label"})
    told = [f"{points(row['difference'], sign=True)} ({span(row)})" for row in changes.to_dict("records")]
    seeds = {
        split: stats.finished(ladder.trials, f"{split}_accuracy").rename(
            columns={f"{split}_accuracy": "value"}
        )[["label", "value"]]
        for split in splits
    }
    differences = _stacked({split: ladder.differences(split) for split in splits})
    figure = plots.ladder_figure(
        {rung.label: _row(ladder, rung) for rung in ladder.rungs}, accuracy, _stacked(seeds),
        changes.assign(told=told), differences.rename(columns={"arm": "label"}),
    )  # fmt: skip
    caption = LADDER.format(intervals(accuracy["n"]))
    name = f"ladder-{slug(ladder.dataset)}"
    return Drawn(name, f"The ladder on {ladder.dataset}", caption, figure)


def _stacked(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([table.assign(split=split) for split, table in tables.items()], ignore_index=True)


def _row(ladder: Ladder, rung: Rung) -> str:
    """A rung's name in lines of a figure, with its unfinished seeds."""
    ended = stats.outcomes(ladder.trials[ladder.trials["label"].eq(rung.label)], ["label"]).iloc[0]
    left = troubles(ended)
    lines = textwrap.wrap(rung.label, WIDEST, max_lines=2, placeholder=" \u2026")
    return "\n".join([*lines, f"{left} of {count(ended['planned'], 'seed')}"] if left else lines)


def _confusion(reading: Reading, ladder: Ladder, rung: Rung) -> Iterator[Drawn]:
    classes = reading.classes(ladder.dataset)
    counts = arm_confusion(reading, ladder.dataset, rung.arm)
    if not counts.to_numpy().any():
        return
    of = _by(ladder.accuracy("test"), "label")[rung.label]
    title = textwrap.shorten(f"rung {rung.label}", 60, placeholder=" \u2026")
    named = {f"{title}\ntest {percent(of['mean'], 2)}, sum over {count(of['n'], 'seed')}": counts}
    before, changes, caption = ladder.before(rung), {}, COUNTS
    if before:
        each = stats.confusion_differences(
            reading.results.confusion, ladder.trials, (rung.label, before.label), len(classes), "label"
        )
        seeds = each.index.unique("seed").size
        if seeds:
            told = textwrap.shorten(f"minus rung {before.label}", 60, placeholder=" \u2026")
            changes = {f"{told}\nsum over {count(seeds, 'seed')}": each.groupby(level="true").sum()}
            caption += " " + CHANGE.format(count(seeds, "seed"))
        else:
            caption += f" No seed finished both this rung and rung {before.number}, so no change is shown."
    yield Drawn(
        f"confusion-{slug(ladder.dataset)}-rung-{rung.number}",
        f"What rung {rung.number} ({rung.name}) takes for what on {ladder.dataset}",
        caption,
        plots.confusion_figure(named, classes, changes),
        folded=len(ladder.rungs) > OPEN,
    )


def _from_baseline(ladder: Ladder) -> Iterator[Drawn]:
    """All rungs against the first; with two it would be the ladder again."""
    split = ladder.splits[0]
    first = ladder.rungs[0].label
    pairs = pd.DataFrame({"arm": [rung.label for rung in ladder.rungs[1:]], "reference": first})
    contrasts = ladder.contrasts(split, pairs)
    if len(ladder.rungs) < 3 or contrasts.empty:
        return
    seeds = stats.paired_differences(ladder.trials, pairs, f"{split}_accuracy", "label")
    figure = plots.differences_figure(
        contrasts.assign(label=contrasts["arm"]), seeds.assign(label=seeds["arm"]),
        f"{split} accuracy minus that of rung {first} (points)",
    )  # fmt: skip
    name, title = f"differences-{slug(ladder.dataset)}", f"Each rung against the first on {ladder.dataset}"
    caption = f"{EXPLORATORY} {BASELINE.format(split, intervals(contrasts['n']))}"
    yield Drawn(name, title, caption, figure, folded=True)


def _curves(reading: Reading, ladder: Ladder) -> Iterator[Drawn]:
    labels = list(stats.finished(ladder.trials, "test_accuracy")["label"].unique())
    here = ladder.trials[ladder.trials["label"].isin(labels)]
    if 0 < len(labels) <= plots.MAX_LINES:
        figure = plots.curves_figure(axis_panels(reading, here, "label"), "label")
        title = f"Learning curves by rung on {ladder.dataset}"
        yield Drawn(f"curves-{slug(ladder.dataset)}-rung", title, CURVES, figure)
    for place in range(0, len(labels), ABREAST):
        abreast = labels[place : place + ABREAST]
        figure = plots.curves_figure(arm_panels(reading, here, abreast), "split", columns=len(abreast))
        numbers = [label.split()[0] for label in (abreast[0], abreast[-1])]
        of = f"rungs {numbers[0]} to {numbers[1]}" if len(abreast) > 1 else f"rung {numbers[0]}"
        title = f"Learning curves of {of} on {ladder.dataset}"
        yield Drawn(f"curves-{slug(ladder.dataset)}-{slug(of)}", title, ARM_CURVES, figure, folded=True)


# ------------------------------------------------------------------------------------------------ the words


def answers(reading: Reading) -> list[list[str]]:
    """What every rung brought: a paragraph for the whole climb, then one a rung; every doubt is said."""
    return [told for ladder in ladders(reading) for told in _paragraphs(reading, ladder)]


def _paragraphs(reading: Reading, ladder: Ladder) -> Iterator[list[str]]:
    if not ladder.splits:
        yield [f"On {ladder.dataset} no rung has a finished trial."]
        return
    yield [_whole(ladder)]
    for rung in ladder.rungs:
        before = ladder.before(rung)
        if before and before.arm == rung.arm:
            yield [f"{_named(rung)} sets nothing new: it is rung {before.number} again."]
        elif before:
            yield [*_step(ladder, rung, before), *_mended(reading, ladder, rung, before)]


def _whole(ladder: Ladder) -> str:
    """From the first rung to the last that can be compared with it."""
    split, first = ladder.splits[0], ladder.rungs[0]
    upper = ladder.rungs[1:]
    pairs = pd.DataFrame({"arm": [rung.label for rung in upper], "reference": first.label})
    rows = _by(ladder.contrasts(split, pairs), "arm")
    last = next((rung for rung in reversed(upper) if rung.label in rows), None)
    accuracy = ladder.accuracy(split).set_index("label")["mean"]
    if not upper:
        return f"On {ladder.dataset} rung {first.number} ({first.name}) stands alone: nothing to compare."
    if last is None:
        return f"On {ladder.dataset} no rung finished a seed that rung {first.number} finished too."
    row = rows[last.label]
    return (
        f"On {ladder.dataset} the ladder leads from {percent(accuracy[first.label])} {split} accuracy "
        f"(rung {first.number}, {first.name}) to {percent(accuracy[last.label])} (rung {last.number}, "
        f"{last.name}): {points(row['difference'], sign=True)} points ({interval(row)})"
        + (", which cannot be told from no change." if _verdict(row) == "open" else ".")
    )


def _named(rung: Rung) -> str:
    return f"Rung {rung.number} ({rung.name})"


def _verdict(row: Mapping[Any, Any]) -> str:
    """What an interval says of its difference: one, same, adds, costs, open."""
    if row["n"] < 2:
        return "one"
    if math.isnan(row["low"]) and abs(row["difference"]) <= EQUAL:
        return "same"
    return "adds" if row["low"] > 0 else "costs" if row["high"] < 0 else "open"


def _step(ladder: Ladder, rung: Rung, before: Rung) -> Iterator[str]:
    """What a rung brought over the one before, hedged as its intervals demand."""
    rows = {split: _by(ladder.contrasts(split), "arm").get(rung.label) for split in ladder.splits}
    found = {split: row for split, row in rows.items() if row}
    if not found:
        ended = _by(stats.outcomes(ladder.trials, ["label"]), "label")
        states = {each.number: troubles(ended[each.label]) for each in (before, rung)}
        why = ", ".join(f"rung {number}: {state}" for number, state in states.items() if state)
        yield f"{_named(rung)} cannot be compared with rung {before.number}: no seed finished both ({why})."
        return
    yield _verdicts(_named(rung), found)
    n, planned = min(row["n"] for row in found.values()), ladder.trials["label"].eq(rung.label).sum()
    if n < planned:
        yield f"Only {n} of {planned} seeds finished both rungs, and survivors may flatter."
    if len(rung.changes) > 1:
        yield f"It changes {len(rung.changes)} settings at once; what each did cannot be told apart."


def _verdicts(name: str, found: Mapping[str, Mapping[Any, Any]]) -> str:
    """One sentence on a rung's differences, the first split's verdict leading."""
    (split, row), *others = found.items()
    verdict = _verdict(row)
    if verdict == "same" and all(_verdict(other) == "same" for _, other in others):
        were = f"{split} accuracy exactly as it was"
        if others:
            were = f"{' and '.join(found)} accuracy exactly as they were"
        return f"{name} leaves {were} in all {row['n']} seeds."
    by = f"{points(row['difference'], sign=True)} points of {split} accuracy"
    if verdict == "one":
        told = f"{name}: {by} in the one seed there is, so no interval and no verdict"
    elif verdict in {"open", "same"}:
        told = f"{name} cannot be told from no change with {row['n']} seeds: {by} ({span(row)})"
    else:
        low, high = sorted((abs(row["low"]), abs(row["high"])))
        told = f"{name} {verdict} {points(abs(row['difference']))} points of {split} accuracy "
        told += f"({interval({'n': row['n'], 'low': low, 'high': high})})"
    for beside, other in others:
        by = f"{points(other['difference'], sign=True)} ({span(other)})"
        differs = _verdict(other) != verdict and _verdict(other) in {"open", "same"}
        told += f"; on {beside} it cannot be told from no change: {by}" if differs else f"; {beside} {by}"
    return f"{told}."


def _mended(reading: Reading, ladder: Ladder, rung: Rung, before: Rung) -> Iterator[str]:
    """Which two classes are taken for each other less, or where the rung made more mistakes, more.

    The pair is picked among all, so its interval is widened for their number (Bonferroni).
    """
    names = reading.classes(ladder.dataset)
    pairs = class_pairs(reading.results.confusion, ladder, (rung.label, before.label), len(names))
    if len(pairs) < 2 or not pairs.to_numpy().any():
        return
    worse = pairs.to_numpy().sum() > 0
    ordered = pairs.iloc[:, ::-1] if worse else -pairs
    top = _summary(ordered.iloc[:, 0], 1 - (1 - stats.CONFIDENCE) / ordered.shape[1])
    if not top["low"] > 0:
        yield "No pair of classes stands out in what it changed."
        return
    first, second = (ordered.columns.get_level_values(level) for level in ("first", "second"))
    said = [f"{names[a]} and {names[b]}" for a, b in zip(first, second, strict=True)][:2]
    told = f"It {'spoils' if worse else 'mends'} {said[0]} most: {top['mean']:.0f} "
    told += f"{'more' if worse else 'fewer'} test mistakes between them a seed "
    told += f"({top['low']:.0f} to {top['high']:.0f}"
    told += f", widened for {ordered.shape[1]} pairs)" if ordered.shape[1] > 1 else ")"
    if ordered.shape[1] > 1 and not _summary(ordered.iloc[:, 0] - ordered.iloc[:, 1])["low"] > 0:
        told += f"; whether more than {said[1]} ({ordered.iloc[:, 1].mean():.0f}) is open"
    yield f"{told}."


def _summary(values: pd.Series[float], confidence: float = stats.CONFIDENCE) -> pd.Series[float]:
    return stats.summarise(pd.DataFrame({"of": 0, "value": values}), ["of"], "value", confidence).iloc[0]
