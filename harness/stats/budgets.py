"""What a smaller search would have found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


def expected_best(values: ArrayLike, budgets: Sequence[int]) -> pd.DataFrame:
    """Expected best value of a random search that had spent less: the best of `budget` of these trials.

    The mean of the maximum over all subsets of that size, without replacement: unbiased (Tang et al. 2020,
    "Showing your work doesn't always work"), where Dodge et al. 2019 draw with replacement, which is too low.

    Args:
        values: (trials,) validation accuracies, in any order; NaN for a trial that was spent and did not
            finish: it is the worst.
        budgets: numbers of trials, at least 1.

    Returns:
        A row a budget: budget, expected, trials (there were), unfinished (of them). NaN where the budget is
        more than the trials, or could have been spent on unfinished ones alone.

    Raises:
        ValueError: a budget is below 1.

    >>> expected_best([0.7, 0.9, 0.8], [1, 2, 3, 4])["expected"].round(3).tolist()
    [0.8, 0.867, 0.9, nan]
    """
    spent = np.asarray(values, dtype=float)
    if any(budget < 1 for budget in budgets):
        raise ValueError(f"budgets = {list(budgets)}: allowed are numbers of trials from 1")
    done = np.sort(spent[~np.isnan(spent)])
    unfinished = spent.size - done.size
    rank = np.arange(unfinished + 1, spent.size + 1)
    rows = []
    for budget in budgets:
        possible = unfinished < budget <= spent.size
        # The value of this rank is the best of C(rank - 1, budget - 1) of all C(trials, budget) subsets.
        log = special.gammaln(rank) - special.gammaln(np.maximum(rank - budget + 1, 1))
        log += special.gammaln(spent.size - budget + 1) - special.gammaln(spent.size + 1) if possible else 0
        weights = np.where(rank >= budget, np.exp(log) * budget, 0)
        rows.append((budget, float(weights @ done) if possible else np.nan, spent.size, unfinished))
    return pd.DataFrame(rows, columns=["budget", "expected", "trials", "unfinished"])


def best_quantiles(
    values: ArrayLike, budgets: Sequence[int], shares: tuple[float, float] = (0.1, 0.9)
) -> pd.DataFrame:
    """Between what the best of a random search that had spent less would mostly have been.

    Quantiles of the maximum over all subsets of that size, without replacement. They are of searches among
    these trials: at the full budget there is one subset, so the band closes there for want of others, not
    because the best was known.

    Args:
        values: (trials,) as for `expected_best`.
        budgets: numbers of trials, at least 1.
        shares: the lower and the upper quantile, in 0..1.

    Returns:
        A row a budget: budget, low, high. NaN where the budget is more than the trials, or where that
        quantile is of subsets in which nothing finished.

    >>> best_quantiles([0.7, 0.9, 0.8], [1, 2, 3]).to_dict("list")
    {'budget': [1, 2, 3], 'low': [0.7, 0.8, 0.9], 'high': [0.9, 0.9, 0.9]}
    """
    spent = np.asarray(values, dtype=float)
    worst_first = np.sort(np.where(np.isnan(spent), -np.inf, spent))
    rank = np.arange(1, spent.size + 1)
    rows = []
    for budget in budgets:
        # The best of a subset is at most of this rank in C(rank, budget) of all C(trials, budget) subsets.
        log = special.gammaln(rank + 1) - special.gammaln(np.maximum(rank - budget, 0) + 1)
        log -= special.gammaln(spent.size + 1) - special.gammaln(max(spent.size - budget, 0) + 1)
        below = np.where(rank >= budget, np.exp(log), 0)
        ends = [
            worst_first[int(np.argmax(below >= share - 1e-9))] if budget <= spent.size else np.nan
            for share in shares
        ]
        rows.append((budget, *(float(end) if np.isfinite(end) else np.nan for end in ends)))
    return pd.DataFrame(rows, columns=["budget", "low", "high"])
