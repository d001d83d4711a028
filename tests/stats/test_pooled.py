"""Pooled cells against scipy, and intervals that know about shared seeds."""

from __future__ import annotations

import math

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from harness import stats


def cells(values: np.ndarray, reference: np.ndarray | None = None) -> pd.DataFrame:
    """A long table of values (cells, seeds)."""
    cell, seed = np.indices(values.shape)
    table = pd.DataFrame({"cell": cell.ravel(), "seed": seed.ravel(), "value": values.ravel()})
    return table if reference is None else table.assign(reference_value=reference.ravel())


def draw_values(seed: int = 0, shape: tuple[int, int] = (6, 8), shared: float = 0.0) -> np.ndarray:
    """Values of cells with levels of their own; `shared` is the SD of what a seed does to all of them."""
    rng = np.random.default_rng(seed)
    level, both = rng.normal(0.9, 0.02, (shape[0], 1)), rng.normal(0, shared, (1, shape[1]))
    return np.asarray(level + both + rng.normal(0, 0.01, shape))


def test_interquartile_mean_is_scipys_trimmed_mean() -> None:
    values = draw_values()
    row = stats.interquartile_mean(cells(values), np.random.default_rng(0)).iloc[0]
    assert row["iqm"] == pytest.approx(scipy_stats.trim_mean(values.ravel(), 0.25))
    assert row["low"] < row["iqm"] < row["high"]
    assert (row["cells"], row["seeds"], row["n"]) == (6, 8, 48)


def test_an_outlier_moves_the_mean_and_not_the_interquartile_mean() -> None:
    values = draw_values()
    values[0, 0] = -100
    hit, whole = (
        stats.interquartile_mean(cells(table), np.random.default_rng(0), resamples=10)["iqm"].iloc[0]
        for table in (values, draw_values())
    )
    assert values.mean() < 0
    assert hit == pytest.approx(whole, abs=0.005)


def test_probability_of_improvement_is_mann_whitneys() -> None:
    ours, theirs = draw_values(0).round(2), draw_values(1).round(2)  # with ties
    row = stats.probability_of_improvement(cells(ours, theirs), np.random.default_rng(0)).iloc[0]
    by_hand = [scipy_stats.mannwhitneyu(x, y).statistic / 64 for x, y in zip(ours, theirs, strict=True)]
    assert row["probability"] == pytest.approx(np.mean(by_hand))
    assert 0 <= row["low"] <= row["probability"] <= row["high"] <= 1


def test_equal_arms_improve_half_the_time_and_better_ones_always() -> None:
    values = draw_values()
    same = stats.probability_of_improvement(cells(values, values), np.random.default_rng(0)).iloc[0]
    assert same["probability"] == 0.5
    better = stats.probability_of_improvement(cells(values + 1, values), np.random.default_rng(0)).iloc[0]
    assert better["probability"] == 1
    assert better[["low", "high"]].isna().all(), "every resample says the same, so no interval"


def test_shared_seeds_widen_the_interval_unless_cells_are_independent() -> None:
    table = cells(draw_values(3, (10, 20), shared=0.05))
    joint, apart = (
        stats.interquartile_mean(table, np.random.default_rng(0), shared_seeds=shared, resamples=500).iloc[0]
        for shared in (True, False)
    )
    assert joint["high"] - joint["low"] > 2 * (apart["high"] - apart["low"])


def middle(values: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(scipy_stats.trim_mean(values, 0.25, axis=axis))


def test_the_stratified_interval_is_the_bootstrap_of_each_cell() -> None:
    ours = draw_values(4, (1, 30))
    row = stats.interquartile_mean(cells(ours), np.random.default_rng(0), shared_seeds=False).iloc[0]
    rng = np.random.default_rng(1)
    theirs = scipy_stats.bootstrap(ours, middle, n_resamples=5000, method="percentile", rng=rng)
    interval = theirs.confidence_interval
    npt.assert_allclose([row["low"], row["high"]], [interval.low, interval.high], atol=0.001)


@pytest.mark.parametrize("shared", [True, False])
def test_unfinished_trials_have_no_value(shared: bool) -> None:
    ours, theirs = draw_values(0), draw_values(1)
    ours[2], theirs[1, 3], ours[4, 4] = math.nan, math.nan, math.nan
    table, rng = cells(ours, theirs), np.random.default_rng(0)
    middle = stats.interquartile_mean(table, rng, shared_seeds=shared, resamples=50).iloc[0]
    assert middle["n"] == 48 - 9
    assert middle["iqm"] == pytest.approx(scipy_stats.trim_mean(ours[~np.isnan(ours)], 0.25))
    chance = stats.probability_of_improvement(table, rng, shared_seeds=shared, resamples=50).iloc[0]
    by_hand = [
        scipy_stats.mannwhitneyu(x[~np.isnan(x)], y[~np.isnan(y)]).statistic
        / ((~np.isnan(x)).sum() * (~np.isnan(y)).sum())
        for x, y in zip(ours, theirs, strict=True)
        if not np.isnan(x).all()
    ]
    assert chance["probability"] == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize("function", [stats.interquartile_mean, stats.probability_of_improvement])
def test_one_seed_has_no_interval_and_no_seed_no_number(function: object) -> None:
    assert callable(function)
    name = "iqm" if function is stats.interquartile_mean else "probability"
    one = function(cells(draw_values(shape=(4, 1)), draw_values(1, (4, 1))), np.random.default_rng(0)).iloc[0]
    assert not math.isnan(one[name])
    assert one[["low", "high"]].isna().all()
    lost = np.full((3, 4), math.nan)
    for table in (cells(lost, lost), cells(draw_values(), draw_values()).iloc[:0]):
        nothing = function(table, np.random.default_rng(0)).iloc[0]
        assert nothing[[name, "low", "high"]].isna().all()
        assert nothing["n"] == 0


def test_one_generator_one_interval_and_one_row_a_trial() -> None:
    table = cells(draw_values(), draw_values(1))
    one, again = (
        stats.probability_of_improvement(table, np.random.default_rng(5), resamples=100) for _ in range(2)
    )
    assert one.equals(again)
    with pytest.raises(ValueError, match="same cell and seed"):
        stats.interquartile_mean(pd.concat([table, table]), np.random.default_rng(0))
