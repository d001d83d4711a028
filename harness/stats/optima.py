"""A search's suggestions in the order they were made: the best so far, and what nothing beats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def best_so_far(values: ArrayLike, *, maximize: bool = True) -> NDArray[np.float64]:
    """The best value among the first, the first two, and so on.

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
    """The rows, best first: by the first objective, of equal ones by the next, of equal rows the first.

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
    """Which rows no other row beats: none is at least as good in every objective and better in one.

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
