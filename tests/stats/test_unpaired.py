"""Welch's verdicts on arms without a pairing, held against SciPy's and statsmodels' tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind

from harness import stats

PAIRS = pd.DataFrame({"arm": ["b", "c"], "reference": ["a", "a"]})


def table(**arms: object) -> pd.DataFrame:
    return pd.concat(
        [pd.DataFrame({"dataset": "d", "arm": arm, "value": values}) for arm, values in arms.items()]
    )


def test_numbers_are_those_of_scipy_and_statsmodels() -> None:
    rng = np.random.default_rng(1)
    arms = {"a": rng.normal(0, 1, 8), "b": rng.normal(2, 3, 13), "c": rng.normal(0, 0.1, 5)}
    found = stats.unpaired_verdicts(table(**arms), PAIRS, margin=1.0)
    tests = [scipy_stats.ttest_ind(arms[arm], arms["a"], equal_var=False) for arm in "bc"]
    np.testing.assert_allclose(found["p"], [test.pvalue for test in tests])
    np.testing.assert_allclose(found["p_holm"], multipletests([t.pvalue for t in tests], method="holm")[1])
    ends = [test.confidence_interval() for test in tests]
    np.testing.assert_allclose(found[["low", "high"]], [(end.low, end.high) for end in ends])
    same = [ttost_ind(arms[arm], arms["a"], -1, 1, usevar="unequal")[0] for arm in "bc"]
    np.testing.assert_allclose(found["p_same"], same)
    assert found[["n", "reference_n"]].to_numpy().tolist() == [[13, 8], [5, 8]]


def test_detectable_is_what_simulated_welch_tests_detect() -> None:
    rng = np.random.default_rng(2)
    arms = {"a": rng.normal(0, 1, 10), "b": rng.normal(0, 2, 20)}
    row = stats.unpaired_verdicts(table(**arms), PAIRS.head(1), margin=0.5).iloc[0]
    sd = [np.std(values, ddof=1) for values in arms.values()]
    first = rng.normal(row["detectable"], sd[1], (20_000, 20))
    p = scipy_stats.ttest_ind(first, rng.normal(0, sd[0], (20_000, 10)), axis=1, equal_var=False).pvalue
    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.02)


def test_welch_keeps_its_error_rate_where_runs_share_nothing() -> None:
    rng = np.random.default_rng(3)
    runs = pd.DataFrame({
        "dataset": np.repeat(np.arange(4_000), 12), "arm": np.tile(["a"] * 8 + ["b"] * 4, 4_000),
        "value": rng.normal(size=48_000) * np.tile([1.0] * 8 + [3.0] * 4, 4_000),
    })  # fmt: skip
    p = stats.unpaired_verdicts(runs, PAIRS.head(1), margin=None)["p"]
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_equal_runs_and_too_few() -> None:
    found = stats.unpaired_verdicts(table(a=[1.0] * 4, b=[2.0] * 4, c=[1.0] * 4), PAIRS, margin=0.5)
    np.testing.assert_allclose(found["p"], [2 / 70, 1.0])  # C(8, 4) ways to deal eight runs
    np.testing.assert_allclose(found["p_same"], [1.0, 1 / 70])
    assert list(found["verdict"]) == ["cannot tell", "same within margin"]  # Holm doubles 2 / 70
    few = stats.unpaired_verdicts(table(a=[1.0, 2.0], b=[5.0], c=[np.nan]), PAIRS, margin=None)
    assert list(few["verdict"]) == ["one seed", "no data"]
    assert few["p"].isna().all()
