"""The sources of the variance between seeds: each source of randomness varied alone, as random effects.

For one source, trials are a table of two ways: its seeds (m) by the trials' own seeds (n), which decide all
else. A value is grand mean + source + rest + both together, independent effects of variances S, R and I (a
table has one trial a cell, so that I also has what no seed decides: non-determinism, 0 where the same trial
gives the same bits). Varied alone, all else as it is, the source has the variance S + I, the total effect of
a sensitivity analysis; S is its first-order effect, what it decides whatever the rest is. Where all vary,
the variance is S + R + I.

Sources: Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks" (each source varied
alone); Searle, Casella and McCulloch 1992, "Variance components" (mean squares); Graybill and Wang 1980,
"Confidence intervals on nonnegative linear combinations of variances"; McGraw and Wong 1996, "Forming
inferences about some intraclass correlation coefficients" (interval of a share: 1 - share is ICC(A, 1) of
trials' seeds, each measured with every seed of the source).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from harness.stats.balance import as_array, whole_block
from harness.stats.power_analysis import POWER, sd_interval, seeds_needed
from harness.stats.summaries import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COLUMNS = [
    "source", "values", "seeds", "left_out", "mean", "sd", "sd_low", "sd_high", "share", "share_low",
    "share_high", "first_order", "first_order_low", "first_order_high", "sd_all", "sd_all_low", "sd_all_high",
]  # fmt: skip
"""Columns of `seed_variance` behind those of the groups."""
EVERY = "every seed"
"""The source of rows about trials of which no seed is fixed."""
NOTHING = "nothing"
"""The source of rows about trials of which all seeds are fixed: what is left is non-determinism."""


@dataclass(frozen=True)
class MeanSquares:
    """The mean squares of a table of two ways (m, n), with one value a cell.

    `excess` is the excess kurtosis of I, at least 0. Heavy tails make the mean square of the rest less
    certain, as one of fewer degrees of freedom is (Box 1953, "Non-normality and tests on variances").
    """

    rows: float
    columns: float
    rest: float
    m: int
    n: int
    excess: float = 0.0

    @classmethod
    def of(cls, table: NDArray[np.float64]) -> MeanSquares:
        """Compute those of a complete table (m, n).

        Raises:
            ValueError: it has fewer than 2 rows or columns.
        """
        m, n = table.shape
        if m < 2 or n < 2:
            raise ValueError(f"a table of {m} x {n}: variances of two ways need at least 2 x 2 values")
        grand = table.mean()
        rows, columns = table.mean(axis=1) - grand, table.mean(axis=0) - grand
        left = table - grand - rows[:, None] - columns[None, :]
        # Equal rows have means that differ by rounding, and no variance.
        same_rows, same_columns = (not np.ptp(table, axis=axis).any() for axis in (0, 1))
        still = same_rows or same_columns
        return cls(
            rows=0.0 if same_rows else float(n * (rows**2).sum() / (m - 1)),
            columns=0.0 if same_columns else float(m * (columns**2).sum() / (n - 1)),
            rest=0.0 if still else float((left**2).sum() / ((m - 1) * (n - 1))),
            m=m, n=n, excess=0.0 if still else _excess(left),
        )  # fmt: skip

    @property
    def transposed(self) -> MeanSquares:
        """Those of the table with rows and columns exchanged."""
        return MeanSquares(self.columns, self.rows, self.rest, self.n, self.m, self.excess)

    @property
    def degrees(self) -> float:
        """The degrees of freedom of the rest: fewer than (m - 1) (n - 1) where tails are heavy."""
        degrees = (self.m - 1) * (self.n - 1)
        return degrees / (1 + self.excess * degrees / (2 * self.m * self.n))

    @property
    def alone(self) -> float:
        """The variance between rows within a column: S + I."""
        return self.rows / self.n + (1 - 1 / self.n) * self.rest

    @property
    def all(self) -> float:
        """The variance where rows and columns vary: S + R + I."""
        return self.rows / self.n + self.columns / self.m + (1 - 1 / self.n - 1 / self.m) * self.rest

    def alone_interval(self, confidence: float) -> tuple[float, float]:
        """Give the interval of `alone` (Graybill and Wang 1980); NaN where it is 0."""
        squares = (self.rows / self.n, (1 - 1 / self.n) * self.rest)
        return _sum_interval(squares, (self.m - 1, self.degrees), confidence)

    def all_interval(self, confidence: float) -> tuple[float, float]:
        """Give the interval of `all` (Graybill and Wang 1980); NaN where it is 0."""
        squares = (self.rows / self.n, self.columns / self.m, (1 - 1 / self.n - 1 / self.m) * self.rest)
        degrees = (self.m - 1, self.n - 1, self.degrees)
        return _sum_interval(squares, degrees, confidence)

    def column_share(self, confidence: float) -> tuple[float, float, float]:
        """Give R / (S + R + I), which is ICC(A, 1), and its interval (McGraw and Wong 1996).

        An estimate below 0, as there are where R is near 0, is 0. NaN where nothing varies, and for the
        interval where rows or columns do not.

        >>> judges = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
        >>> squares = MeanSquares.of(np.array(judges, dtype=float).T)
        >>> [round(share, 2) for share in squares.column_share(0.95)]
        [0.29, 0.02, 0.76]
        """
        if not self.all > 0:
            return math.nan, math.nan, math.nan
        share = min(max((self.columns - self.rest) / self.m / self.all, 0.0), 1.0)
        if share == 1 or not self.rest > 0:
            return share, math.nan, math.nan
        return share, *self._share_interval(share, confidence)

    def _share_interval(self, share: float, confidence: float) -> tuple[float, float]:
        m, n = self.m, self.n
        a = m * share / (n * (1 - share))
        of_rows, of_rest = a * self.rows, (1 + (n - 1) * a) * self.rest
        degrees = (of_rows + of_rest) ** 2 / (of_rows**2 / (m - 1) + of_rest**2 / self.degrees)
        tail = (1 + confidence) / 2
        above, below = (
            float(stats.f.ppf(tail, *pair)) for pair in ((n - 1, degrees), (degrees, n - 1))
        )  # fmt: skip
        others = m * self.rows + (m * n - m - n) * self.rest
        low = n * (self.columns - above * self.rest) / (above * others + n * self.columns)
        high = n * (below * self.columns - self.rest) / (others + n * below * self.columns)
        return min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)


def _excess(left: NDArray[np.float64]) -> float:
    """Estimate the excess kurtosis of I, at least 0, from what rows and columns leave of a table (m, n).

    That is a sum of the values of I with known weights, and so nearer to normal than they are.
    """
    m, n = left.shape
    u, v = 1 / m, 1 / n
    weights = [((1 - u) * (1 - v), 1), ((1 - u) * v, n - 1), (u * (1 - v), m - 1), (u * v, (m - 1) * (n - 1))]
    second, fourth = (math.fsum(count * weight**power for weight, count in weights) for power in (2, 4))
    square = float((left**2).mean())
    excess = float((left**4).mean()) / square**2 - 3 if square > 0 else 0.0
    return max(excess, 0.0) * second**2 / fourth


def _sum_interval(
    squares: Sequence[float], degrees: Sequence[float], confidence: float
) -> tuple[float, float]:
    """Give the interval of a sum of independent mean squares, each with its factor, >= 0, in it."""
    total, tail = math.fsum(squares), (1 + confidence) / 2
    if not total > 0:
        return math.nan, math.nan
    lower = [1 - df / float(stats.chi2.ppf(tail, df)) for df in degrees]
    upper = [df / float(stats.chi2.ppf(1 - tail, df)) - 1 for df in degrees]
    below, above = (
        math.sqrt(math.fsum((end * square) ** 2 for end, square in zip(ends, squares, strict=True)))
        for ends in (lower, upper)
    )
    return max(total - below, 0.0), total + above


def seed_variance(
    trials: pd.DataFrame, by: Sequence[str], metric: str = "test_accuracy", confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Compute how much of the variance between trials each source of randomness has, varied alone.

    Args:
        trials: `by`, source, value (the source's seed), seed, status, `metric`; a row a trial and source. Of
            the sources `EVERY` and `NOTHING` the value is not looked at.
        by: columns of the groups that are looked at apart, such as data set and network.
        metric: the column whose variance is meant.
        confidence: the coverage of each interval. First-order effects are taken for normal; of what a source
            and the rest decide together, the kurtosis is estimated.

    Returns:
        `by`, source, values (seeds of the source), seeds (of all else), left_out (planned trials that are not
        used: unfinished ones, and those that a hole makes incomparable), mean; sd, the standard deviation
        with the source alone varied (of `EVERY`: between trials of different seeds; of `NOTHING`: between
        repetitions of one trial); share, the part that this is of the variance where all vary; first_order,
        the part that the source has whatever the rest is; sd_all, where all vary; each with low and high. In
        the unit of `metric`. NaN where trials are too few, and for the interval of what never varied.
    """
    rows = []
    for names, group in trials.groupby([*by, "source"], sort=False, dropna=False, observed=True):
        key: dict[str, Any] = dict(zip([*by, "source"], names, strict=True))
        of = _of_seeds if key["source"] in {EVERY, NOTHING} else _of_source
        rows.append(key | of(group, metric, confidence))
    return pd.DataFrame(rows, columns=[*by, *COLUMNS])


