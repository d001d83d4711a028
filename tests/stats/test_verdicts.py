"""Verdicts against scipy and statsmodels, and what cannot be told."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from harness import stats

MARGIN = 0.002


def differences(**arms: Any) -> pd.DataFrame:
    """Paired differences of some arms from a reference."""
    return pd.concat(
        [
            pd.DataFrame({"dataset": "mnist", "arm": arm, "reference": "r", "difference": values})
            for arm, values in arms.items()
        ],
        ignore_index=True,
    )


def judge(margin: float = MARGIN, **arms: Any) -> pd.DataFrame:
    return stats.verdicts(differences(**arms), margin=margin).set_index("arm")


def draw_values(mean: float, sd: float, n: int = 10, seed: int = 0) -> np.ndarray:
    """n numbers with exactly this mean and SD."""
    z = np.random.default_rng(seed).normal(size=n)
    return np.asarray(mean + sd * (z - z.mean()) / z.std(ddof=1))


def test_tests_and_corrections_are_scipys_and_statsmodels() -> None:
    arms: dict[str, Any] = {str(k): draw_values(0.001 * k - 0.003, 0.0015, 12, k) for k in range(7)}
    table = judge(**arms)
    reference = np.full(12, 0.9)
    p = [scipy_stats.ttest_rel(reference + d, reference).pvalue for d in arms.values()]
    same = [ttost_paired(reference + d, reference, -MARGIN, MARGIN)[0] for d in arms.values()]
    npt.assert_allclose(table["p"], p, rtol=1e-6)
    npt.assert_allclose(table["p_same"], np.array(same), rtol=1e-6)
    npt.assert_allclose(table["p_holm"], multipletests(p, method="holm")[1], rtol=1e-6)
    npt.assert_allclose(table["p_same_holm"], multipletests(same, method="holm")[1], rtol=1e-6)
    interval = scipy_stats.ttest_1samp(arms["5"], 0).confidence_interval(0.95)
    npt.assert_allclose(table["low"].iloc[5], interval.low)
    npt.assert_allclose(table["high"].iloc[5], interval.high)


@pytest.mark.parametrize("p", [[0.2], [0.01, 0.04, 0.03], [0.5, 0.5, 0.001, 0.02, 0.0, 1.0]])
def test_holm_is_statsmodels_and_nan_is_no_test(p: list[float]) -> None:
    npt.assert_allclose(stats.holm([*p, math.nan])[:-1], multipletests(p, method="holm")[1])
    assert math.isnan(stats.holm([*p, math.nan])[-1])


def test_each_verdict_has_its_numbers() -> None:
    table = judge(
        up=draw_values(0.01, 0.001), down=draw_values(-0.01, 0.001),
        same=draw_values(0.0001, 0.001), unsure=draw_values(0.001, 0.01),
        small=draw_values(0.001, 0.0005), single=[0.05], none=[math.nan, math.nan],
        equal=[0.0, 0.0],
    )  # fmt: skip
    assert table["verdict"].to_dict() == {
        "up": "better", "down": "worse", "same": "same within margin", "unsure": "cannot tell",
        "small": "better", "single": "one seed", "none": "no data",
        "equal": "the same in all seeds",
    }  # fmt: skip
    assert set(table["verdict"]) == set(stats.VERDICTS)
    assert table.index[table["within_margin"]].tolist() == ["same", "small"]
    assert table["n"].tolist() == [10, 10, 10, 10, 10, 1, 0, 2]
    assert table.loc["single", "difference"] == 0.05
    untold = ["sd", "low", "high", "p", "p_holm", "p_same", "p_same_holm", "detectable", "more_seeds"]
    assert table.loc[["single", "none"], untold].isna().all(axis=None)
    assert table.loc[["up", "down", "same", "unsure", "small"], untold].notna().all(axis=None)


def test_a_loss_is_better_where_it_is_lower() -> None:
    table = stats.verdicts(differences(a=draw_values(-0.1, 0.01)), margin=MARGIN, higher_is_better=False)
    assert table["verdict"].tolist() == ["better"]


def test_holm_turns_a_single_better_into_cannot_tell() -> None:
    edge = draw_values(0.0021, 0.002)
    others: dict[str, Any] = {str(k): draw_values(0.0, 0.02, seed=k) for k in range(1, 10)}
    alone = judge(edge=edge).loc["edge"]
    among = judge(edge=edge, **others).loc["edge"]
    assert alone["p"] == among["p"] < 0.05 / 3
    assert (alone["verdict"], among["verdict"]) == ("better", "cannot tell")
    assert among["detectable"] > alone["detectable"]


def test_detectable_differences_use_the_corrected_alpha() -> None:
    table = judge(a=draw_values(0.001, 0.004), b=draw_values(0.0, 0.001), c=[0.1])
    hurdle = 0.05 / 2  # the arm with one seed is no test
    expected = stats.detectable_difference(10, np.array([0.004, 0.001]), hurdle)
    npt.assert_allclose(table["detectable"].iloc[:2], expected)
    needed = stats.seeds_needed(MARGIN, 0.004, hurdle)
    assert table.loc["a", "more_seeds"] == needed - 10 > 20
    assert table.loc["b", "more_seeds"] == 0


@pytest.mark.parametrize(
    ("n", "verdict"), [(2, "the same in all seeds"), (4, "the same in all seeds"), (5, "same within margin")]
)
def test_identical_arms_are_the_same_once_there_are_seeds_enough(n: int, verdict: str) -> None:
    row = judge(a=[0.0] * n).loc["a"]
    assert row["verdict"] == verdict
    assert (row["p"], row["p_same"]) == (1.0, 0.5**n)
    assert row[["low", "high", "detectable", "more_seeds"]].isna().all()


def test_ties_by_chance_on_a_small_test_set_are_not_called_the_same() -> None:
    """Arms 0.25 points apart, more than the margin: two seeds often tie to the last of 360 images."""
    right = np.random.default_rng(0).binomial(360, [[0.99], [0.9925]], size=(1000, 2, 2)) / 360
    studies = right[:, 1] - right[:, 0]
    tied = [study for study in studies if not study.any()]
    assert len(tied) > 5
    assert {judge(a=study).loc["a", "verdict"] for study in tied} == {"the same in all seeds"}
    assert not any(judge(a=study).loc["a", "within_margin"] for study in tied)


@pytest.mark.parametrize(
    ("share", "n", "verdict"),
    [
        (0.01, 5, "cannot tell"),
        (0.01, 6, "better"),
        (-0.01, 6, "worse"),
        (0.0001, 4, "cannot tell"),
        (0.0001, 5, "same within margin"),
        (MARGIN, 5, "cannot tell"),
    ],
)
def test_equal_differences_are_judged_by_their_signs(share: float, n: int, verdict: str) -> None:
    # As they come out of a subtraction: equal on paper, and some 1e-17 apart.
    values = [base + share - base for base in np.linspace(0.81, 0.93, n)]
    row = judge(a=values).loc["a"]
    assert row["verdict"] == verdict
    assert row["p"] == stats.wilcoxon_floor(n)
    assert row[["low", "high", "detectable", "more_seeds"]].isna().all()


def test_the_family_keeps_its_error_rate() -> None:
    rng = np.random.default_rng(5)
    studies: list[dict[str, Any]] = [
        {str(arm): rng.normal(0, 0.01, 5) for arm in range(5)} for _ in range(100)
    ]
    said = [set(judge(**study)["verdict"]) for study in studies]
    wrong = sum(not words.isdisjoint({"better", "worse"}) for words in said)
    assert scipy_stats.binomtest(wrong, 100, 0.05).pvalue > 0.01


def test_rows_keep_their_order_and_empty_tables_their_columns() -> None:
    table = differences(b=draw_values(0.1, 0.1), a=draw_values(0.1, 0.1))
    assert stats.verdicts(table, margin=MARGIN)["arm"].tolist() == ["b", "a"]
    empty = stats.verdicts(table.iloc[:0], margin=MARGIN)
    assert empty.empty
    assert list(empty.columns) == list(stats.verdicts(table, margin=MARGIN).columns)


@pytest.mark.parametrize(("margin", "alpha"), [(0.0, 0.05), (MARGIN, 1.0)])
def test_a_margin_or_alpha_out_of_range_is_refused(margin: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="allowed"):
        stats.verdicts(differences(a=[0.1, 0.2]), margin=margin, alpha=alpha)
