"""Blocks of seeds that choose by themselves, and the rounds in which each of them tunes.

One choice for all seeds leaves the variance of choosing out of every interval: the choice is the same in all
of them, and another draw of the tuning seeds might have chosen otherwise (Bouthillier et al. 2021,
"Accounting for variance in machine learning benchmarks"). So `[tune] blocks` divides the tuning seeds and the
study's seeds: each block chooses by its own tuning seeds and is judged by its own seeds of the study. Blocks
share no seed, so they are independent, and a block is what intervals and tests count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

LEAST_LEFT = 2
"""Settings that a round of halving goes on with at least: of one, nothing is left to choose."""


def divided(seeds: Sequence[int], blocks: int | None) -> list[Sequence[int]]:
    """Divide seeds, in their order, into blocks of as many each; all are one where there are no blocks.

    >>> divided([0, 1, 2, 3], 2)
    [[0, 1], [2, 3]]
    """
    size = len(seeds) // (blocks or 1)
    return [seeds[first : first + size] for first in range(0, len(seeds), size)]


def numbers(blocks: int | None) -> list[int]:
    """Number the blocks from 1 on; [0] where all seeds share a choice."""
    return list(range(1, blocks + 1)) if blocks else [0]


def named(arm: str, block: int) -> str:
    """Name an arm at what a block of seeds chose, as [chosen] of study.toml does; block 0 has all seeds.

    >>> named("ReLU", 3), named("ReLU", 0)
    ('ReLU, block 3', 'ReLU')
    """
    return f"{arm}, block {block}" if block else arm


def rounds(settings: int, seeds: int) -> list[tuple[int, int]]:
    """Give the rounds of successive halving: how many settings are left, and how many seeds they then have.

    The first round has one seed. Each further one doubles the seeds and goes on with the better half, rounded
    up and of two at least, until all seeds are used (Karnin et al. 2013, "Almost optimal exploration in
    multi-armed bandits"). Seeds are what is saved, not steps: a training that is cut short is another one
    under a schedule, and favours settings that are fast at first.

    >>> rounds(6, 4)
    [(6, 1), (3, 2), (2, 4)]
    """
    found = [(settings, 1)]
    while found[-1][1] < seeds:
        left, done = found[-1]
        found.append((min(left, max(LEAST_LEFT, math.ceil(left / 2))), min(2 * done, seeds)))
    return found


def problems(
    blocks: int | None, seeds: Sequence[int], tuning: Sequence[int], *, halving: bool
) -> Iterator[str]:
    """Yield what is wrong with [tune] blocks and halving, of a study with these seeds and tuning seeds."""
    if blocks == 1:
        yield (
            "tune.blocks = 1: one choice shows no spread, and an interval needs two blocks; allowed: 2 or "
            "more, or take it out: then verdicts hold for the settings that were chosen once"
        )
    elif blocks is not None:
        if len(seeds) % blocks:
            more = blocks * math.ceil(len(seeds) / blocks)
            some = " or ".join(str(n) for n in range(2, len(seeds) + 1) if len(seeds) % n == 0)
            yield (
                f"tune.blocks = {blocks}: every block trains its choice with as many seeds of the study, "
                f"which has {len(seeds)}; allowed: study.seeds = {more}{f', or blocks = {some}' * bool(some)}"
            )
        if len(tuning) % blocks:
            yield (
                f"tune.blocks = {blocks}: every block chooses by as many tuning seeds of its own, and "
                f"tune.seeds has {len(tuning)} for all of them; allowed: {blocks}, {2 * blocks} .."
            )
    if halving and len(tuning) < 2 * (blocks or 1):
        yield (
            "tune.halving = true: with one tuning seed there is no second round to go on to; allowed: "
            f"tune.seeds = {2 * (blocks or 1)} or more, or take it out"
        )


def doubts(blocks: int | None, seeds: Sequence[int], tuning: Sequence[int]) -> Iterator[str]:
    """Yield what a study with these blocks cannot show, though it can be run."""
    if blocks is None:
        return
    if len(seeds) == blocks:
        yield (
            f"tune.blocks = {blocks}: a block of one seed. Intervals cover choice and seed together; what "
            f"each adds to the spread is shown from two seeds a block on (seeds = {2 * blocks})"
        )
    if len(tuning) == blocks:
        yield (
            f"tune.blocks = {blocks}: each block chooses by one tuning seed, so by its luck, too. The "
            f"intervals cover that; two seeds choose better settings (tune.seeds = {2 * blocks})"
        )
