"""Times to an event, by hand and against statsmodels; verdicts on means that are known to a resolution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.duration.survfunc import SurvfuncRight

from harness import stats


def five(*times: float, reached: str = "yyynn") -> pd.DataFrame:
    return pd.DataFrame({"arm": "a", "time": times, "reached": [letter == "y" for letter in reached]})


def test_a_curve_of_five_seeds_of_which_two_are_censored_is_kaplan_and_meiers() -> None:
    """At 2, four are at risk, the censored one among them; at 3, two."""
    curve = stats.survival_curves(five(1, 2, 3, 2, 4), ["arm"])
    assert curve["time"].to_list() == [0, 1, 2, 3, 4]
    assert curve["at_risk"].to_list() == [5, 5, 4, 2, 1]
    assert curve["events"].to_list() == [0, 1, 1, 1, 0]
    npt.assert_allclose(curve["share"], [0, 0.2, 0.4, 0.7, 0.7])


def test_restricted_times_average_to_the_area_under_the_survival_curve() -> None:
    times = five(1, 2, 3, 4, 4)
    npt.assert_array_equal(stats.restricted(times, 4.0), [1, 2, 3, 4, 4])
    npt.assert_array_equal(stats.restricted(times, 2.5), [1, 2, 2.5, 2.5, 2.5])
    curve = stats.survival_curves(times, ["arm"])
    area = float((np.diff(curve["time"]) * (1 - curve["share"].to_numpy()[:-1])).sum())
    assert stats.restricted(times, 4.0).mean() == pytest.approx(area) == pytest.approx(2.8)
    with pytest.raises(ValueError, match="ended before the horizon, without the event"):
        stats.restricted(five(1, 2, 3, 2, 4), 4.0)


def test_curves_are_those_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    times = pd.DataFrame(
        {
            "arm": rng.choice(["a", "b"], 60),
            "time": rng.integers(0, 9, 60) / 2.0,
            "reached": rng.random(60) < 0.6,
        }
    )
    curves = stats.survival_curves(times, ["arm"])
    for arm, group in times.groupby("arm"):
        fitted = SurvfuncRight(group["time"], group["reached"].astype(int))
        curve = curves[curves["arm"].eq(arm)].set_index("time")
        npt.assert_allclose(curve.loc[fitted.surv_times, "share"], 1 - np.array(fitted.surv_prob))


@pytest.mark.parametrize(
    ("times", "shares"),
    [
        (five(5, 5, 5, 5, 5, reached="nnnnn"), {0: 0.0, 5: 0.0}),
        (five(0, 0, 0, 0, 0, reached="yyyyy"), {0: 1.0}),
        (five(2, 2, 2, 9, 9, reached="yyynn"), {0: 0.0, 2: 0.6, 9: 0.6}),
    ],
)
def test_curves_of_all_and_of_none(times: pd.DataFrame, shares: dict[float, float]) -> None:
    curve = stats.survival_curves(times, ["arm"])
    assert curve.set_index("time")["share"].to_dict() == pytest.approx(shares)


def test_a_diverged_trial_never_reaches_and_an_unfinished_one_is_unknown() -> None:
    trials = pd.DataFrame(
        {
            "status": ["ok", "ok", "diverged", "diverged", "failed", "", "pruned"],
            "epochs_to": [2.0, math.nan, math.nan, 1.0, math.nan, math.nan, 1.0],
            "end": 5.0,
        }
    )
    times = stats.event_times(trials, "epochs_to", "end")
    assert times["time"].to_list() == [2, 5, 5, 1]
    assert times["reached"].to_list() == [True, False, False, True]


def judged(values: list[float], resolution: float, margin: float) -> dict[str, Any]:
    table = pd.DataFrame(
        {"dataset": "d", "arm": "a", "reference": "r", "difference": values, "resolution": resolution}
    )
    (row,) = stats.verdicts(table, margin=margin, higher_is_better=False).to_dict("records")
    return {str(name): value for name, value in row.items()}


def test_a_resolution_takes_the_worst_case_of_both_tests() -> None:
    values = [-3.0, -2.0, -2.5, -3.5, -2.0]
    row, plain = judged(values, 1.0, 2.0), judged(values, 0.0, 2.0)
    assert row["p"] == pytest.approx(scipy_stats.ttest_1samp(np.array(values) + 1, 0).pvalue)
    assert (row["low"], row["high"]) == pytest.approx((plain["low"] - 1, plain["high"] + 1))
    assert row["detectable"] == pytest.approx(plain["detectable"] + 1)
    assert row["verdict"] == plain["verdict"] == "better"
    near = [0.5, -0.5, 0.0, 0.5, 0.0, -0.5]
    same = scipy_stats.ttest_1samp(near, 1.0, alternative="less").pvalue
    assert judged(near, 1.0, 2.0)["p_same"] == pytest.approx(same)
    assert judged(near, 1.0, 2.0)["verdict"] == "same within margin"


def test_a_mean_difference_within_the_resolution_is_no_difference() -> None:
    """Crossings just before and just after an evaluation are recorded one evaluation apart."""
    one_apart = [-1.0, -1.0, -0.9, -1.0, -1.0, -1.1]
    assert judged(one_apart, 0.0, 2.0)["verdict"] == "better"
    row = judged(one_apart, 1.0, 2.0)
    assert (row["p"], row["verdict"]) == (1.0, "cannot tell")
    alike = judged([-1.0] * 8, 1.0, 2.0)
    assert (alike["p"], alike["verdict"]) == (1.0, "cannot tell")
    assert judged([-2.0] * 8, 1.0, 2.0)["verdict"] == "better"


def test_a_resolution_as_coarse_as_the_margin_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a resolution is 2\.0: allowed is 0 up to the margin"):
        judged([0.0, 1.0], 2.0, 2.0)
