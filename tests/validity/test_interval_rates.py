"""Rates of the intervals beside the verdicts, on drawn numbers, and that wrong ones are noticed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import aa_draws
import aa_rates
import interval_rates
import interval_studies
import numpy as np
import numpy.testing as npt
import pytest

import harness
from harness import stats
from harness.training import runs

N, STUDIES = 5, 400


def normal(arms: int, n: int = N, studies: int = STUDIES, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.9, 0.01, (studies, arms, n))


def test_simultaneous_intervals_hold_together_where_single_ones_do_not() -> None:
    studies = normal(5)
    together = interval_rates.together(interval_rates.TOGETHER, "drawn", studies)
    assert (together.studies, together.n) == (STUDIES, N)
    assert together.rate > 0.92
    assert interval_rates.by_themselves("drawn", studies).rate < 0.91


def test_arms_that_lack_seeds_have_unequal_contrasts() -> None:
    fewer = interval_rates.ragged(normal(5, studies=3))
    assert np.isfinite(fewer).sum(axis=2)[0].tolist() == [5, 5, 4, 3, 2]
    assert (
        interval_rates.together(interval_rates.RAGGED, "drawn", interval_rates.ragged(normal(5))).rate > 0.92
    )


def test_pairs_are_every_arm_less_every_earlier_one() -> None:
    studies = np.array([[[0.1, 0.2], [0.4, 0.4], [1.0, 1.0]]])
    table = interval_rates.pairs(studies).set_index(["arm", "reference"])["difference"]
    npt.assert_allclose(table.loc[("arm 1", "arm 0")], [0.3, 0.2])
    npt.assert_allclose(table.loc[("arm 2", "arm 1")], [0.6, 0.6])
    assert len(table) == 6


def test_arms_a_margin_apart_are_rarely_called_the_same_and_bounds_hold() -> None:
    sd = math.sqrt(2) * 0.01
    called, held = interval_rates.same_of_three("drawn", normal(3, studies=200), sd)
    assert called.rate < 0.1
    assert held.rate > 0.92


def test_a_contrast_without_an_interval_is_not_counted_as_a_miss() -> None:
    steps = np.random.default_rng(5).integers(0, 4, (STUDIES, 5, 2)) / 100  # two seeds are often alike
    judged = stats.verdicts(aa_draws.differences(steps), margin=1.0)
    assert judged["low"].isna().mean() > 0.1
    assert interval_rates.together(interval_rates.TOGETHER, "drawn", steps).rate > 0.93


def test_wrong_claims_over_data_sets_are_rare_and_the_mean_is_covered() -> None:
    sets = np.random.default_rng(1).normal(0.9, [[0.01], [0.03]], (2, 300))
    checks = {
        c.question: c for c in interval_rates.over_sets("drawn", sets, N, 200, np.random.default_rng(2))
    }
    assert 0.9 < checks[interval_rates.OVER_SETS].rate < 0.99
    for question in (interval_rates.EVERY_EQUAL, interval_rates.EVERY_HALF, interval_rates.SAME_HALF):
        assert checks[question].rate < 0.1
    assert checks[interval_rates.DEPENDS].rate < 0.1
    assert checks[interval_rates.ANY_WORD].rate < 0.1


def test_seeds_and_images_are_covered_together_and_not_by_seeds_alone() -> None:
    rng = np.random.default_rng(3)
    hard = rng.random(4000)
    right = [rng.random((100, 4000)) < 0.5 + part * (hard - 0.5) for part in (0.9, -0.9)]
    differences = right[0].astype(np.int8) - right[1].astype(np.int8)
    error = 2 - right[0].mean() - right[1].mean()
    checks = interval_rates.crossed("drawn", differences, error, (N, 100), STUDIES, rng)
    crossed, bounded, alone = (check.rate for check in checks)
    assert 0.91 < crossed < 0.985
    assert bounded >= crossed - 0.01
    assert alone < 0.85


def test_splits_that_share_images_need_the_correction() -> None:
    rng, overlap = np.random.default_rng(4), 0.25
    shared = rng.normal(0, math.sqrt(overlap), (STUDIES, 1))  # what the images of a study have in common
    corrected, plain = interval_rates.splits("drawn", shared + rng.normal(size=(STUDIES, 10)), overlap)
    assert 0.92 < corrected.rate < 0.98
    assert plain.rate < 0.85


def test_a_coverage_out_of_its_figure_is_out_of_bounds() -> None:
    check = aa_rates.counted(interval_rates.CROSSED, "x", 5, np.arange(2000) < 1840, 0.95, 0.95)
    assert not aa_rates.table([check], interval_rates.INSIDE)["ok"].item()
    right = aa_rates.counted(interval_rates.CROSSED, "x", 5, np.arange(2000) < 1900, 0.95, 0.95)
    assert aa_rates.table([right], interval_rates.INSIDE)["ok"].item()


def test_every_question_has_words_and_is_told() -> None:
    checks = [aa_rates.counted(name, "x", 5, np.ones(100, bool), 0, 1) for name in interval_rates.ASKED]
    lines = "\n".join(interval_studies.told(aa_rates.table(checks, interval_rates.INSIDE)))
    assert all(words in lines for words in interval_rates.ASKED.values())
    assert set(interval_rates.INSIDE) <= set(interval_rates.ASKED)


# --------------------------------------------------------------------------------------------- trained trials


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> harness.Results:
    """A few sets of letters, trained as the command trains thousands."""
    folder = tmp_path_factory.mktemp("splits") / "x"
    return harness.run(harness.parse(interval_studies.splits_study(4)), folder, workers=1)


def test_each_set_of_letters_is_a_study_of_seeds_with_splits_of_their_own(letters: harness.Results) -> None:
    assert letters.trials["status"].eq("ok").all()
    assert letters.trials.groupby("seed")["split_seed"].nunique().eq(1).all()
    assert letters.trials["split_seed"].nunique() == interval_studies.SPLIT_SEEDS
    checks = list(interval_studies.of_splits(letters))
    assert [(check.n, check.studies) for check in checks] == [(5, 4), (5, 4), (10, 4), (10, 4)]
    accuracies = letters.trials.loc[letters.trials["dataset"].eq("letters0"), "val_accuracy"]
    assert accuracies.max() > accuracies.min()


def test_what_an_arm_gets_right_is_its_accuracy_seed_by_seed(tmp_path: Path) -> None:
    few = ["dataset=digits", "seeds=3", "steps=50", "eval_every=50 steps"]
    study = harness.load(str(Path(interval_studies.__file__).parent / "crossed.toml"), few)
    runs.train(study, tmp_path / "x", workers=1)
    found = harness.read(tmp_path / "x")
    right = interval_studies.right_of(found)
    accuracies = found.trials.pivot_table(index="seed", columns="activation", values="test_accuracy")
    for arm, mine in right.items():
        (level,) = [level for level in ("relu", "tanh") if level in arm]
        npt.assert_allclose(mine.mean(axis=1), accuracies[level], rtol=1e-6)
    checks = list(interval_studies.of_predictions(found, 20, np.random.default_rng(0)))
    assert not checks  # three seeds are too few for any size


@pytest.fixture(scope="module")
def two_sets(tmp_path_factory: pytest.TempPathFactory) -> harness.Results:
    """Ten seeds of the arm on both data sets, in any order."""
    folder = tmp_path_factory.mktemp("two_sets") / "x"
    path = str(Path(interval_studies.__file__).parent / "two_sets.toml")
    runs.train(harness.load(path, ["seeds=10"]), folder, workers=1)
    found = harness.read(folder)
    return replace(found, trials=found.trials.sample(frac=1, random_state=0))


def test_both_data_sets_are_learned(two_sets: harness.Results) -> None:
    learned = two_sets.trials.groupby("dataset")["test_accuracy"]
    assert (learned.mean() > 0.5).all()
    assert (learned.nunique() > 5).all()


def test_values_of_both_data_sets_are_paired_by_seed(
    two_sets: harness.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, np.ndarray, int]] = []

    def over_sets(source: str, values: np.ndarray, n: int, *_: object) -> list[aa_rates.Check]:
        given.append((source, values, n))
        return []

    monkeypatch.setattr(interval_rates, "over_sets", over_sets)
    list(interval_studies.of_sets(two_sets, 20, np.random.default_rng(0)))
    ((source, values, n),) = given
    names = source.removeprefix("resampled: ").split(" and ")
    wide = two_sets.trials.pivot_table(index="dataset", columns="seed", values="test_accuracy").loc[names]
    assert sorted(map(tuple, values.T.tolist())) == sorted(map(tuple, wide.T.to_numpy().tolist()))
    assert (sorted(names), n) == (["digits", "letters"], 5)


def test_a_seed_that_one_data_set_lost_is_in_no_study(two_sets: harness.Results) -> None:
    trials = two_sets.trials
    lost = trials["dataset"].eq("digits") & trials["seed"].eq(3)
    holed = replace(two_sets, trials=trials.assign(status=trials["status"].mask(lost, "diverged")))
    assert not list(interval_studies.of_sets(holed, 20, np.random.default_rng(0)))  # nine: too few for 2 x 5
