"""A study that is looked at after numbers of seeds fixed in advance: its levels, repeated p values, verdicts.

A group sequential design (Jennison and Turnbull 2000, "Group Sequential Methods with Applications to Clinical
Trials"): each look tests at a level of its own, and all looks together err in alpha. What may be spent of
alpha up to a look is a function of its share of the seeds (Lan and DeMets 1983): one like O'Brien and
Fleming's (1979), which spends hardly anything early, or one like Pocock's (1977), which spends evenly. As
usual, each side of a two-sided test spends half of alpha.

Textbook boundaries are for a known variance. These are those of Student's t with few seeds, and exact but for
the numerical integration: under the null hypothesis the direction of the vector of differences is independent
of its length (Basu 1955), so the cosine of its angle with (1, .., 1), of which t is a function, is a Markov
chain over the looks (Jennison and Turnbull 1991, "Exact calculations for sequential t, chi-squared and F
tests"). Its distribution at one look follows from that at the one before by a single integral.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from harness.stats.power_analysis import detectable_difference, seeds_needed
from harness.stats.summaries import CONFIDENCE
from harness.stats.verdicts import EQUAL, decided, half_width, verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

Spending = Literal["obrien-fleming", "pocock"]
FEWEST, MOST_SEEDS, MOST_LOOKS = 3, 1000, 20
"""Seeds at the first look, seeds at the last one, and looks that a design may have."""
CELLS, NODES, FAR = 120, 32, 8.5
"""The grid of sizes of z, its end, and the nodes of the integral: levels are right to about one in 500."""
ALPHAS = tuple(float(alpha) for alpha in np.geomspace(1e-7, 0.5, 40))
"""The alphas between which repeated p values are interpolated; a smaller one counts as the first."""


def problem(looks: Sequence[int]) -> str:
    """Say what is wrong with the numbers of seeds at which a study is to be looked at; "" if nothing is.

    >>> problem([5, 10, 20]), problem([5])
    ('', 'one look is a study without looks; allowed: two looks or more')
    """
    if len(looks) < 2:
        return "one look is a study without looks; allowed: two looks or more"
    if len(looks) > MOST_LOOKS:
        return f"{len(looks)} looks; allowed: up to {MOST_LOOKS}"
    if any(later <= earlier for earlier, later in pairwise(looks)):
        return "allowed: numbers of seeds that grow, such as [5, 10, 20]"
    if looks[0] < FEWEST or looks[-1] > MOST_SEEDS:
        return f"allowed: {FEWEST} seeds or more at the first look, and {MOST_SEEDS:,} at most at the last"
    return ""


def spent(share: ArrayLike, alpha: float, spending: Spending = "obrien-fleming") -> NDArray[np.float64]:
    """Compute what of alpha may be spent up to a share of the seeds: all of it at 1.

    >>> [round(float(spent(0.5, 0.05, name)), 4) for name in ("obrien-fleming", "pocock")]
    [0.0031, 0.031]
    """
    share = np.asarray(share, dtype=float)
    if spending == "pocock":
        return np.asarray(alpha * np.log1p((np.e - 1) * share))
    return np.asarray(4 * special.ndtr(special.ndtri(alpha / 4) / np.sqrt(share)))


@lru_cache(maxsize=4096)
def levels(
    looks: tuple[int, ...], alpha: float = 0.05, spending: Spending = "obrien-fleming"
) -> tuple[float, ...]:
    """Compute the two-sided level of each look's t test, such that all together err in alpha.

    Args:
        looks: numbers of seeds, growing; the last is the largest that the study may have.
        alpha: of all looks together.
        spending: how alpha is spent over the looks.

    Raises:
        ValueError: the looks or alpha are out of range.

    >>> [round(level, 4) for level in levels((5, 10, 20))]
    [0.0, 0.003, 0.0484]
    >>> [round(level, 4) for level in levels((5, 10, 20), spending="pocock")]
    [0.0179, 0.0161, 0.0241]
    """
    if (wrong := problem(looks)) or not 0 < alpha < 1:
        raise ValueError(wrong or f"alpha = {alpha}: allowed is a share between 0 and 1")
    spend = np.diff(spent(np.array(looks) / looks[-1], alpha, spending), prepend=0.0)
    spend = np.maximum(spend, np.finfo(float).tiny)  # of many seeds, a first look may spend nothing
    edges = np.linspace(0.0, FAR, CELLS + 1)
    tail, boundary = 2 * special.ndtr(-edges), -float(special.ndtri(spend[0] / 2))
    found = [float(spend[0])]
    for place, (before, now) in enumerate(pairwise(looks), 1):
        tail = _going_on(tail, edges, boundary, float(spend[place - 1])) @ _tails(before, now)
        boundary = _boundary(tail, edges, float(spend[place]))
        found.append(float(2 * special.ndtr(-boundary)))
    return tuple(found)


def _boundary(tail: NDArray[np.float64], edges: NDArray[np.float64], spend: float) -> float:
    """Find the size of z beyond which lies what a look may spend; the root of -log(tail) is nearly linear."""
    depth = np.sqrt(-np.log(np.clip(tail, np.finfo(float).tiny, 1.0)))
    return float(np.interp(np.sqrt(-np.log(spend)), np.maximum.accumulate(depth), edges))


def _going_on(
    tail: NDArray[np.float64], edges: NDArray[np.float64], boundary: float, spend: float
) -> NDArray[np.float64]:
    """Give the probability in each cell below the boundary; the cell that it cuts has less, further down.

    `spend` is the probability beyond the boundary.
    """
    mass = -np.diff(np.where(edges < boundary, tail, spend))
    width = edges[1]
    cut = int(boundary / width)
    if 0 < cut < CELLS:
        lower = 0.5 * (1 - (boundary - edges[cut]) / width)  # of a cell, from the cell's middle
        mass[cut - 1] += lower * mass[cut]
        mass[cut] *= 1 - lower
    return mass


@lru_cache(maxsize=256)
def _tails(before: int, now: int) -> NDArray[np.float64]:
    """Compute P(size of z at the look >= edge | z at the one before is in the middle of a cell).

    z is the normal quantile that t has as a Student's one. (CELLS, CELLS + 1). A vector of `now` normal
    numbers consists of the old ones, whose squared length is a share R of the whole, and of the new ones;
    R is Beta(before / 2, new / 2), and independent of both directions.
    """
    new = now - before
    nodes, weights = special.roots_jacobi(NODES, new / 2 - 1, before / 2 - 1)
    share = (1 + nodes) / 2
    edges = np.linspace(0.0, FAR, CELLS + 1)
    old = _cosine((edges[1:] + edges[:-1]) / 2, before)[:, None, None] * np.sqrt(share * before)
    wanted = _cosine(edges, now)[None, :, None] * np.sqrt(now)
    lengths = np.sqrt(new * (1 - share))
    above = _above((wanted - old) / lengths, new) + _above((wanted + old) / lengths, new)
    return np.asarray(above @ (weights / weights.sum()))


def _cosine(z: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Give the cosine of the angle with (1, .., 1) of n normal numbers whose t has this normal quantile."""
    t = -special.stdtrit(n - 1, special.ndtr(-z))
    return np.asarray(t / np.sqrt(n - 1 + t * t))


