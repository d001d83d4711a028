"""Simultaneous intervals against scipy's at the corrected level, and beside Holm's p."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from harness import stats


def family(seeds: list[int], rng: np.random.Generator) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Verdicts of contrasts with so many seeds each, and the differences they were made of."""
    values = [rng.normal(0.002 * k, 0.001 * (k + 1), n) for k, n in enumerate(seeds)]
    rows = [
        pd.DataFrame({"dataset": "mnist", "arm": f"a{k}", "reference": "r", "difference": one})
        for k, one in enumerate(values)
    ]
    return stats.verdicts(pd.concat(rows, ignore_index=True), margin=0.002), values


def test_each_interval_is_scipys_at_alpha_over_the_contrasts_whatever_their_seeds() -> None:
    judged, values = family([5, 3, 10, 4], np.random.default_rng(0))
    ends = stats.simultaneous_intervals(judged, 0.1)
    for row, one in zip(ends.to_dict("records"), values, strict=True):
        expected = scipy_stats.ttest_1samp(one, 0).confidence_interval(1 - 0.1 / 4)
        npt.assert_allclose([row["low_all"], row["high_all"]], np.array([expected.low, expected.high]))


def test_what_excludes_zero_is_significant_by_holm_but_not_the_other_way_round() -> None:
    rng, more = np.random.default_rng(1), 0
    for _ in range(200):
        judged, _ = family([6, 6, 6, 6], rng)
        ends = stats.simultaneous_intervals(judged, 0.05)
        excludes = ends["low_all"].gt(0) | ends["high_all"].lt(0)
        found = judged["p_holm"].le(0.05)
        assert not (excludes & ~found).any()
        more += int((found & ~excludes).sum())
    assert more > 0


def test_one_seed_and_seeds_that_do_not_differ_have_none_and_one_seed_is_no_test() -> None:
    judged = pd.DataFrame({"n": [1, 5, 5], "difference": [0.1, 0.2, 0.3], "sd": [np.nan, 0.0, 0.1]})
    ends = stats.simultaneous_intervals(judged)
    assert ends.iloc[:2].isna().all(axis=None)
    half = scipy_stats.t.ppf(1 - 0.05 / 2 / 2, 4) * 0.1 / np.sqrt(5)  # of two tests
    npt.assert_allclose(ends.iloc[2], [0.3 - half, 0.3 + half])


def test_they_end_where_differences_end_and_a_resolution_widens_them() -> None:
    judged = pd.DataFrame({"n": [2], "difference": [0.9], "sd": [0.5]})
    ends = stats.simultaneous_intervals(judged, within=(-1, 1))
    assert ends.iloc[0].tolist() == [-1, 1]
    plain = pd.DataFrame({"n": [5], "difference": [3.0], "sd": [1.0]})
    known = stats.simultaneous_intervals(plain, resolution=0.5) - stats.simultaneous_intervals(plain)
    npt.assert_allclose(known.iloc[0], [-0.5, 0.5])


def test_an_alpha_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed is 0 < alpha < 1"):
        stats.simultaneous_intervals(pd.DataFrame({"n": [], "difference": [], "sd": []}), 1.0)
