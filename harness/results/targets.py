"""The columns steps_to and epochs_to: the evaluation at which a trial first reached the study's target.

They are derived from epochs.csv whenever trials.csv is made, and no part holds them: so a target can be
given or changed for trials that are finished, and nothing is trained for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.results import csv_rows
from harness.results.csv_rows import TextTable
from harness.results.part_files import Part
from harness.settings.schema import TO_TARGET
from harness.study.targets import Target
from harness.text import count


def of_study(about: Mapping[str, Any]) -> Target | None:
    """Give the target in the [study] table of a results folder; None where there is none."""
    return Target.of(about.get("until"))


def columns(target: Target | None) -> list[str]:
    """List the columns that a target adds to trials.csv."""
    return list(TO_TARGET) if target else []


def with_times(outcomes: TextTable, parts: Sequence[Part], target: Target | None) -> TextTable:
    """Add to the outcomes of trials, a row each, when they first reached a target."""
    if target is None:
        return outcomes
    first: dict[str, tuple[str, str]] = {}
    for part in parts:
        for trial_id, time in times(part.epochs, target).items():
            first.setdefault(trial_id, time)
    named = zip(outcomes["trial_id"], outcomes.rows, strict=True)
    added = [[*row, *first.get(trial_id, ("", ""))] for trial_id, row in named]
    return TextTable([*outcomes.columns, *TO_TARGET], added)


def told(trials: TextTable, target: Target | None) -> str:
    """Say how many of the trials that ended reached a target; empty where there is none."""
    if target is None or TO_TARGET[0] not in trials:
        return ""
    ended = [
        steps
        for status, steps in zip(trials["status"], trials[TO_TARGET[0]], strict=True)
        if status in {"ok", "diverged"}
    ]
    reached = sum(map(bool, ended))
    return f"{target.words}: reached by {reached} of {count(len(ended), 'trial')} ({', '.join(TO_TARGET)})"


def times(epochs: str, target: Target) -> dict[str, tuple[str, str]]:
    """Find the steps and epochs, as text, at which each trial of an epochs.csv first reached a target.

    Trials that never did are left out. Rows of a trial are in the order of its evaluations.
    """
    header = csv_rows.header(epochs)
    names = ("trial_id", "split", target.metric, "step", "epoch")
    trial, split, measure, step, epoch = (header.index(name) for name in names)
    first: dict[str, tuple[str, str]] = {}
    for row in epochs.splitlines()[1:]:  # without quoted cells, and there may be millions
        cells = row.split(",")
        if cells[split] == target.split and target.is_reached(float(cells[measure] or math.nan)):
            first.setdefault(cells[trial], (cells[step], cells[epoch]))
    return first
