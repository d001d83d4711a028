"""Suggestions of a search: the best so far, their order, the Pareto front, and smaller budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def best_so_far(values: ArrayLike, *, maximize: bool = True) -> NDArray[np.float64]:
    """Return the best value among the first, the first two, and so on.

    Args:
        values: (suggestions,) in the order they were made; NaN for one that gave none.
        maximize: whether more is better.

    Returns:
        (suggestions,), NaN before the first value.

    >>> best_so_far([float("nan"), 0.7, 0.9, float("nan"), 0.8])
    array([nan, 0.7, 0.9, 0.9, 0.9])
    """
    best = np.fmax if maximize else np.fmin
    return np.asarray(best.accumulate(np.asarray(values, dtype=float)), dtype=float)


def ranked(values: ArrayLike, maximize: Sequence[bool]) -> NDArray[np.intp]:
    """Order the rows, best first: by the first objective, ties by the next, equal rows as they came.

    Args:
        values: (suggestions, objectives); a row with a NaN has no rank.
        maximize: for each objective, whether more is better.

    >>> ranked([[0.9, 500], [float("nan"), 1], [0.9, 100], [0.95, 900]], [True, False])
    array([3, 2, 0])
    """
    rows = np.asarray(values, dtype=float).reshape(-1, len(maximize))
    costs = rows * np.where(maximize, -1.0, 1.0)
    order = np.lexsort(costs.T[::-1])  # by the last key first; stable
    return np.asarray(order[~np.isnan(rows[order]).any(axis=1)], dtype=np.intp)


def pareto_front(values: ArrayLike, maximize: Sequence[bool]) -> NDArray[np.bool_]:
    """Mark the Pareto front: rows that no other row equals or beats everywhere and beats somewhere.

    Equal rows do not beat each other, so all of them are on the front or none.

    Args:
        values: (suggestions, objectives); a row with a NaN is on no front and beats nothing.
        maximize: for each objective, whether more is better.

    Returns:
        (suggestions,).

    Raises:
        ValueError: `values` has not one column for each entry of `maximize`.

    >>> pareto_front([[0.9, 100], [0.8, 50], [0.8, 60], [float("nan"), 1]], [True, False])
    array([ True,  True, False, False])
    """
    rows = np.asarray(values, dtype=float)
    if rows.ndim != 2 or rows.shape[1] != len(maximize):
        raise ValueError(f"values of shape {rows.shape} do not have {len(maximize)} objectives a row")
    known = ~np.isnan(rows).any(axis=1)
    costs = rows * np.where(maximize, -1.0, 1.0)
    front = known.copy()
    for at in np.flatnonzero(known):
        others = costs[known]
        beats = (others <= costs[at]).all(axis=1) & (others < costs[at]).any(axis=1)
        front[at] = not beats.any()
    return np.asarray(front, dtype=bool)


def hypervolume(
    values: ArrayLike, maximize: Sequence[bool], reference: Sequence[float]
) -> NDArray[np.float64]:
    """Compute the hypervolume of the first, the first two, .. of some points of two objectives, exactly.

    The area of what the points beat and the reference point does not (Zitzler and Thiele 1998). It never
    falls, and rises where a point comes onto the front.

    Args:
        values: (points, 2) in the order they were made; a row with a NaN adds nothing.
        maximize: for both objectives, whether more is better.
        reference: a point, (2,). What does not beat it in both objectives adds nothing.

    Returns:
        (points,), in the product of the objectives' units.

    Raises:
        ValueError: `values`, `maximize` and `reference` are not of two objectives.

    >>> hypervolume([[0.5, 100], [0.75, 300], [0.5, 50]], [True, False], [0.25, 500]).tolist()
    [100.0, 150.0, 162.5]
    """
    rows, signs = np.asarray(values, dtype=float), np.where(maximize, -1.0, 1.0)
    if rows.ndim != 2 or {rows.shape[1], len(maximize), len(reference)} != {2}:
        raise ValueError(
            f"values of shape {rows.shape} and a reference {reference!r} are not of two objectives"
        )
    gains = (np.asarray(reference, dtype=float) - rows) * signs  # by how much a point beats the reference
    front: list[tuple[float, float]] = []  # by falling first gain, so by rising second one
    areas, area = [], 0.0
    for gain in gains:
        first, second = map(float, gain)
        if first > 0 and second > 0 and not any(a >= first and b >= second for a, b in front):
            front = sorted(
                [*((a, b) for a, b in front if a > first or b > second), (first, second)], reverse=True
            )
            below = [0.0, *(b for _, b in front)]
            area = sum(a * (b - under) for (a, b), under in zip(front, below, strict=False))
        areas.append(area)
    return np.array(areas)


def expected_best(values: ArrayLike, budgets: Sequence[int]) -> pd.DataFrame:
    """Compute the expected best value of a random search with a smaller budget, over subsets of its trials.

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
    """Compute quantiles of the best value of a random search with a smaller budget.

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
