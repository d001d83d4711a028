"""Power against statsmodels and against differences drawn at random."""

from __future__ import annotations

import math

import numpy as np
import numpy.testing as npt
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.power import TTestPower

from harness import stats

ALPHAS = (0.05, 0.01, 0.05 / 9, 0.05 / 99)


def test_detectable_differences_are_the_textbook_ones() -> None:
    detectable = stats.detectable_difference([5, 10, 15, 20, 29])
    npt.assert_allclose(detectable, [1.68, 1.00, 0.78, 0.66, 0.54], atol=0.005)
    npt.assert_allclose(stats.detectable_difference([5, 10], sd=[0.002, 0.01]), [0.00336, 0.00996], atol=5e-6)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_power_is_statsmodels(alpha: float) -> None:
    n, effect = (grid.ravel() for grid in np.meshgrid([2, 3, 5, 10, 20, 100], [0.0, 0.2, 0.7, 1.5]))
    ours = stats.power(n, effect * 0.003, 0.003, alpha)
    theirs = np.array([TTestPower().power(d, k, alpha) for d, k in zip(effect, n, strict=True)])
    known = ~np.isnan(theirs)  # it gives NaN where the wrong side's tail underflows
    assert known.sum() > 12
    npt.assert_allclose(ours[known], theirs[known], rtol=1e-9)
    assert not np.isnan(ours).any()


def test_power_at_a_corrected_alpha_where_statsmodels_gives_nan() -> None:
    effect, n, alpha = 2.0438361732207793, 10, 0.05 / 99
    assert math.isnan(TTestPower().power(effect, n, alpha))
    # By its definition: the mean over the chi distribution of the sample's SD.
    shares = (np.arange(200_000) + 0.5) / 200_000
    scale = np.sqrt(scipy_stats.chi2.ppf(shares, n - 1) / (n - 1))
    critical = scipy_stats.t.isf(alpha / 2, n - 1)
    expected = scipy_stats.norm.cdf(effect * np.sqrt(n) - critical * scale).mean()
    assert stats.power(n, effect, 1.0, alpha) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alpha", [*ALPHAS, 0.05 / 2000])
@pytest.mark.parametrize("n", [2, 3, 5, 10, 29, 100])
def test_a_detectable_difference_has_the_power_asked_for(n: int, alpha: float) -> None:
    for power in (0.5, 0.8, 0.9):
        detectable = stats.detectable_difference(n, 0.004, alpha, power)
        assert stats.power(n, detectable, 0.004, alpha) == pytest.approx(power, abs=1e-3)


@pytest.mark.parametrize("alpha", [*ALPHAS, 0.05 / 2000])
def test_seeds_needed_suffice_and_one_fewer_does_not(alpha: float) -> None:
    effects = np.array([0.05, 0.2, 0.5, 1.0, 3.0, 50.0])
    n = stats.seeds_needed(effects * 0.002, 0.002, alpha)
    assert (stats.power(n, effects, 1.0, alpha) >= 0.8).all()
    assert not (stats.power(n - 1, effects, 1.0, alpha) >= 0.8).any(), "NaN with one seed"


def test_seeds_needed_are_statsmodels_rounded_up() -> None:
    exact = [TTestPower().solve_power(effect_size=d, alpha=0.05, power=0.8) for d in (0.2, 0.5, 1.0)]
    assert stats.seeds_needed([0.2, 0.5, 1.0], 1.0).tolist() == [math.ceil(n) for n in exact]


def test_power_of_impossible_inputs_is_nan() -> None:
    assert np.isnan(stats.power([0, 1], 1.0, 1.0)).all()
    assert np.isnan(stats.power(5, 1.0, [0.0, -1.0, math.nan])).all()
    assert np.isnan(stats.detectable_difference([0, 1, math.nan])).all()
    assert np.isnan(stats.detectable_difference(5, [0.0, math.nan])).all()
    assert np.isnan(stats.seeds_needed([0.0, math.nan, 0.002, 0.002], [1.0, 1.0, 0.0, 0.9])).all()
    assert stats.seeds_needed([], []).shape == (0,)


def test_wilcoxons_floor_is_the_smallest_p_that_scipy_gives() -> None:
    for n in (2, 5, 6, 10):
        ranked = np.arange(1.0, n + 1)
        assert stats.wilcoxon_floor(n) == pytest.approx(scipy_stats.wilcoxon(ranked).pvalue)
    assert stats.wilcoxon_floor(5) > 0.05 > stats.wilcoxon_floor(6)
    with pytest.raises(ValueError, match="-1"):
        stats.wilcoxon_floor(-1)


def test_a_level_so_small_that_its_complement_is_one_has_a_detectable_difference() -> None:
    found = stats.detectable_difference(20, 1.0, [1e-15, 1e-17, 1e-60])
    assert (np.diff(found) > 0).all()
    npt.assert_allclose(stats.power(20, found, 1.0, [1e-15, 1e-17, 1e-60]), 0.8, atol=1e-3)
