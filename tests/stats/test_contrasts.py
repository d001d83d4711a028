"""Paired contrasts against scipy."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from factorials import factorial, undo
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
