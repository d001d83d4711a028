"""How many pairs of trials are made on one kind of processor, and what that costs: simulated runs.

    python tests/benchmarks/kinds_dealt.py

Prints a table in Markdown, of runs in which every stack holds an arm and a seed: with stacks dealt over kinds
by `planning.kinds`, and with the longest stack first whoever asks. An arm's seconds are drawn for each
repetition, and every stack takes up to a fifth more or less than its estimate.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from harness.planning.kinds import deal
from harness.planning.stack import Stack

REPEATS = 200
LOOK = 0.05  # seconds until a worker without a stack looks again
RUNS: Sequence[tuple[int, int, dict[str, int]]] = (
    (4, 3, {"a": 2, "b": 2}), (4, 5, {"a": 2, "b": 2}), (4, 10, {"a": 2, "b": 2}),
    (8, 5, {"a": 4, "b": 1}), (8, 10, {"a": 4, "b": 4, "c": 2}), (20, 5, {"a": 8, "b": 8}),
)  # fmt: skip
Choose = Callable[[Sequence[str], str], "str | None"]


def stacks_of(arms: int, seeds: int) -> list[Stack]:
    """Make a stack of each arm and seed, of which only what a deal looks at is there."""
    settings = SimpleNamespace(dataset="mnist")
    made = []
    for arm, seed in itertools.product(range(arms), range(seeds)):
        trial = SimpleNamespace(seed=seed, arm=SimpleNamespace(settings=settings))
        made.append(Stack(f"{arm}-{seed}", "stacked", cast("Any", (trial,))))
    return made


def run(choose: Choose, estimates: Mapping[str, float], seconds: Mapping[str, float],
        workers: Mapping[str, int]) -> tuple[dict[str, str], float]:  # fmt: skip
    """Train by a clock of its own; returns the kind of each stack, and when the last one ended."""
    waiting = sorted(estimates, key=lambda group: -estimates[group])
    free = [(0.0, kind, number) for kind, many in workers.items() for number in range(many)]
    made, end = dict[str, str](), 0.0
    while waiting:
        free.sort()
        now, kind, number = free.pop(0)
        group = choose(waiting, kind)
        if group is None:
            free.append((now + LOOK, kind, number))
            continue
        waiting.remove(group)
        made[group] = kind
        end = max(end, now + seconds[group])
        free.append((now + seconds[group], kind, number))
    return made, end


def alike(made: Mapping[str, str], arms: int, seeds: int) -> float:
    """Give the share of all pairs of arms, seed by seed, that are of one kind."""
    pairs = list(itertools.combinations(range(arms), 2))
    same = sum(made[f"{a}-{s}"] == made[f"{b}-{s}"] for s in range(seeds) for a, b in pairs)
    return same / (seeds * len(pairs))


def measure(arms: int, seeds: int, workers: dict[str, int]) -> list[tuple[float, float, float]]:
    """Give for each repetition the share of alike pairs dealt and not, and how many times as long it took."""
    found = []
    for number in range(REPEATS):
        draws = random.Random(number)  # noqa: S311 (a simulation)
        cost = [10 * draws.lognormvariate(0, 0.5) for _ in range(arms)]
        stacks = stacks_of(arms, seeds)
        estimates = {stack.group: cost[int(stack.group.partition("-")[0])] for stack in stacks}
        seconds = {group: estimate * draws.uniform(0.8, 1.2) for group, estimate in estimates.items()}
        dealt = deal(stacks, [estimates[stack.group] for stack in stacks], workers)

        def suits(waiting: Sequence[str], kind: str, dealt: Any = dealt) -> str | None:
            return dealt.choose(waiting, kind, workers)  # type: ignore[no-any-return]

        with_kinds, late = run(suits, estimates, seconds, workers)
        without, usual = run(lambda waiting, _: waiting[0], estimates, seconds, workers)
        found.append((alike(with_kinds, arms, seeds), alike(without, arms, seeds), late / usual))
    return found


def main() -> None:
    """Print the table."""
    columns = ("arms, seeds", "workers of each kind", "pairs on one kind", "without dealing", "times as long")
    print(f"| {' | '.join(columns)} | at most |")
    print("|---|---|---|---|---|---|")
    for arms, seeds, workers in RUNS:
        found = measure(arms, seeds, workers)
        dealt, usual, longer = (sum(column) / len(found) for column in zip(*found, strict=True))
        most = max(times for _, _, times in found)
        each = " and ".join(map(str, workers.values()))
        print(f"| {arms}, {seeds} | {each} | {dealt:.0%} | {usual:.0%} | {longer:.2f} | {most:.2f} |")


if __name__ == "__main__":
    main()
