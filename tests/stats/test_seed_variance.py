"""Shares of variance by source against published numbers, exact tables, and simulations of known truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from harness.stats import seed_variance as of_sources
from harness.stats import seeds_for_difference, seeds_needed
from harness.stats.seed_variance import EVERY, NOTHING, MeanSquares

SHROUT_AND_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)
"""Six persons, each rated by four judges (Shrout and Fleiss 1979, Table 2)."""


def long_table(table: NDArray[np.float64], source: str = "start") -> pd.DataFrame:
    """Rows of trials: the table's rows are seeds of a source, its columns the trials' own seeds."""
    m, n = table.shape
    return pd.DataFrame({
        "dataset": "digits", "source": source, "value": np.repeat(np.arange(m), n),
        "seed": np.tile(np.arange(n), m), "status": "ok", "test_accuracy": table.ravel(),
    })  # fmt: skip


def random_table(
    rng: np.random.Generator, m: int, n: int, sds: tuple[float, float, float]
) -> NDArray[np.float64]:
    """A table of normal effects with these deviations: of the source, of the rest, of both together."""
    source, rest, both = sds
    effects = source * rng.normal(size=(m, 1)) + rest * rng.normal(size=(1, n))
    return np.asarray(0.9 + effects + both * rng.normal(size=(m, n)))


def test_mean_squares_and_correlation_are_the_published_ones() -> None:
    squares = replace(MeanSquares.of(SHROUT_AND_FLEISS.T), excess=0.0)  # judges by persons; as if normal
    got = (squares.columns, squares.rows, squares.rest)
    assert got == pytest.approx((11.24, 32.49, 1.02), abs=0.005)
    share, low, high = squares.column_share(0.95)
    assert (share, low, high) == pytest.approx((0.2898, 0.0188, 0.7611), abs=0.0005)


def test_what_varies_alone_is_the_mean_variance_within_columns() -> None:
    table = np.random.default_rng(0).normal(size=(5, 7))
    squares = MeanSquares.of(table)
    assert squares.alone == pytest.approx(table.var(axis=0, ddof=1).mean())
    assert squares.transposed.alone == pytest.approx(table.var(axis=1, ddof=1).mean())
    assert squares.all == pytest.approx(squares.transposed.all)


@pytest.mark.parametrize("shape", [(8, 10), (12, 12), (40, 50)], ids=str)
def test_heavy_tails_cost_degrees_of_freedom(shape: tuple[int, int]) -> None:
    """Laplace's distribution has an excess kurtosis of 3, the normal one of 0, over many tables."""
    rng = np.random.default_rng(7)
    excess = {
        name: np.mean([MeanSquares.of(draw(size=shape)).excess for _ in range(400)])
        for name, draw in (("normal", rng.normal), ("laplace", rng.laplace))
    }
    assert excess["normal"] < 1 < 1.5 < excess["laplace"] < 4
    squares = replace(MeanSquares.of(rng.normal(size=(8, 10))), excess=0.0)
    assert squares.degrees == 7 * 9
    assert replace(squares, excess=2.0).degrees == pytest.approx(63 / (1 + 63 / 80))
    widths = [
        high - low
        for low, high in (one.alone_interval(0.95) for one in (squares, replace(squares, excess=2.0)))
    ]
    assert widths[0] < widths[1]


def test_parts_add_up() -> None:
    squares = MeanSquares.of(random_table(np.random.default_rng(1), 6, 9, (0.02, 0.03, 0.01)))
    source, rest = (part.column_share(0.95)[0] for part in (squares.transposed, squares))
    assert source + rest + squares.rest / squares.all == pytest.approx(1)


def test_a_source_without_effect_has_no_share_and_one_with_all_has_the_whole() -> None:
    rows = np.tile(np.random.default_rng(2).normal(0.9, 0.01, 8), (4, 1))
    nothing = of_sources(long_table(rows), ["dataset"]).iloc[0]
    assert (nothing["sd"], nothing["share"], nothing["first_order"]) == (0, 0, 0)
    assert nothing[["sd_low", "sd_high", "share_low", "first_order_high"]].isna().all()
    assert nothing["sd_all"] > 0
    everything = of_sources(long_table(rows.T), ["dataset"]).iloc[0]
    assert (everything["share"], everything["first_order"]) == (1, 1)
    assert everything["sd"] == pytest.approx(everything["sd_all"])


