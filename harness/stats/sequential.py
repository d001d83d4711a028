"""A comparison that is looked at again and again: seeds are added until it is told, at a kept error rate.

Whoever looks after 3, 5, 7, .. seeds and stops at the first p below 0.05 is wrong in far more than 5 % of
comparisons of equals. So each look at n seeds has a level of its own, `level(n, alpha)`, which takes alpha's
place in that look's t test and equivalence tests. The looks are fixed in advance (`LOOKS`), and what they may
spend of alpha: linearly up to 20 seeds, where 90 % are spent, the rest at later looks (`SPENT`; an
alpha-spending function as in Lan and DeMets 1983, "Discrete sequential boundaries for clinical trials", after
Pocock 1977 and O'Brien and Fleming 1979). The plan does not end at anybody's budget: a comparison that was
stopped undecided may be gone on with later, and keeps its error rate.

Their boundaries are for a known variance. With the t statistics of three seeds those are wrong, so the levels
were found by simulation: with independent normal differences of mean zero, the joint distribution of the
t statistics at all looks depends on nothing else, and of 16 million such series the share that is first told
at look k is what is spent there. tests/stats/calibrating_looks.py makes the table again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from harness.stats.power_analysis import POWER
from harness.stats.power_analysis import power as power_at
from harness.stats.verdicts import EQUAL, verdicts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LOOKS = (3, 5, 7, 10, 14, 20, 28, 40, 56, 80)
"""Numbers of seeds at which a comparison is looked at."""
SPENT = (0.135, 0.225, 0.315, 0.45, 0.63, 0.9, 0.94, 0.965, 0.985, 1.0)
"""Share of alpha that is spent up to and with each look: 0.9 n / 20 up to 20 seeds."""
ALPHAS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
LEVELS = (
    (0.135, 0.0960, 0.0986, 0.148, 0.209, 0.322, 0.0695, 0.0370, 0.0262, 0.0189),
    (0.135, 0.0951, 0.0989, 0.151, 0.211, 0.328, 0.0774, 0.0389, 0.0290, 0.0195),
    (0.135, 0.0952, 0.1015, 0.153, 0.221, 0.340, 0.0866, 0.0430, 0.0313, 0.0214),
    (0.135, 0.0963, 0.1057, 0.159, 0.230, 0.356, 0.0956, 0.0478, 0.0342, 0.0234),
    (0.135, 0.0978, 0.1109, 0.167, 0.241, 0.374, 0.1069, 0.0530, 0.0381, 0.0268),
    (0.135, 0.1032, 0.1197, 0.180, 0.264, 0.410, 0.1298, 0.0655, 0.0456, 0.0316),
    (0.135, 0.1088, 0.1289, 0.195, 0.288, 0.448, 0.1571, 0.0810, 0.0559, 0.0383),
    (0.135, 0.1169, 0.1421, 0.215, 0.320, 0.503, 0.1989, 0.1062, 0.0736, 0.0496),
)
"""Two-sided level of each look (columns: LOOKS) as a share of alpha (rows: ALPHAS)."""
PAIR = ("pair",)


def looks(most: int) -> tuple[int, ...]:
    """Return the looks that need at most so many seeds.

    >>> looks(12)
    (3, 5, 7, 10)
    """
    return tuple(n for n in LOOKS if n <= most)


def increment(n: int, alpha: float) -> float:
    """Return the part of alpha that is spent at the look at n seeds: the increments sum up to alpha.

    Raises:
        ValueError: there is no look at n seeds, or alpha is out of range.
    """
    place = _place(n, alpha)
    return alpha * (SPENT[place] - (SPENT[place - 1] if place else 0.0))


def level(n: int, alpha: float = 0.05) -> float:
    """Return the level at which the look at n seeds tests, so that all looks together err in alpha.

    Both hold for differences that are independent over seeds and normal. Of arms that are equal, a share
    alpha is called different at any of the looks (two-sided t tests, p <= level). Of arms that are a margin
    apart, at most alpha is called the same (two one-sided t tests, each at this level; Schuirmann 1987): one
    side errs less often, in 4.6 % at alpha = 5 %. Between the alphas of the table, levels are interpolated
    over logarithms; below its least, a look tests at what it may spend, which is never too much.

    Raises:
        ValueError: there is no look at n seeds, or alpha is not in 0..0.2.

    >>> [round(100 * level(n), 2) for n in (5, 20)]
    [0.52, 2.05]
    """
    place = _place(n, alpha)
    if alpha < ALPHAS[0]:
        return increment(n, alpha)
    shares = [np.log(row[place]) for row in LEVELS]
    return float(alpha * np.exp(np.interp(np.log(alpha), np.log(ALPHAS), shares)))


def _place(n: int, alpha: float) -> int:
    if n not in LOOKS or not 0 < alpha <= ALPHAS[-1]:
        raise ValueError(
            f"n = {n}, alpha = {alpha}: allowed are n in {LOOKS} and alpha above 0, up to {ALPHAS[-1]}"
        )
    return LOOKS.index(n)


def _interval(
    mean: float, sd: float, n: int, share: float, within: tuple[float, float]
) -> tuple[float, float]:
    """Compute Student's t interval that leaves out `share`, within the limits."""
    if not sd > EQUAL:
        return np.nan, np.nan
    half = special.stdtrit(n - 1, 1 - share / 2) * sd / np.sqrt(n)
    low, high = np.clip([mean - half, mean + half], *within)
    return float(low), float(high)


