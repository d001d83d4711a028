"""Analysis of variance of a factorial: the share of each axis and each pair of axes, and interactions.

On a full balanced factorial the classical analysis of variance is exact: the sums of squares of main effects
and interactions are orthogonal, add up to the total, and do not depend on an order. They are also exact
fANOVA (Hutter, Hoos, Leyton-Brown 2014), which needs a forest only where the grid is not full.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from harness.stats.balance import as_array, whole_block, whole_cells
from harness.stats.summaries import CONFIDENCE, difference_limits, limits, summarise

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import NDArray

ANOVA = ["dataset", "term", "df", "sum_squares", "share", "F", "p"]
ANOVA_CELLS = ["dataset", "cells", "seeds", "left_out", "left_out_levels"]
# A range of values, or a rest of the total sum of squares, below which there is rounding and nothing to test.
ROUNDING = 1e-12


@dataclass(frozen=True)
class BalancedBlock:
    """The balanced part of a data set's grid.

    `names`: the dimensions: axes that still have several levels, then "seed" where there are several.
    """

    dataset: str  # its name
    names: tuple[str, ...]
    y: NDArray[np.float64]  # (levels of the first axis, .., seeds), no NaN; empty where nothing finished
    seeds: int  # how many
    planned: int  # trials
    left_out_levels: tuple[str, ...]  # "axis=level" of what was left out to have no holes


def anova(
    trials: pd.DataFrame, axes: Sequence[str], metric: str = "test_accuracy", interactions: int = 2
) -> pd.DataFrame:
    """Analyse the variance of each data set's factorial, with the seed as block.

    Args:
        trials: dataset, `axes`, seed, status, `metric`; a full or holed factorial, one trial a cell and seed.
        axes: columns that were varied, `dataset` not among them.
        metric: what varies.
        interactions: up to how many axes interact in a term of their own: 1 has main effects only.

    Returns:
        dataset, term, df, sum_squares, share, F, p: main effects, then interactions ("activation:output"),
        then "seed" (what a seed does to all cells alike; not there with one seed), then "rest" (all other
        interactions, those with the seed among them). share is eta squared, the part of the total sum of
        squares; NaN where nothing varies. F and p are against "rest" as independent normal noise; NaN where
        there is none. They rank terms; levels are judged by `verdicts`, whose unit is the seed. It is
        computed over a whole block without holes: `anova_cells` says what that left out.

    Raises:
        ValueError: several trials of one cell and seed: an axis is missing in `axes`.
    """
    tables = [_table(block, interactions) for block in _blocks(trials, axes, metric) if block.y.size > 1]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=ANOVA)


def anova_cells(trials: pd.DataFrame, axes: Sequence[str], metric: str = "test_accuracy") -> pd.DataFrame:
    """Count the cells that `anova` used and left out; takes the arguments of `anova`.

    Returns:
        dataset, cells (combinations of axes that were used), seeds, left_out (planned trials that were not
        used, finished or not), left_out_levels (a tuple of "axis=level", "seed=3" among them: whole levels
        that had holes).
    """
    rows = [
        (b.dataset, b.y.size // max(b.seeds, 1), b.seeds, b.planned - b.y.size, b.left_out_levels)
        for b in _blocks(trials, axes, metric)
    ]
    return pd.DataFrame(rows, columns=ANOVA_CELLS)


def interaction(
    trials: pd.DataFrame, first: str, second: str, metric: str = "test_accuracy", axes: Sequence[str] = (),
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:  # fmt: skip
    """Average each combination of two axes' levels, and compute its deviation from their own effects.

    Combinations are averaged, within each seed, over the same cells of the other axes: those that every
    combination finished (`whole_cells`). One that never finished has no numbers and takes no other down.

    Args:
        trials: dataset, `axes`, seed, status, `metric`.
        first: an axis.
        second: another one.
        metric: what to average.
        axes: all columns that were varied, `dataset` not among them.
        confidence: coverage of each interval by itself.

    Raises:
        ValueError: several trials of one cell and seed: an axis is missing in `axes`.

    Returns:
        dataset, `first`, `second` (levels), n (seeds), mean, low, high (Student's t over seeds), effect,
        effect_low, effect_high: the deviation from the additive fit, taken within each seed; on a full
        table cell - row mean - column mean + grand mean, on a holed one the residual of least squares. Then
        cells (averaged over), left_out (cells).
    """
    by = ["dataset", first, second]
    tables = [
        _combinations(dataset, block, (first, second), metric, [a for a in axes if a not in by])
        for dataset, block in trials.groupby("dataset", sort=False)
    ]
    columns = [*by, "n", "mean", "low", "high", "effect", "effect_low", "effect_high", "cells", "left_out"]
    if not tables:
        return pd.DataFrame(columns=columns)
    seeds = pd.concat(tables, ignore_index=True)
    # A cell less its row, less its column, plus the whole: at most twice as far apart as values are.
    deviations = 2 * difference_limits(metric)[0], 2 * difference_limits(metric)[1]
    means = summarise(seeds, by, "value", confidence, limits(metric))
    effects = summarise(seeds, by, "deviation", confidence, deviations).rename(
        columns={"mean": "effect", "low": "effect_low", "high": "effect_high"}
    )
    counts = seeds.drop_duplicates(by)[[*by, "cells", "left_out"]]
    means = means.merge(effects.drop(columns=["n", "sd"]), on=by).merge(counts, on=by)
    return means[columns]


def _blocks(trials: pd.DataFrame, axes: Sequence[str], metric: str) -> Iterator[BalancedBlock]:
    for dataset, planned in trials.groupby("dataset", sort=False):
        names = [*axes, "seed"]
        levels, values, _ = as_array(planned, names, metric)
        kept = whole_block(~np.isnan(values))
        gone = (
            f"{name}={level[place]}"
            for name, level, stay in zip(names, levels, kept, strict=True)
            for place in np.setdiff1d(np.arange(len(level)), stay)
        )
        block = values[np.ix_(*kept)]
        several = tuple(name for name, size in zip(names, block.shape, strict=True) if size > 1)
        yield BalancedBlock(
            str(dataset), several, block.squeeze(), block.shape[-1], len(planned), tuple(gone)
        )


def _table(block: BalancedBlock, interactions: int) -> pd.DataFrame:
    y, seed = block.y, "seed"
    axes = [place for place, name in enumerate(block.names) if name != seed]
    terms = [
        term
        for order in range(1, min(interactions, len(axes)) + 1)
        for term in itertools.combinations(axes, order)
    ]
    terms += [(place,) for place, name in enumerate(block.names) if name == seed]
    squares = _sums_of_squares(y, terms)
    df = [int(np.prod([y.shape[place] - 1 for place in term])) for term in terms]
    total = float(((y - y.mean()) ** 2).sum())
    rest, rest_df = max(total - sum(squares), 0.0), y.size - 1 - sum(df)
    names = [*(":".join(block.names[place] for place in term) for term in terms), "rest"]
    table = pd.DataFrame({"term": names, "df": [*df, rest_df], "sum_squares": [*squares, rest]})
    table["dataset"] = block.dataset
    table["share"] = table["sum_squares"] / (total if np.ptp(y) > ROUNDING else np.nan)
    noise = rest / rest_df if rest_df > 0 and rest > ROUNDING * total and np.ptp(y) > ROUNDING else np.nan
    tested = table["term"].ne("rest")
    table["F"] = (table["sum_squares"] / table["df"].clip(lower=1) / noise).where(tested)
    table["p"] = special.fdtrc(table["df"], rest_df, table["F"])
    return table[ANOVA]


def _sums_of_squares(y: NDArray[np.float64], terms: Sequence[tuple[int, ...]]) -> list[float]:
    """Compute the sum of squares of each term, a set of dimensions, on a balanced array.

    An effect is the mean over all other dimensions, less the effects of every smaller set within the term.
    """
    effects: dict[tuple[int, ...], NDArray[np.float64]] = {(): y.mean(keepdims=True)}
    squares = []
    for term in terms:
        others = tuple(place for place in range(y.ndim) if place not in term)
        effect = y.mean(axis=others, keepdims=True)
        for smaller in range(len(term)):
            for part in itertools.combinations(term, smaller):
                effect = effect - effects[part]
        effects[term] = effect
        squares.append(float((effect**2).sum() * (y.size / effect.size)))
    return squares


def _combinations(
    dataset: Hashable, trials: pd.DataFrame, pair: tuple[str, str], metric: str, others: Sequence[str]
) -> pd.DataFrame:
    """Make a table with a row for each planned combination and seed."""
    cell = trials.groupby(list(others), sort=False, dropna=False).ngroup() if others else 0
    place = trials.groupby(list(pair), sort=False, dropna=False).ngroup()
    levels = trials[list(pair)].drop_duplicates()  # in the order of their places
    (cells, places, seeds), cube, _ = as_array(
        trials.assign(_cell=cell, _place=place), ["_cell", "_place", "seed"], metric
    )
    cube = cube[:, np.argsort(places)]
    there = np.flatnonzero(~np.isnan(cube).all(axis=(0, 2)))
    kept, used = whole_cells(np.asarray(~np.isnan(cube[:, there]).any(axis=1)))
    means = np.full((len(levels), len(seeds)), np.nan)
    if kept.size:
        means[np.ix_(there, used)] = cube[np.ix_(kept, there, used)].mean(axis=0)
    deviations = np.full_like(means, np.nan)
    deviations[np.ix_(there, used)] = _deviations(levels.iloc[there], means[np.ix_(there, used)])
    named = {name: np.repeat(levels[name].to_numpy(), len(seeds)) for name in pair}
    table = pd.DataFrame({"dataset": dataset, **named, "value": means.ravel()})
    return table.assign(deviation=deviations.ravel(), cells=len(kept), left_out=len(cells) - len(kept))


def _deviations(levels: pd.DataFrame, means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return residuals (combinations, seeds) of the additive fit by least squares, for each seed."""
    rows = [pd.get_dummies(levels[name], dtype=float).to_numpy() for name in levels]
    design = np.hstack([np.ones((len(levels), 1)), *rows])
    return np.asarray(means - design @ np.linalg.lstsq(design, means, rcond=None)[0], dtype=float)
