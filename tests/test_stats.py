"""Statistics against scipy, worked examples and factorials whose effects are known."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness import stats

ACTIVATION = {"sigmoid": -0.03, "tanh": 0.01, "relu": 0.02}
OPTIMIZER = {"sgd": -0.1, "adam": 0.1}
SEED = {0: -0.004, 1: 0.001, 2: 0.003}


def factorial(**changes: Any) -> pd.DataFrame:
    """A balanced grid without interplay: 0.8 + activation + optimizer + seed, on two data sets."""
    rows = [
        {
            "trial_id": f"{dataset}-{activation}-{optimizer}-{seed}",
            "arm": f"{activation}, {optimizer}",
            "dataset": dataset,
            "activation": activation,
            "optimizer": optimizer,
            "seed": seed,
            "status": "ok",
            "val_accuracy": 0.8 + a + o + s,
            "test_accuracy": 0.79 + a + o + s,
        }
        for dataset, (activation, a), (optimizer, o), (seed, s) in itertools.product(
            ["mnist", "fashion_mnist"], ACTIVATION.items(), OPTIMIZER.items(), SEED.items()
        )
    ]
    return pd.DataFrame(rows).assign(**changes)


def undo(trials: pd.DataFrame, status: str, **where: Any) -> pd.DataFrame:
    """The same trials with some that gave no result."""
    chosen = np.logical_and.reduce([trials[key].eq(value) for key, value in where.items()])
    empty = {name: trials[name].mask(chosen) for name in ("val_accuracy", "test_accuracy")}
    return trials.assign(status=trials["status"].mask(chosen, status), **empty)


AXES = ["activation", "optimizer"]


# --------------------------------------------------------------------------------------------- intervals


@settings(deadline=None)  # time depends on the machine
@given(
    st.lists(st.floats(0, 1, allow_subnormal=False), min_size=2, max_size=12),
    st.sampled_from([0.8, 0.95, 0.99]),
)
def test_interval_is_scipys_t_interval(values: list[float], confidence: float) -> None:
    table = stats.summarise(pd.DataFrame({"arm": "a", "x": values}), ["arm"], "x", confidence)
    row = table.iloc[0]
    error = scipy_stats.sem(values)
    low, high = (np.mean(values),) * 2
    if error > 0:
        low, high = scipy_stats.t.interval(confidence, len(values) - 1, np.mean(values), error)
    npt.assert_allclose([row["low"], row["high"]], [low, high], rtol=1e-9, atol=1e-12)
    assert row["n"] == len(values)


def test_one_seed_has_no_interval_and_no_seed_no_mean() -> None:
    values = pd.DataFrame({"arm": ["a", "b"], "x": [0.5, math.nan]})
    table = stats.summarise(values, ["arm"], "x").set_index("arm")
    assert table.loc["a", "mean"] == 0.5
    assert table.loc["a", ["sd", "low", "high"]].isna().all()
    assert table.loc["b", "n"] == 0
    assert table.loc["b", ["mean", "sd", "low", "high"]].isna().all()


# ------------------------------------------------------------------------------------------- main effects


def test_main_effects_of_a_balanced_grid_are_the_ones_it_was_made_of() -> None:
    effects = stats.main_effects(factorial(), AXES)
    assert list(effects["dataset"].unique()) == ["mnist", "fashion_mnist"]
    got = effects[effects["dataset"].eq("mnist")].set_index(["axis", "level"])
    for axis, known in (("activation", ACTIVATION), ("optimizer", OPTIMIZER)):
        for level, effect in known.items():
            assert got.loc[(axis, level), "effect"] == pytest.approx(effect)
            assert got.loc[(axis, level), "mean"] == pytest.approx(0.8 + effect)
    # Seeds shift all levels alike, so the paired effects do not vary at all.
    npt.assert_allclose(effects["high"] - effects["low"], 0, atol=1e-12)
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


def test_a_level_without_any_finished_trial_does_not_take_the_others_down() -> None:
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


# ------------------------------------------------------------------------------------------------ spreads


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


@settings(deadline=None, max_examples=25)  # time depends on the machine
@given(st.permutations(range(36)))
def test_the_order_of_rows_changes_no_number(order: list[int]) -> None:
    shuffled = factorial().iloc[order]
    keys = ["dataset", "axis"]
    ours, theirs = (
        stats.axis_spreads(trials, AXES).set_index(keys).sort_index()[["spread", "low", "high", "share"]]
        for trials in (factorial(), shuffled)
    )
    npt.assert_allclose(ours, theirs, atol=1e-12)


# ------------------------------------------------------------------------------------------------ ranking


def test_arms_are_ranked_by_val_even_where_test_says_otherwise() -> None:
    trials = factorial()
    trials["test_accuracy"] = 1 - trials["val_accuracy"]
    ranking = stats.rank_arms(trials)
    mnist = ranking[ranking["dataset"].eq("mnist")]
    assert mnist["arm"].iloc[0] == "relu, adam"
    assert mnist["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert mnist["mean"].is_monotonic_decreasing
    assert mnist["shown_mean"].iloc[0] == pytest.approx(1 - mnist["mean"].iloc[0])


def test_arms_with_a_diverged_seed_come_after_whole_ones_and_empty_ones_have_no_rank() -> None:
    holed = undo(factorial(), "diverged", dataset="mnist", arm="relu, adam", seed=1)
    holed = undo(holed, "skipped", dataset="mnist", arm="tanh, adam")
    mnist = stats.rank_arms(holed).query("dataset == 'mnist'")
    assert mnist["arm"].tolist()[-2:] == ["relu, adam", "tanh, adam"]
    assert mnist["rank"].tolist()[:-1] == [1, 2, 3, 4, 5]
    assert math.isnan(mnist["rank"].iloc[-1])
    assert mnist[["planned", "ok", "diverged", "skipped"]].to_numpy()[-2:].tolist() == [
        [3, 2, 1, 0],
        [3, 0, 0, 3],
    ]
    assert math.isnan(mnist["mean"].iloc[-1]), "no accuracy is imputed"


# ---------------------------------------------------------------------------------------------- contrasts


def test_contrast_is_scipys_paired_t_interval() -> None:
    noisy = factorial()
    noisy["val_accuracy"] += np.random.default_rng(2).normal(0, 0.01, len(noisy))
    pairs = pd.DataFrame({"arm": ["relu, adam"], "reference": ["relu, sgd"]})
    row = stats.contrasts(noisy, pairs).iloc[0]
    mnist = noisy[noisy["dataset"].eq("mnist")].set_index(["arm", "seed"])["val_accuracy"]
    expected = scipy_stats.ttest_rel(mnist["relu, adam"], mnist["relu, sgd"])
    interval = expected.confidence_interval(0.95)
    npt.assert_allclose([row["low"], row["high"]], [interval.low, interval.high])
    assert row["n"] == 3


def test_contrast_uses_only_seeds_that_both_arms_finished() -> None:
    holed = undo(factorial(), "diverged", dataset="mnist", arm="relu, sgd", seed=0)
    pairs = pd.DataFrame({"arm": ["relu, adam"], "reference": ["relu, sgd"]})
    table = stats.contrasts(holed, pairs).set_index("dataset")
    assert table.loc["mnist", "n"] == 2
    assert table.loc["mnist", "difference"] == pytest.approx(0.2)
    assert table.loc["fashion_mnist", "n"] == 3


# ---------------------------------------------------------------------------------- curves and confusion


def test_mean_curves_average_finished_trials_within_a_seed() -> None:
    trials = undo(factorial(), "diverged", arm="tanh, adam")
    epochs = pd.DataFrame(
        [
            {"trial_id": row["trial_id"], "epoch": epoch, "split": "val", "accuracy": 0.1 + epoch * place}
            for place, row in enumerate(trials.to_dict("records"))
            for epoch in (0, 1)
        ]
    )
    curves = stats.mean_curves(epochs, trials, ["dataset", "optimizer"]).set_index(
        ["dataset", "optimizer", "epoch", "seed"]
    )
    assert curves.loc[("mnist", "adam", 1, 0), "trials"] == 2, "sigmoid and relu; tanh diverged"
    # With adam and seed 0, sigmoid is the fourth row of the grid and relu the sixteenth.
    assert curves.loc[("mnist", "adam", 1, 0), "value"] == pytest.approx(0.1 + (3 + 15) / 2)


def test_confusion_matrix_sums_trials_and_keeps_empty_classes() -> None:
    cells = pd.DataFrame(
        [("a", "test", 0, 1, 2), ("b", "test", 0, 1, 3), ("b", "val", 0, 1, 50), ("c", "test", 1, 1, 9)],
        columns=["trial_id", "split", "label", "prediction", "count"],
    )
    counts = stats.confusion_matrix(cells, ["a", "b"], 3)
    assert counts.to_numpy().tolist() == [[0, 5, 0], [0, 0, 0], [0, 0, 0]]
    assert (counts.index.name, counts.columns.name) == ("true", "predicted")


def test_confusion_differences_pair_seeds_that_both_arms_finished() -> None:
    trials = pd.DataFrame(
        [("a0", "a", 0, "ok"), ("a1", "a", 1, "ok"), ("a2", "a", 2, "diverged"),
         ("b1", "b", 1, "ok"), ("b0", "b", 0, "ok"), ("b2", "b", 2, "ok")],
        columns=["trial_id", "arm", "seed", "status"],
    )  # fmt: skip
    cells = pd.DataFrame(
        [("a0", "test", 0, 0, 9), ("a0", "test", 0, 1, 1), ("b0", "test", 0, 0, 6), ("b0", "test", 0, 1, 4),
         ("a1", "test", 0, 0, 8), ("a1", "test", 0, 1, 2), ("b1", "test", 0, 0, 10),
         ("b2", "test", 0, 1, 10), ("a1", "val", 0, 1, 99)],
        columns=["trial_id", "split", "label", "prediction", "count"],
    )  # fmt: skip
    changes = stats.confusion_differences(cells, trials, ("a", "b"), 2)
    assert changes.loc[0].to_numpy().tolist() == [[3, -3], [0, 0]]
    assert changes.loc[1].to_numpy().tolist() == [[-2, 2], [0, 0]]
    assert list(changes.index.unique("seed")) == [0, 1], "seed 2 diverged in one arm"
    assert changes.groupby(level="true").sum().to_numpy().tolist() == [[1, -1], [0, 0]]


def test_confusion_differences_without_a_common_seed_are_empty() -> None:
    trials = pd.DataFrame({"trial_id": ["a", "b"], "arm": ["a", "b"], "seed": [0, 1], "status": "ok"})
    cells = pd.DataFrame({"trial_id": ["a", "b"], "split": "test", "label": 0, "prediction": 0, "count": 1})
    changes = stats.confusion_differences(cells, trials, ("a", "b"), 2)
    assert changes.shape == (0, 2)
    assert changes.groupby(level="true").sum().empty