def _of_seeds(group: pd.DataFrame, metric: str, confidence: float) -> dict[str, float]:
    """Describe trials that differ in their own seed alone."""
    values = group[metric].where(group["status"].eq("ok")).dropna().to_numpy(float)
    n = len(values)
    sd = math.nan if n < 2 else float(values.std(ddof=1)) if np.ptp(values) > 0 else 0.0
    low, high = sd_interval(sd, n, confidence)
    return {
        "values": 1, "seeds": n, "left_out": len(group) - n, "mean": float(values.mean()) if n else math.nan,
        "sd": sd, "sd_low": low, "sd_high": high, "sd_all": sd, "sd_all_low": low, "sd_all_high": high,
    }  # fmt: skip


def _of_source(group: pd.DataFrame, metric: str, confidence: float) -> dict[str, float]:
    """Describe the table of a source's seeds by all others."""
    _, laid, planned = as_array(group, ["value", "seed"], metric)
    table = laid[np.ix_(*whole_block(~np.isnan(laid)))]
    m, n = table.shape
    told = {
        "values": m, "seeds": n, "left_out": int(planned.sum()) - table.size,
        "mean": float(table.mean()) if table.size else math.nan,
    }  # fmt: skip
    if min(m, n) < 2:
        return told
    squares = MeanSquares.of(table)
    rest, rest_low, rest_high = squares.column_share(confidence)
    first, first_low, first_high = squares.transposed.column_share(confidence)
    alone_low, alone_high = squares.alone_interval(confidence)
    every_low, every_high = squares.all_interval(confidence)
    return told | {
        "sd": math.sqrt(squares.alone), "sd_low": math.sqrt(alone_low), "sd_high": math.sqrt(alone_high),
        "share": 1 - rest, "share_low": 1 - rest_high, "share_high": 1 - rest_low,
        "first_order": first, "first_order_low": first_low, "first_order_high": first_high,
        "sd_all": math.sqrt(squares.all), "sd_all_low": math.sqrt(every_low),
        "sd_all_high": math.sqrt(every_high),
    }  # fmt: skip


def seeds_for_difference(
    variance: pd.DataFrame, difference: float, alpha: float = 0.05, power: float = POWER
) -> pd.DataFrame:
    """Compute how many seeds a difference between two arms needs, from the deviation of single trials.

    The differences of two arms whose trials of one seed have nothing in common have sqrt(2) times the
    standard deviation of one. Arms that share what a seed decides need fewer: their paired differences tell
    how many (`seeds_needed`).

    Args:
        variance: rows of `seed_variance` in whose trials all that a seed decides varies: of `EVERY`, or of a
            source that goes with a trial's seed, of which there are more trials.
        difference: the true difference that should not be missed, in the unit of the metric.
        alpha: of the paired t test, two-sided.
        power: as a share.

    Returns:
        The rows with needed, needed_low and needed_high: seeds of each arm by sd_all, sd_all_low and
        sd_all_high. NaN where there is no such deviation.
    """
    ends = {"needed": "sd_all", "needed_low": "sd_all_low", "needed_high": "sd_all_high"}
    counts = {
        name: seeds_needed(difference, math.sqrt(2) * variance[sd].to_numpy(float), alpha, power)
        for name, sd in ends.items()
    }
    return variance.assign(**counts)
