"""Looks at a comparison: their levels by simulation, verdicts and intervals by SciPy and statsmodels."""

from __future__ import annotations

import calibrating_looks
import numpy as np
import numpy.testing as npt
import pytest
from numpy.typing import NDArray
from scipy import special
from scipy import stats as scipy_stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from harness.stats import sequential
from harness.stats.sequential import LOOKS

DRAWS = 400_000
MARGIN = 1.0


@pytest.fixture(scope="module")
def equals() -> NDArray[np.float32]:
    """The t statistics of comparisons of equals at all looks, (DRAWS, looks)."""
    return calibrating_looks.t_statistics(DRAWS, np.random.default_rng(7))


def critical(alpha: float, sides: int = 2) -> NDArray[np.float64]:
    levels = np.array([sequential.level(n, alpha) for n in LOOKS])
    return np.asarray(special.stdtrit(np.array(LOOKS) - 1, 1 - levels / sides))


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.03, 0.007])  # two of them between the rows of the table
def test_all_looks_together_call_alpha_of_equals_different(equals: NDArray[np.float32], alpha: float) -> None:
    different = np.abs(equals) >= critical(alpha)
    error = np.sqrt(alpha * (1 - alpha) / DRAWS)
    assert abs(different.any(axis=1).mean() - alpha) < 4 * error
    first = different & (different.cumsum(axis=1) == 1)
    spent = [sequential.increment(n, alpha) for n in LOOKS]
    npt.assert_allclose(first.mean(axis=0), spent, atol=4 * np.sqrt(alpha * 0.27 / DRAWS))
    to_20 = different[:, : LOOKS.index(20) + 1].any(axis=1).mean()
    assert abs(to_20 - 0.9 * alpha) < 4 * error


def test_without_the_levels_looking_finds_what_is_not_there(equals: NDArray[np.float32]) -> None:
    naive = special.stdtrit(np.array(LOOKS[:6]) - 1, 0.975)
    assert (np.abs(equals[:, :6]) >= naive).any(axis=1).mean() > 0.12


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_arms_a_margin_apart_are_the_same_in_at_most_alpha(equals: NDArray[np.float32], alpha: float) -> None:
    # At the margin's edge, `mean - margin` over its standard error is the t statistic of equals.
    rate = (equals <= -critical(alpha, 1)).any(axis=1).mean()
    assert 0.8 * alpha < rate <= alpha


def test_the_table_is_what_calibration_gives(equals: NDArray[np.float32]) -> None:
    found = calibrating_looks.levels(equals, 0.05)
    npt.assert_allclose(found, [sequential.level(n) for n in LOOKS], rtol=0.07)


def test_what_is_there_is_found_with_few_seeds() -> None:
    """A true difference of one SD takes 12 seeds on average, one of two SDs fewer than 7."""
    found, seeds = calibrating_looks.power(1.0, 20_000, np.random.default_rng(5))
    assert found == pytest.approx(0.970, abs=0.006)
    assert seeds == pytest.approx(12.2, abs=0.2)
    found, seeds = calibrating_looks.power(2.0, 20_000, np.random.default_rng(6))
    assert found > 0.999
    assert seeds == pytest.approx(6.6, abs=0.1)


def test_the_look_that_shows_a_difference_is_the_first_with_enough_power() -> None:
    solver = TTestPower()
    expected = [n for n in LOOKS if solver.power(0.9, n, sequential.level(n)) >= 0.8]
    assert sequential.look_that_shows(-1.8, 2.0) == expected[0]
    assert sequential.look_that_shows(1.8, 2.0, after=expected[0]) == expected[1]
    assert sequential.look_that_shows(0.01, 1.0) is None
    assert sequential.look_that_shows(1.0, 0.0) is None


def test_what_is_spent_sums_up_to_alpha() -> None:
    assert sum(sequential.increment(n, 0.05) for n in LOOKS) == pytest.approx(0.05)
    assert sequential.level(3, 0.05) == pytest.approx(0.9 * 3 / 20 * 0.05)  # nothing was looked at before
    assert sequential.level(20, 1e-5) == sequential.increment(20, 1e-5)  # below the table
    assert sequential.looks(20) == (3, 5, 7, 10, 14, 20)
    assert sequential.looks(2) == ()


