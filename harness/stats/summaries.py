"""Summaries over seeds: means with Student-t intervals, outcomes of trials, the order of arms, curves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

CONFIDENCE = 0.95
BLOCK = "seed_block"
"""The column of blocks of seeds, of which each chose settings by itself. Its seeds share that choice: where
there are blocks, these are independent, and not the seeds."""
SPREADLESS = 1e-9
"""Up to this part of their mean, values differ by rounding alone: they are one value."""
OUTCOMES = ["ok", "diverged", "failed", "skipped", "pruned"]


def limits(metric: str) -> tuple[float, float]:
    """Return the least and the greatest value that a metric can have: an accuracy is a share."""
    return (0.0, 1.0) if metric.endswith("accuracy") else (-math.inf, math.inf)


def difference_limits(metric: str) -> tuple[float, float]:
    """Return the least and the greatest difference of two values of a metric."""
    low, high = limits(metric)
    return low - high, high - low


def summarise(
    values: pd.DataFrame, by: Sequence[str], value: str, confidence: float = CONFIDENCE,
    within: tuple[float, float] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Compute mean and Student-t interval of `value` within each group, groups in order of appearance.

    An interval ends where values end: Student's t knows nothing of the least and the greatest, and what it
    gives beyond them is cut off, which costs no coverage. Where rows are of blocks of seeds (`BLOCK`), the
    means of the blocks are the observations: settings are chosen once a block, so its seeds are not
    independent.

    Args:
        values: one row an independent observation (a seed), or a seed of a block; NaN in `value` is not an
            observation.
        by: columns that name a group.
        value: the column to summarise.
        confidence: coverage of the interval, in 0..1.
        within: the least and the greatest value there can be; by default, what the name `value` says.

    Returns:
        `by`, n (observations), mean, sd (divisor n - 1), low, high. With n = 1 there is no sd and no interval
        (NaN), with n = 0 no mean either. Observations that are all the same have an sd, 0, and no interval:
        they show no spread to make one of.

    >>> three = pd.DataFrame({"arm": ["a"] * 3, "x": [1.0, 2.0, 3.0]})
    >>> summarise(three, ["arm"], "x").round(3).to_dict("records")
    [{'arm': 'a', 'n': 3, 'mean': 2.0, 'sd': 1.0, 'low': -0.484, 'high': 4.484}]
    """
    values = block_means(values, by, [value])
    grouped = values.groupby(list(by), sort=False, observed=True, dropna=False)[value]
    table = grouped.agg(n="count", mean="mean", sd="std").reset_index()
    n = table["n"].to_numpy(dtype=float)
    critical = stats.t.ppf(0.5 + confidence / 2, np.where(n > 1, n - 1, np.nan))
    mean, sd = (table[name].to_numpy(dtype=float) for name in ("mean", "sd"))
    half = critical * np.where(sd > spreadless(mean), sd, np.nan) / np.sqrt(np.maximum(n, 1))
    least, most = within or limits(value)
    return table.assign(low=np.clip(mean - half, least, most), high=np.clip(mean + half, least, most))


def block_means(values: pd.DataFrame, by: Sequence[str], of: Sequence[str]) -> pd.DataFrame:
    """Average columns within each block of seeds of a group; a table without blocks is given as it is.

    A block counts with the seeds that have a value; without any, it has none.

    Returns:
        `by`, `BLOCK`, `of`; groups and blocks in order of appearance.

    >>> seeds = pd.DataFrame({"arm": "a", BLOCK: [1, 1, 2, 2], "x": [1.0, 3.0, 4.0, 6.0]})
    >>> block_means(seeds, ["arm"], ["x"])["x"].tolist()
    [2.0, 5.0]
    """
    if BLOCK not in values or BLOCK in by:
        return values
    means = values.groupby([*by, BLOCK], sort=False, observed=True, dropna=False)[list(of)].mean()
    table: pd.DataFrame = means.reset_index()
    return table


