"""Values of a search: the best so far, the Pareto front, and the expected best of smaller budgets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume

from harness import stats

VALUES = st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), min_size=1, max_size=12)


@given(VALUES)
def test_the_best_so_far_is_the_best_of_those_before(values: list[float]) -> None:
    for maximize, best in ((True, max), (False, min)):
        found = stats.best_so_far(values, maximize=maximize)
        for at in range(len(values)):
            known = [value for value in values[: at + 1] if not math.isnan(value)]
            assert math.isnan(found[at]) if not known else found[at] == best(known)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_pareto_front_has_the_rows_that_no_other_beats(rows: list[tuple[int, int]]) -> None:
    front = stats.pareto_front(rows, [True, False])
    for row, on in zip(rows, front, strict=True):
        beaten = any(a >= row[0] and b <= row[1] and (a, b) != row for a, b in rows)
        assert on != beaten


POINTS = st.lists(st.tuples(st.floats(0, 1), st.floats(1, 100)), min_size=1, max_size=12)


@given(POINTS, st.floats(0, 1), st.floats(1, 100))
def test_the_hypervolume_is_that_of_optuna(
    rows: list[tuple[float, float]], worst: float, most: float
) -> None:
    found = stats.hypervolume(rows, [True, False], [worst, most])
    for count, area in enumerate(found, 1):
        costs = np.array(rows[:count]) * [-1, 1]
        better = costs[(costs < [-worst, most]).all(axis=1)]
        expected = compute_hypervolume(better, np.array([-worst, most])) if len(better) else 0.0
        assert area == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_hypervolume_takes_any_directions_and_skips_points_without_a_value() -> None:
    rows = [[math.nan, 1.0], [2.0, 3.0], [3.0, 5.0], [2.0, 3.0], [9.0, 9.0]]
    found = stats.hypervolume(rows, [False, True], [4.0, 1.0])
    assert found.tolist() == [0.0, 4.0, 6.0, 6.0, 6.0]
    assert stats.hypervolume([[1.0, 2.0]], [False, False], [1.0, 3.0]).tolist() == [0.0]
    with pytest.raises(ValueError, match="not of two objectives"):
        stats.hypervolume([[1.0, 2.0, 3.0]], [True, True, True], [0.0, 0.0, 0.0])


def test_a_row_without_a_value_is_on_no_front_and_beats_nothing() -> None:
    assert stats.pareto_front([[math.nan, 0], [0.1, 9]], [True, False]).tolist() == [False, True]
    with pytest.raises(ValueError, match="do not have 3 objectives"):
        stats.pareto_front([[1, 2]], [True, True, True])


def test_quantiles_of_the_best_are_those_over_all_subsets() -> None:
    values = [0.2, 0.9, math.nan, 0.5, 0.7]
    table = stats.best_quantiles(values, range(1, 6), (0.25, 0.75)).set_index("budget")
    for budget in range(1, 6):
        kept = np.where(np.isnan(values), -np.inf, values)
        best = [max(subset) for subset in itertools.combinations(kept, budget)]
        low, high = np.quantile(best, [0.25, 0.75], method="inverted_cdf")
        wanted = [end if np.isfinite(end) else math.nan for end in (low, high)]
        assert table[table.index == budget].to_numpy()[0].tolist() == pytest.approx(wanted, nan_ok=True)
    assert stats.best_quantiles(values, [6])[["low", "high"]].isna().to_numpy().all()


@given(st.lists(st.tuples(st.sampled_from([0.8, 0.9, float("nan")]), st.integers(1, 3)), max_size=8))
def test_ranks_are_pythons(rows: list[tuple[float, int]]) -> None:
    known = [i for i, row in enumerate(rows) if not np.isnan(row[0])]
    expected = sorted(known, key=lambda i: (-rows[i][0], rows[i][1]))
    assert stats.ranked(np.array(rows, float).reshape(-1, 2), [True, False]).tolist() == expected


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
