"""Paired contrasts within seeds: an arm against its reference, a level of a grid's axis against another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.stats.balance import as_array, whole_cells
from harness.stats.summaries import (
    CONFIDENCE,
    difference_limits,
    finished,
    summarise,
    with_blocks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

LEVEL_COLUMNS = ["arm", "reference", "seed", "value", "reference_value", "difference", "cells", "left_out"]


def paired_differences(
    trials: pd.DataFrame, pairs: pd.DataFrame, metric: str = "val_accuracy", arm: str = "arm", *,
    unfinished: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Subtract each reference arm from its arm, within a data set and a seed.

    Args:
        trials: dataset, `arm`, seed, status, `metric`.
        pairs: arm, reference: which to compare; all with a baseline, or each rung with the one before.
        metric: what to subtract.
        arm: the column of `trials` that names an arm.
        unfinished: also give a row, without numbers, for seeds that were planned for both and not finished
            by both: `verdicts` then says of an arm that never finished that there is no data.

    Returns:
        dataset, arm, reference, seed, value, reference_value, difference, and `BLOCK` where trials have it;
        only seeds that both finished.
    """
    done = trials.assign(**{metric: trials[metric].where(trials["status"].eq("ok"))})
    done = done if unfinished else finished(trials, metric)
    values = pd.DataFrame(
        {"dataset": done["dataset"], "arm": done[arm], "seed": done["seed"], "value": done[metric]}
    )
    reference = values.rename(columns={"arm": "reference", "value": "reference_value"})
    table = pairs[["arm", "reference"]].merge(values, on="arm", sort=False)
    table = table.merge(reference, on=["dataset", "reference", "seed"], sort=False)
    table["difference"] = table["value"] - table["reference_value"]
    columns = ["dataset", "arm", "reference", "seed", "value", "reference_value", "difference"]
    return with_blocks(table[columns], trials)


def contrasts(
    trials: pd.DataFrame, pairs: pd.DataFrame, metric: str = "val_accuracy", arm: str = "arm",
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:  # fmt: skip
    """Compare each pair on each data set with Student's t on the differences within seeds.

    It takes the arguments of `paired_differences`; `confidence` is the coverage of each interval by itself,
    not corrected for their number.

    Returns:
        dataset, arm, reference, n (seeds that both finished), difference, low, high, in the order of
        `pairs`. A pair without a common seed on a data set has no row.
    """
    differences = paired_differences(trials, pairs, metric, arm)
    by = ["dataset", "arm", "reference"]
    table = summarise(differences, by, "difference", confidence, difference_limits(metric))
    return table.rename(columns={"mean": "difference"})[[*by, "n", "difference", "low", "high"]]


def level_differences(
    trials: pd.DataFrame, axis: str, reference: str, within: Sequence[str] = (), axes: Sequence[str] = (),
    metric: str = "test_accuracy",
) -> pd.DataFrame:  # fmt: skip
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
        (averaged over), left_out (cells planned for both and not finished by both), and `BLOCK` where trials
        have it. There is a row for each planned seed; one that could not be compared has no numbers, and an
        arm that never finished nothing but such rows, so that nothing planned drops out unseen. Levels that
        were never planned beside the reference have no row.
    """
    names = ["dataset", *within]
    cell = [name for name in axes if name not in {axis, *names}]
    tables = [
        table.assign(**dict[str, Any](zip(names, place, strict=True)))
        for place, block in trials.groupby(names, sort=False, dropna=False, observed=True)
        for table in _against(block, axis, reference, cell, metric)
    ]
    columns = [*names, *LEVEL_COLUMNS]
    if not tables:
        return pd.DataFrame(columns=columns)
    return with_blocks(pd.concat(tables, ignore_index=True)[columns], trials)


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
    table = pd.DataFrame({"seed": pd.Series(seeds).infer_objects(), "value": means[0]})
    table["reference_value"] = means[1]
    return table.assign(difference=means[0] - means[1], cells=len(cells), left_out=len(values) - len(cells))
