"""Calibration against scikit-learn and by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.testing as npt
import pytest
from sklearn.calibration import calibration_curve

from harness import stats


def test_reliability_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.1, 1, 5000)
    right = rng.random(5000) < sure**2
    table = stats.calibration(sure, right, bins=10)
    accuracy, confidence = calibration_curve(right, sure, n_bins=10)
    occupied = table[table["n"] > 0]
    npt.assert_allclose(occupied["accuracy"], accuracy)
    npt.assert_allclose(occupied["confidence"], confidence)
    assert table["n"].sum() == 5000
    assert len(table) == 10


def test_expected_calibration_error_by_hand() -> None:
    # Two bins: (0, .5] has one sample at .4 that is right, (.5, 1] three at .6, .8, 1 of which two are.
    sure, right = [0.4, 0.6, 0.8, 1.0], [True, True, False, True]
    assert stats.ece(sure, right, bins=2) == pytest.approx(1 / 4 * 0.6 + 3 / 4 * abs(2 / 3 - 0.8))
    assert stats.ece(np.reshape(sure, (2, 2)), np.reshape(right, (2, 2)), bins=2) == stats.ece(sure, right, 2)


def test_ece_is_near_0_if_calibrated_and_1_if_surely_wrong() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0, 1, 200_000)
    assert stats.ece(sure, rng.random(200_000) < sure) < 0.01
    assert stats.ece(np.ones(10), np.zeros(10)) == 1.0


def test_edges_belong_to_the_bin_below_and_zero_to_the_first() -> None:
    table = stats.calibration([0.0, 0.5, 1.0, 1.0], [False, True, True, True], bins=4)
    assert table["n"].tolist() == [1, 1, 0, 2]
    assert table["low"].tolist() == [0, 0.25, 0.5, 0.75]
    assert table["high"].tolist() == [0.25, 0.5, 0.75, 1]
    assert math.isnan(table["accuracy"][2])


def test_calibration_of_no_samples_is_nan_without_an_error() -> None:
    table = stats.calibration([], [], bins=3)
    assert table["n"].tolist() == [0, 0, 0]
    assert math.isnan(stats.ece([], []))


@pytest.mark.parametrize("sure", [[1.1, 0.5], [math.nan, 0.5], [0.5]])
def test_values_other_than_confidences_are_refused(sure: list[float]) -> None:
    with pytest.raises(ValueError, match="confidence"):
        stats.calibration(sure, [True, False])
