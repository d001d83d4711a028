"""Extrapolation of learning curves: its errors are brute force's, its bounds hold as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import stats
from harness.stats import extrapolation
from harness.stats.extrapolation import Forecast, forecast_errors, forecast_summary, least_curves


def curves(count: int, rng: np.random.Generator, evaluations: int = 6) -> np.ndarray:
    """Rise to ends between 0.2 and 0.95, the slower the lower, with noise that is larger for the low ones."""
    end = rng.uniform(0.2, 0.95, count)[:, None]
    times = np.arange(1, evaluations + 1)
    noise = rng.normal(0, 0.03, (count, evaluations)) * (1 - end)
    return np.asarray(end * (1 - np.exp(-times * end)) + noise)


def test_a_linear_relation_is_predicted_exactly() -> None:
    at = np.linspace(0.1, 0.5, 12)
    forecast = Forecast.of(at, 0.3 + 2 * at)
    assert forecast.predict([0.17, 0.33]) == pytest.approx([0.64, 0.96], abs=1e-3)
    assert np.abs(forecast.errors[1:-1]).max() < 2e-3


def test_a_curve_beyond_all_finished_ones_counts_as_the_last_of_them() -> None:
    forecast = Forecast.of([0.2, 0.3, 0.4, 0.5], [0.5, 0.6, 0.7, 0.8])
    assert forecast.predict([-9.0, 9.0]).tolist() == forecast.predict([0.2, 0.5]).tolist()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.75]) | st.floats(0, 1, width=16), min_size=3, max_size=30),
    st.integers(0, 2**31),
)
def test_errors_are_of_predictions_by_the_others(at: list[float], seed: int) -> None:
    end = np.random.default_rng(seed).random(len(at))
    errors = Forecast.of(at, end).errors
    near = max(extrapolation.FEWEST_NEAR, math.ceil(extrapolation.NEAR * len(at)))
    for i in range(len(at)):
        starts, ends = np.delete(at, i), np.delete(end, i)
        distances = np.abs(starts - at[i])
        reach = max(np.sort(distances)[min(near, len(starts)) - 1] * (1 + 1e-3), np.finfo(float).tiny)
        weights = (1 - np.minimum(distances / reach, 1) ** 3) ** 3
        # Weighted least squares, whose slope is shrunk as much as documented.
        x = starts - np.average(starts, weights=weights)
        shrink = np.sqrt(weights.sum() * (1e-4 * np.var(at) + np.finfo(float).tiny))
        rows = np.vstack([np.sqrt(weights)[:, None] * np.stack([np.ones_like(x), x], 1), [0, shrink]])
        level, slope = np.linalg.lstsq(rows, np.append(np.sqrt(weights) * ends, 0), rcond=None)[0]
        predicted = level + slope * (at[i] - np.average(starts, weights=weights))
        assert errors[i] == pytest.approx(end[i] - predicted, abs=1e-6)


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_as_few_curves_as_the_quantile_needs_have_a_bound(confidence: float) -> None:
    n = least_curves(confidence)
    for count, finite in ((n - 1, False), (n, True)):
        if count > 1:
            table = curves(count, np.random.default_rng(0))
            low, high = Forecast.of(table[:, 0], table[:, -1]).bounds([0.3, 0.6], confidence)
            assert np.isfinite([low, high]).all() == finite
    assert math.ceil(round((n + 1) * confidence, 9)) <= n < math.ceil(round(n * confidence, 9)) + 1


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_a_bound_holds_as_often_as_it_says(confidence: float) -> None:
    rng, held = np.random.default_rng(1), np.zeros(2)
    searches, new = 200, 20
    for _ in range(searches):
        table = curves(40 + new, rng)
        forecast = Forecast.of(table[:-new, 1], table[:-new, -1])
        low, high = forecast.bounds(table[-new:, 1], confidence)
        held += [(table[-new:, -1] <= high).sum(), (table[-new:, -1] >= low).sum()]
    # Of 4000 bounds; those of one search go together, which triples the standard error of a share.
    error = 3 * math.sqrt(confidence * (1 - confidence) / (searches * new))
    assert held / (searches * new) == pytest.approx([confidence] * 2, abs=3 * error)


def test_bounds_are_wide_where_the_finished_curves_missed() -> None:
    rng = np.random.default_rng(2)
    at = np.linspace(0, 1, 200)
    forecast = Forecast.of(at, at + rng.normal(0, 1, 200) * np.where(at < 0.5, 0.1, 0.001))
    low, high = forecast.bounds([0.2, 0.8], 0.9)
    assert (high - low)[0] > 5 * (high - low)[1]


def test_curves_of_one_value_are_no_trouble() -> None:
    forecast = Forecast.of([0.1] * 25, [0.1] * 25)
    low, high = forecast.bounds([0.1, 0.7], 0.95)
    assert [*low, *high] == pytest.approx([0.1] * 4)


def test_of_many_curves_the_last_ones_count() -> None:
    table = curves(extrapolation.MOST_CURVES + 50, np.random.default_rng(3))
    last = table[-extrapolation.MOST_CURVES :]
    whole, cut = Forecast.of(table[:, 0], table[:, -1]), Forecast.of(last[:, 0], last[:, -1])
    assert whole.predict([0.4]) == cut.predict([0.4])


# ---------------------------------------------------------------------------------------------- as they came


def test_nothing_is_predicted_from_its_own_batch_or_later_ones() -> None:
    rng = np.random.default_rng(4)
    table, batches = curves(48, rng), np.arange(48) // 8
    errors = forecast_errors(table, batches, 0.9)
    assert set(errors["curve"]) == set(range(16, 48))  # 16 before the third batch, 8 before the second
    changed = table.copy()
    changed[24:] = curves(24, rng)
    again = forecast_errors(changed, batches, 0.9)
    pd.testing.assert_frame_equal(errors[errors["curve"].lt(24)], again[again["curve"].lt(24)])
    first = errors[errors["curve"].eq(20) & errors["evaluation"].eq(3)].iloc[0]
    forecast = stats.Forecast.of(table[:16, 2], table[:16, -1])
    assert first["predicted"] == forecast.predict([table[20, 2]])[0]
    assert first["best"] == table[:16, -1].max()


def test_a_loss_is_judged_as_its_negative_is() -> None:
    table, batches = curves(60, np.random.default_rng(5)), np.arange(60) // 10
    up = forecast_errors(table, batches, 0.9)
    down = forecast_errors(-table, batches, 0.9, maximize=False)
    assert down["predicted"].to_numpy() == pytest.approx(-up["predicted"].to_numpy())
    assert list(down["below"]) == list(up["below"])
    assert 0 < up["below"].sum() < len(up)


def test_too_few_curves_give_no_rows() -> None:
    assert forecast_errors(curves(19, np.random.default_rng(6)), np.arange(19) // 10, 0.95).empty


def test_the_summary_counts_by_evaluation() -> None:
    errors = pd.DataFrame(
        {
            "curve": [0, 1, 0, 1], "evaluation": [1, 1, 2, 2], "value": [0.2, 0.4, 0.5, 0.6],
            "predicted": [0.5, 0.7, 0.6, 0.6], "low": [0.4, 0.65, 0.59, 0.59],
            "high": [0.6, 0.75, 0.65, 0.62], "reached": 0.6, "best": 0.7,
            "below": [True, False, True, True],
        }
    )  # fmt: skip
    first, second = forecast_summary(errors).to_dict("records")
    assert first == pytest.approx(
        {
            "evaluation": 1, "n": 2, "bias": 0.0, "rmse": 0.1, "unchanged_rmse": math.sqrt(0.1),
            "covered": 1, "below": 1, "lost": 0,
        }
    )  # fmt: skip
    assert (second["covered"], second["below"], second["lost"]) == (2, 2, 0)
    assert forecast_summary(errors.assign(best=0.55))["lost"].tolist() == [1, 2]
    assert forecast_summary(errors.assign(best=0.55), maximize=False)["lost"].tolist() == [0, 0]
