"""Disks that are full, fail or may not be written, at every operation: words, and the same numbers after."""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torture import forks, hooks, kills, scenarios
from torture.kinds import Kind
from torture.oracle import Case, Fault
from torture.scenarios import Scenario

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)
ON_WRITING = (errno.ENOSPC, errno.EROFS)
"""Errors that only what writes can meet."""


@dataclass(frozen=True)
class Prepared:
    """The scenarios; and the order in which seeds go through (scenario and error, operation)."""

    kinds: Sequence[tuple[Scenario, int]]
    rounds: Sequence[tuple[int, int]]


def _prepare(folder: Path, short: bool) -> Prepared:
    there = scenarios.scenarios(folder, short=short)
    kinds = [(one, number) for one in there for number in ERRORS]
    counts = [one.writes if number in ON_WRITING else one.operations for one, number in kinds]
    rare = [kills.RARE.get(one.name, 1) for one, _ in kinds]
    return Prepared(kinds, kills.rounds(counts, rare))


def _run(seed: int, folder: Path, prepared: Prepared) -> Case:
    rng, case = random.Random(seed), Case()
    place, operation = prepared.rounds[seed % len(prepared.rounds)]
    scenario, number = prepared.kinds[place]
    name, lasting = errno.errorcode[number], rng.random() < 0.5
    case.count(scenario.name, name)
    scenario.begin(folder)
    smallest = f"{scenario.name}: {name} {'from' if lasting else 'at'} operation {operation}"
    watched = {"at": operation, "changes": number in ON_WRITING, "act": hooks.DiskError(number, lasting)}
    outcome = forks.apart(lambda: scenario.run(watched=watched, folder=folder), folder, 120)
    sound = case.judge(outcome, smallest)
    if sound and outcome.code == 0 and (differs := scenario.difference(folder)):
        case.faults.append(Fault(f"{scenario.name} on a bad disk: exit code 0, and {differs}", smallest))
    again = forks.apart(lambda: scenario.run(watched={}, folder=folder), folder, 120)
    kills.judge(scenario, again, folder, f"{smallest}; then again", case)
    return case


KIND = Kind("disks", "errors of a disk", 600, 4, _prepare, _run, chunk=10, patience=300)
