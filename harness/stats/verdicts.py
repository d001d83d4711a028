"""Verdicts on paired differences: t tests, equivalence tests, Holm's correction, detectable differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from harness.stats.power_analysis import detectable_difference, seeds_needed
from harness.stats.summaries import CONFIDENCE, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

DIFFERENT = ("better", "worse")
IDENTICAL = "the same in all seeds"
UNDECIDED = "cannot tell"
VERDICTS = (*DIFFERENT, "same within margin", IDENTICAL, UNDECIDED, "one seed", "no data")
COLUMNS = [
    "n", "difference", "sd", "low", "high", "p", "p_holm", "p_same", "p_same_holm", "verdict",
    "within_margin", "detectable", "more_seeds",
]  # fmt: skip
"""Columns of a table of verdicts, in order, behind those that name a row."""
# Differences of shares that are equal on paper differ by rounding; no accuracy is as fine as this.
EQUAL = 1e-9


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Correct p values by Holm's step-down method; they are compared with the alpha of the whole family.

    As statsmodels' `multipletests(p, method="holm")`, which collects garbage at each call, 30 ms here. NaN
    is not a test: it stays NaN and does not count.

    >>> holm([0.01, 0.04, 0.03, float("nan")])
    array([0.03, 0.06, 0.06,  nan])
    """
    p = np.asarray(p, dtype=float)
    corrected = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def verdicts(
    differences: pd.DataFrame, by: Sequence[str] = ("dataset", "arm", "reference"), *, margin: float | None,
    alpha: float = 0.05, higher_is_better: bool = True, within: tuple[float, float] = (-np.inf, np.inf),
) -> pd.DataFrame:  # fmt: skip
    """Judge each group of paired differences, all groups as one family.

    Seeds are the unit of replication: the differences of a group are independent and roughly normal, one a
    seed. Where they are of blocks of seeds that chose settings by themselves (the column `stats.BLOCK`),
    blocks are: of each, the mean of its seeds counts, once. `p` is the paired t test's. `p_same` is that of
    TOST, two one-sided t tests against -margin and +margin (Schuirmann 1987): small where the arms differ by
    less. Each of the two is corrected over all rows that have one (Holm 1979), each at `alpha`.

    Where all differences of several seeds are equal, zero included, there is no spread to estimate, so no t
    test and no interval. Sign tests stand in, as accuracies on a finite test set can be equal by chance:
    p_same is 1 / 2^n if the difference is inside the margin, else 1, and p is 2 / 2^n (0.0625 with five
    seeds: never "better"), 1 if the difference is zero. Arms that are equal in every seed, and have too few
    for "same within margin", are called what was seen, "the same in all seeds"; it claims nothing of others.

    Where a difference is known no better than to some resolution, as that of times is that are looked for now
    and then, both tests and the interval take the worst case: a mean that is nearer to 0, or farther from it,
    by as much (bounds of a mean of interval data, as in Imbens and Manski 2004).

    Where each seed has a split of its own and is judged by its val images, seeds share images, so that more
    seeds narrow an interval less than they do otherwise: the variance of their mean is taken as sd^2 (1/n +
    overlap), overlap = val images / train images (Nadeau and Bengio 2003, "Inference for the generalization
    error", their corrected resampled t test). Equal differences then show nothing: both p are 1.

    Args:
        differences: `by`, difference; a row a seed. NaN is not an observation, but its group keeps its row.
            It may have a column resolution, in the unit of `difference` and below the margin, and a column
            overlap, a number from 0 on; of a group, the largest counts.
        by: the columns that name a group.
        margin: up to which arms count as the same, in the unit of `difference`; None: nobody has said, so
            no arm is called the same, and p_same, p_same_holm and more_seeds are NaN.
        alpha: of the whole family.
        higher_is_better: False for losses: a negative difference is then "better".
        within: the least and the greatest difference there can be, where intervals end.

    Returns:
        `by`, n (seeds, or blocks), difference (mean), sd, low, high (95 % Student's t of this row by
        itself), p, p_holm, p_same, p_same_holm, verdict (one of `VERDICTS`), within_margin (p_same_holm <=
        alpha; may hold beside
        "better" and "worse": a difference that is there and too small to matter), detectable, more_seeds.
        detectable: the smallest true difference that these n seeds show with 80 % power. more_seeds: how many
        more would show a true difference of `margin` with 80 % power (to call equal arms the same takes about
        a tenth more); 0 beside "cannot tell": there are enough for that, and what is there is probably less.
        Both are at alpha divided by the number of tests, the most that Holm asks, take `sd` for the true one,
        and are NaN where there is none, or where no number of seeds is enough.

    Raises:
        ValueError: margin, alpha, a resolution or an overlap is out of range.
    """
    if not (margin is None or margin > 0) or not 0 < alpha < 1:
        raise ValueError(f"margin = {margin}, alpha = {alpha}: allowed are margin > 0 and 0 < alpha < 1")
    observed = differences.assign(difference=differences["difference"].astype(float))
    table = summarise(observed, by, "difference", within=within).rename(columns={"mean": "difference"})
    resolution, overlap = (largest_of_group(observed, by, name) for name in ("resolution", "overlap"))
    if not (overlap >= 0).all():
        raise ValueError(f"an overlap is {overlap.min()}: allowed is 0 or more")
    if not ((resolution >= 0) & (resolution < (np.inf if margin is None else margin))).all():
        raise ValueError(f"a resolution is {resolution.max()}: allowed is 0 up to the margin, {margin}")
    size = np.nan if margin is None else margin
    table[["p", "p_same"]] = _t_test_and_tost(table, size, resolution, overlap)
    table = decided(table, alpha, higher_is_better=higher_is_better)
    equal = table["sd"].le(EQUAL)
    if overlap.any():
        table[["low", "high"]] = _wider(table, overlap, within)
    table.loc[equal, ["low", "high"]] = np.nan
    table["low"], table["high"] = table["low"] - resolution, table["high"] + resolution
    spread = table["sd"].mask(equal).to_numpy(dtype=float)
    hurdle = alpha / max(int(table["p"].count()), 1)
    wider = np.sqrt(1 + table["n"].to_numpy(dtype=float) * overlap)
    table["detectable"] = detectable_difference(table["n"], spread, hurdle) * wider + resolution
    needed = np.nan if margin is None else seeds_needed(margin - resolution, spread, hurdle, overlap=overlap)
    table["more_seeds"] = np.maximum(needed - table["n"], 0)
    return table[[*by, *COLUMNS]]


