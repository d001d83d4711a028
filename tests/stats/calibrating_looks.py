"""Calibration of the looks of a sequential comparison, by simulation; run, it prints the table of levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from harness.stats.sequential import ALPHAS, LOOKS, increment, level, looks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CHUNK = 200_000
DRAWS = 16_000_000


def t_statistics(
    draws: int, rng: np.random.Generator, shift: float = 0.0, at: Sequence[int] = LOOKS
) -> NDArray[np.float32]:
    """The t statistics, `at` numbers of seeds, of series of independent normal numbers: (draws, numbers).

    `shift` is their mean, in SDs.
    """
    parts = [_chunk(min(CHUNK, draws - begun), rng, shift, at) for begun in range(0, draws, CHUNK)]
    return np.concatenate(parts)


def _chunk(draws: int, rng: np.random.Generator, shift: float, at: Sequence[int]) -> NDArray[np.float32]:
    total, squares, before = np.zeros(draws), np.zeros(draws), 0
    t = np.empty((draws, len(at)), dtype=np.float32)
    for place, n in enumerate(at):
        more = rng.standard_normal((draws, n - before), dtype=np.float32).astype(float) + shift
        total, squares, before = total + more.sum(axis=1), squares + (more**2).sum(axis=1), n
        variance = (squares - total**2 / n) / (n - 1)
        t[:, place] = total / np.sqrt(n * variance)
    return t


def levels(t: NDArray[np.float32], alpha: float) -> NDArray[np.float64]:
    """The two-sided level of each look at which just as many are first told there as alpha may be spent."""
    left = np.ones(len(t), dtype=bool)
    critical = []
    for place, n in enumerate(LOOKS):
        size = np.sort(np.abs(t[left, place]))[::-1]
        critical.append(float(size[round(increment(n, alpha) * len(t))]))
        left &= np.abs(t[:, place]) < critical[-1]
    result: NDArray[np.float64] = 2 * special.stdtr(np.array(LOOKS) - 1, -np.array(critical))
    return result


def power(shift: float, draws: int, rng: np.random.Generator, most: int = 20) -> tuple[float, float]:
    """The share of series that are told within `most` seeds, and the seeds that they take on average.

    `shift` is the true difference, in SDs of the paired differences; alpha is 5 %.
    """
    seeds = np.array(looks(most))
    critical = special.stdtrit(seeds - 1, 1 - np.array([level(n) for n in seeds]) / 2)
    told = np.abs(t_statistics(draws, rng, shift, looks(most))) >= critical
    taken = np.where(told.any(axis=1), seeds[told.argmax(axis=1)], seeds[-1])
    return float(told.any(axis=1).mean()), float(taken.mean())


if __name__ == "__main__":
    simulated = t_statistics(DRAWS, np.random.default_rng(20))
    for share in ALPHAS:
        print(share, [float(f"{one / share:.4g}") for one in levels(simulated, share)])
    for effect in (0.5, 0.75, 1.0, 1.5, 2.0, 4.0):
        print(effect, power(effect, CHUNK, np.random.default_rng(21)))
