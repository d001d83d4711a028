"""The spread of tuned arms, divided into that of seeds and that of the choices that blocks of seeds made."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from harness.stats.summaries import BLOCK, finished

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS = ["blocks", "seeds", "seed_sd", "choice_sd"]


def choice_spreads(trials: pd.DataFrame, metric: str = "test_accuracy", arm: str = "arm") -> pd.DataFrame:
    """Estimate how much the choices of blocks of seeds add to the spread of each arm.

    One-way analysis of variance with blocks as random effects: the mean square within blocks estimates the
    variance of seeds at one choice; that between blocks is larger by the number of a block's seeds times the
    variance of what is chosen (Searle, Casella and McCulloch 1992, "Variance Components"). Where it is
    smaller, the variance of choosing is told as 0.

    Args:
        trials: dataset, `arm`, `BLOCK`, seed, status, `metric`; tuned arms.
        metric: the column that varies.
        arm: the column that names an arm.

    Returns:
        dataset, `arm`, blocks and seeds (of a block; only blocks with the most finished seeds count), seed_sd
        and choice_sd, in the unit of `metric`. Both are NaN where blocks have one seed, of which the two
        cannot be told apart; choice_sd is, where there is one block.
    """
    groups = finished(trials, metric).groupby(["dataset", arm], sort=False, observed=True)
    rows = [{"dataset": dataset, arm: name, **_spreads(table, metric)} for (dataset, name), table in groups]
    return pd.DataFrame(rows, columns=["dataset", arm, *COLUMNS])


def _spreads(trials: pd.DataFrame, metric: str) -> Mapping[str, float]:
    """Give COLUMNS of one arm's finished trials."""
    of_block = trials.groupby(BLOCK, sort=False)[metric]
    counts = of_block.size()
    size = int(counts.max())
    whole = counts.index[counts.eq(size)]
    within = float(of_block.var().loc[whole].mean())
    excess = float(of_block.mean().loc[whole].var()) - within / size
    return {
        "blocks": len(whole), "seeds": size, "seed_sd": math.sqrt(within),
        "choice_sd": math.nan if math.isnan(excess) else math.sqrt(max(excess, 0.0)),
    }  # fmt: skip