def test_a_table_without_any_variance_says_so() -> None:
    same = of_sources(long_table(np.full((3, 4), 0.9)), ["dataset"]).iloc[0]
    assert (same["sd"], same["sd_all"]) == (0, 0)
    assert math.isnan(same["share"])


def test_the_same_trial_again_is_no_variance() -> None:
    repeats = long_table(np.full((1, 6), 0.9123), NOTHING)
    row = of_sources(repeats, ["dataset"]).iloc[0]
    assert (row["sd"], row["seeds"], row["values"]) == (0, 6, 1)
    assert math.isnan(row["sd_high"])


def test_every_seed_is_the_plain_deviation_with_its_interval() -> None:
    values = np.random.default_rng(3).normal(0.9, 0.01, (1, 10))
    row = of_sources(long_table(values, EVERY), ["dataset"]).iloc[0]
    assert row["sd"] == pytest.approx(values.std(ddof=1))
    assert row["sd_low"] == pytest.approx(0.6878 * row["sd"], rel=1e-3)
    assert row["sd_high"] == pytest.approx(1.8256 * row["sd"], rel=1e-3)


def test_unfinished_trials_are_left_out_and_counted() -> None:
    trials = long_table(random_table(np.random.default_rng(4), 4, 6, (0.01, 0.01, 0.01)))
    trials.loc[trials["value"].eq(2) & trials["seed"].eq(5), "status"] = "diverged"
    row = of_sources(trials, ["dataset"]).iloc[0]
    assert (row["values"], row["seeds"], row["left_out"]) == (4, 5, 4)


@pytest.mark.parametrize("shape", [(1, 6), (6, 1)])
def test_too_few_trials_have_no_variance(shape: tuple[int, int]) -> None:
    row = of_sources(long_table(np.full(shape, 0.9)), ["dataset"]).iloc[0]
    assert row["mean"] == pytest.approx(0.9)
    assert row[["sd", "share", "sd_all"]].isna().all()
    with pytest.raises(ValueError, match="at least 2 x 2"):
        MeanSquares.of(np.full(shape, 0.9))


@pytest.mark.parametrize("sds", [(0.3, 1.0, 1.5), (1.0, 0.3, 1.5), (0.1, 0.1, 1.0), (1.0, 1.0, 0.3)], ids=str)
def test_intervals_cover_the_truth_of_normal_effects(sds: tuple[float, float, float]) -> None:
    """Over 2,000 tables of 8 x 10 an interval of 95 % misses in 5 %, by chance in 3.5 to 6.5 %."""
    rng = np.random.default_rng(5)
    source, rest, both = (sd**2 for sd in sds)
    truths = {"alone": source + both, "all": source + rest + both, "share": rest / (source + rest + both)}
    covered = dict.fromkeys(truths, 0)
    for _ in range(2000):
        squares = MeanSquares.of(random_table(rng, 8, 10, sds))
        ends = {
            "alone": squares.alone_interval(0.95), "all": squares.all_interval(0.95),
            "share": squares.column_share(0.95)[1:],
        }  # fmt: skip
        for name, (low, high) in ends.items():
            covered[name] += low <= truths[name] <= high
    for name, count in covered.items():
        assert 0.93 <= count / 2000 <= 0.98, (name, count)


def test_seeds_for_a_difference_are_those_of_unrelated_arms() -> None:
    row = of_sources(long_table(np.random.default_rng(6).normal(0.9, 0.002, (1, 20)), EVERY), ["dataset"])
    needed = seeds_for_difference(row, 0.002).iloc[0]
    assert needed["needed"] == seeds_needed(0.002, math.sqrt(2) * needed["sd"])
    assert needed["needed_low"] < needed["needed"] < needed["needed_high"]
    still = of_sources(long_table(np.full((1, 5), 0.9), EVERY), ["dataset"])
    assert math.isnan(seeds_for_difference(still, 0.002).iloc[0]["needed"])
