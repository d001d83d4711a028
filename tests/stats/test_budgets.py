"""Expected best of a search against every subset of its trials."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.testing as npt
import pytest

from harness import stats


def test_expected_best_is_the_mean_over_all_subsets() -> None:
    values = np.random.default_rng(0).normal(0.9, 0.02, 8)
    values[3] = values[5]  # a tie
    table = stats.expected_best(values, range(1, 9))
    by_hand = [np.mean([max(some) for some in itertools.combinations(values, k)]) for k in range(1, 9)]
    npt.assert_allclose(table["expected"], by_hand)
    assert table["expected"].is_monotonic_increasing


def test_trials_that_did_not_finish_are_spent_and_the_worst() -> None:
    values = [0.9, math.nan, 0.7, math.nan, 0.8]
    table = stats.expected_best(values, [2, 3, 4, 5, 6]).set_index("budget")
    assert math.isnan(table["expected"][2]), "both could be unfinished, and nothing is made up for that"
    assert math.isnan(table["expected"][6])
    worst = np.nan_to_num(values, nan=-math.inf)
    for k in (3, 4, 5):
        by_hand = np.mean([max(some) for some in itertools.combinations(worst, k)])
        assert table["expected"][k] == pytest.approx(by_hand)
    assert set(table["unfinished"]) == {2}
    assert set(table["trials"]) == {5}


def test_thousands_of_trials_do_not_overflow() -> None:
    values = np.linspace(0, 1, 5001)
    table = stats.expected_best(values, [1, 2500, 5001])
    # Of n evenly spaced numbers the best of k is expected at k (n + 1) / (k + 1), counted from 1.
    expected = [(k * 5002 / (k + 1) - 1) / 5000 for k in (1, 2500, 5001)]
    npt.assert_allclose(table["expected"], expected, rtol=1e-9)


def test_nothing_finished_or_tried_has_no_best() -> None:
    assert stats.expected_best([math.nan] * 3, [1, 3])["expected"].isna().all()
    assert stats.expected_best([], [1])["expected"].isna().all()
    assert stats.expected_best([0.5], []).empty
    with pytest.raises(ValueError, match="from 1"):
        stats.expected_best([0.5], [0])
