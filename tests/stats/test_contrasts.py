"""Paired contrasts against scipy; levels against a reference level, in whole and holed factorials."""

from __future__ import annotations

import math

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from factorials import ACTIVATION, AXES, OPTIMIZER, factorial, undo
from scipy import stats as scipy_stats

from harness import stats


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


def test_unfinished_seeds_are_listed_on_request() -> None:
    holed = undo(factorial(), "diverged", dataset="mnist", arm="relu, sgd")
    pairs = pd.DataFrame({"arm": ["relu, adam", "tanh, adam"], "reference": ["relu, sgd", "relu, adam"]})
    table = stats.paired_differences(holed, pairs, unfinished=True)
    assert len(table) == 2 * 2 * 3
    verdicts = stats.verdicts(table, margin=0.002).set_index(["dataset", "arm"])
    assert verdicts.loc[("mnist", "relu, adam"), "verdict"] == "no data"
    assert verdicts.loc[("mnist", "tanh, adam"), "n"] == 3
    done = stats.paired_differences(holed, pairs)
    pd.testing.assert_frame_equal(table.dropna(subset="difference").reset_index(drop=True), done)


def test_differences_of_levels_are_the_ones_the_grid_was_made_of() -> None:
    table = stats.level_differences(factorial(), "activation", "sigmoid", axes=AXES)
    assert list(table.columns) == [
        "dataset", "arm", "reference", "seed", "value", "reference_value", "difference", "cells", "left_out"
    ]  # fmt: skip
    assert table.groupby(["dataset", "arm"], sort=False).size().to_dict() == {
        ("mnist", "tanh"): 3, ("mnist", "relu"): 3, ("fashion_mnist", "tanh"): 3, ("fashion_mnist", "relu"): 3
    }  # fmt: skip
    for level in ("tanh", "relu"):
        got = table.loc[table["arm"].eq(level), "difference"]
        npt.assert_allclose(got, ACTIVATION[level] - ACTIVATION["sigmoid"])
    assert set(table["cells"]) == {2}
    assert set(table["left_out"]) == {0}
    npt.assert_allclose(table["value"] - table["reference_value"], table["difference"])


def test_within_an_axis_each_of_its_levels_is_compared_by_itself() -> None:
    grid = factorial()
    hit = grid["activation"].eq("relu") & grid["optimizer"].eq("adam")
    grid["test_accuracy"] += 0.05 * hit
    table = stats.level_differences(grid, "activation", "tanh", within=["optimizer"], axes=AXES)
    assert list(table.columns[:3]) == ["dataset", "optimizer", "arm"]
    relu = table[table["arm"].eq("relu")].groupby("optimizer")["difference"].mean()
    npt.assert_allclose(relu[["sgd", "adam"]], [0.01, 0.06])
    assert set(table["cells"]) == {1}


def test_numbers_are_found_by_their_text() -> None:
    grid = factorial().assign(lr=lambda t: t["optimizer"].map({"sgd": 0.1, "adam": 0.001}))
    table = stats.level_differences(grid, "lr", "0.1", axes=["activation", "lr"])
    assert set(table["arm"]) == {"0.001"}
    npt.assert_allclose(table["difference"], OPTIMIZER["adam"] - OPTIMIZER["sgd"])


def test_a_diverged_trial_costs_its_cell() -> None:
    holed = undo(factorial(), "diverged", dataset="mnist", activation="relu", optimizer="sgd", seed=1)
    table = stats.level_differences(holed, "activation", "sigmoid", axes=AXES)
    relu = table[table["arm"].eq("relu") & table["dataset"].eq("mnist")]
    # Without the cell, relu would be averaged over adam alone in seed 1 and look 0.1 better than it is.
    npt.assert_allclose(relu["difference"], 0.05)
    assert relu["seed"].tolist() == [0, 1, 2]
    assert set(relu["cells"]) == set(relu["left_out"]) == {1}
    assert set(table.loc[table["arm"].eq("tanh"), "left_out"]) == {0}, "a hole of relu is none of tanh's"


def test_a_seed_hardly_begun_costs_itself_and_no_cell() -> None:
    stopped = undo(factorial(), "failed", dataset="mnist", optimizer="sgd", seed=2)
    stopped = undo(stopped, "failed", dataset="mnist", optimizer="adam", activation="tanh", seed=2)
    table = stats.level_differences(stopped, "activation", "tanh", axes=AXES)
    mnist = table[table["dataset"].eq("mnist") & table["arm"].eq("relu")].set_index("seed")
    npt.assert_allclose(mnist["difference"], [0.01, 0.01, math.nan])
    assert set(mnist["cells"]) == {2}
    assert set(mnist["left_out"]) == {0}


@pytest.mark.parametrize("level", ["relu", "sigmoid"])
def test_a_level_that_never_finished_keeps_its_rows_and_gets_no_verdict(level: str) -> None:
    holed = undo(factorial(), "diverged", dataset="mnist", activation=level)
    table = stats.level_differences(holed, "activation", "sigmoid", axes=AXES)
    verdicts = stats.verdicts(table, margin=0.002).set_index(["dataset", "arm"])
    assert verdicts.loc[("mnist", "relu"), "verdict"] == "no data"
    assert verdicts.loc[("mnist", "relu"), "n"] == 0
    assert verdicts.loc[("fashion_mnist", "relu"), "n"] == 3
    assert set(table.loc[table["dataset"].eq("mnist") & table["arm"].eq("relu"), "left_out"]) == {2}


def test_a_single_axis_is_one_cell_and_one_seed_one_difference() -> None:
    one = factorial()
    one = one[one["optimizer"].eq("adam") & one["seed"].eq(0)]
    table = stats.level_differences(one, "activation", "tanh", axes=["activation"])
    assert table["cells"].tolist() == [1, 1, 1, 1]
    assert set(stats.verdicts(table, margin=0.002)["verdict"]) == {"one seed"}


def test_without_the_reference_or_without_trials_the_table_is_empty() -> None:
    whole = stats.level_differences(factorial(), "activation", "tanh", ["optimizer"], AXES)
    for trials, reference in ((factorial(), "gelu"), (factorial().iloc[:0], "tanh")):
        empty = stats.level_differences(trials, "activation", reference, ["optimizer"], AXES)
        assert empty.empty
        assert list(empty.columns) == list(whole.columns)


def test_the_order_of_rows_changes_no_number() -> None:
    shuffled = factorial().sample(frac=1, random_state=np.random.default_rng(3))
    keys = ["dataset", "arm", "seed"]
    ours, theirs = (
        stats.level_differences(trials, "activation", "tanh", axes=AXES).set_index(keys).sort_index()
        for trials in (factorial(), shuffled)
    )
    npt.assert_allclose(ours["difference"], theirs["difference"], atol=1e-12)


def test_a_missing_axis_is_reported() -> None:
    with pytest.raises(ValueError, match="name every axis"):
        stats.level_differences(factorial(), "activation", "tanh")
