"""McNemar against statsmodels, the bootstrap over samples against scipy."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar

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
