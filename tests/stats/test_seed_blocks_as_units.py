"""Blocks of seeds that chose by themselves are what intervals and tests count, not their seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from harness import stats
from harness.results import standing
from harness.results.csv_rows import TextTable
from harness.settings.schema import SEED_BLOCK

BLOCKS, SEEDS = 5, 4


def trials(rng: np.random.Generator, **arms: float) -> pd.DataFrame:
    """Trials of arms with these means: each block has an offset that its seeds share."""
    rows = [
        {"dataset": "d", "arm": arm, "seed": block * SEEDS + seed, stats.BLOCK: block + 1, "status": "ok",
         "test_accuracy": mean + offset + rng.normal(0, 0.01)}
        for arm, mean in arms.items()
        for block, offset in enumerate(rng.normal(0, 0.03, BLOCKS))
        for seed in range(SEEDS)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(val_accuracy=table["test_accuracy"] - 0.01)


@pytest.fixture
def made() -> pd.DataFrame:
    return trials(np.random.default_rng(0), a=0.9, b=0.88)


def test_the_column_is_the_results_own() -> None:
    assert stats.BLOCK == SEED_BLOCK


def test_an_interval_is_that_of_the_means_of_blocks(made: pd.DataFrame) -> None:
    row = stats.summarise(made, ["arm"], "test_accuracy").set_index("arm").loc["a"]
    means = made[made["arm"].eq("a")].groupby(stats.BLOCK)["test_accuracy"].mean()
    error = means.std() / np.sqrt(BLOCKS)
    low, high = scipy_stats.t.interval(0.95, BLOCKS - 1, means.mean(), error)
    assert row["n"] == BLOCKS
    assert (row["mean"], row["sd"], row["low"], row["high"]) == pytest.approx(
        (means.mean(), means.std(), low, high)
    )
    of_seeds = (
        stats.summarise(made.drop(columns=stats.BLOCK), ["arm"], "test_accuracy").set_index("arm").loc["a"]
    )
    assert of_seeds["n"] == BLOCKS * SEEDS
    assert of_seeds["high"] - of_seeds["low"] < row["high"] - row["low"]


def test_verdicts_are_paired_t_tests_of_blocks(made: pd.DataFrame) -> None:
    pairs = pd.DataFrame({"arm": ["b"], "reference": ["a"]})
    differences = stats.paired_differences(made, pairs, "test_accuracy")
    (row,) = stats.verdicts(differences, margin=0.01).to_dict("records")
    wide = made.pivot_table(index=stats.BLOCK, columns="arm", values="test_accuracy")
    expected = scipy_stats.ttest_rel(wide["b"], wide["a"])
    assert (row["n"], row["p"]) == (BLOCKS, pytest.approx(expected.pvalue))
    levels = stats.level_differences(made, "arm", "a", axes=["arm"])
    (same,) = stats.verdicts(levels, margin=0.01).to_dict("records")
    assert same["p"] == pytest.approx(row["p"])


def test_a_block_counts_with_the_seeds_that_finished(made: pd.DataFrame) -> None:
    status = made["status"].mask(made["arm"].eq("a") & made["seed"].isin([0, *range(4, 8)]), "diverged")
    pairs = pd.DataFrame({"arm": ["b"], "reference": ["a"]})
    lost = made.assign(status=status)
    (row,) = stats.verdicts(stats.paired_differences(lost, pairs, "test_accuracy"), margin=0.01).to_dict(
        "records"
    )
    done = lost[lost["seed"].isin(set(lost["seed"]) - {0, 4, 5, 6, 7})]
    wide = done.pivot_table(index=stats.BLOCK, columns="arm", values="test_accuracy")
    assert row["n"] == BLOCKS - 1
    assert row["p"] == pytest.approx(scipy_stats.ttest_rel(wide["b"], wide["a"]).pvalue)


def test_ranks_and_main_effects_count_blocks(made: pd.DataFrame) -> None:
    ranked = stats.rank_arms(made)
    assert ranked["n"].tolist() == ranked["shown_n"].tolist() == [BLOCKS, BLOCKS]
    assert ranked["planned"].tolist() == [BLOCKS * SEEDS] * 2
    assert stats.main_effects(made.rename(columns={"arm": "axis"}), ["axis"])["n"].eq(BLOCKS).all()


def test_the_screen_has_the_reports_intervals(made: pd.DataFrame) -> None:
    columns = ["dataset", "arm", "status", "val_accuracy", "test_accuracy", stats.BLOCK]
    texts = made[columns].astype(str).to_numpy().tolist()
    shown = standing.ranked(TextTable(columns, texts))["d"]
    ranked = stats.rank_arms(made).to_dict("records")
    assert [arm.arm for arm in shown] == [row["arm"] for row in ranked]
    for arm, row in zip(shown, ranked, strict=True):
        assert (arm.n, arm.finished) == (BLOCKS, BLOCKS * SEEDS)
        assert (arm.mean, arm.low, arm.high) == pytest.approx((row["mean"], row["low"], row["high"]))
        assert arm.shown == pytest.approx(row["shown_mean"])


# ---------------------------------------- the spread of choices


def test_spreads_are_those_of_the_analysis_of_variance(made: pd.DataFrame) -> None:
    table = stats.choice_spreads(made).set_index("arm")
    for arm, of_arm in made.groupby("arm"):
        blocks = [block["test_accuracy"].to_numpy() for _, block in of_arm.groupby(stats.BLOCK)]
        f = scipy_stats.f_oneway(*blocks).statistic
        row = table.loc[arm]
        assert (row["blocks"], row["seeds"]) == (BLOCKS, SEEDS)
        within = np.mean([block.var(ddof=1) for block in blocks])
        assert row["seed_sd"] == pytest.approx(np.sqrt(within))
        assert 1 + SEEDS * row["choice_sd"] ** 2 / row["seed_sd"] ** 2 == pytest.approx(f)


def test_spreads_are_right_on_average() -> None:
    rng = np.random.default_rng(1)
    many = [stats.choice_spreads(trials(rng, a=0.5)).iloc[0] for _ in range(300)]
    assert np.sqrt(np.mean([row["seed_sd"] ** 2 for row in many])) == pytest.approx(0.01, rel=0.05)
    assert np.sqrt(np.mean([row["choice_sd"] ** 2 for row in many])) == pytest.approx(0.03, rel=0.1)


def test_blocks_of_one_seed_cannot_tell_the_two_spreads_apart(made: pd.DataFrame) -> None:
    table = stats.choice_spreads(made.drop_duplicates(["arm", stats.BLOCK]))
    assert table[["seed_sd", "choice_sd"]].isna().all(axis=None)
    assert table["seeds"].eq(1).all()


def test_equal_blocks_have_no_spread_of_choices(made: pd.DataFrame) -> None:
    same = made.assign(test_accuracy=0.5 + 0.01 * (made["seed"] % SEEDS))
    assert stats.choice_spreads(same)["choice_sd"].eq(0).all()
