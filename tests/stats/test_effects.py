"""Main effects of factorials whose effects are known."""

from __future__ import annotations

import math

import numpy as np
import numpy.testing as npt
import pytest
from factorials import ACTIVATION, AXES, OPTIMIZER, factorial, undo
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness import stats


def test_main_effects_of_a_balanced_grid_are_the_ones_it_was_made_of() -> None:
    effects = stats.main_effects(factorial(), AXES)
    assert list(effects["dataset"].unique()) == ["mnist", "fashion_mnist"]
    got = effects[effects["dataset"].eq("mnist")].set_index(["axis", "level"])
    for axis, known in (("activation", ACTIVATION), ("optimizer", OPTIMIZER)):
        for level, effect in known.items():
            assert got.loc[(axis, level), "effect"] == pytest.approx(effect)
            assert got.loc[(axis, level), "mean"] == pytest.approx(0.8 + effect)
    # Seeds shift all levels alike, so the paired effects do not vary at all.
    assert effects[["low", "high"]].isna().all(axis=None), "no spread, so no interval"
    assert set(effects["n"]) == {3}, "the unit is the seed, not the trial"


def test_effects_sum_to_zero_within_an_axis_and_seed() -> None:
    noisy = factorial()
    noisy["val_accuracy"] += np.random.default_rng(0).normal(0, 0.01, len(noisy))
    seeds = stats.seed_effects(noisy, AXES)
    npt.assert_allclose(seeds.groupby(["dataset", "axis", "seed"])["effect"].sum(), 0, atol=1e-12)


def test_main_effect_interval_is_scipys_on_seed_level_effects() -> None:
    noisy = factorial()
    noisy["val_accuracy"] += np.random.default_rng(1).normal(0, 0.01, len(noisy))
    mnist = noisy[noisy["dataset"].eq("mnist")]
    by_seed = mnist.pivot_table(index="seed", columns="optimizer", values="val_accuracy")
    effect = by_seed["adam"] - by_seed.mean(axis=1)
    low, high = scipy_stats.t.interval(0.95, 2, effect.mean(), scipy_stats.sem(effect))
    row = stats.main_effects(mnist, AXES).query("axis == 'optimizer' and level == 'adam'").iloc[0]
    npt.assert_allclose([row["low"], row["high"]], [low, high])


def test_a_diverged_cell_is_left_out_for_every_level() -> None:
    # Without relu + sgd, relu would be averaged over adam alone and look 0.1 better than it is.
    holed = undo(factorial(), "diverged", dataset="mnist", activation="relu", optimizer="sgd", seed=1)
    effects = stats.main_effects(holed, AXES).set_index(["dataset", "axis", "level"])["effect"]
    for level, effect in ACTIVATION.items():
        assert effects["mnist", "activation", level] == pytest.approx(effect)
    cells = stats.effect_cells(holed, AXES).set_index(["dataset", "axis"])
    told = {key: (row["cells"], row["left_out"]) for key, row in cells.iterrows()}
    assert told["mnist", "activation"] == (1, 1)
    assert told["mnist", "optimizer"] == (2, 1)
    assert told["fashion_mnist", "activation"] == (2, 0)


def test_a_level_without_finished_trials_does_not_affect_the_others() -> None:
    holed = undo(factorial(), "skipped", activation="tanh")
    effects = stats.main_effects(holed, AXES)
    assert set(effects.loc[effects["axis"].eq("activation"), "level"]) == {"sigmoid", "relu"}
    cells = stats.effect_cells(holed, AXES).set_index(["dataset", "axis"])
    assert cells.loc[("mnist", "activation"), "empty_levels"] == ("tanh",)


def test_one_seed_gives_effects_without_intervals() -> None:
    one = factorial()
    effects = stats.main_effects(one[one["seed"].eq(0)], AXES)
    assert effects["effect"].notna().all()
    assert effects[["low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize("function", [stats.main_effects, stats.axis_spreads, stats.seed_effects])
def test_nothing_finished_gives_empty_tables_with_the_same_columns(function: object) -> None:
    assert callable(function)
    empty = function(factorial(status="diverged", val_accuracy=math.nan), AXES)
    assert empty.empty
    assert list(empty.columns) == list(function(factorial(), AXES).columns)


def test_spread_is_the_paired_difference_of_best_and_worst() -> None:
    spreads = stats.axis_spreads(factorial(), AXES)
    assert spreads["axis"].tolist() == ["optimizer", "activation"] * 2, "widest first within a data set"
    first = spreads.iloc[0]
    assert (first["best"], first["worst"], first["n"]) == ("adam", "sgd", 3)
    assert first["spread"] == pytest.approx(0.2)


def test_share_is_eta_squared() -> None:
    trials = factorial()
    mnist = trials[trials["dataset"].eq("mnist")]
    share = stats.axis_spreads(trials, AXES).set_index(["dataset", "axis"])["share"]
    total = ((mnist["val_accuracy"] - mnist["val_accuracy"].mean()) ** 2).sum()
    between = len(mnist) * np.mean(np.square(list(OPTIMIZER.values())))
    assert share["mnist", "optimizer"] == pytest.approx(between / total)


@settings(deadline=None, max_examples=8)  # time depends on the machine
@given(st.permutations(range(36)))
def test_the_order_of_rows_changes_no_number(order: list[int]) -> None:
    shuffled = factorial().iloc[order]
    keys = ["dataset", "axis"]
    ours, theirs = (
        stats.axis_spreads(trials, AXES).set_index(keys).sort_index()[["spread", "low", "high", "share"]]
        for trials in (factorial(), shuffled)
    )
    npt.assert_allclose(ours, theirs, atol=1e-12)
