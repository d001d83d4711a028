"""Machines that grant little: files, memory, sizes of files, shared memory; words, and no number lost."""

from __future__ import annotations

import errno
import os
import random
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torture import forks, hooks, kills, scenarios
from torture.kinds import Kind
from torture.oracle import Case, Fault, Outcome
from torture.scenarios import Scenario

SHARED = "/dev/shm/pym-"  # noqa: S108 (how the files begin that processes share memory by)


def _files(more: int) -> None:
    """So many files may be open beside those that are."""
    count = len(os.listdir("/proc/self/fd")) + more  # noqa: PTH208 (an own folder of numbers)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def _sizes(most: int) -> None:
    """No file may grow beyond so many bytes: the one way to fill a disk for C libraries, too."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def _shared(most: int) -> None:
    """Memory that processes share is full, from so many blocks on."""
    act = hooks.DiskError(errno.ENOSPC, lasting=True)
    hooks.watch(roots=(SHARED,), at=most, changes=True, act=act)


LIMITS: Mapping[str, tuple[Callable[[int], None], Sequence[int]]] = {
    "open files": (_files, (0, 1, 2, 3, 4, 6, 8, 12, 20)),
    "file size": (_sizes, (3000, 5000, 10_000, 30_000, 100_000)),
    "shared memory": (_shared, (1, 2, 3)),
    "memory": (forks.limit_memory, tuple(n << 20 for n in (0, 1, 4, 16, 32, 64, 128, 256))),
}
"""Name -> what sets a limit, and how much is left: of sizes enough for what a command says on the screen."""


def _prepare(folder: Path, short: bool) -> list[Scenario]:
    return scenarios.scenarios(folder, short=short)


def _run(seed: int, folder: Path, there: Sequence[Scenario]) -> Case:
    rng, case = random.Random(seed), Case()
    often = [1 / kills.RARE.get(one.name, 1) for one in there]
    (scenario,) = rng.choices(there, often)
    name = list(LIMITS)[seed % len(LIMITS)]
    limit, amounts = LIMITS[name]
    amount = rng.choice(amounts)
    case.count(scenario.name, name)
    scenario.begin(folder)
    smallest = f"{scenario.name}: {amount:,} of {name}"
    more = ["--workers", "2"] if scenario.workers and seed // len(LIMITS) % 3 == 0 else []

    def work() -> Outcome:
        scenarios.quick_workers()
        limit(amount)
        return scenario.run(*more, folder=folder)

    outcome = forks.apart(work, folder, 120)
    if (
        outcome.code is None
        and name == "memory"
        and forks.innermost(folder.parent / "faults") != "in harness"
    ):
        case.count("outside software died without memory")
    else:
        sound = case.judge(outcome, smallest, quoted=name == "memory")
        if sound and outcome.code == 0 and (differs := scenario.difference(folder)):
            case.faults.append(
                Fault(f"{scenario.name} with little {name}: exit code 0, and {differs}", smallest)
            )
    again = forks.apart(lambda: scenario.run(watched={}, folder=folder), folder, 120)
    kills.judge(replace(scenario), again, folder, f"{smallest}; then again", case)
    return case


KIND = Kind("limits", "limits of a machine", 300, 3, _prepare, _run, chunk=10, patience=300)
