"""Group sequential looks: published boundaries, error rates by simulation, repeated p values, verdicts."""

from __future__ import annotations

from itertools import pairwise

import calibrating_looks
import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import special
from scipy import stats as scipy_stats

from harness.registry import PACKAGE_ROOT
from harness.stats import group_sequential, verdicts
from harness.stats.group_sequential import Spending, levels, repeated, verdicts_at_look
from harness.stats.verdicts import holm

DRAWS = 400_000
DESIGNS = [(5, 10, 20), (3, 5, 10, 20), (4, 6, 8, 10)]


def sizes(design: tuple[int, ...], spending: Spending, alpha: float = 0.05) -> NDArray[np.float64]:
    """The boundaries on the scale of z."""
    return -special.ndtri(np.array(levels(design, alpha, spending)) / 2)


def told(
    t: NDArray[np.float32], design: tuple[int, ...], spending: Spending, alpha: float
) -> NDArray[np.bool_]:
    """Which series `t` (draws, looks) cross the boundary at which look."""
    level = np.array(levels(design, alpha, spending))
    return np.asarray(np.abs(t) >= special.stdtrit(np.array(design) - 1, 1 - level / 2))


@pytest.mark.parametrize(
    ("spending", "published"),
    [
        ("obrien-fleming", [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ("pocock", [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
    ],
)
def test_of_many_seeds_the_boundaries_are_the_published_ones(
    spending: Spending, published: list[float]
) -> None:
    """Five equal looks at alpha 0.05, two-sided, as R's ldbounds prints them (Reboussin et al. 2000)."""
    npt.assert_allclose(sizes((200, 400, 600, 800, 1000), spending), published, atol=0.004)


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
@pytest.mark.parametrize("design", DESIGNS)
def test_of_few_seeds_each_look_spends_what_it_may(design: tuple[int, ...], spending: Spending) -> None:
    t = calibrating_looks.t_statistics(DRAWS, np.random.default_rng(3), at=design)
    for alpha in (0.05, 0.01):
        crossed = told(t, design, spending, alpha)
        first = (crossed & (crossed.cumsum(axis=1) == 1)).mean(axis=0)
        may = np.diff(group_sequential.spent(np.array(design) / design[-1], alpha, spending), prepend=0.0)
        npt.assert_allclose(first, may, atol=4 * np.sqrt(alpha / DRAWS))
        assert abs(crossed.any(axis=1).mean() - alpha) < 4 * np.sqrt(alpha / DRAWS)


def test_boundaries_of_a_known_variance_would_err_too_often_with_few_seeds() -> None:
    """What a textbook's program gives, taken for levels of t tests: 20 looks, from 3 seeds on."""
    design = tuple(range(3, 23))
    t = calibrating_looks.t_statistics(DRAWS, np.random.default_rng(4), at=design)
    known = np.array(levels(tuple(n * 45 for n in design)))
    crossed = np.abs(t) >= special.stdtrit(np.array(design) - 1, 1 - known / 2)
    exact = told(t, design, "obrien-fleming", 0.05).any(axis=1).mean()
    assert crossed.any(axis=1).mean() > exact + 0.0005


def test_one_side_errs_in_at_most_alpha() -> None:
    """A bound of equivalence: at the margin's edge the one-sided t test at the looks' levels."""
    t = calibrating_looks.t_statistics(DRAWS, np.random.default_rng(5), at=(5, 10, 20))
    for spending in ("obrien-fleming", "pocock"):
        level = np.array(levels((5, 10, 20), 0.05, spending))
        rate = (t <= special.stdtrit(np.array([4, 9, 19]), level)).any(axis=1).mean()
        assert 0.04 < rate <= 0.05 + 4 * np.sqrt(0.05 / DRAWS)


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_a_repeated_p_is_the_alpha_at_which_the_look_would_tell(spending: Spending) -> None:
    for alpha in (0.2, 0.05, 0.0125, 0.001):
        for seeds, level in zip((5, 10, 20), levels((5, 10, 20), alpha, spending), strict=True):
            assert repeated(level, seeds, (5, 10, 20), spending) == pytest.approx(alpha, rel=0.01)


def test_repeated_p_values_grow_with_p_and_stay_in_their_range() -> None:
    p = np.array([0.0, 1e-300, 1e-9, 1e-4, 0.01, 0.2, 0.6, 1.0])
    for seeds in (5, 10, 20):
        found = repeated(p, seeds, (5, 10, 20))
        assert all(a <= b for a, b in pairwise(found))
        assert found[0] > 0
        assert found[-1] == 1
        assert (found >= p).all()
    assert np.isnan(repeated(np.nan, 10, (5, 10, 20)))


@pytest.mark.parametrize(
    ("looks", "why"),
    [
        ([], "two looks"), ([20], "one look"), ([5, 5], "grow"),
        ([10, 5], "grow"), ([2, 5], "3 seeds or more"),
        ([5, 1001], "1,000"), (list(range(3, 24)), "21 looks"),
    ],
)  # fmt: skip
def test_a_design_that_cannot_be_is_refused_in_words(looks: list[int], why: str) -> None:
    assert why in group_sequential.problem(looks)
    with pytest.raises(ValueError, match=why):
        levels(tuple(looks))


def test_no_look_and_no_alpha_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no look at 7 seeds; allowed are 5, 10"):
        repeated(0.01, 7, (5, 10))
    with pytest.raises(ValueError, match="alpha = 0"):
        levels((5, 10), 0.0)


def differences(n: int, means: list[float]) -> pd.DataFrame:
    rng = np.random.default_rng(11)
    rows = [
        pd.DataFrame({"arm": str(i), "difference": rng.normal(mean, 1.0, n)}) for i, mean in enumerate(means)
    ]
    return pd.concat(rows, ignore_index=True)


def test_verdicts_at_a_look_hold_together() -> None:
    """Interval and p agree; the estimates are those of any other verdict."""
    frame = differences(10, [0.0, 1.0, 2.0, 4.0])
    found = verdicts_at_look(frame, ("arm",), seeds=10, looks=(5, 10, 20), margin=0.5, spending="pocock")
    plain = verdicts(frame, ("arm",), margin=0.5)
    assert list(found) == list(plain)
    npt.assert_array_equal(found[["n", "difference", "sd"]], plain[["n", "difference", "sd"]])
    excluded = found["low"].gt(0) | found["high"].lt(0)
    npt.assert_array_equal(excluded, found["p"].le(0.05))
    assert set(excluded) == {True, False}
    p = np.array([scipy_stats.ttest_1samp(one, 0).pvalue for _, one in frame.groupby("arm")["difference"]])
    npt.assert_allclose(found["p"], repeated(p, 10, (5, 10, 20), "pocock"))
    npt.assert_allclose(found["p_holm"], holm(found["p"]))
    assert found["verdict"].iloc[-1] == "better"
    assert (found["p"] >= plain["p"]).all()
    assert (found["detectable"] > plain["detectable"]).all()


def test_more_seeds_lead_to_the_look_that_shows_the_margin() -> None:
    frame = differences(5, [0.0])
    frame["difference"] *= 1.0 / frame["difference"].std(ddof=1)

    def more(margin: float) -> float:
        judged = verdicts_at_look(frame, ("arm",), seeds=5, looks=(5, 10, 20), margin=margin)
        return float(judged["more_seeds"].iloc[0])

    shown = [more(margin) for margin in (20.0, 2.0, 0.8, 0.3)]
    assert shown[:3] == [0, 5, 15]
    assert shown[3] > 60


def test_seeds_that_never_differ_are_no_reason_to_stop_early() -> None:
    frame = pd.DataFrame({"arm": "x", "difference": np.zeros(5)})
    found = verdicts_at_look(frame, ("arm",), seeds=5, looks=(5, 10, 20), margin=0.5).iloc[0]
    assert found["p"] == 1
    assert np.isnan(found["low"])
    assert found["verdict"] == "the same in all seeds"


def test_the_documented_levels_are_these() -> None:
    page = (PACKAGE_ROOT.parent / "docs" / "comparisons.md").read_text(encoding="utf-8")
    for spending in ("obrien-fleming", "pocock"):
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{spending}` |"))
        told = [float(cell) for cell in row.split("|")[2:5]]
        npt.assert_allclose(told, levels((5, 10, 20), 0.05, spending), rtol=0.03)


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_a_look_that_may_spend_nothing_has_a_level(spending: Spending) -> None:
    found = levels((3, 50, 1000), 1e-7, spending)
    assert all(0 < level <= 1.01e-7 for level in found)
    assert np.isfinite(repeated([1e-200, 0.5], 3, (3, 50, 1000), spending)).all()
