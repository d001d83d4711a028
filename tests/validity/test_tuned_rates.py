"""Studies of tuned arms that are cut from a pool notice what one choice for all seeds leaves out."""

from __future__ import annotations

from pathlib import Path

import aa_rates
import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
import tuned_draws
import tuned_rates
import tuned_studies
from click.testing import CliRunner
from numpy.typing import NDArray
from tuned_draws import Design, Pool

pytestmark = pytest.mark.usefixtures("quick")
STUDIES = 2000
BOUNDS = (0.03, 0.07)  # four standard errors of a rate of 5 % over so many studies


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Two settings that val cannot tell apart, and that differ on test by the spread of seeds."""
    rng = np.random.default_rng(0)
    return Pool(rng.normal(size=(500, 2)), rng.normal([0.0, 1.0], size=(500, 2)))


def numbered(seeds: int, settings: int = 3) -> Pool:
    """A pool whose test values are the numbers of its seeds."""
    rng = np.random.default_rng(0)
    return Pool(rng.random((seeds, settings)), np.repeat(np.arange(float(seeds))[:, None], settings, axis=1))


def false_positives(pool: Pool, design: Design, counted: Design | None = None) -> float:
    studies = tuned_draws.drawn((pool, pool), design, STUDIES, np.random.default_rng(1), paired=False)
    table = tuned_draws.judged(studies, counted or design, margin=1.0)
    return float(table["p"].le(aa_rates.ALPHA).mean())


# ---------------------------------------- the rates


def test_one_choice_for_all_seeds_finds_differences_that_are_choices(pool: Pool) -> None:
    assert false_positives(pool, Design(1, 2, 20)) > 2 * BOUNDS[1]


@pytest.mark.parametrize("blocks", [5, 10, 20])
def test_blocks_that_choose_keep_what_is_promised(pool: Pool, blocks: int) -> None:
    assert BOUNDS[0] < false_positives(pool, Design(blocks, 2 * blocks, 20)) < BOUNDS[1]


def test_seeds_of_blocks_that_are_counted_one_by_one_are_noticed(pool: Pool) -> None:
    assert false_positives(pool, Design(5, 10, 20), counted=Design(1, 2, 20)) > BOUNDS[1]


def test_halving_keeps_what_is_promised(pool: Pool) -> None:
    assert BOUNDS[0] < false_positives(pool, Design(5, 20, 20, halving=True)) < BOUNDS[1]


def test_intervals_of_blocks_hold_the_difference_of_tuned_arms(pool: Pool) -> None:
    other = Pool(pool.val, pool.test + np.array([0.0, 0.8]))
    rng = np.random.default_rng(2)
    check = tuned_rates.arms_apart("pool", (pool, other), Design(5, 10, 20), STUDIES, rng)
    assert check.question == tuned_rates.COVERAGE_APART
    assert BOUNDS[0] < 1 - check.rate < BOUNDS[1]
    once = tuned_rates.arms_apart("pool", (pool, other), Design(1, 2, 20), STUDIES, rng)
    assert once.events < 0.9 * once.studies


def test_the_truth_is_the_mean_of_what_is_chosen() -> None:
    val = np.repeat([[0.1, 0.3, 0.2]], 50, axis=0)
    pool = Pool(val, np.arange(150.0).reshape(50, 3))
    rng = np.random.default_rng(0)
    assert tuned_draws.truth(pool, Design(5, 10, 20), rng, 100) == pytest.approx(pool.test[:, 1].mean())
    npt.assert_array_equal(tuned_draws.shares(pool, 2, rng, 100), [0, 1, 0])


# ---------------------------------------- the draws


def test_a_choice_is_the_best_mean_and_of_equals_the_first() -> None:
    val: NDArray[np.float64] = np.array(
        [[[0.5, 0.6, 0.6], [0.7, 0.6, 0.6]], [[0.1, 0.9, 0.2], [0.1, 0.0, 0.5]]]
    )
    npt.assert_array_equal(tuned_draws.chosen(val, halving=False), [0, 1])
    tied = np.array([[0.6, 0.6, 0.5]])
    assert tuned_draws.chosen(tied, halving=False) == 0


def test_halving_chooses_as_a_run_does() -> None:
    rng = np.random.default_rng(0)
    val = rng.random((50, 4, 6))
    picked = tuned_draws.chosen(val, halving=True)
    for one, choice in zip(val, picked, strict=True):
        left = list(range(6))
        for before, count in ((1, 3), (2, 2)):
            left = sorted(left, key=lambda place: -one[:before, place].mean())[:count]
        assert choice == max(left, key=lambda place: one[:, place].mean())
    assert (picked != tuned_draws.chosen(val, halving=False)).any()


def test_arms_that_are_not_paired_share_no_seed() -> None:
    pool = numbered(130)
    studies = tuned_draws.drawn((pool, pool), Design(5, 10, 20), 30, np.random.default_rng(0), paired=False)
    assert studies.shape == (30, 2, 20)
    assert all(len(set(study.ravel())) == 40 for study in studies)


def test_paired_arms_have_the_same_seeds() -> None:
    pool = numbered(130)
    studies = tuned_draws.drawn((pool, pool), Design(10, 10, 20), 30, np.random.default_rng(0), paired=True)
    npt.assert_array_equal(studies[:, 0], studies[:, 1])
    assert all(len(set(study[0])) == 20 for study in studies)


def test_a_pool_that_is_too_small_is_refused() -> None:
    pool = numbered(50)
    with pytest.raises(ValueError, match="a study of 5 blocks, 2 tuning needs 60 seeds; the pool has 50"):
        tuned_draws.drawn((pool, pool), Design(5, 10, 20), 1, np.random.default_rng(0), paired=False)


def test_blocks_are_counted() -> None:
    pool = numbered(130)
    design = Design(5, 10, 20)
    studies = tuned_draws.drawn((pool, pool), design, 4, np.random.default_rng(0), paired=False)
    table = tuned_draws.judged(studies, design, margin=1.0)
    assert table["n"].tolist() == [5] * 4
    means = (studies[:, 1] - studies[:, 0]).reshape(4, 5, 4).mean(axis=2)
    npt.assert_allclose(table["sd"], means.std(axis=1, ddof=1))


# ---------------------------------------- the command


def test_the_command_trains_a_pool_and_judges(tmp_path: Path) -> None:
    few = ["--seeds", "200", "--studies", "100", "--workers", "1"]
    done = CliRunner().invoke(tuned_studies.tuned, ["--results", str(tmp_path), *few])
    assert done.exception is None or isinstance(done.exception, SystemExit), (
        done.output
    )  # out of bounds, at most
    rates = pd.read_csv(tmp_path / "tuned.csv")
    assert set(rates["question"]) == set(tuned_rates.ASKED)
    assert rates["studies"].eq(100).all()
    designs = [design for tuning in tuned_studies.TUNING for design in tuned_rates.designs(20, tuning)]
    sources = {f"{arm} twice, {design}" for arm in tuned_studies.ARMS for design in designs}
    assert sources <= set(rates["source"])
    assert "2,000 trials" in (tmp_path / "tuned.txt").read_text()
