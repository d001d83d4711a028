"""Analysis of variance against statsmodels, interactions against what the grid was made of."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from factorials import ACTIVATION, AXES, factorial, undo
from scipy import stats as scipy_stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from harness import stats

THREE = ["activation", "optimizer", "width"]


def noisy(seed: int = 0) -> pd.DataFrame:
    """Three axes, three seeds, two data sets, an interaction and noise."""
    wide = [factorial().assign(width=width) for width in ("64", "128")]
    grid = pd.concat(wide, ignore_index=True)
    rng = np.random.default_rng(seed)
    together = grid["activation"].eq("relu") & grid["width"].eq("64")
    return grid.assign(test_accuracy=grid["test_accuracy"] + 0.03 * together + rng.normal(0, 0.01, len(grid)))


@pytest.mark.parametrize("interactions", [1, 2, 3])
def test_anova_is_statsmodels_on_a_balanced_factorial(interactions: int) -> None:
    grid = noisy()
    ours = stats.anova(grid, THREE, interactions=interactions).query("dataset == 'mnist'").set_index("term")
    power = "+".join(
        ":".join(term)
        for order in range(1, interactions + 1)
        for term in itertools.combinations(THREE, order)
    )
    fit = ols(f"test_accuracy ~ {power} + C(seed)", grid[grid["dataset"].eq("mnist")]).fit()
    theirs = anova_lm(fit, typ=1).rename(index={"C(seed)": "seed", "Residual": "rest"}).loc[ours.index]
    npt.assert_array_equal(ours["df"], theirs["df"])
    npt.assert_allclose(ours["sum_squares"], theirs["sum_sq"], rtol=1e-8)
    npt.assert_allclose(ours["F"], theirs["F"], rtol=1e-8)
    npt.assert_allclose(ours["p"], theirs["PR(>F)"], rtol=1e-8)
    assert ours["share"].sum() == pytest.approx(1)


def test_one_axis_and_two_seeds_are_the_paired_t_test() -> None:
    grid = noisy()
    grid = grid[grid["optimizer"].eq("sgd") & grid["width"].eq("64") & grid["activation"].ne("tanh")]
    row = stats.anova(grid, ["activation"]).iloc[0]
    mnist = grid[grid["dataset"].eq("mnist")].set_index(["activation", "seed"])["test_accuracy"]
    expected = scipy_stats.ttest_rel(mnist["relu"], mnist["sigmoid"])
    assert row["F"] == pytest.approx(expected.statistic**2)
    assert row["p"] == pytest.approx(expected.pvalue)


def test_shares_of_main_effects_are_those_of_axis_spreads() -> None:
    grid = noisy()
    anova = stats.anova(grid, THREE, "val_accuracy").set_index(["dataset", "term"])["share"]
    spreads = stats.axis_spreads(grid, THREE).set_index(["dataset", "axis"])["share"]
    npt.assert_allclose(anova[spreads.index], spreads, atol=1e-12)


def test_axes_that_add_up_have_no_interaction_and_nothing_to_test_against() -> None:
    table = stats.anova(factorial(), AXES).query("dataset == 'mnist'").set_index("term")
    assert table.index.tolist() == ["activation", "optimizer", "activation:optimizer", "seed", "rest"]
    npt.assert_allclose(table.loc[["activation:optimizer", "rest"], "share"], 0, atol=1e-12)
    assert table[["F", "p"]].isna().all(axis=None)
    assert table["df"].tolist() == [2, 1, 2, 2, 10]


def test_ten_thousand_trials_of_five_axes() -> None:
    sizes = [5, 5, 4, 5, 2]
    rng = np.random.default_rng(0)
    levels = pd.MultiIndex.from_product([*(range(size) for size in sizes), range(10)])
    grid = levels.to_frame(index=False, name=["a", "b", "c", "d", "e", "seed"])
    grid = grid.assign(
        dataset="mnist", status="ok", test_accuracy=rng.normal(0.1 * grid["a"] * grid["b"], 0.1)
    )
    table = stats.anova(grid, ["a", "b", "c", "d", "e"]).set_index("term")
    assert table["df"].sum() == 10_000 - 1
    assert table["share"].sum() == pytest.approx(1)
    assert set(table.index[table["p"] < 1e-4]) == {"a", "b", "a:b"}


def test_anova_needs_two_seeds_and_two_levels() -> None:
    grid = noisy()
    one = grid[grid["seed"].eq(1)]
    terms = stats.anova(one, THREE).query("dataset == 'mnist'")["term"]
    assert len(terms) == 7
    assert "seed" not in set(terms)
    full = stats.anova(one, THREE, interactions=3).set_index("term")
    rest = full.loc[["rest"]]
    assert set(rest["df"]) == {0}
    npt.assert_allclose(rest["sum_squares"], 0, atol=1e-12)
    assert full[["F", "p"]].isna().all(axis=None)
    narrow = stats.anova(grid[grid["width"].eq("64")], THREE)
    assert set(narrow["term"]) == {"activation", "optimizer", "activation:optimizer", "seed", "rest"}


def test_shares_are_nan_without_variance() -> None:
    table = stats.anova(factorial(test_accuracy=0.9871), AXES)  # whose mean is rounded
    assert table[["share", "F", "p"]].isna().all(axis=None)
    npt.assert_allclose(table["sum_squares"], 0, atol=1e-24)


def test_holes_remove_whole_levels_and_are_reported() -> None:
    holed = undo(noisy(), "diverged", dataset="mnist", activation="tanh", width="64", seed=1)
    cells = stats.anova_cells(holed, THREE).set_index("dataset")
    assert cells.loc["mnist", "left_out_levels"] == ("activation=tanh",)
    assert cells[["cells", "seeds", "left_out"]].to_numpy().tolist() == [[8, 3, 12], [12, 3, 0]]
    without = holed[holed["activation"].ne("tanh")]
    ours, theirs = (stats.anova(t, THREE).query("dataset == 'mnist'") for t in (holed, without))
    pd.testing.assert_frame_equal(ours, theirs)


def test_a_hardly_begun_seed_is_left_out_and_no_level() -> None:
    stopped = undo(undo(noisy(), "failed", seed=2, optimizer="sgd"), "failed", seed=2, activation="tanh")
    cells = stats.anova_cells(stopped, THREE)
    assert set(cells["left_out_levels"]) == {("seed=2",)}
    assert set(cells["left_out"]) == {12}


def test_nothing_finished_and_no_trials_are_empty_tables() -> None:
    whole = stats.anova(noisy(), THREE)
    nothing = factorial(status="diverged", test_accuracy=math.nan)
    for trials in (nothing, nothing.iloc[:0]):
        empty = stats.anova(trials, AXES)
        assert empty.empty
        assert list(empty.columns) == list(whole.columns)
    told = stats.anova_cells(nothing, AXES)
    assert told["left_out"].tolist() == [18, 18]
    assert told["cells"].tolist() == [0, 0]
    assert list(stats.anova_cells(nothing.iloc[:0], AXES).columns) == list(told.columns)


def test_a_missing_axis_is_reported() -> None:
    with pytest.raises(ValueError, match="name every axis"):
        stats.anova(noisy(), ["activation", "optimizer"])
    with pytest.raises(ValueError, match="name every axis"):
        stats.interaction(noisy(), "activation", "optimizer")


# ------------------------------------------------------------------------------------------- interactions


def test_interaction_is_cell_less_row_less_column_plus_grand_mean() -> None:
    grid = noisy()
    table = stats.interaction(grid, "activation", "width", axes=THREE)
    mnist = table[table["dataset"].eq("mnist")].set_index(["activation", "width"])
    here = grid[grid["dataset"].eq("mnist")].set_index(["activation", "width"])["test_accuracy"]
    means, rows, columns = (here.groupby(level=by).mean() for by in ([0, 1], 0, 1))
    for place in means.index:
        activation, width = place
        additive = rows[activation] + columns[width] - here.mean()
        assert mnist["mean"][place] == pytest.approx(means[place])
        assert mnist["effect"][place] == pytest.approx(means[place] - additive)
    assert set(table["n"]) == {3}
    assert set(table["cells"]) == {2}
    # Their squares are the interaction's sum of squares, of which each mean stands for six trials.
    squares = stats.anova(grid, THREE).set_index(["dataset", "term"])["sum_squares"]
    assert 6 * (mnist["effect"] ** 2).sum() == pytest.approx(squares["mnist", "activation:width"])


def test_intervals_of_a_combination_are_scipys_over_seeds() -> None:
    grid = noisy()
    row = stats.interaction(grid, "activation", "width", axes=THREE).iloc[0]
    chosen = grid[grid["dataset"].eq("mnist") & grid["activation"].eq("sigmoid") & grid["width"].eq("64")]
    seeds = chosen.groupby("seed")["test_accuracy"].mean()
    low, high = scipy_stats.t.interval(0.95, 2, seeds.mean(), scipy_stats.sem(seeds))
    npt.assert_allclose([row["low"], row["high"]], [low, high])
    assert row["effect_low"] < row["effect"] < row["effect_high"]


def test_an_unfinished_combination_does_not_affect_the_others() -> None:
    holed = undo(factorial(), "skipped", activation="tanh", optimizer="adam")
    table = stats.interaction(holed, "activation", "optimizer", axes=AXES)
    missing = table["activation"].eq("tanh") & table["optimizer"].eq("adam")
    assert missing.sum() == 2
    assert set(table.loc[missing, "n"]) == {0}
    untold = ["mean", "low", "high", "effect", "effect_low", "effect_high"]
    assert table.loc[missing, untold].isna().all(axis=None)
    assert table.loc[~missing, ["mean", "low", "high", "effect"]].notna().all(axis=None)
    npt.assert_allclose(table.loc[~missing, "effect"], 0, atol=1e-12)
    here = table["dataset"].eq("mnist") & table["activation"].eq("relu") & table["optimizer"].eq("sgd")
    npt.assert_allclose(table.loc[here, "mean"], 0.69 + ACTIVATION["relu"])


def test_combinations_are_averaged_over_the_same_cells() -> None:
    whole = pd.concat([factorial().assign(width=width) for width in ("64", "128")], ignore_index=True)
    whole["test_accuracy"] += 0.05 * whole["width"].eq("128")
    broken = undo(whole, "diverged", width="128", activation="relu", optimizer="sgd", seed=0)
    table = stats.interaction(broken, "activation", "optimizer", axes=THREE)
    npt.assert_allclose(table["effect"], 0, atol=1e-12)
    assert set(table["cells"]) == set(table["left_out"]) == {1}


def test_unfinished_trials_give_rows_without_numbers_and_no_trials_give_no_rows() -> None:
    nothing = factorial(status="diverged", test_accuracy=math.nan)
    table = stats.interaction(nothing, "activation", "optimizer", axes=AXES)
    assert len(table) == 12
    assert set(table["n"]) == {0}
    assert table[["mean", "effect"]].isna().all(axis=None)
    empty = stats.interaction(nothing.iloc[:0], "activation", "optimizer", axes=AXES)
    assert empty.empty
    assert list(empty.columns) == list(table.columns)
