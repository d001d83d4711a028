"""Seeds and images at once: mean squares against statsmodels, and what the interval covers."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from harness import stats
from harness.stats.seed_variance import MeanSquares


def draw(rng: np.random.Generator, seeds: int, images: int, sd: tuple[float, float, float]) -> np.ndarray:
    """Differences (seeds, images) with standard deviations of seeds, of images and of the rest; mean 0."""
    return np.asarray(
        rng.normal(0, sd[0], (seeds, 1))
        + rng.normal(0, sd[1], (1, images))
        + rng.normal(0, sd[2], (seeds, images))
    )


def test_mean_squares_and_the_interval_are_those_of_a_two_way_anova() -> None:
    x = draw(np.random.default_rng(0), 4, 12, (0.1, 0.3, 0.5))
    seed, image = (index.ravel() for index in np.indices(x.shape))
    rows = pd.DataFrame({"x": x.ravel(), "seed": seed, "image": image})
    table = anova_lm(ols("x ~ C(seed) + C(image)", rows).fit())
    expected = (table["sum_sq"] / table["df"])[["C(seed)", "C(image)", "Residual"]].to_numpy()
    squares = MeanSquares.of(x)
    npt.assert_allclose([squares.rows, squares.columns, squares.rest], expected)
    of_seeds, of_images = expected[0], max(expected[1] - expected[2], 0)
    row = stats.crossed_interval(x).iloc[0]
    npt.assert_allclose(row["error"], np.sqrt((of_seeds + of_images) / x.size))
    df = 3 * ((of_seeds + of_images) / of_seeds) ** 2
    half = scipy_stats.t.ppf(0.975, df) * row["error"]
    npt.assert_allclose(row["df"], df)
    npt.assert_allclose([row["low"], row["high"]], [x.mean() - half, x.mean() + half])


def test_images_that_all_weigh_alike_leave_students_interval_over_seeds() -> None:
    x = np.repeat([[0.1], [0.2], [0.4]], 50, axis=1)
    row = stats.crossed_interval(x).iloc[0]
    expected = scipy_stats.ttest_1samp(x[:, 0], 0).confidence_interval(0.95)
    npt.assert_allclose([row["low"], row["high"]], np.array([expected.low, expected.high]))
    assert row["error_images"] == pytest.approx(0, abs=1e-12)
    assert row["df"] == pytest.approx(2)


@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_it_covers_the_mean_of_other_seeds_and_images_where_seeds_alone_do_not(seeds: int) -> None:
    rng, studies = np.random.default_rng(seeds), 1000
    held = alone = 0
    for _ in range(studies):
        row = stats.crossed_interval(draw(rng, seeds, 200, (0.01, 0.14, 0.14))).iloc[0]
        held += row["low"] <= 0 <= row["high"]
        half = scipy_stats.t.ppf(0.975, seeds - 1) * row["error_seeds"]
        alone += abs(row["difference"]) <= half
    assert 0.91 < held / studies < 0.98
    assert alone / studies < 0.92


def test_the_bound_is_never_narrower_than_what_predictions_show() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        hard = rng.random(300) ** 4  # some images are hard for both
        arm, reference = rng.random((2, 5, 300)) > hard
        x = arm.astype(float) - reference
        exact = stats.crossed_interval(x).iloc[0]
        errors = 2 - arm.mean() - reference.mean()
        bound = stats.bounded_interval(x.mean(axis=1), errors, 300).iloc[0]
        assert bound["difference"] == pytest.approx(exact["difference"])
        assert bound["error_seeds"] == pytest.approx(exact["error_seeds"])
        assert bound["error_images"] > exact["error_images"]


def test_one_seed_one_image_and_equal_seeds_have_no_interval() -> None:
    for x in ([[1.0, 0.0]], [[1.0], [0.0]], [[1.0, 0.0], [1.0, 0.0]], np.zeros((0, 5))):
        row = stats.crossed_interval(x).iloc[0]
        assert row[["low", "high"]].isna().all()
    assert stats.bounded_interval([0.1], 0.1, 100).iloc[0][["low", "high"]].isna().all()
    assert stats.crossed_interval([[1.0, 0.0]]).iloc[0]["difference"] == pytest.approx(0.5)


def test_an_array_of_other_dimensions_is_refused() -> None:
    with pytest.raises(ValueError, match=r"allowed: \(seeds, images\)"):
        stats.crossed_interval([0.1, 0.2])


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_no_part_of_the_images_up_to_the_bound_would_widen_the_bounded_interval(seeds: int) -> None:
    x = np.random.default_rng(seeds).normal(0.01, 0.005, seeds)
    row = stats.bounded_interval(x, 0.1, 1000).iloc[0]
    of_seeds = x.var(ddof=1) / seeds
    for part in np.linspace(0, row["error_images"] ** 2, 200):
        df = (seeds - 1) * ((of_seeds + part) / of_seeds) ** 2
        half = scipy_stats.t.ppf(0.975, df) * np.sqrt(of_seeds + part)
        assert half <= (row["high"] - row["low"]) / 2 * (1 + 1e-9)