def _above(cosine: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Compute the probability that n normal numbers have a larger cosine; of one number it is 1 or -1."""
    if n == 1:
        return np.select([cosine >= 1, cosine >= -1], [0.0, 0.5], 1.0)
    z = np.linspace(0.0, 12.0, 1500)
    t = -special.stdtrit(n - 1, special.ndtr(-z))
    sizes = np.minimum(np.abs(cosine), 1) * np.sqrt((n - 1) / np.clip(1 - cosine**2, 1e-300, None))
    found = np.interp(np.arcsinh(sizes), np.arcsinh(t), z, right=40.0)
    return np.asarray(special.ndtr(-np.sign(cosine) * found))


def repeated(
    p: ArrayLike, seeds: int, looks: tuple[int, ...], spending: Spending = "obrien-fleming"
) -> NDArray[np.float64]:
    """Compute the repeated p values of a look's t tests: the least alphas at which the look would tell.

    Whenever one stops, a true null hypothesis has one of at most alpha with probability alpha, all looks
    together (Jennison and Turnbull 2000, chapter 9). Holm's correction takes them as it takes any p.

    Args:
        p: of the t tests, two-sided; NaN stays NaN.
        seeds: at which look.
        looks: as for `levels`.
        spending: as for `levels`.

    Raises:
        ValueError: there is no look at so many seeds, or the looks are out of range.

    >>> repeated([0.02, 0.003, 0.5], 10, (5, 10, 20)).round(3)
    array([0.139, 0.05 , 1.   ])
    """
    if seeds not in looks:
        raise ValueError(f"no look at {seeds} seeds; allowed are {', '.join(map(str, looks))}")
    place = looks.index(seeds)
    of_alpha = np.array([levels(looks, alpha, spending)[place] for alpha in ALPHAS])
    of_alpha = np.maximum.accumulate(np.maximum(of_alpha, np.finfo(float).tiny))
    x, y = np.log([*of_alpha, 1.0]), np.log([*ALPHAS, 1.0])
    p = np.asarray(p, dtype=float)
    with np.errstate(divide="ignore"):
        found = np.exp(np.interp(np.log(p), x, y))
    return np.asarray(np.where(p > of_alpha[-1], 1.0, np.where(np.isnan(p), np.nan, found)))


def alpha_at_look(
    tests: int, seeds: int, looks: tuple[int, ...], alpha: float = 0.05, spending: Spending = "obrien-fleming"
) -> float:
    """Compute the alpha of a family by which Bonferroni gives each of its tests its level at a look.

    >>> round(alpha_at_look(2, 10, (5, 10, 20)), 4) == round(2 * levels((5, 10, 20), 0.025)[1], 4)
    True
    """
    return max(tests, 1) * levels(looks, alpha / max(tests, 1), spending)[looks.index(seeds)]


def verdicts_at_look(  # noqa: PLR0913 (those of `verdicts`, and the look)
    differences: pd.DataFrame,
    by: Sequence[str] = ("dataset", "arm", "reference"),
    *,
    seeds: int,
    looks: tuple[int, ...],
    margin: float,
    alpha: float = 0.05,
    spending: Spending = "obrien-fleming",
    higher_is_better: bool = True,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> pd.DataFrame:
    """Judge each group of paired differences at a look, all groups as one family: columns of `verdicts`.

    p and p_same are repeated p values, corrected over the rows (Holm), so that with the probability 1 - alpha
    no row is called different at any look that is not, and likewise for the same (each bound of TOST by
    itself spends no more than the two sides of a t test do). low and high are the repeated confidence
    interval of this row by itself: with 95 % it holds the true difference at all looks together, and it
    leaves out zero exactly where p is at most 0.05. detectable is the smallest true difference that this
    look by itself shows with 80 % power at the corrected level; more_seeds leads to the first look that
    shows one of the margin, or beyond the last look, at its level.

    Args:
        differences: as for `verdicts`, of the seeds up to this look. Where some of them did not finish, the
            tests have fewer seeds, at the look's level.
        by: the columns that name a group.
        seeds: the look.
        looks: as for `levels`.
        margin: as for `verdicts`.
        alpha: of the whole family, over all looks.
        spending: as for `levels`.
        higher_is_better: as for `verdicts`.
        within: as for `verdicts`.

    Raises:
        ValueError: there is no such look, or an argument is out of range.
    """
    table = verdicts(
        differences, by, margin=margin, alpha=alpha, higher_is_better=higher_is_better, within=within
    )
    columns, place = list(table.columns), looks.index(seeds)
    for name in ("p", "p_same"):
        table[name] = repeated(table[name], seeds, looks, spending)
    table = decided(table, alpha, higher_is_better=higher_is_better)
    resolution = float(differences["resolution"].max()) if "resolution" in differences else 0.0
    n, mean = (table[name].to_numpy(dtype=float) for name in ("n", "difference"))
    spread = table["sd"].mask(table["sd"].le(EQUAL)).to_numpy(dtype=float)
    half = half_width(n, spread, levels(looks, 1 - CONFIDENCE, spending)[place])
    table["low"] = np.maximum(mean - half, within[0]) - resolution
    table["high"] = np.minimum(mean + half, within[1]) + resolution
    corrected = levels(looks, alpha / max(int(table["p"].count()), 1), spending)
    least = detectable_difference(n, spread, corrected[place]) + resolution
    table["detectable"] = np.minimum(least, within[1])  # an early look may ask for more than there can be
    needed = seeds_needed(margin - resolution, spread, corrected[-1])
    for later in reversed(range(place, len(looks))):
        shown = detectable_difference(looks[later], spread, corrected[later]) <= margin - resolution
        needed = np.where(shown, looks[later], needed)
    table["more_seeds"] = np.maximum(needed - seeds, 0)
    return table[columns]
