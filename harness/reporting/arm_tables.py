"""Tables of a report: choices, all arms, trials without a result, and provenance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from harness import stats
from harness.reporting.data import ReportData, rank
from harness.reporting.model import (  # fmt: skip
    Cell,
    Column,
    Section,
    Table,
    accuracy_cell,
    number_cell,
)
from harness.text import DASH, as_text, count, spaced

STATES = {
    "diverged": "diverged: a loss was no longer finite; an observation, not a fault",
    "failed": "failed: tried again on the next run",
    "skipped": "skipped: planned, but never to be trained",
    "pruned": "pruned: stopped early by a search",
    "": "not trained yet",
}


def arms(reading: ReportData) -> Table:
    """Make the table of all arms, by data set, the best validation accuracy first."""
    axes = list(reading.axes) if reading.design == "grid" else []
    first = reading.trials.drop_duplicates(["dataset", "label"])[["dataset", "label", *axes]]
    levels = {row[:2]: row[2:] for row in first.itertuples(index=False, name=None)}
    columns = [Column("data set", show="wide" if axes else ""), Column("rank", numeric=True)]
    columns += [Column("arm", show="narrow" if axes else "")]
    columns += [Column(axis, show="wide") for axis in axes]
    columns += [Column(f"{split} accuracy", numeric=True) for split in ("val", "test")]
    measured = _measured(reading)
    columns += [Column(f"test {metric}", numeric=True) for metric in measured]
    columns += [Column("seeds", numeric=True)]
    rows = [
        [
            Cell(str(row["dataset"])),
            Cell(DASH if math.isnan(row["rank"]) else f"{row['rank']:.0f}", key=row["rank"]),
            Cell(str(row["label"]), str(row["dataset"]) if axes else ""),
            *map(_level_cell, levels[row["dataset"], row["label"]]),
            accuracy_cell(row),
            accuracy_cell(row, "shown_{}"),
            *(number_cell(means[(row["dataset"], row["label"])]) for means in measured.values()),
            Cell(f"{row['ok']} of {row['planned']}", troubles(row), row["ok"]),
        ]
        for row in rank(reading).to_dict("records")
    ]
    ranked = (
        "Ranked by validation accuracy; arms with a diverged or failed seed rank after the others, since "
        "survivors flatter."
        if reading.trials["val_accuracy"].notna().any()
        else "Without a validation accuracy nothing is ranked: arms are in the study's order."
    )
    note = f"Mean over the finished seeds, under it the 95\u00a0% Student-t interval. {ranked}"
    return Table("arms", "All arms", note, columns, rows, searched=True)


def _measured(reading: ReportData) -> dict[str, dict[Any, dict[Any, Any]]]:
    """Summarise tracked metrics: metric -> (data set, arm) -> n, mean, low, high on test."""
    by, summaries = ["dataset", "label"], {}
    for metric in reading.study.metrics:
        done = stats.finished(reading.trials, f"test_{metric}")
        table = stats.summarise(done, by, f"test_{metric}").set_index(by)
        arms = reading.trials[by].drop_duplicates().itertuples(index=False, name=None)
        summaries[metric] = {arm: dict(table.loc[arm]) if arm in table.index else {"n": 0} for arm in arms}
    return summaries


def _level_cell(level: str) -> Cell:
    try:
        return Cell(level, key=float(level))
    except ValueError:
        return Cell(level)


def troubles(row: Mapping[Any, Any] | pd.Series[Any]) -> str:
    """Count the trials that did not finish, from a row of `stats.outcomes`; empty if all did."""
    counts = {status: row[status] for status in stats.OUTCOMES if status != "ok"}
    counts["not trained"] = row["planned"] - row["ok"] - sum(counts.values())
    return ", ".join(f"{number} {status}" for status, number in counts.items() if number)


def missing(reading: ReportData, arms: str = "") -> list[Section]:
    """List the trials without a result: a section for each state, data set and reason, a line for each arm.

    `arms` is a word for all arms, such as "tuned".
    """
    trials = reading.trials
    status = trials["status"].astype(object).where(trials["status"].notna(), "")
    reason = trials["reason"].astype(object).where(trials["reason"].notna() & status.ne(""), "")
    left = trials.assign(status=status, reason=reason)[status.ne("ok")]
    sections = []
    for (state, dataset, why), group in left.groupby(["status", "dataset", "reason"], sort=False):
        where = f"{dataset}, {arms}," if arms else dataset
        title = f"{count(len(group), 'trial')} on {where} {STATES.get(str(state), str(state))}"
        sections.append(Section("", f"{title} ({why})" if why else title, list(_named(group))))
    shards = "" if arms else reading.absent_shards
    if shards:
        how = "`harness run` with --shard trains one of them, and `harness merge` adds it to the others."
        sections.append(Section("", shards[0].upper() + shards[1:], [how]))
    return sections


def _named(group: pd.DataFrame) -> Iterator[str]:
    for label, arm in group.groupby("label", sort=False):
        steps = zip(arm["seed"], arm["diverged_step"], strict=True)
        yield f"{label}: seed " + ", ".join(
            f"{seed}" if pd.isna(step) else f"{seed} at step {step:.0f}" for seed, step in steps
        )


def provenance(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the facts of provenance.json: nested tables as dotted names, lists in words."""
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from provenance(value, f"{name}.")
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            for number, one in enumerate(value, start=1):
                yield f"{name} {number}" if len(value) > 1 else name, _in_words(one)
        elif isinstance(value, list):
            yield name, ", ".join(map(str, value))
        else:
            yield name, "" if value is None else str(value)


def _in_words(value: object) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return "; ".join(f"{spaced(str(name))}: {as_text(one)}" for name, one in value.items())
