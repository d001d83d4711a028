"""The power of a number of seeds: detectable differences, seeds needed, the Wilcoxon test's floor.

All of it is about the paired t test, two-sided: one difference a seed, its standard deviation `sd` taken over
seeds, differences independent and normal. The formula is that of statsmodels' `TTestPower`, from SciPy's
noncentral t. Its solver is not used: at corrected alphas (0.05 / 99, say) it stops at wrong roots, because
the noncentral t gives NaN where a tail underflows; here such a tail is what it is, 0 or 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

POWER = 0.8
MOST_SEEDS = 100_000


def power(n: ArrayLike, difference: ArrayLike, sd: ArrayLike, alpha: ArrayLike = 0.05) -> NDArray[np.float64]:
    """Compute the probability that the paired t test finds a true difference. Arguments broadcast.

    Args:
        n: seeds.
        difference: the true mean difference, in the unit of `sd`.
        sd: standard deviation of the paired differences.
        alpha: of the test, two-sided; corrected, if the test will be.

    Returns:
        Shares in 0..1; NaN with fewer than two seeds, or an `sd` that is not positive.

    >>> power([10, 20], 1.0, 1.0).round(3)
    array([0.803, 0.989])
    """
    n, difference, sd, alpha = np.broadcast_arrays(
        *(np.asarray(x, float) for x in (n, difference, sd, alpha))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.abs(difference) / np.where(sd > 0, sd, np.nan) * np.sqrt(n)
    return _power(n, shift, alpha)


def detectable_difference(
    n: ArrayLike, sd: ArrayLike = 1.0, alpha: ArrayLike = 0.05, power: float = POWER
) -> NDArray[np.float64]:
    """Compute the smallest true difference that the paired t test finds with a power. Arguments broadcast.

    Args:
        n: seeds.
        sd: standard deviation of the paired differences; 1 gives the answer in these.
        alpha: as for `power`.
        power: as a share.

    Returns:
        Differences in the unit of `sd`; NaN with fewer than two seeds, or an `sd` that is not positive.

    >>> detectable_difference([5, 10, 15, 20, 29]).round(2)
    array([1.68, 1.  , 0.78, 0.66, 0.54])
    """
    n, sd, alpha = _broadcast(n, sd, alpha)
    effects = [_detectable(seeds, level, power) for seeds, level in zip(n.flat, alpha.flat, strict=True)]
    return np.asarray(np.reshape(effects, n.shape) * np.where(sd > 0, sd, np.nan), dtype=float)


def seeds_needed(
    difference: ArrayLike, sd: ArrayLike, alpha: ArrayLike = 0.05, power: float = POWER, *,
    overlap: ArrayLike = 0.0,
) -> NDArray[np.float64]:  # fmt: skip
    """Compute the fewest seeds with which the paired t test finds a true difference with the given power.

    Args:
        difference: the true mean difference that should not be missed.
        sd: standard deviation of the paired differences.
        alpha: as for `power`.
        power: as a share.
        overlap: what seeds share of their images, as in `verdicts`; it may leave no number that is enough.

    Returns:
        Whole numbers as floats; NaN where `sd` or `difference` is not positive in size, or where more than
        100,000 seeds would be needed. Arguments broadcast.

    >>> seeds_needed([1.0, 0.5, 0.0], 1.0)
    array([10., 34., nan])
    """
    difference, sd, alpha, shared = _broadcast(difference, sd, alpha, overlap)
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = np.abs(difference) / np.where(sd > 0, sd, np.nan)
    few, many = np.ones(effect.shape), np.full(effect.shape, float(MOST_SEEDS))
    possible = _power(many, effect * np.sqrt(many / (1 + many * shared)), alpha) >= power
    while (many - few > 1).any():  # `few` never suffice, `many` do
        half = np.floor((few + many) / 2)
        enough = _power(half, effect * np.sqrt(half / (1 + half * shared)), alpha) >= power
        few, many = np.where(enough, few, half), np.where(enough, half, many)
    return np.where(possible, many, np.nan)


def sd_interval(sd: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the interval of a standard deviation over n normal observations, by chi-square.

    Returns:
        low, high, in the unit of `sd`; NaN with fewer than two observations, or an `sd` that is not positive.

    >>> [round(end, 2) for end in sd_interval(1.0, 10)]
    [0.69, 1.83]
    """
    if n < 2 or not sd > 0:
        return float("nan"), float("nan")
    tails = special.chdtri(n - 1, [(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = sd * np.sqrt((n - 1) / tails)
    return float(low), float(high)


def wilcoxon_floor(n: int) -> float:
    """Return the smallest two-sided p of the Wilcoxon signed-rank test with n seeds: 2 / 2^n.

    With 5 seeds that is 0.0625: no data whatever can reach 0.05, so "not significant" would say nothing.

    Raises:
        ValueError: n is negative.

    >>> [wilcoxon_floor(n) for n in (0, 1, 5, 6)]
    [1.0, 1.0, 0.0625, 0.03125]
    """
    if n < 0:
        raise ValueError(f"n = {n}: a number of seeds is 0 or more")
    return float(min(1.0, 2.0 ** (1 - n)))


def _broadcast(*numbers: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    return tuple(np.broadcast_arrays(*(np.asarray(number, dtype=float) for number in numbers)))


def _power(
    n: NDArray[np.float64], shift: NDArray[np.float64], alpha: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add both tails of the noncentral t; `shift` >= 0 is its noncentrality."""
    df = np.where(n > 1, n - 1, np.nan)
    critical = -special.stdtrit(df, alpha / 2)  # of the lower tail: 1 - alpha / 2 may be 1
    below = special.nctdtr(df, shift, critical)
    wrong = special.nctdtr(df, shift, -critical)
    known = ~np.isnan(critical) & ~np.isnan(shift)
    below = np.where(np.isnan(below), (shift < critical).astype(float), below)
    wrong = np.where(np.isnan(wrong), 0.0, wrong)
    return np.asarray(np.where(known, np.clip(1 - below + wrong, 0, 1), np.nan), dtype=float)


@lru_cache(maxsize=4096)
def _detectable(n: float, alpha: float, share: float) -> float:
    """Find the effect, in SDs, that n seeds find with power `share`."""
    if not n > 1 or np.isnan(alpha):
        return float("nan")

    def lacking(effect: float) -> float:
        return float(_power(np.array(n), np.array(effect * np.sqrt(n)), np.array(alpha))) - share

    high = 1.0
    while lacking(high) < 0:
        high *= 2
    return float(optimize.brentq(lacking, 0.0, high))
