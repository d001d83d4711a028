"""What is said of a contrast over data sets, from the strongest claim down, with scipy's p values."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from harness import stats
from harness.stats.over_data_sets import OVER_DATA_SETS

MARGIN = 0.002


def rows(arm: str, **sets: np.ndarray | list[float]) -> pd.DataFrame:
    """The differences of an arm on each data set, seeds 0, 1, ..."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "dataset": name,
                    "arm": arm,
                    "reference": "r",
                    "seed": range(len(values)),
                    "difference": values,
                }
            )
            for name, values in sets.items()
        ],
        ignore_index=True,
    )


def noise(mean: float, seed: int, n: int = 6, sd: float = 0.0005) -> np.ndarray:
    """n numbers with exactly this mean and SD."""
    z = np.random.default_rng(seed).normal(size=n)
    return np.asarray(mean + sd * (z - z.mean()) / z.std(ddof=1))


def verdict(**sets: np.ndarray | list[float]) -> str:
    return str(stats.over_data_sets(rows("a", **sets), margin=MARGIN)["verdict"].item())


def test_the_strongest_claim_that_holds_is_the_verdict() -> None:
    assert verdict(x=noise(0.01, 0), y=noise(0.02, 1)) == "better on every one"
    assert verdict(x=noise(-0.01, 0), y=noise(-0.02, 1)) == "worse on every one"
    assert verdict(x=noise(0.0, 0), y=noise(0.0001, 1)) == "same within margin on every one"
    assert verdict(x=noise(0.01, 0), y=noise(-0.01, 1)) == "depends on the data set"
    assert verdict(x=noise(0.01, 0), y=noise(0.0, 1)) == "depends on the data set"
    x = noise(0.01, 0, sd=0.012)
    wide = {"x": x, "y": 0.02 - x + noise(0.0, 1, sd=0.002)}  # where one seed is high, the other is low
    averaged = scipy_stats.ttest_1samp((wide["x"] + wide["y"]) / 2, 0).pvalue
    assert averaged < 0.05 / 3 < 0.05 < min(scipy_stats.ttest_1samp(one, 0).pvalue for one in wide.values())
    assert verdict(**wide) == "better on average"
    assert verdict(x=noise(0.001, 0, sd=0.02), y=noise(0.001, 1, sd=0.02)) == "cannot tell"
    assert verdict(x=[0.01], y=[0.02]) == "one seed"
    assert verdict(x=[np.nan, np.nan], y=[0.01, 0.02]) == "no data"


def test_what_holds_on_every_data_set_needs_no_seed_that_finished_on_all() -> None:
    lost = np.full(6, np.nan)
    assert verdict(x=[*noise(0.01, 0), *lost], y=[*lost, *noise(0.02, 1)]) == "better on every one"
    assert verdict(x=[*noise(0.0, 0), *lost], y=[*lost, *noise(0.0, 1)]) == "same within margin on every one"
    assert verdict(x=[*noise(0.01, 0), *lost], y=[*lost, *noise(-0.01, 1)]) == "cannot tell"
    # On both sets all is better but in the two seeds that they have in common.
    common = [-0.0005, -0.0004]
    x, y = [*noise(0.01, 2, 10), *common, *[np.nan] * 10], [*[np.nan] * 10, *common, *noise(0.01, 3, 10)]
    assert verdict(x=x, y=y) == "better on every one"


def test_each_p_is_scipys_and_the_average_is_taken_within_each_seed() -> None:
    x, y = noise(0.003, 0, sd=0.002), noise(0.001, 1, sd=0.002)
    row = stats.over_data_sets(rows("a", x=x, y=y), margin=MARGIN).iloc[0]
    averaged = scipy_stats.ttest_1samp((x + y) / 2, 0)
    npt.assert_allclose(row["p"], averaged.pvalue)
    interval = averaged.confidence_interval(0.95)
    npt.assert_allclose([row["low"], row["high"]], np.array([interval.low, interval.high]))
    npt.assert_allclose(row["p_every"], max(scipy_stats.ttest_1samp(one, 0).pvalue for one in (x, y)))
    npt.assert_allclose(row["p_apart"], scipy_stats.ttest_rel(x, y).pvalue)
    npt.assert_allclose([row["least"], row["greatest"]], [0.001, 0.003])
    assert (row["data_sets"], row["n"]) == (2, 6)


def test_pairs_of_three_data_sets_are_corrected() -> None:
    sets = {"x": noise(0.003, 0), "y": noise(0.001, 1), "z": noise(0.0015, 2)}
    row = stats.over_data_sets(rows("a", **sets), margin=MARGIN).iloc[0]
    p = [scipy_stats.ttest_rel(sets[a], sets[b]).pvalue for a, b in (("x", "y"), ("x", "z"), ("y", "z"))]
    npt.assert_allclose(row["p_apart"], min(3 * min(p), 1))


def test_each_question_is_corrected_over_the_contrasts() -> None:
    one = rows("a", x=noise(0.002, 0, sd=0.001), y=noise(0.002, 1, sd=0.001))
    alone = stats.over_data_sets(one, margin=MARGIN).iloc[0]
    other = rows("b", x=noise(0.0, 2, sd=0.01), y=noise(0.0, 3, sd=0.01))
    both = stats.over_data_sets(pd.concat([one, other]), margin=MARGIN).set_index("arm")
    for name in ("p", "p_every"):
        assert both.loc["a", name] == pytest.approx(alone[name])
        assert both.loc["a", f"{name}_holm"] == pytest.approx(2 * alone[f"{name}_holm"])


def test_data_sets_that_point_apart_are_never_every_one_whatever_their_p() -> None:
    row = stats.over_data_sets(rows("a", x=noise(0.01, 0), y=noise(-0.001, 1)), margin=MARGIN).iloc[0]
    assert row["p_every"] == 1


def test_a_seed_counts_where_it_finished_on_all_and_one_data_set_is_none() -> None:
    short = rows("a", x=[0.01, 0.02, np.nan, 0.03], y=[0.01, np.nan, 0.02, 0.02])
    assert stats.over_data_sets(short, margin=MARGIN)["n"].item() == 2
    assert stats.over_data_sets(rows("a", x=[0.01, 0.02]), margin=MARGIN).empty


def test_lower_may_be_better() -> None:
    found = stats.over_data_sets(
        rows("a", x=noise(0.01, 0), y=noise(0.02, 1)), margin=MARGIN, higher_is_better=False
    )
    assert found["verdict"].item() == "worse on every one"


def test_a_seed_twice_is_refused_and_every_word_is_known() -> None:
    twice = pd.concat([rows("a", x=[0.01], y=[0.01])] * 2)
    with pytest.raises(ValueError, match="allowed is one"):
        stats.over_data_sets(twice, margin=MARGIN)
    assert len(set(OVER_DATA_SETS)) == len(OVER_DATA_SETS) == 9


def test_blocks_of_seeds_that_chose_stand_for_seeds() -> None:
    x, y = noise(0.003, 0, n=8, sd=0.002), noise(0.001, 1, n=8, sd=0.002)
    seeds = rows("a", x=x, y=y).assign(**{stats.BLOCK: [1, 1, 2, 2, 3, 3, 4, 4] * 2})
    blocks = rows("a", x=x.reshape(4, 2).mean(axis=1), y=y.reshape(4, 2).mean(axis=1))
    found, expected = (stats.over_data_sets(one, margin=MARGIN) for one in (seeds, blocks))
    pd.testing.assert_frame_equal(found, expected)
    assert found["n"].item() == 4
