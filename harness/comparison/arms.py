"""Arms: what the matched trials of two folders say of each arm, and of all together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from harness import results, stats
from harness.comparison.matching import SIDES
from harness.schema import METRICS
from harness.stats.verdicts import EQUAL

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BROKEN = ("diverged", "failed")


def identical(trials: pd.DataFrame) -> pd.Series[bool]:
    """Whether both sides finished with the same losses and accuracies, or diverged at the same step."""
    same = trials["inside"].eq("both") & trials["status_a"].isin(results.FINISHED)
    for name in ("status", "diverged_step", *METRICS):
        one, other = trials[f"{name}_a"], trials[f"{name}_b"]
        same &= one.eq(other) | (one.isna() & other.isna())
    return same


def differences(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """dataset, arm, seed, value (B), reference_value (A), difference: the trials that both finished."""
    done = trials["status_a"].eq("ok") & trials["status_b"].eq("ok")
    table = trials[done].rename(columns={f"{metric}_b": "value", f"{metric}_a": "reference_value"})
    table = table.dropna(subset=["value", "reference_value"])
    table = table.assign(difference=table["value"] - table["reference_value"], reference="A")
    return table[["dataset", "arm", "reference", "seed", "value", "reference_value", "difference"]]


def arm_verdicts(
    trials: pd.DataFrame, differences: pd.DataFrame, margin: float, alpha: float
) -> pd.DataFrame:
    """The verdict of every arm that both folders have; what `Comparison.arms` says."""
    by = ["dataset", "arm"]
    both = trials[trials["inside"].eq("both")]
    ok = [both[f"status_{side}"].eq("ok") for side in SIDES]
    broken = [both[f"status_{side}"].isin(BROKEN) for side in SIDES]
    ended = both["status_b"].isin(("ok", *BROKEN))
    counted = both.assign(
        trials=1, changed=ok[0] & ok[1] & ~both["identical"], lost=ok[0] & broken[1],
        mended=broken[0] & ok[1], waiting=ok[0] & ~ended,
    )  # fmt: skip
    columns = ["trials", "identical", "changed", "lost", "mended", "waiting"]
    counts = counted.groupby(by, sort=False)[columns].sum().astype(int).reset_index()
    means = differences.groupby(by, sort=False)[["reference_value", "value"]].mean().reset_index()
    means = means.rename(columns={"reference_value": "a", "value": "b"})
    told = stats.verdicts(differences, tuple(by), margin=margin, alpha=alpha, within=(-1.0, 1.0))
    arms = counts.merge(means, on=by, how="left").merge(told, on=by, how="left")
    arms["n"] = arms["n"].fillna(0).astype(int)
    arms["verdict"] = arms["verdict"].fillna("no data")
    arms["within_margin"] = arms["within_margin"].eq(True)
    below = p_below(arms["difference"], arms["sd"], arms["n"], margin)
    corrected = stats.holm(below)
    return arms.assign(p_below=below, p_below_holm=corrected, regressed=corrected <= alpha)


def p_below(difference: ArrayLike, sd: ArrayLike, n: ArrayLike, margin: float) -> NDArray[np.float64]:
    """One-sided p of paired differences against "not below -margin": Student's t, n - 1 degrees of freedom.

    Differences that are all equal leave nothing to estimate a spread from: there, as in `stats.verdicts`, a
    sign test stands in, 1 / 2^n below -margin and else 1. NaN with n < 2.
    """
    mean, sd, n = (np.asarray(values, dtype=float) for values in (difference, sd, n))
    df = np.where(n > 1, n - 1, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = special.stdtr(df, (mean + margin) / (sd / np.sqrt(n)))
    equal = np.where(mean + margin < -EQUAL, 0.5**n, 1.0)
    return np.where((n > 1) & (sd <= EQUAL), equal, p)


def pooled(differences: pd.DataFrame) -> pd.DataFrame:
    """The mean over the arms of each data set, averaged within a seed first; arms with all its seeds only."""
    rows = []
    for dataset, table in differences.groupby("dataset", sort=False):
        seeds = table["seed"].nunique()
        whole = table.groupby("arm")["seed"].transform("size").eq(seeds)
        within = table[whole].groupby("seed", as_index=False)["difference"].mean().assign(dataset=dataset)
        told = stats.summarise(within, ["dataset"], "difference", within=(-1.0, 1.0))
        told = told.rename(columns={"mean": "difference"})
        arms = table.loc[whole, "arm"].nunique()
        rows.append(told.assign(arms=arms, left_out=table["arm"].nunique() - arms))
    columns = ["dataset", "arms", "left_out", "n", "difference", "sd", "low", "high"]
    return pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)
