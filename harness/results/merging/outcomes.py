"""Outcomes of merged folders: which part gives each trial, and whether several say the same of it.

A trial has one outcome: the parts of several folders that have it must agree in all that training decides,
digit by digit. The part that gives a trial is the least of those that finished it, in an order that only
their contents decide: so the order of merging decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from harness.errors import UsageError
from harness.results import csv_rows
from harness.results.columns import FINISHED
from harness.results.csv_rows import TextTable
from harness.results.part_summaries import PartSummary
from harness.settings.schema import EPOCHS, OUTCOME, PARENT
from harness.text import count

MADE_BY = frozenset({
    "engine", "device", "group", "group_size", "group_seconds", "kernels", "host", PARENT,
})  # fmt: skip
"""Columns of trials.csv that say how and where a trial was trained, in which equal outcomes may differ."""


@dataclass(frozen=True)
class Choice:
    """The parts that are kept, by their groups, and the group that gives each trial.

    `shared` is how many finished trials several parts have, and agree about.
    """

    parts: Mapping[str, PartSummary]
    owners: Mapping[str, str]
    shared: int

    def statuses(self) -> dict[str, str]:
        """Map each trial that a part has to its status."""
        return {trial_id: self.parts[group].statuses[trial_id] for trial_id, group in self.owners.items()}


def choose(parts: Sequence[PartSummary]) -> Choice:
    """Choose the part that gives each trial: of those that finished it the least, else of those that failed.

    Raises:
        UsageError: two parts that finished a trial differ in its outcome; names both and the difference.
    """
    # Of one content, from several folders, one is enough.
    distinct = {(part.group, part.digest): part for part in reversed(parts)}
    ordered = sorted(distinct.values(), key=_rank)
    owners: dict[str, PartSummary] = {}
    twice: dict[str, list[PartSummary]] = {}
    for part in ordered:
        for trial_id, status in part.statuses.items():
            before = owners.get(trial_id)
            if before is None or (status in FINISHED and before.statuses[trial_id] not in FINISHED):
                owners[trial_id] = part
            elif status in FINISHED:
                twice.setdefault(trial_id, [before]).append(part)
    _check_equal(twice)
    kept: dict[str, PartSummary] = {}
    for part in sorted({id(part): part for part in owners.values()}.values(), key=_rank):
        other = kept.setdefault(part.group, part)
        if other is not part:
            raise UsageError(
                f"{other.path} and {part.path} are the same stack, and each finished trials that the other "
                f"did not: nothing was merged. Train it whole in {part.folder}: run its study there again"
            )
    chosen = {trial_id: part.group for trial_id, part in owners.items()}
    return Choice(dict(sorted(kept.items())), chosen, len(twice))


def _rank(part: PartSummary) -> tuple[int, str, int, str]:
    """Rank a part by its content alone: the metrics it has, its name, and how much of it is finished."""
    done = sum(status in FINISHED for status in part.statuses.values())
    return -len(part.columns), part.group, -done, part.digest


def _check_equal(twice: Mapping[str, Sequence[PartSummary]]) -> None:
    """Raise UsageError where parts differ in the outcome of a trial that each of them finished."""
    pairs: dict[tuple[int, int], list[str]] = {}
    known = {id(part): part for parts in twice.values() for part in parts}
    for trial_id, parts in twice.items():
        for other in parts[1:]:
            pairs.setdefault((id(parts[0]), id(other)), []).append(trial_id)
    differing, words = 0, ""
    for (one, two), trial_ids in pairs.items():
        a, b = known[one], known[two]
        for trial_id, difference in _differences(a, b, trial_ids):
            differing += 1
            words = words or f"trial {trial_id} has two outcomes, in {a.path} and {b.path}: {difference}"
    if differing:
        more = f" {count(differing - 1, 'other trial')} {'does' if differing == 2 else 'do'}, too." * (
            differing > 1
        )
        raise UsageError(
            f"{words}.{more} Nothing was merged. Leave one of the folders out; or remove, from the one that "
            "is not to count, the part. Runs with --bits portable have the same numbers on every machine"
        )


def _differences(a: PartSummary, b: PartSummary, trial_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the trials in which two parts differ, each with the first difference."""
    texts = [part.read() for part in (a, b)]
    trials = [csv_rows.table(text["trials"]) for text in texts]
    rows = [{row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows} for table in trials]
    shared = [*EPOCHS, *sorted(set(a.curves) & set(b.curves) - set(EPOCHS))]
    curves = [_runs(csv_rows.table(text["epochs"]).only(shared), trial_ids) for text in texts]
    counts = [_runs(csv_rows.table(text["confusion"]), trial_ids) for text in texts]
    for trial_id in trial_ids:
        cells = [table[trial_id] for table in rows]
        found = (
            _cells(*cells)
            or _curves(*(table.get(trial_id, []) for table in curves))
            or _counts(*(table.get(trial_id, []) for table in counts))
        )
        if found:
            yield trial_id, found + _computed(cells)


def _cells(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Say in which cell two rows of trials.csv differ; a metric that only one has is no difference."""
    for name in one:
        if name in MADE_BY or one[name] == other.get(name, one[name]):
            continue
        if name in OUTCOME or (one[name] and other[name]):
            return f"{name} {one[name] or 'empty'} and {other[name] or 'empty'}"
    return ""


def _runs(table: TextTable, trial_ids: Sequence[str]) -> dict[str, list[list[str]]]:
    wanted, found = set(trial_ids), dict[str, list[list[str]]]()
    for row in table.rows:
        if row[0] in wanted:
            found.setdefault(row[0], []).append(row[1:])
    return found


Rows: TypeAlias = Sequence[list[str]]


def _curves(one: Rows, other: Rows) -> str:
    if len(one) != len(other):
        return f"{len(one)} and {len(other)} rows of epochs.csv"
    for a, b in zip(one, other, strict=True):
        named = len(EPOCHS) - 1
        if a[:named] != b[:named] or any(x != y for x, y in zip(a, b, strict=True) if x and y):
            return f"step {a[1]} of epochs.csv: {', '.join(a[2:])} and {', '.join(b[2:])}"
    return ""


def _counts(one: Rows, other: Rows) -> str:
    return "" if sorted(one) == sorted(other) else "their counts in confusion.csv"


def _computed(cells: Sequence[Mapping[str, str]]) -> str:
    """Say by what and where each outcome was computed, where that is not the same."""
    made = [
        ", ".join(f"{name} {row[name]}" for name in ("engine", "kernels", "host") if row.get(name))
        for row in cells
    ]
    if made[0] == made[1]:
        return f" (both by {made[0]})" if made[0] else ""
    return f" ({made[0] or 'unknown'}; {made[1] or 'unknown'}: float bits may differ between them)"
