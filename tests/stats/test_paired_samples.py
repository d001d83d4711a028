"""McNemar against statsmodels, the bootstrap over samples against scipy."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from harness import stats


def two_models(seeds: int = 3, samples: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """What two models get right: they agree on what is easy."""
    rng = np.random.default_rng(0)
    ease = rng.beta(8, 1, samples)
    return rng.random((seeds, samples)) < ease, rng.random((seeds, samples)) < ease - 0.03


def test_mcnemar_is_statsmodels_on_the_table_of_both() -> None:
    a, b = two_models()
    table = stats.mcnemar(a, b)
    assert len(table) == 3
    for row, one, other in zip(table.to_dict("records"), a, b, strict=True):
        both = [[(one & other).sum(), (one & ~other).sum()], [(~one & other).sum(), (~one & ~other).sum()]]
        assert (row["samples"], row["b"], row["c"]) == (2000, both[0][1], both[1][0])
        assert row["p"] == pytest.approx(mcnemar(both, exact=True).pvalue)
        assert row["p"] == pytest.approx(scipy_stats.binomtest(row["b"], row["b"] + row["c"]).pvalue)


def test_models_that_never_differ_have_p_of_one_and_one_pair_is_one_row() -> None:
    right = np.array([True, False, True])
    assert stats.mcnemar(right, right).to_dict("records") == [{"samples": 3, "b": 0, "c": 0, "p": 1.0}]
    assert stats.mcnemar([], []).to_dict("records") == [{"samples": 0, "b": 0, "c": 0, "p": 1.0}]


def test_bootstrap_over_samples_is_scipys() -> None:
    a, b = two_models(seeds=2, samples=300)
    row = stats.sample_bootstrap(a, b, np.random.default_rng(1), resamples=20_000).iloc[0]
    gain = (a.astype(float) - b).mean(axis=0)
    theirs = scipy_stats.bootstrap(
        (gain,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert row["difference"] == pytest.approx(gain.mean())
    npt.assert_allclose([row["low"], row["high"]], [theirs.low, theirs.high], atol=0.002)
    assert (row["seeds"], row["samples"]) == (2, 300)


def test_bootstrap_says_the_error_of_ten_thousand_samples() -> None:
    # One model against one that is always wrong: the error of an accuracy of 98 %, 0.14 points.
    right = np.arange(10_000) >= 200
    row = stats.sample_bootstrap(right, np.zeros(10_000, dtype=bool), np.random.default_rng(0)).iloc[0]
    assert (row["high"] - row["low"]) / (2 * 1.96) == pytest.approx(0.0014, rel=0.05)


def test_the_same_generator_gives_the_same_interval_and_no_samples_none() -> None:
    a, b = two_models()
    one, again = (stats.sample_bootstrap(a, b, np.random.default_rng(7)) for _ in range(2))
    assert one.equals(again)
    none = stats.sample_bootstrap(a[:, :0], b[:, :0], np.random.default_rng(7))
    assert none[["difference", "low", "high"]].isna().all(axis=None)


def test_other_shapes_are_refused() -> None:
    a, b = two_models()
    with pytest.raises(ValueError, match=r"\(3, 2000\).*\(2, 2000\)"):
        stats.mcnemar(a, b[:2])
    with pytest.raises(ValueError, match="seeds, samples"):
        stats.sample_bootstrap(a[None], b[None], np.random.default_rng(0))


def answers(rng: np.random.Generator, groups: int, samples: int, shares: tuple[float, float]) -> pd.DataFrame:
    """Samples of two models in `groups` data sets; `shares`: of samples that only one of them got right."""
    kind = rng.choice(3, (groups, samples), p=[*shares, 1 - sum(shares)])
    value, other = (kind == 0).ravel().astype(float), (kind == 1).ravel().astype(float)
    names = {"dataset": np.repeat(np.arange(groups), samples), "arm": "new", "reference": "old"}
    return pd.DataFrame({**names, "value": value, "reference_value": other, "difference": value - other})


def test_verdicts_on_samples_are_mcnemars_with_holm() -> None:
    table = answers(np.random.default_rng(0), 5, 200, (0.2, 0.1))
    table.loc[0, ["value", "difference"]] = np.nan
    found = stats.sample_verdicts(table, margin=0.05)
    p = [
        mcnemar([[0, group["value"].gt(group["reference_value"]).sum()],
                 [group["value"].lt(group["reference_value"]).sum(), 0]], exact=True).pvalue
        for _, group in table.dropna().groupby("dataset")
    ]  # fmt: skip
    npt.assert_allclose(found["p"], p)
    npt.assert_allclose(found["p_holm"], multipletests(p, method="holm")[1])
    assert list(found["n"]) == [199, 200, 200, 200, 200]
    npt.assert_allclose(found["sd"], table.groupby("dataset")["difference"].std())


@pytest.mark.parametrize("shares", [(0.05, 0.05), (0.2, 0.1), (0.02, 0.01)])
def test_interval_of_samples_keeps_its_coverage(shares: tuple[float, float]) -> None:
    found = stats.sample_verdicts(answers(np.random.default_rng(1), 2_000, 100, shares), margin=None)
    truth = shares[0] - shares[1]
    assert (found["low"].le(truth) & found["high"].ge(truth)).mean() > 0.945


def test_detectable_of_samples_is_detected_and_more_samples_suffice() -> None:
    table = answers(np.random.default_rng(2), 1, 400, (0.1, 0.1))
    row = stats.sample_verdicts(table, margin=0.02).iloc[0]
    half = (row["only_arm"] + row["only_reference"]) / 800
    up, down = half + row["detectable"] / 2, half - row["detectable"] / 2
    again = stats.sample_verdicts(answers(np.random.default_rng(3), 1_000, 400, (up, down)), margin=None)
    assert again["p"].le(0.05).mean() == pytest.approx(0.8, abs=0.05)
    samples = int(400 + row["more_seeds"])
    larger = answers(np.random.default_rng(4), 100, samples, (half + 0.01, half - 0.01))
    assert stats.sample_verdicts(larger, margin=None)["p"].le(0.05).mean() == pytest.approx(0.8, abs=0.12)
