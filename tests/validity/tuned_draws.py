"""Comparisons of tuned arms, drawn from a pool of really trained trials, and judged as a report judges them.

What an arm chooses is a function of the val accuracies of its settings with its tuning seeds, and what it is
judged by are the test accuracies of that setting with other seeds. So a pool of (setting, seed) has all that
a study of tuned arms would train, and a study is exact, not simulated.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aa_draws
import numpy as np
import pandas as pd

from harness import stats
from harness.study import seed_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

VAL = "val_accuracy"


@dataclass(frozen=True)
class Pool:
    """The accuracies of an arm at each setting that it tries: val and test, `(N, settings)`, a row a seed."""

    val: NDArray[np.float64]
    test: NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """The way a study tunes: `seeds` of the study and `tuning` seeds, each in all of the `blocks`."""

    blocks: int
    tuning: int
    seeds: int
    halving: bool = False

    def __str__(self) -> str:
        each = f"{self.tuning // self.blocks} tuning" + (", halving" if self.halving else "")
        return f"a choice for all, {each}" if self.blocks == 1 else f"{self.blocks} blocks, {each}"


def pool_of(trials: pd.DataFrame, arm: str) -> Pool:
    """The pool of an arm, whose settings are called "arm 1" ..; of the seeds that all settings finished."""
    done = stats.finished(trials, aa_draws.METRIC)
    names = [name for name in dict.fromkeys(done["setting"]) if name.split()[0] == arm]
    mine = done[done["setting"].isin(names)]
    val, test = (
        mine.pivot_table(index="seed", columns="setting", values=metric)[names].dropna()
        for metric in (VAL, aa_draws.METRIC)
    )
    seeds = val.index.intersection(test.index)
    return Pool(val.loc[seeds].to_numpy(), test.loc[seeds].to_numpy())


def chosen(val: NDArray[np.float64], *, halving: bool) -> NDArray[np.intp]:
    """The setting chosen by val `(.., tuning seeds, settings)`: the best mean, of equals the first.

    With `halving`, only the settings that each round leaves are looked at, by the seeds that they then have.
    """
    tuning, settings = val.shape[-2:]
    left = np.ones((*val.shape[:-2], settings), dtype=bool)
    rounds = seed_blocks.rounds(settings, tuning) if halving else []
    for (_, before), (count, _) in itertools.pairwise(rounds):
        means = np.where(left, val[..., :before, :].mean(axis=-2), -np.inf)
        places = np.argsort(np.argsort(-means, axis=-1, kind="stable"), axis=-1)
        left = places < count
    return np.asarray(np.where(left, val.mean(axis=-2), -np.inf).argmax(axis=-1))


def drawn(
    pools: tuple[Pool, Pool], design: Design, studies: int, rng: np.random.Generator, *, paired: bool
) -> NDArray[np.float64]:
    """Draw studies of two tuned arms, each without replacement: test accuracies `(studies, 2, seeds)`.

    `paired`: both arms have the same seeds, as in a study; else each has its own.

    Raises:
        ValueError: a study needs more seeds than the pool has.
    """
    sides = 1 if paired else 2
    each = (sides, design.blocks, (design.tuning + design.seeds) // design.blocks)
    needed, there = int(np.prod(each)), len(pools[0].val)
    if needed > there:
        raise ValueError(f"a study of {design} needs {needed} seeds; the pool has {there}")
    seeds = np.stack([rng.choice(there, needed, replace=False) for _ in range(studies)])
    seeds = np.broadcast_to(seeds.reshape(studies, *each), (studies, 2, *each[1:]))
    tuning = design.tuning // design.blocks
    arms = []
    for place, pool in enumerate(pools):
        mine = seeds[:, place]
        choice = chosen(pool.val[mine[..., :tuning]], halving=design.halving)
        arms.append(pool.test[mine[..., tuning:], choice[..., None]].reshape(studies, design.seeds))
    return np.stack(arms, axis=1)


def judged(studies: NDArray[np.float64], design: Design, *, margin: float) -> pd.DataFrame:
    """The verdicts on two-arm studies `(R, 2, n)`, a row a study, as `aa_draws.judged`; blocks count."""
    differences = aa_draws.differences(studies)
    if design.blocks > 1:
        block = differences["seed"] * design.blocks // design.seeds + 1
        differences = differences.assign(**{stats.BLOCK: block})
    return stats.verdicts(differences, margin=margin)


def truth(pool: Pool, design: Design, rng: np.random.Generator, draws: int = 100_000) -> float:
    """The expected test accuracy of a tuned arm: of each setting the mean, by how often it is chosen."""
    often = shares(pool, design.tuning // design.blocks, rng, draws, halving=design.halving)
    return float(often @ pool.test.mean(axis=0))


def shares(
    pool: Pool, tuning: int, rng: np.random.Generator, draws: int = 100_000, *, halving: bool = False
) -> NDArray[np.float64]:
    """The share of each setting among what so many tuning seeds choose, `(settings,)`."""
    picked = rng.integers(len(pool.val), size=(draws, tuning))
    choices = chosen(pool.val[picked], halving=halving)
    return np.asarray(np.bincount(choices, minlength=pool.val.shape[1]) / draws)
