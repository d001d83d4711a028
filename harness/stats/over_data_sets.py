"""One verdict a contrast over several data sets, of these data sets alone.

Two or three data sets do not tell how much a difference varies from one data set to the next, so nothing here
speaks of another one: there is no rank test over data sets (of five arms on two, no ranks are as far apart as
Nemenyi's critical difference), no shrinkage by a spread that two numbers cannot show (as in Corani et al.
2017), and no interval for the next data set.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.stats.summaries import BLOCK, block_means
from harness.stats.verdicts import UNDECIDED, holm, largest_of_group, verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

EVERY = ("better on every one", "worse on every one")
SAME = "same within margin on every one"
DEPENDS = "depends on the data set"
AVERAGE = ("better on average", "worse on average")
OVER_DATA_SETS = (*EVERY, SAME, DEPENDS, *AVERAGE, UNDECIDED, "one seed", "no data")
"""What can be said of a contrast over data sets, the strongest first."""
P = ["p", "p_every", "p_same", "p_apart"]
COLUMNS = [
    "data_sets", "n", "difference", "sd", "low", "high", "least", "greatest",
    *(name for p in P for name in (p, f"{p}_holm")), "verdict",
]  # fmt: skip
"""Columns of a table of verdicts over data sets, in order, behind those that name a contrast."""


def over_data_sets(
    differences: pd.DataFrame, by: Sequence[str] = ("arm", "reference"), *, margin: float,
    alpha: float = 0.05, higher_is_better: bool = True, within: tuple[float, float] = (-np.inf, np.inf),
) -> pd.DataFrame:  # fmt: skip
    """Judge each contrast over the data sets that have it, from the strongest claim down.

    - better (worse) on every one: the paired t test finds it on each data set, in one direction. All of them
      have to, so the largest p is valid as it is (an intersection-union test, Berger 1982).
    - same within margin on every one: TOST finds it on each, likewise.
    - depends on the data set: the difference on one data set differs from that on another, seed by seed
      (paired t, Bonferroni over pairs of data sets).
    - better (worse) on average: of the mean over these data sets, each counting alike. It is taken within
      each seed that finished on all of them, and Student's t is over these seeds: a seed may start the same
      network on every data set, so the data sets of a seed are no independent draws.

    Each of the four p values is corrected over the contrasts (Holm). The three questions about differences
    share `alpha`, a third each, so that a wrong one of their words comes in at most `alpha` of families. The
    same has an `alpha` of its own, as in `verdicts`.

    Args:
        differences: dataset, `by`, seed, difference; a row a seed, NaN where there is none. It may have
            columns overlap and `stats.BLOCK`, as in `verdicts`: blocks stand for seeds then.
        by: the columns that name a contrast.
        margin: up to which arms count as the same, in the unit of `difference`.
        alpha: of all words of a difference together, and again of all words of the same.
        higher_is_better: False for losses.
        within: the least and the greatest difference there can be.

    Returns:
        `by`, data_sets (their number), n (seeds that finished on all), difference (mean over data sets), sd,
        low, high (95 % of that mean), least and greatest (mean difference on a data set), p, p_holm, p_every,
        p_every_holm, p_same, p_same_holm, p_apart, p_apart_holm, verdict (one of `OVER_DATA_SETS`); a row a
        contrast of at least two data sets, in order of appearance.

    Raises:
        ValueError: a contrast has a seed twice on a data set, or margin or alpha is out of range.
    """
    by = list(by)
    if differences.duplicated(["dataset", *by, "seed"]).any():
        raise ValueError("a contrast has several differences of one data set and seed; allowed is one")
    groups = differences.groupby(by, sort=False, observed=True, dropna=False)
    several = differences[groups["dataset"].transform("nunique").gt(1)]
    if several.empty:
        return pd.DataFrame(columns=[*by, *COLUMNS])
    several = _of_blocks(several, by)
    each = verdicts(several, ["dataset", *by], margin=margin, alpha=alpha, within=within)
    values, there = _laid_out(several, by)
    names, overlap = several[by].drop_duplicates(), largest_of_group(several, by, "overlap")
    averaged = np.where(there[:, None, :], values, 0).sum(axis=2) / there.sum(axis=1)[:, None]
    seeds = values.shape[1]
    means = names.iloc[np.repeat(np.arange(len(names)), seeds)].assign(
        difference=averaged.ravel(), overlap=overlap.repeat(seeds)
    )
    mean = verdicts(means, by, margin=margin, alpha=alpha, within=within)
    table = mean[[*by, "n", "difference", "sd", "low", "high", "p"]]
    table = table.assign(p_apart=_apart(values, there, overlap))
    table = table.merge(_every(each, by), on=by, how="left", validate="one_to_one")
    for p in P:
        table[f"{p}_holm"] = holm(table[p])
    table["verdict"] = [_word(row, alpha, 1 if higher_is_better else -1) for row in table.to_dict("records")]
    return table[[*by, *COLUMNS]]


def _of_blocks(differences: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Give a row a block in place of its seeds where blocks of seeds chose; a block stands for one."""
    if BLOCK not in differences:
        return differences
    counted = ["difference", *(name for name in ("overlap",) if name in differences)]
    return block_means(differences, ["dataset", *by], counted).rename(columns={BLOCK: "seed"})


