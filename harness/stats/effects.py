"""Effects of the axes of a grid: levels compared over the cells that all of them finished, seed by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from harness.stats.summaries import (
    CONFIDENCE,
    difference_limits,
    finished,
    limits,
    sorted_within,
    summarise,
    with_blocks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEED_EFFECTS = ["dataset", "axis", "level", "seed", "value", "effect"]


def seed_effects(trials: pd.DataFrame, axes: Sequence[str], metric: str = "val_accuracy") -> pd.DataFrame:
    """Average each level of each axis over all other cells of the grid, one number a seed.

    A cell is a combination of the other axes. Levels are compared over the cells that every level finished
    with every seed, so that a level never looks good because its hard cells diverged (`effect_cells`
    counts what this left out).

    Args:
        trials: dataset, `axes`, seed, status, `metric`; a full or holed factorial.
        axes: columns that were varied, `dataset` not among them: data sets are never pooled.
        metric: the column to average.

    Returns:
        dataset, axis, level, seed, value (mean over the cells), effect (value minus the mean of all levels
        with that seed).
    """
    rows = [
        _effects_of(block).assign(dataset=dataset, axis=axis)
        for dataset, axis, block, _ in _blocks(trials, axes, metric)
        if not block.empty
    ]
    return pd.concat(rows, ignore_index=True)[SEED_EFFECTS] if rows else pd.DataFrame(columns=SEED_EFFECTS)


def effect_cells(trials: pd.DataFrame, axes: Sequence[str], metric: str = "val_accuracy") -> pd.DataFrame:
    """Count the cells over which each axis was compared; it takes the arguments of `seed_effects`.

    Returns:
        dataset, axis, cells (compared), left_out (planned, but unfinished at some level or seed),
        empty_levels (a tuple of the levels without any finished trial; they have no effect at all and do
        not take the other levels down with them).
    """
    rows = [
        {"dataset": dataset, "axis": axis, "cells": len(block), **counts}
        for dataset, axis, block, counts in _blocks(trials, axes, metric)
    ]
    return pd.DataFrame(rows, columns=["dataset", "axis", "cells", "left_out", "empty_levels"])


def main_effects(
    trials: pd.DataFrame, axes: Sequence[str], metric: str = "val_accuracy", confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Compute the main effect of each level: its paired difference from the mean of all levels.

    It takes the arguments of `seed_effects`; `confidence` is the coverage of each interval. n is the number
    of seeds, not of trials: see the module's first rule. The difference is taken within a seed before it is
    summarised, which removes what the seed does to all levels alike.

    Returns:
        dataset, axis, level, mean (of the level), n, effect, low, high (of the effect); accuracy as shares
        in 0..1.
    """
    seeds = with_blocks(seed_effects(trials, axes, metric), trials)
    by = ["dataset", "axis", "level"]
    effects = summarise(seeds, by, "effect", confidence, difference_limits(metric)).rename(
        columns={"mean": "effect"}
    )
    means = summarise(seeds, by, "value", confidence, limits(metric))[[*by, "mean"]]
    return means.merge(effects.drop(columns="sd"), on=by, sort=False)


def axis_spreads(
    trials: pd.DataFrame, axes: Sequence[str], metric: str = "val_accuracy", confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Compare the best level of each axis with its worst, paired by seed.

    It takes the arguments of `main_effects`. Both levels are picked by the means that are then compared, so a
    spread is never negative and an axis without any effect shows a small positive one: a size to rank axes
    by, not a test.

    Returns:
        dataset, axis, best, worst (levels), best_mean, worst_mean, n (seeds), spread, low, high, share,
        widest spread first. share is eta squared: the sum of squares between the axis' levels over the
        total of the same trials.
    """
    rows = []
    for dataset, axis, block, _ in _blocks(trials, axes, metric):
        seeds = _seed_means(block)
        if seeds.shape[1] < 2:
            continue
        means = seeds.mean()
        best, worst = str(means.idxmax()), str(means.idxmin())
        paired = (seeds[best] - seeds[worst]).rename("difference").to_frame().assign(axis=axis)
        ends = difference_limits(metric)
        interval = summarise(paired, ["axis"], "difference", confidence, ends).iloc[0]
        names = {"dataset": dataset, "axis": axis, "best": best, "worst": worst}
        sizes = {"best_mean": means[best], "worst_mean": means[worst], "spread": interval["mean"]}
        rows.append(names | sizes | {k: interval[k] for k in ("n", "low", "high")} | {"share": _share(block)})
    columns = ["dataset", "axis", "best", "worst", "best_mean", "worst_mean"]
    table = pd.DataFrame(rows, columns=[*columns, "n", "spread", "low", "high", "share"])
    return sorted_within(table, {"spread": False})


def _blocks(
    trials: pd.DataFrame, axes: Sequence[str], metric: str
) -> Iterator[tuple[str, str, pd.DataFrame, dict[str, object]]]:
    """Yield (dataset, axis, block, counts) for each axis that has several levels on a data set.

    block: cells x (level, seed), complete. counts: left_out and empty_levels of `effect_cells`.
    """
    for dataset, planned in trials.groupby("dataset", sort=False):
        for axis in axes:
            if planned[axis].nunique(dropna=False) < 2:
                continue
            others = [other for other in axes if other != axis]
            by = planned.groupby(others, sort=False, dropna=False) if others else None
            cells = planned.assign(_cell=by.ngroup() if by is not None else 0)
            done = finished(cells, metric)
            wide = done.pivot_table(
                index="_cell", columns=[axis, "seed"], values=metric, observed=True, sort=False
            )
            # A seed or level that nothing finished must not empty the block: it is left out, and counted.
            levels, seeds = done[axis].unique(), done["seed"].unique()
            full = pd.MultiIndex.from_product([levels, seeds], names=[axis, "seed"])
            block = wide.reindex(columns=full).dropna()
            empty = tuple(level for level in planned[axis].unique() if level not in set(levels))
            counts = {"left_out": cells["_cell"].nunique() - len(block), "empty_levels": empty}
            yield str(dataset), axis, block, counts


def _seed_means(block: pd.DataFrame) -> pd.DataFrame:
    """Average the cells of a block: seeds x levels, in order of appearance."""
    if block.empty:
        return pd.DataFrame()
    long = block.mean().rename_axis(["level", "seed"]).rename("value").reset_index()
    return long.pivot_table(index="seed", columns="level", values="value", sort=False, observed=True)


def _effects_of(block: pd.DataFrame) -> pd.DataFrame:
    """Make the long table (level, seed, value, effect) of one block."""
    means = _seed_means(block)
    effects = means.sub(means.mean(axis=1), axis=0)
    values = means.reset_index().melt(id_vars="seed", value_name="value")
    return values.assign(effect=effects.melt(value_name="effect")["effect"])


def _share(block: pd.DataFrame) -> float:
    """Compute eta squared of the levels in a complete block; NaN where nothing varies."""
    grand = block.to_numpy().mean()
    between = sum(
        group.size * (group.to_numpy().mean() - grand) ** 2
        for _, group in block.T.groupby(level=0, sort=False)
    )
    total = ((block.to_numpy() - grand) ** 2).sum()
    return float(between / total) if total > 0 else float("nan")
