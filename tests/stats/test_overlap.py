"""Seeds that share val images: Nadeau and Bengio's corrected resampled t test."""

from __future__ import annotations

import math

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from harness import stats

MARGIN = 0.002


def rows(values: np.ndarray | list[float], **more: float) -> pd.DataFrame:
    table = pd.DataFrame({"dataset": "mnist", "arm": "a", "reference": "r", "difference": values})
    return table.assign(**more)


def draw(n: int = 10, mean: float = 0.003) -> np.ndarray:
    z = np.random.default_rng(0).normal(size=n)
    return np.asarray(mean + 0.002 * (z - z.mean()) / z.std(ddof=1))


def test_p_and_interval_take_the_variance_of_their_formula() -> None:
    values, overlap = draw(), 0.1 / 0.9
    row = stats.verdicts(rows(values, overlap=overlap), margin=MARGIN).iloc[0]
    error = values.std(ddof=1) * math.sqrt(1 / 10 + overlap)
    npt.assert_allclose(row["p"], 2 * scipy_stats.t.sf(values.mean() / error, 9))
    npt.assert_allclose(row["p_same"], scipy_stats.t.cdf((values.mean() - MARGIN) / error, 9))
    half = scipy_stats.t.ppf(0.975, 9) * error
    npt.assert_allclose([row["low"], row["high"]], [values.mean() - half, values.mean() + half])
    ends = stats.simultaneous_intervals(pd.DataFrame([row]), overlap=overlap)
    npt.assert_allclose(ends.iloc[0], [row["low"], row["high"]])


def test_without_an_overlap_nothing_changes_to_the_last_bit() -> None:
    plain = stats.verdicts(rows(draw()), margin=MARGIN)
    pd.testing.assert_frame_equal(
        stats.verdicts(rows(draw(), overlap=0.0), margin=MARGIN), plain, check_exact=True
    )


def test_a_difference_that_independent_seeds_show_may_be_open() -> None:
    values = draw(mean=0.0019)
    assert stats.verdicts(rows(values), margin=MARGIN)["verdict"].item() == "better"
    assert stats.verdicts(rows(values, overlap=1 / 9), margin=MARGIN)["verdict"].item() == "cannot tell"


def test_what_is_detectable_grows_and_no_number_of_seeds_may_be_enough() -> None:
    plain = stats.verdicts(rows(draw()), margin=MARGIN).iloc[0]
    shared = stats.verdicts(rows(draw(), overlap=0.25), margin=MARGIN).iloc[0]
    assert shared["detectable"] == pytest.approx(plain["detectable"] * math.sqrt(1 + 10 * 0.25))
    assert math.isnan(shared["more_seeds"])  # an error of half an SD is left, and the margin is one SD
    needed = float(stats.seeds_needed(0.002, 0.0005, overlap=0.25))
    error = 0.0005 * math.sqrt(1 / needed + 0.25)
    shift = 0.002 / error
    critical = scipy_stats.t.ppf(0.975, needed - 1)
    power = scipy_stats.nct.sf(critical, needed - 1, shift) + scipy_stats.nct.cdf(
        -critical, needed - 1, shift
    )
    assert power >= 0.7999


def test_equal_differences_show_nothing_where_images_are_shared() -> None:
    row = stats.verdicts(rows([0.01] * 8, overlap=0.1), margin=MARGIN).iloc[0]
    assert (row["p"], row["p_same"]) == (1, 1)
    assert stats.verdicts(rows([0.01] * 8), margin=MARGIN)["p"].item() < 0.05


def test_the_largest_overlap_of_a_group_counts_and_a_negative_one_is_refused() -> None:
    mixed = rows(draw()).assign(overlap=[0.0] * 9 + [0.25])
    pd.testing.assert_frame_equal(
        stats.verdicts(mixed, margin=MARGIN), stats.verdicts(rows(draw(), overlap=0.25), margin=MARGIN)
    )
    with pytest.raises(ValueError, match=r"an overlap is -0\.1"):
        stats.verdicts(rows(draw(), overlap=-0.1), margin=MARGIN)
