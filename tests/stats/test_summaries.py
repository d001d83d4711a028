"""Intervals against scipy, the order of arms, and learning curves averaged within a seed."""

from __future__ import annotations

import math

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from factorials import factorial, undo
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness import stats


@settings(deadline=None)  # time depends on the machine
@given(
    st.lists(st.floats(0, 1, allow_subnormal=False), min_size=2, max_size=12),
    st.sampled_from([0.8, 0.95, 0.99]),
)
def test_interval_is_scipys_t_interval(values: list[float], confidence: float) -> None:
    table = stats.summarise(pd.DataFrame({"arm": "a", "x": values}), ["arm"], "x", confidence)
    row = table.iloc[0]
    error = scipy_stats.sem(values)
    low, high = math.nan, math.nan
    if float(np.std(values, ddof=1)) > max(
        1e-9 * float(np.mean(values)), 1e-12
    ):  # else they differ by rounding alone
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


def test_an_axis_may_have_the_name_of_the_metric() -> None:
    trials = pd.DataFrame(
        {"trial_id": ["a", "b"], "status": ["ok", "ok"], "seed": [0, 0], "loss": ["ce", "mse"]}
    )
    epochs = pd.DataFrame(
        {"trial_id": ["a", "b"], "epoch": [1.0, 1.0], "split": ["val", "val"], "loss": [0.25, 0.5]}
    )
    curves = stats.mean_curves(epochs, trials, ["loss"], "loss")
    assert curves[["loss", "value"]].to_dict("list") == {"loss": ["ce", "mse"], "value": [0.25, 0.5]}