def with_blocks(values: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Add to rows of seeds the block that each seed is of, where the trials (seed, `BLOCK`) have blocks."""
    if BLOCK not in trials:
        return values
    blocks = trials.drop_duplicates("seed").set_index("seed")[BLOCK]
    return values.assign(**{BLOCK: values["seed"].map(blocks)})


def spreadless(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation up to which values of this mean differ by rounding alone."""
    return np.maximum(SPREADLESS * np.abs(mean), 1e-12)


def finished(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Select rows with status `ok` and a value of `metric`: the only ones that statistics may use."""
    return trials[trials["status"].eq("ok") & trials[metric].notna()]


def outcomes(trials: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Count trials by their status.

    Args:
        trials: `by`, status.
        by: columns that name a group.

    Returns:
        `by`, planned (trials), ok, diverged, failed, skipped, pruned; what is missing to `planned` was not
        trained yet.
    """
    counts = {status: trials["status"].eq(status).astype(int) for status in OUTCOMES}
    grouped = trials.assign(planned=1, **counts).groupby(list(by), sort=False, observed=True, dropna=False)
    return grouped[["planned", *OUTCOMES]].sum().reset_index()


def rank_arms(
    trials: pd.DataFrame, arm: str = "arm", metric: str = "val_accuracy", shown: str = "test_accuracy"
) -> pd.DataFrame:
    """Order the arms of each data set by validation accuracy, best first.

    Arms with a diverged or failed seed come after those without, because the mean of the survivors
    flatters them; arms without any value come last and have no rank.

    Args:
        trials: dataset, `arm`, seed, status, `metric`, `shown`.
        arm: the column that names an arm.
        metric: what orders.
        shown: what stands beside it and orders nothing.

    Returns:
        dataset, `arm`, rank (1 = best), planned (seeds), one count a status (ok, diverged, failed, skipped,
        pruned), n, mean, low, high (of `metric` over seeds), shown_n, shown_mean, shown_low, shown_high.
    """
    by = ["dataset", arm]
    done = trials.assign(**{c: trials[c].where(trials["status"].eq("ok")) for c in (metric, shown)})
    ranked = summarise(done, by, metric).drop(columns="sd")
    beside = summarise(done, by, shown).drop(columns="sd")
    beside = beside.rename(columns={c: f"shown_{c}" for c in ("n", "mean", "low", "high")})
    table = outcomes(trials, by).merge(ranked, on=by).merge(beside, on=by)
    table = table.assign(_empty=table["mean"].isna(), _broken=(table["diverged"] + table["failed"]) > 0)
    table = sorted_within(table, {"_empty": True, "_broken": True, "mean": False})
    rank = (table.groupby("dataset", sort=False).cumcount() + 1).where(~table["_empty"])
    table.insert(len(by), "rank", rank)
    return table.drop(columns=["_empty", "_broken"])


def sorted_within(table: pd.DataFrame, keys: Mapping[str, bool]) -> pd.DataFrame:
    """Sort rows within each data set by `keys` (column -> ascending), data sets in order of appearance."""
    first = table.groupby("dataset", sort=False).ngroup()
    by, ascending = ["_first", *keys], [True, *keys.values()]
    ordered = table.assign(_first=first).sort_values(by, ascending=ascending, kind="stable")
    return ordered.drop(columns="_first").reset_index(drop=True)


def mean_curves(
    epochs: pd.DataFrame, trials: pd.DataFrame, by: Sequence[str], metric: str = "accuracy"
) -> pd.DataFrame:
    """Average the learning curves of finished trials to one curve a group, split and seed.

    Args:
        epochs: trial_id, epoch, split, `metric`.
        trials: trial_id, status, seed and `by`.
        by: columns that name a curve; losses of different kinds must be told apart here.
        metric: the column to average.

    Returns:
        `by`, split, epoch, seed, value, trials (averaged into the value).
    """
    ok = trials.loc[trials["status"].eq("ok"), list(dict.fromkeys(["trial_id", "seed", *by]))]
    values = epochs[["trial_id", "epoch", "split"]].assign(value=epochs[metric])  # an axis may be "loss"
    joined = values.merge(ok, on="trial_id", sort=False)
    columns = [*by, "split", "epoch", "seed"]
    grouped = joined.groupby(columns, sort=False, observed=True, dropna=False)["value"]
    return grouped.agg(value="mean", trials="count").reset_index()
