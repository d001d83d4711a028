"""Finalists: their order, how often each would win, verdicts of the first, and the optimism of a search."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from harness import stats

NAN = float("nan")


def trials(values: dict[str, list[float]], metric: str = "val_accuracy") -> pd.DataFrame:
    """A row a seed; a NaN is a trial that diverged."""
    rows = [
        {
            "dataset": "digits",
            "arm": arm,
            "seed": seed,
            "status": "diverged" if np.isnan(v) else "ok",
            metric: v,
        }
        for arm, given in values.items()
        for seed, v in enumerate(given)
    ]
    return pd.DataFrame(rows)


def test_the_best_mean_is_first_and_equal_ones_keep_their_order() -> None:
    table = stats.finalists(trials({"a": [0.7, 0.8], "b": [0.9, 0.8], "c": [0.8, 0.7], "d": [0.8, 0.9]}))
    assert list(table["arm"]) == ["b", "d", "a", "c"]
    assert table["mean"].tolist() == pytest.approx([0.85, 0.85, 0.75, 0.75])
    losses = stats.finalists(
        trials({"a": [0.7], "b": [0.5], "c": [0.6]}, "val_loss"), "val_loss", maximize=False
    )
    assert list(losses["arm"]) == ["b", "c", "a"]
    assert losses["wins"].isna().all()  # one seed says nothing of another
    assert table["wins"].isna().all(), "nor do two: half of their resamples are one of them twice"


def test_an_arm_with_a_seed_that_diverged_comes_after_those_without_and_never_wins() -> None:
    table = stats.finalists(trials({"a": [0.99, NAN, 0.99, 0.99], "b": [0.5, 0.6, 0.7, 0.6], "c": [NAN] * 4}))
    assert list(table["arm"]) == ["b", "a", "c"]
    assert table["n"].tolist() == [4, 3, 0]
    assert table["diverged"].tolist() == [0, 1, 4]
    assert table["wins"].tolist() == pytest.approx([1.0, NAN, NAN], nan_ok=True)


def exact(values: np.ndarray) -> np.ndarray:
    """Shares of wins over all resamples of the seeds, each as likely as any other; ties are shared."""
    n = len(values)
    wins = np.zeros(values.shape[1])
    for drawn in itertools.product(range(n), repeat=n):
        means = values[list(drawn)].mean(axis=0)
        best = np.isclose(means, means.max(), rtol=0, atol=1e-12)
        wins += best / best.sum()
    return np.asarray(wins / n**n)


def test_wins_are_those_of_all_resamples_of_the_seeds() -> None:
    given = {
        "a": [0.90, 0.91, 0.89, 0.92, 0.90], "b": [0.91, 0.90, 0.90, 0.90, 0.92],
        "c": [0.88, 0.92, 0.87, 0.90, 0.90],
    }  # fmt: skip
    values, table = np.array([*given.values()]).T, stats.finalists(trials(given))
    wins = table.set_index("arm").loc[["a", "b", "c"], "wins"].to_numpy(dtype=float)
    assert wins.sum() == pytest.approx(1)
    assert wins == pytest.approx(exact(values), abs=0.02)
    assert 0.02 < wins[0] < 0.98  # else it would show nothing
    pd.testing.assert_frame_equal(table, stats.finalists(trials(given)))


def test_arms_that_are_equal_in_every_seed_share_the_wins() -> None:
    table = stats.finalists(
        trials({"a": [0.8, 0.9, 0.7, 0.8], "b": [0.8, 0.9, 0.7, 0.8], "c": [0.1, 0.2, 0.1, 0.1]})
    )
    assert table["wins"].tolist() == pytest.approx([0.5, 0.5, 0])


def test_verdicts_of_the_first_are_corrected_over_all_pairs() -> None:
    rng = np.random.default_rng(2)
    values = {arm: [*rng.normal(mean, 0.01, 6)] for arm, mean in (("a", 0.8), ("b", 0.83), ("c", 0.81))}
    given = trials(values)
    found = stats.finalist_verdicts(given, margin=0.002)
    assert found["arm"].tolist() == ["b", "b"]
    order = list(stats.finalists(given)["arm"])
    assert found["reference"].tolist() == order[1:]
    pairs = pd.DataFrame(list(itertools.combinations(order, 2)), columns=["arm", "reference"])
    every = stats.verdicts(stats.paired_differences(given, pairs), margin=0.002)
    assert found["p_holm"].tolist() == pytest.approx(stats.holm(every["p"])[:2])
    assert (found["p_holm"] > found["p"]).all()
    one = stats.finalist_verdicts(trials({"a": [0.8, 0.9]}), margin=0.002)
    assert one.empty
    assert list(one) == list(found)


def test_equal_arms_are_seldom_told_apart_though_the_first_was_picked_by_the_same_seeds() -> None:
    rng, wrong, searches = np.random.default_rng(3), 0, 300
    for _ in range(searches):
        values = rng.normal(0.9, 0.01, (5, 4))
        given = trials({name: [*values[:, k]] for k, name in enumerate("abcd")})
        wrong += bool(stats.finalist_verdicts(given, margin=0.002)["verdict"].isin(["better", "worse"]).any())
    assert wrong / searches < 0.05 + 3 * (0.05 * 0.95 / searches) ** 0.5


@pytest.mark.parametrize(("maximize", "sign"), [(True, 1), (False, -1)])
def test_optimism_is_how_much_better_the_number_of_the_search_is(maximize: bool, sign: int) -> None:
    fresh = trials({"winner": [0.88, 0.90, 0.92]})
    row = stats.optimism(0.95, fresh, maximize=maximize).iloc[0]
    assert (row["n"], row["searched"], row["fresh"]) == (3, 0.95, pytest.approx(0.9))
    assert row["optimism"] == pytest.approx(sign * 0.05)
    half = (row["fresh_high"] - row["fresh_low"]) / 2
    assert half == pytest.approx(4.302653 * 0.02 / 3**0.5, rel=1e-5)  # Student's t
    assert [row["low"], row["high"]] == pytest.approx([sign * 0.05 - half, sign * 0.05 + half])
    assert stats.optimism(0.95, fresh.assign(status="failed")).empty
