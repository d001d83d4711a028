"""Verdicts on arms whose runs share nothing to pair them by: Welch's t in place of the paired one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from harness.stats.power_analysis import detectable_difference, seeds_needed
from harness.stats.summaries import CONFIDENCE
from harness.stats.verdicts import COLUMNS, EQUAL, decided

if TYPE_CHECKING:
    from numpy.typing import NDArray

BY = ["dataset", "arm", "reference"]


def unpaired_verdicts(
    runs: pd.DataFrame, pairs: pd.DataFrame, *, margin: float | None, alpha: float = 0.05,
    higher_is_better: bool = True, within: tuple[float, float] = (-np.inf, np.inf),
) -> pd.DataFrame:  # fmt: skip
    """Judge each pair of arms on each data set by Welch's t test, all as one family.

    Runs are independent, in an arm and between arms; the variances may differ. `p_same` is that of two
    one-sided Welch tests. Where neither arm varies there is no spread to estimate: the permutation test of
    complete separation stands in, 2 / C(n + m, n).

    Args:
        runs: dataset, arm, value; NaN is not an observation.
        pairs: arm, reference.
        margin: as for `verdicts`, like what follows it.
        alpha: of the whole family.
        higher_is_better: False for losses.
        within: the least and the greatest difference there can be.

    Returns:
        The columns of `verdicts`, of which n is the arm's runs, sd that of the difference of two runs, and
        more_seeds the runs that the smaller arm, and then both, lack, at most; then reference_n, mean,
        reference_mean.
    """
    grouped = runs.groupby(["dataset", "arm"], sort=False)["value"]
    arms: pd.DataFrame = grouped.agg(n="count", mean="mean", spread="std").reset_index()
    reference = arms.rename(columns={name: f"reference_{name}" for name in arms if name != "dataset"})
    reference = reference.rename(columns={"reference_arm": "reference"})
    table = pairs.merge(arms, on="arm").merge(reference, on=["dataset", "reference"])
    table["difference"] = table["mean"] - table["reference_mean"]
    error, df = _welch(table)
    table["sd"] = np.sqrt(table["spread"] ** 2 + table["reference_spread"] ** 2)
    table[["p", "p_same"]] = _tests(table, error, df, np.nan if margin is None else margin)
    smaller = np.minimum(table["n"], table["reference_n"])
    judged = decided(table.assign(n=smaller), alpha, higher_is_better=higher_is_better)
    half = special.stdtrit(df, 0.5 + CONFIDENCE / 2) * np.where(error > EQUAL, error, np.nan)
    judged["low"], judged["high"] = (np.clip(table["difference"] + sign * half, *within) for sign in (-1, 1))
    hurdle = alpha / max(int(judged["p"].count()), 1)
    spread = np.where(error > EQUAL, error, np.nan)
    judged["detectable"] = detectable_difference(df + 1, spread * np.sqrt(df + 1), hurdle)
    sd = judged["sd"].mask(judged["sd"].le(EQUAL)).to_numpy(dtype=float)
    needed = np.nan if margin is None else seeds_needed(margin, sd, hurdle)
    judged["more_seeds"] = np.maximum(needed - smaller, 0)
    return judged.assign(n=table["n"])[[*BY, *COLUMNS, "reference_n", "mean", "reference_mean"]]


def _welch(table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the standard error of each difference, and Welch's degrees of freedom."""
    n, m, s, t = (
        table[name].to_numpy(dtype=float) for name in ("n", "reference_n", "spread", "reference_spread")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        own, other = s**2 / n, t**2 / m
        df = (own + other) ** 2 / (own**2 / (n - 1) + other**2 / (m - 1))
    return np.sqrt(own + other), df


def _tests(
    table: pd.DataFrame, error: NDArray[np.float64], df: NDArray[np.float64], margin: float
) -> NDArray[np.float64]:
    """Compute p and p_same of each row, (rows, 2); NaN where an arm has fewer than two runs."""
    n, m, size = (table[name].to_numpy(dtype=float) for name in ("n", "reference_n", "difference"))
    size = np.abs(size)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * special.stdtr(df, -size / error)
        p_same = special.stdtr(df, (size - margin) / error)
    chance = 1 / special.binom(n + m, n)
    equal = error <= EQUAL  # false where there is none: fewer than two runs
    p = np.where(equal, np.where(size <= EQUAL, 1.0, np.minimum(2 * chance, 1)), p)
    if margin > 0:
        p_same = np.where(equal, np.where(size < margin - EQUAL, chance, 1.0), p_same)
    return np.stack([p, p_same], axis=1)