def decided(table: pd.DataFrame, alpha: float, *, higher_is_better: bool = True) -> pd.DataFrame:
    """Correct the p values of a family and put each row's verdict into a word.

    Args:
        table: a row a contrast: n, difference, sd, p, p_same (NaN where there is no such test).
        alpha: of the whole family, once for p and once for p_same.
        higher_is_better: as for `verdicts`.

    Returns:
        `table` with p_holm, p_same_holm, within_margin, verdict.
    """
    table = table.assign(p_holm=holm(table["p"]), p_same_holm=holm(table["p_same"]))
    table["within_margin"] = table["p_same_holm"].le(alpha)
    table["verdict"] = _verdict_words(table, alpha, 1 if higher_is_better else -1)
    return table


def largest_of_group(differences: pd.DataFrame, by: Sequence[str], name: str) -> NDArray[np.float64]:
    """Return the largest value of a column in each group, as `summarise` orders them; 0 without it."""
    known = differences if name in differences else differences.assign(**{name: 0.0})
    return known.groupby(list(by), sort=False, observed=True, dropna=False)[name].max().to_numpy(dtype=float)


def _wider(
    table: pd.DataFrame, overlap: NDArray[np.float64], within: tuple[float, float]
) -> NDArray[np.float64]:
    """Compute the intervals of seeds that share images, (rows, 2)."""
    n, mean, sd = (table[name].to_numpy(dtype=float) for name in ("n", "difference", "sd"))
    half = half_width(n, sd, 1 - CONFIDENCE, overlap)
    return np.clip(np.stack([mean - half, mean + half], axis=1), *within)


def half_width(
    n: NDArray[np.float64], sd: NDArray[np.float64], level: float, overlap: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Compute half of Student's interval of a mean of n seeds that misses the truth with probability `level`.

    `overlap`: what the seeds share of their images. NaN below two seeds, and where they show no spread.
    """
    critical = -special.stdtrit(np.where(n > 1, n - 1, np.nan), level / 2)
    return np.asarray(critical * _standard_error(np.where(sd > EQUAL, sd, np.nan), n, overlap), dtype=float)


def _standard_error(
    sd: NDArray[np.float64], n: NDArray[np.float64], overlap: ArrayLike
) -> NDArray[np.float64]:
    """Compute the standard error of a mean of n seeds that share images, sd sqrt(1/n + overlap)."""
    n = np.maximum(n, 1)
    return np.asarray(sd / np.sqrt(n / (1 + n * np.asarray(overlap, dtype=float))), dtype=float)


def _t_test_and_tost(
    table: pd.DataFrame, margin: float, resolution: NDArray[np.float64], overlap: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute p (t test) and p_same (TOST) of each row, (rows, 2); NaN below two seeds."""
    n, mean, sd = (table[name].to_numpy(dtype=float) for name in ("n", "difference", "sd"))
    near, far = np.maximum(np.abs(mean) - resolution, 0.0), np.abs(mean) + resolution
    several = n > 1
    df, error = np.where(several, n - 1, np.nan), _standard_error(sd, n, overlap)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * special.stdtr(df, -near / error)
        p_same = special.stdtr(df, (far - margin) / error)
    sign = np.where(overlap > 0, 1.0, 0.5**n)
    p_equal = np.where(near <= EQUAL, 1.0, np.minimum(2 * sign, 1))
    same_equal = np.where(far < margin - EQUAL, sign, 1.0) if margin > 0 else np.full_like(sign, np.nan)
    equal = several & (sd <= EQUAL)
    return np.stack([np.where(equal, p_equal, p), np.where(equal, same_equal, p_same)], axis=1)


def _verdict_words(table: pd.DataFrame, alpha: float, sign: int) -> NDArray[np.object_]:
    significant = table["p_holm"].le(alpha)
    equal = table["n"].gt(1) & table["sd"].le(EQUAL) & table["difference"].abs().le(EQUAL)
    conditions = {
        "no data": table["n"].eq(0),
        "one seed": table["n"].eq(1),
        "better": significant & (sign * table["difference"]).gt(0),
        "worse": significant & (sign * table["difference"]).lt(0),
        "same within margin": table["within_margin"],
        IDENTICAL: equal,
    }
    words = np.select([c.to_numpy() for c in conditions.values()], list(conditions), default=UNDECIDED)
    return words.astype(object)
