"""The balanced part of a grid with holes: cells and levels that can be compared alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def as_array(
    trials: pd.DataFrame, names: Sequence[str], metric: str
) -> tuple[list[NDArray[np.object_]], NDArray[np.float64], NDArray[np.bool_]]:
    """Lay trials out by the levels of some columns.

    Args:
        trials: `names`, status, `metric`; one data set's.
        names: columns that tell all trials apart.
        metric: the column to lay out.

    Returns:
        The levels of each name in order of appearance; the values (levels of the first name, .., of the
        last), NaN where no trial finished; and whether a trial was planned there, of the same shape.

    Raises:
        ValueError: `names` do not tell all trials apart.
    """
    coded = [pd.factorize(trials[name].astype(object), use_na_sentinel=False) for name in names]
    levels = [np.asarray(level, dtype=object) for _, level in coded]
    values = np.full([len(level) for level in levels], np.nan)
    planned = np.zeros(values.shape, dtype=bool)
    flat = np.ravel_multi_index([places for places, _ in coded], values.shape)
    planned.flat[flat] = True
    if np.count_nonzero(planned) < len(trials):
        raise ValueError(
            "several trials of a data set have the same level on every given axis and the same seed; name "
            "every axis that was varied in `axes`"
        )
    values.flat[flat] = trials[metric].where(trials["status"].eq("ok")).to_numpy(dtype=float)
    return levels, values, planned


def whole_cells(finished: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Leave out cells until those left were finished with every seed left, the emptiest cell first.

    A seed goes instead where more than half of the cells lack it, cells that never finished aside: one that
    a stopped run had hardly begun, or a hole of the only cell there is. What goes depends on where the holes
    are and never on a value.

    Args:
        finished: (cells, seeds), True where there is a value.

    Returns:
        The places of the kept cells and of the kept seeds; both empty where nothing was finished.

    >>> import numpy as np
    >>> finished = np.array([[True, True, True, False], [True, True, False, False], [True] * 4])
    >>> [kept.tolist() for kept in whole_cells(finished)]
    [[0, 2], [0, 1, 2]]
    """
    cells, seeds = (np.arange(size) for size in finished.shape)
    while True:
        cells = cells[finished[np.ix_(cells, seeds)].any(axis=1)]
        seeds = seeds[finished[np.ix_(cells, seeds)].any(axis=0)]
        block = finished[np.ix_(cells, seeds)]
        if block.all():
            return cells, seeds
        holes = 1 - block.mean(axis=0)
        if holes.max() > 1 / 2:
            seeds = np.delete(seeds, np.argmax(holes))
        else:
            cells = np.delete(cells, np.argmin(block.mean(axis=1)))


def whole_block(finished: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Leave out levels until no hole is left, the emptiest level first.

    So a hole costs the smallest share of the block: one level of the axis that has most. What goes depends on
    where the holes are and never on a value.

    Args:
        finished: (levels of the first axis, levels of the second, ..), True where there is a value.

    Returns:
        The kept places along each dimension; all empty where nothing was finished. Of levels that are as
        empty, one of the earliest dimension goes first.

    >>> import numpy as np
    >>> finished = np.ones((2, 3, 5), dtype=bool)
    >>> finished[0, 2, 4] = False
    >>> [kept.tolist() for kept in whole_block(finished)]
    [[0, 1], [0, 1, 2], [0, 1, 2, 3]]
    """
    kept = [np.arange(size) for size in finished.shape]
    block = finished
    while block.size > 1 and not block.all():
        holes = [_share_of_holes(block, axis) for axis in range(block.ndim)]
        axis = int(np.argmax([share.max() if share.size > 1 else -1 for share in holes]))
        worst = np.argmax(holes[axis])
        kept[axis] = np.delete(kept[axis], worst)
        block = np.delete(block, worst, axis=axis)
    return kept if block.size and block.all() else [np.arange(0) for _ in kept]


def _share_of_holes(block: NDArray[np.bool_], axis: int) -> NDArray[np.float64]:
    others = tuple(other for other in range(block.ndim) if other != axis)
    return np.asarray(1 - block.mean(axis=others), dtype=float)
