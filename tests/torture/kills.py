"""Kills at every file operation, of every process; then the same command again, to the same numbers."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torture import forks, hooks, oracle, scenarios
from torture.kinds import Kind
from torture.oracle import Case, Fault, Outcome
from torture.scenarios import Scenario

RARE = {"report": 60, "compare": 4, "export": 2, "data export": 3}
"""Of so many rounds a scenario takes part in one: figures take seconds, and short commands few operations."""
SPAWNED = 10  # of so many cases with workers, one has them spawned
GONE = 20.0  # seconds by which a killed command's workers must have noticed
WHO = ("parent", "worker", "any worker", "all")


@dataclass(frozen=True)
class Prepared:
    """The scenarios, and the order in which seeds go through them."""

    scenarios: Sequence[Scenario]
    rounds: Sequence[tuple[int, int]]
    """(scenario, operation), each once."""


def _prepare(folder: Path, short: bool) -> Prepared:
    there = scenarios.scenarios(folder, short=short)
    return Prepared(
        there, rounds([one.operations for one in there], [RARE.get(one.name, 1) for one in there])
    )


def rounds(operations: Sequence[int], rare: Sequence[int]) -> list[tuple[int, int]]:
    """Each scenario's place with each of its operations, or every so-manieth, shuffled as a pack of cards is.

    So a short run meets all scenarios, and a long one every operation.
    """
    found = [
        (i, operation)
        for i, (count, every) in enumerate(zip(operations, rare, strict=True))
        for operation in range(1, count + 1)
        if operation % every == 0
    ]
    random.Random(0).shuffle(found)
    return found


def _run(seed: int, folder: Path, prepared: Prepared) -> Case:
    rng, case = random.Random(seed), Case()
    number, operation = prepared.rounds[seed % len(prepared.rounds)]
    scenario = prepared.scenarios[number]
    again = seed // len(prepared.rounds)  # later rounds kill twice
    who = rng.choice(WHO) if scenario.workers and seed % 10 == 9 else "command"
    case.count(scenario.name, f"kill of {who}")
    scenario.begin(folder)
    smallest = f"{scenario.name}: {who} killed at operation {operation} of {scenario.operations}"
    for n in [operation, *([rng.randrange(1, scenario.operations + 1)] if again else [])]:
        outcome = _killed(scenario, who, n, folder, rng)
        case.count("killed" if outcome.code is None else "came to its end")
        if outcome.err in {"it took too long", "what it started lives on"}:
            case.faults.append(Fault(f"{scenario.name}, {who} killed: {outcome.err}", smallest))
        if outcome.code is not None and who == "command":
            case.judge(outcome, smallest)
    outcome = forks.apart(lambda: scenario.run(watched={}, folder=folder), folder, 120)
    judge(scenario, outcome, folder, smallest, case)
    return case


def judge(scenario: Scenario, outcome: Outcome, folder: Path, smallest: str, case: Case) -> None:
    """The command again: it comes to the same end, or says in words what is in its way."""
    sound = case.judge(outcome, smallest)
    if sound and outcome.code != 0 and scenario.name not in {"export", "data export"}:
        case.faults.append(
            Fault(f"{scenario.name} again: exit code {outcome.code}: {oracle.generic(outcome.err)}", smallest)
        )
    elif sound and outcome.code == 0 and (differs := scenario.difference(folder)):
        case.faults.append(Fault(f"{scenario.name} again in silence: {differs}", smallest))


def _killed(scenario: Scenario, who: str, operation: int, folder: Path, rng: random.Random) -> Outcome:
    """The command, killed at an operation; what it left if it lived on, as it does when a worker dies."""
    if who == "command":
        watched: dict[str, Any] = {"at": operation, "act": hooks.kill}
        return forks.apart(lambda: scenario.run(watched=watched, folder=folder), folder, 120)
    spawned = rng.randrange(SPAWNED) == 0

    def work() -> Outcome:
        if not spawned:
            scenarios.quick_workers()
        act = _Striker(who, operation, os.getpid(), folder / "struck", rng.random())
        return scenario.run("--workers", "2", watched={"at": 0, "act": act}, folder=folder)

    return forks.apart(work, folder, 180, GONE)


@dataclass
class _Striker:
    """An action: kills some of the processes, once, at an operation of the parent or of a worker."""

    who: str
    at: int
    parent: int
    mark: Path
    share: float
    seen: int = 0

    def __call__(self, kind: str, path: str) -> None:  # noqa: ARG002 (an action's signature)
        own = (os.getpid() == self.parent) != (self.who == "worker")
        self.seen += own
        if not own or self.seen < self.at or not self._first():
            return
        children = sorted(child.pid or 0 for child in multiprocessing.active_children())
        if self.who in {"any worker", "all"}:
            chosen = children if self.who == "all" else children[int(self.share * len(children)) :][:1]
            for pid in chosen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self.who != "any worker":
            os.kill(os.getpid(), signal.SIGKILL)

    def _first(self) -> bool:
        """Whether no other process has struck yet."""
        try:
            os.mkdir(self.mark)  # noqa: PTH102 (one system call: of two processes one makes it)
        except FileExistsError:
            return False
        return True


KIND = Kind("kills", "kills", 1000, 6, _prepare, _run, chunk=10, patience=400)
