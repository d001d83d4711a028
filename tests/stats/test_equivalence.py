"""Equivalence of pairs against statsmodels, the bound of each, and all of them together."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pandas as pd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from harness import stats

MARGIN = 0.002


def pairs(values: list[np.ndarray]) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame({"dataset": "mnist", "arm": f"a{k}", "reference": "r", "difference": one})
            for k, one in enumerate(values)
        ],
        ignore_index=True,
    )


def draw(n: int = 8, number: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0.0008 * k, 0.001, n) for k in range(number)]


def test_p_is_statsmodels_tost_and_corrected_over_all_pairs() -> None:
    values = draw()
    table = stats.equivalence(pairs(values), margin=MARGIN)
    p = [ttost_paired(0.9 + one, np.full(len(one), 0.9), -MARGIN, MARGIN)[0] for one in values]
    npt.assert_allclose(table["p_same"], p, rtol=1e-6)
    npt.assert_allclose(table["p_same_holm"], multipletests(p, method="holm")[1], rtol=1e-6)
    assert table["same"].tolist() == (multipletests(p, method="holm")[1] <= 0.05).tolist()
    assert 0 < table["same"].sum() < len(table)


def test_a_difference_known_to_a_resolution_has_a_wider_bound() -> None:
    known = stats.equivalence(pairs(draw()), margin=MARGIN)
    coarse = stats.equivalence(pairs(draw()).assign(resolution=0.0003), margin=MARGIN)
    npt.assert_allclose(coarse["at_most"], known["at_most"] + 0.0003)
    assert (coarse["p_same"] > known["p_same"]).all()


def test_the_bound_is_the_margin_at_which_bonferroni_would_just_call_the_pair_the_same() -> None:
    table = stats.equivalence(pairs(draw()), margin=MARGIN)
    for place, bound in enumerate(table["at_most"]):
        at_bound = stats.equivalence(pairs(draw()), margin=float(bound))
        npt.assert_allclose(at_bound["p_same"].iloc[place], 0.05 / len(table), rtol=1e-6)


def test_seeds_that_share_val_images_show_less() -> None:
    plain = stats.equivalence(pairs(draw()), margin=MARGIN)
    shared = stats.equivalence(pairs(draw()).assign(overlap=0.25), margin=MARGIN)
    assert (shared["p_same"] > plain["p_same"])[:2].all()  # where the mean is within the margin
    wider = (shared["at_most"] - shared["difference"].abs()) / (plain["at_most"] - plain["difference"].abs())
    npt.assert_allclose(wider, np.sqrt(1 + 8 * 0.25))


def test_all_are_the_same_where_each_pair_is_at_the_uncorrected_level() -> None:
    table = pd.DataFrame({"p_same": [0.04, 0.01, 0.03]})
    assert stats.all_same(table)
    assert not stats.all_same(table, 0.03)
    assert not stats.all_same(pd.DataFrame({"p_same": [0.01, np.nan]}))
    assert not stats.all_same(table.iloc[:0])


def test_one_seed_shows_nothing() -> None:
    table = stats.equivalence(pairs([np.array([0.0])]), margin=MARGIN)
    assert not table["same"].any()
    assert table["at_most"].isna().all()
