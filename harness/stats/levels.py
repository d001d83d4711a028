"""The levels of an axis of a grid against a reference level, within seeds and over the same cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.stats.balance import as_array, whole_cells

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import NDArray

VALUES = ["arm", "reference", "seed", "value", "reference_value", "difference", "cells", "left_out"]


def level_differences(
    trials: pd.DataFrame,
    axis: str,
    reference: str,
    within: Sequence[str] = (),
    axes: Sequence[str] = (),
    metric: str = "test_accuracy",
) -> pd.DataFrame:
    """Subtract the reference level of an axis from each other level, one number a seed.

    A cell is a combination of the axes that are neither `axis` nor in `within`. Level and reference are
    averaged over the cells that both finished with all the seeds compared, so a level never looks good
    because its hard cells diverged, and then subtracted within the seed: same seed, same initial weights,
    same batches. Data sets, and levels of `within`, are never pooled. What did not finish costs its cell; a
    seed that more than half of the cells lack costs itself (`whole_cells`).

    Args:
        trials: dataset, `axes`, seed, status, `metric`; levels as text.
        axis: the column whose levels are compared.
        reference: the level that all others are compared with.
        within: columns whose levels are looked at one by one.
        axes: all columns that were varied, `dataset` not among them.
        metric: what to subtract.

    Raises:
        ValueError: several trials of one cell and seed: an axis is missing in `axes`.

    Returns:
        dataset, `within`, arm (the level), reference, seed, value, reference_value, difference, cells
        (averaged over), left_out (cells planned for both and not finished by both). There is a row for each
        planned seed; one that could not be compared has no numbers, and an arm that never finished nothing
        but such rows, so that nothing planned drops out unseen. Levels that were never planned beside the
        reference have no row.
    """
    names = ["dataset", *within]
    cell = [name for name in axes if name not in {axis, *names}]
    tables = [
        table.assign(**_named(names, place))
        for place, block in trials.groupby(names, sort=False, dropna=False, observed=True)
        for table in _against(block, axis, reference, cell, metric)
    ]
    columns = [*names, *VALUES]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _named(names: Sequence[str], place: Sequence[Hashable]) -> dict[str, Any]:
    return dict(zip(names, place, strict=True))


def _against(
    trials: pd.DataFrame, axis: str, reference: str, cell: Sequence[str], metric: str
) -> Iterator[pd.DataFrame]:
    """Yield the differences of each level, in order of appearance."""
    by = trials.groupby(list(cell), sort=False, dropna=False, observed=True).ngroup() if cell else 0
    block = trials.assign(_level=trials[axis].astype(str), _cell=by)
    (levels, _, seeds), values, planned = as_array(block, ["_level", "_cell", "seed"], metric)
    if reference not in levels:
        return
    theirs = list(levels).index(reference)
    for place, level in enumerate(levels):
        both = (planned[place] & planned[theirs]).any(axis=1)
        if place != theirs and both.any():
            table = _differences(values[place, both], values[theirs, both], seeds)
            yield table.assign(arm=level, reference=reference)


def _differences(
    values: NDArray[np.float64], theirs: NDArray[np.float64], seeds: NDArray[np.object_]
) -> pd.DataFrame:
    """Average both, (cells, seeds), over the same cells, and subtract."""
    cells, kept = whole_cells(~np.isnan(values) & ~np.isnan(theirs))
    means = np.full((2, len(seeds)), np.nan)
    if cells.size:
        means[:, kept] = [table[np.ix_(cells, kept)].mean(axis=0) for table in (values, theirs)]
    return pd.DataFrame(
        {
            "seed": pd.Series(seeds).infer_objects(),
            "value": means[0],
            "reference_value": means[1],
            "difference": means[0] - means[1],
            "cells": len(cells),
            "left_out": len(values) - len(cells),
        }
    )