@pytest.mark.parametrize(("n", "alpha"), [(4, 0.05), (3, 0.0), (3, 0.3)])
def test_levels_are_of_looks_only(n: int, alpha: float) -> None:
    with pytest.raises(ValueError, match="allowed are n in"):
        sequential.level(n, alpha)


def test_a_look_has_scipys_t_test_and_statsmodels_tost() -> None:
    values = np.random.default_rng(1).normal(0.4, 1.0, 7)
    row = sequential.at_look(values, margin=MARGIN)
    assert row["p"] == pytest.approx(scipy_stats.ttest_1samp(values, 0).pvalue)
    tost = ttost_paired(values, np.zeros(7), -MARGIN, MARGIN)[0]
    assert row["p_same"] == pytest.approx(tost)
    half = scipy_stats.t.ppf(1 - row["level"] / 2, 6) * values.std(ddof=1) / np.sqrt(7)
    npt.assert_allclose([row["low"], row["high"]], [values.mean() - half, values.mean() + half])
    ends = scipy_stats.t.interval(1 - 2 * row["level"], 6, values.mean(), values.std(ddof=1) / np.sqrt(7))
    npt.assert_allclose([row["same_low"], row["same_high"]], ends)


def test_intervals_match_verdicts() -> None:
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(60):
        n = int(rng.choice(LOOKS[:6]))
        values = rng.normal(rng.choice([-3, 0, 3]), rng.choice([0.2, 1]), n)
        row = sequential.at_look(values, margin=MARGIN, higher_is_better=False)
        excludes_zero = row["low"] > 0 or row["high"] < 0
        assert excludes_zero == (row["verdict"] in {"better", "worse"})
        if excludes_zero:
            assert (row["verdict"] == "better") == (row["difference"] < 0)
        inside = row["same_low"] > -MARGIN and row["same_high"] < MARGIN
        assert inside == row["within_margin"]
        seen.add(row["verdict"])
    assert seen == {"better", "worse", "same within margin", "cannot tell"}


def test_equal_differences_are_told_by_signs() -> None:
    assert sequential.at_look([0.1] * 5, margin=0.01)["verdict"] == "cannot tell"  # 2 / 2^5
    assert sequential.at_look([0.1] * 10, margin=0.01)["verdict"] == "better"
    assert sequential.at_look([0.0] * 5, margin=0.01)["verdict"] == "the same in all seeds"
    assert sequential.at_look([0.0] * 10, margin=0.01)["verdict"] == "same within margin"


@pytest.mark.parametrize("counts", [(0, 10), (3, 9), (5, 5), (1, 0)])
def test_the_sign_test_is_scipys(counts: tuple[int, int]) -> None:
    expected = scipy_stats.binomtest(counts[0], sum(counts)).pvalue
    assert sequential.sign_test(*counts) == pytest.approx(expected)


def test_many_comparisons_are_judged_as_one_is() -> None:
    rng = np.random.default_rng(3)
    values = np.round(rng.normal(rng.choice([0, 0.5, 3], (12, 1)), 1.0, (12, 20)), 1)
    table = sequential.first_told(values, margin=0.5)
    signs = {"better": 1, "worse": -1}
    for series, row in zip(values, table.to_dict("records"), strict=True):
        for n in sequential.looks(20):
            look = sequential.at_look(series[:n], margin=0.5)
            if look["verdict"] not in {"cannot tell", "the same in all seeds"}:
                break
        told = look["verdict"] != "cannot tell"
        assert (row["seeds"], row["told"]) == (n, told)
        assert row["verdict"] == signs.get(look["verdict"], 0)
        npt.assert_allclose([row["low"], row["high"]], [look["low"], look["high"]])
    assert set(table["verdict"]) == {0, 1}
    assert table["told"].nunique() == 2


@pytest.mark.parametrize("images", [0.3, 1.0])
def test_accuracies_of_few_images_are_not_called_different_more_often(images: float) -> None:
    """Differences are whole images, with an SD of so many: ties, and spreads of zero."""
    values = np.round(np.random.default_rng(4).normal(0, images, (3000, 20)))
    table = sequential.first_told(values, margin=1e-6)
    assert table["verdict"].ne(0).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 3000)