def at_look(
    differences: ArrayLike, *, margin: float, alpha: float = 0.05, higher_is_better: bool = True,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> pd.Series[Any]:  # fmt: skip
    """Judge paired differences at one of the looks: the row of `stats.verdicts` at the look's level.

    The interval is the repeated confidence interval (Jennison and Turnbull 1989, "Interim analyses: the
    repeated confidence interval approach"), Student's t at the look's level: it holds the true difference at
    all looks together with 1 - alpha, whenever one stops, and leaves zero out exactly where the look finds a
    difference. The one of equivalence lies within the margin exactly where the look calls the arms the same;
    each of its ends holds with 1 - alpha, both with 1 - 2 alpha.

    Args:
        differences: (n,) one a seed; n is one of `LOOKS`.
        margin: up to which arms count as the same.
        alpha: of all looks together.
        higher_is_better: False for losses.
        within: the least and the greatest difference there can be.

    Returns:
        n, difference (mean), sd, p, p_same, verdict, within_margin, detectable, more_seeds, as of
        `stats.verdicts`; low, high (the interval), same_low, same_high (that of equivalence), level. The
        intervals are NaN where there is no spread.

    Raises:
        ValueError: there is no such look, or an argument is out of range.
    """
    values = np.asarray(differences, dtype=float)
    share = level(len(values), alpha)
    frame = pd.DataFrame({PAIR[0]: 0, "difference": values})
    judged = verdicts(
        frame, PAIR, margin=margin, alpha=share, higher_is_better=higher_is_better, within=within
    ).iloc[0]
    about = float(judged["difference"]), float(judged["sd"]), len(values)
    ends = [*_interval(*about, share, within), *_interval(*about, 2 * share, within), share]
    names = ["low", "high", "same_low", "same_high", "level"]
    row = judged.drop([*PAIR, "low", "high", "p_holm", "p_same_holm"])
    combined: pd.Series[Any] = pd.concat([row, pd.Series(ends, names, dtype=object)])
    return combined


def look_that_shows(
    difference: float, sd: float, *, alpha: float = 0.05, after: int = 0, power: float = POWER
) -> int | None:
    """Find the first look that by itself finds a true difference with the given power.

    Args:
        difference: the true mean difference.
        sd: standard deviation of the paired differences.
        alpha: of all looks together.
        after: only looks at more seeds than these.
        power: as a share.

    Returns:
        Its number of seeds; None if no look does, or `sd` is not positive.

    >>> look_that_shows(1.0, 1.0), look_that_shows(0.5, 1.0)
    (20, 80)
    """
    for n in LOOKS:
        if n > after and power_at(n, difference, sd, level(n, alpha)) >= power:
            return n
    return None


def sign_test(better: int, worse: int) -> float:
    """Compute the exact two-sided p of the sign test, for pairs that can only be ordered; ties are left out.

    At a look, p is compared with `increment`, not with `level`: then the error rate holds whenever the first
    pair that can only be ordered comes, since what is spent before and after sums up to alpha.

    >>> sign_test(0, 10), sign_test(0, 0)
    (0.001953125, 1.0)
    """
    pairs = better + worse
    return float(min(1.0, 2 * special.bdtr(min(better, worse), pairs, 0.5))) if pairs else 1.0


def first_told(
    differences: NDArray[np.float64], *, margin: float, alpha: float = 0.05, most: int = 20
) -> pd.DataFrame:
    """Judge many comparisons at once, each looked at until it is told.

    Args:
        differences: (comparisons, seeds) paired differences; at least `most` seeds.
        margin: up to which arms count as the same.
        alpha: of all looks at one comparison.
        most: seeds at most.

    Returns:
        A row a comparison: seeds (at which it was told, or the last look), verdict (+1 above, -1 below, 0 not
        different), told (different or the same within the margin), difference, low and high (mean and
        repeated interval at that look).
    """
    count = len(differences)
    result = pd.DataFrame(
        {"seeds": looks(most)[-1], "verdict": 0, "told": False, "difference": np.nan, "low": np.nan,
         "high": np.nan}, index=range(count),
    )  # fmt: skip
    left = np.arange(count)
    for n in looks(most):
        rows = pd.DataFrame(
            {PAIR[0]: np.repeat(left, n), "difference": np.asarray(differences)[left, :n].ravel()}
        )
        judged = verdicts(rows, PAIR, margin=margin)
        share = level(n, alpha)
        different = judged["p"].le(share).to_numpy()
        told = different | judged["p_same"].le(share).to_numpy()
        now = told if n < looks(most)[-1] else np.ones(len(left), dtype=bool)
        mean = judged["difference"].to_numpy()
        half = special.stdtrit(n - 1, 1 - share / 2) * judged["sd"].to_numpy() / np.sqrt(n)
        frame = pd.DataFrame(
            {"seeds": n, "verdict": np.sign(mean) * different, "told": told, "difference": mean,
             "low": mean - half, "high": mean + half}, index=left,
        )  # fmt: skip
        result.loc[left[now]] = frame[now].astype(result.dtypes.to_dict())
        left = left[~now]
    return result