def _laid_out(differences: pd.DataFrame, by: list[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Lay differences out as (contrasts, seeds, data sets), and say which data sets a contrast has.

    A seed that a contrast has not, or has not finished on a data set, is NaN there.
    """
    contrast = differences.groupby(by, sort=False, observed=True, dropna=False).ngroup().to_numpy()
    seed, dataset = (pd.factorize(differences[name])[0] for name in ("seed", "dataset"))
    values = np.full((contrast.max() + 1, seed.max() + 1, dataset.max() + 1), np.nan)
    values[contrast, seed, dataset] = differences["difference"].to_numpy(dtype=float)
    there = np.zeros((values.shape[0], values.shape[2]), dtype=bool)
    there[contrast, dataset] = True
    return values, there


def _every(each: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Summarise the verdicts on data sets to a row a contrast: what holds on every one of them."""
    grouped = each.groupby(by, sort=False, observed=True, dropna=False)
    table: pd.DataFrame = grouped.agg(
        data_sets=("dataset", "nunique"), least=("difference", "min"), greatest=("difference", "max"),
        p_every=("p", "max"), p_same=("p_same", "max"),
        tested=("p", "count"), known=("p_same", "count"),
    ).reset_index()  # fmt: skip
    one_way = table["least"].gt(0) | table["greatest"].lt(0)
    table["p_every"] = table["p_every"].where(one_way, 1.0).where(table["tested"].eq(table["data_sets"]))
    table["p_same"] = table["p_same"].where(table["known"].eq(table["data_sets"]))
    return table.drop(columns=["tested", "known"])


def _apart(
    values: NDArray[np.float64], there: NDArray[np.bool_], overlap: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Test whether a difference is another on some two data sets: the least p of all pairs, Bonferroni."""
    least, pairs = np.full(len(values), np.nan), np.zeros(len(values))
    number = np.repeat(np.arange(len(values)), values.shape[1])
    for one, other in combinations(range(values.shape[2]), 2):
        gaps = (values[:, :, one] - values[:, :, other]).ravel()
        rows = pd.DataFrame({"number": number, "difference": gaps, "overlap": overlap[number]})
        p = verdicts(rows, ["number"], margin=None)["p"].to_numpy(dtype=float)
        least = np.fmin(least, p)
        pairs += there[:, one] & there[:, other]
    return np.minimum(least * pairs, 1.0)


def _word(row: Mapping[Any, Any], alpha: float, sign: int) -> str:
    """Put a contrast into the strongest words that hold.

    What holds on every data set needs no seed that finished on all of them, and has the direction of its
    means there; the average is of fewer seeds where some are missing.
    """
    if all(pd.isna(row[p]) for p in P):
        return "no data" if row["n"] == 0 else "one seed"
    third = alpha / 3
    if row["p_every_holm"] <= third:
        return EVERY[int(sign * row["least"] < 0)]
    if row["p_same_holm"] <= alpha:
        return SAME
    if row["p_apart_holm"] <= third:
        return DEPENDS
    return AVERAGE[int(sign * row["difference"] < 0)] if row["p_holm"] <= third else UNDECIDED
