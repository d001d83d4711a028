"""Seeds planned from a pilot: of a study's own trials or of its noise floor, really trained on digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.power import TTestPower

import harness
from harness import results
from harness.comparison import pilots, planned_seeds
from harness.comparison.planned_seeds import PlannedSeeds, SeedPrices, plan_seeds
from harness.errors import UsageError
from harness.planning.plan import draw
from harness.stats.group_sequential import levels
from harness.study.reading import parse
from harness.study.study import Study
from harness.training import runs
from harness.training.options import RunOptions

Make = Callable[..., Study]
AXES = {"activation": ["relu", "tanh"], "lr": [0.1, 0.3]}
DIFFERENCE = 0.01


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a 2 x 2 grid with six seeds."""
    folder = tmp_path_factory.mktemp("results") / "pilot"
    runs.train(grid(6), folder, device="cpu", workers=1)
    return folder


def grid(seeds: int, contrasts: dict[str, Any] | None = None, **baseline: Any) -> Study:
    return parse(
        {
            "study": {"name": "pilot", "seeds": seeds},
            "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8], **baseline},
            "axes": AXES,
            "contrasts": contrasts or {},
        }
    )


def needed(sd: float, difference: float, level: float) -> int:
    """The fewest seeds by statsmodels."""
    effect = difference / sd
    return next(n for n in range(2, 10_000) if TTestPower().power(effect, n, level) >= 0.8)


def row(found: PlannedSeeds, axis: str) -> dict[str, Any]:
    (one,) = found.contrasts[found.contrasts["axis"].eq(axis)].to_dict("records")
    return {str(name): value for name, value in one.items()}


def test_each_contrast_of_a_grid_has_the_spread_of_its_own_differences(pilot: Path) -> None:
    found = plan_seeds(grid(6), DIFFERENCE, folder=pilot)
    trials = results.read_trials(pilot)
    means = trials.pivot_table(index="seed", columns="activation", values="test_accuracy")  # over lr
    averaged = means["tanh"] - means["relu"]
    activation = row(found, "activation")
    assert (found.kind, found.pilot, found.metric) == ("study", pilot, "test_accuracy")
    assert found.level == pytest.approx(0.05 / 2)
    assert (activation["arm"], activation["reference"], activation["n"]) == ("tanh", "relu", 6)
    assert activation["sd"] == pytest.approx(averaged.std(ddof=1))
    assert activation["seeds"] == needed(activation["sd"], DIFFERENCE, found.level)
    ends = [activation["sd"] * math.sqrt(5 / scipy_stats.chi2.ppf(p, 5)) for p in (0.975, 0.025)]
    npt.assert_allclose([activation["sd_low"], activation["sd_high"]], ends)
    assert activation["seeds_low"] <= activation["seeds"] < activation["seeds_high"]
    assert found.seeds == found.contrasts["seeds"].max()


def test_what_the_planned_seeds_find_is_what_needs_so_many(pilot: Path) -> None:
    found = plan_seeds(grid(12), DIFFERENCE, folder=pilot)
    assert set(found.contrasts["planned"]) == {12}
    smallest = row(found, "lr")["detectable"]
    again = plan_seeds(grid(12), smallest * 1.0001, folder=pilot)
    assert row(again, "lr")["seeds"] == 12


def test_seconds_are_those_of_the_plan_of_the_arms(pilot: Path) -> None:
    found = plan_seeds(grid(6), DIFFERENCE, folder=pilot, workers=1)
    assert found.contrasts["seconds"].gt(0).all()
    lr = row(found, "lr")
    assert lr["seconds"] < found.seconds * 1.01 + 1e-9  # its seeds are at most those of the whole study
    prices = SeedPrices(draw(grid(6)), RunOptions(workers=1))
    assert prices.seconds(None, 400) == pytest.approx(10 * prices.seconds(None, 40))
    assert prices.seconds(frozenset({"activation=relu, lr=0.1"}), 10) < prices.seconds(None, 10)
    assert math.isnan(prices.seconds(None, math.nan))


def test_smaller_differences_and_more_contrasts_need_more_seeds(pilot: Path) -> None:
    one = {"pairs": [["activation=tanh, lr=0.1", "activation=relu, lr=0.1"]]}
    few = plan_seeds(grid(6, one), DIFFERENCE, folder=pilot)
    assert len(few.contrasts) == 1
    assert few.level == 0.05
    two = {"pairs": [*one["pairs"], ["activation=tanh, lr=0.3", "activation=relu, lr=0.3"]]}
    more = plan_seeds(grid(6, two), DIFFERENCE, folder=pilot)
    assert more.contrasts["seeds"].iloc[0] >= few.contrasts["seeds"].iloc[0]
    finer = plan_seeds(grid(6, one), DIFFERENCE / 2, folder=pilot)
    assert finer.seeds > 2 * few.seeds


def test_a_study_that_is_looked_at_is_planned_by_its_last_look(pilot: Path) -> None:
    found = plan_seeds(grid(6, {"looks": [3, 6]}), DIFFERENCE, folder=pilot)
    assert found.level == pytest.approx(levels((3, 6), 0.05 / 2)[-1])
    assert found.level < 0.05 / 2


def test_a_noise_floor_is_a_pilot_at_worst(tmp_path: Path) -> None:
    study = grid(3)
    harness.noise(study, seeds=6, folder=tmp_path / "x" / "tries", workers=1)
    found = plan_seeds(study, DIFFERENCE, folder=tmp_path / "x")
    values = results.read_trials(tmp_path / "x" / "tries")["val_accuracy"].to_numpy(dtype=float)
    assert (found.kind, found.pilot) == ("noise", tmp_path / "x" / "tries")
    npt.assert_allclose(found.contrasts["sd"], math.sqrt(2) * values.std(ddof=1))
    assert len(found.contrasts) == 2
    assert any(words.startswith("at worst") for words in found.notes)
    assert any("known roughly" in words for words in found.notes)
    assert not any("not quite this study" in words for words in found.notes)


def test_a_pilot_of_other_settings_is_told(pilot: Path) -> None:
    found = plan_seeds(grid(6, hidden=[16]), DIFFERENCE, pilot=pilot)
    assert any("hidden is [8] there, [16] here" in words for words in found.notes)
    same = plan_seeds(grid(6), DIFFERENCE, pilot=pilot)
    assert not any("not quite this study" in words for words in same.notes)


def test_a_study_that_goes_on_from_a_small_pilot_is_told_what_it_risks(pilot: Path, tmp_path: Path) -> None:
    risk = "the pilot's seeds are also the study's"
    assert any(words.startswith(risk) for words in plan_seeds(grid(6), DIFFERENCE, folder=pilot).notes)
    tables = grid(6).tables()
    fresh = parse({**tables, "study": {**tables["study"], "seeds": list(range(100, 106))}})
    assert not any(risk in words for words in plan_seeds(fresh, DIFFERENCE, pilot=pilot).notes)
    runs.train(grid(10), tmp_path / "x", device="cpu", workers=1)
    assert not any(risk in words for words in plan_seeds(grid(6), DIFFERENCE, folder=tmp_path / "x").notes)
    harness.noise(grid(6), seeds=6, folder=tmp_path / "y" / "tries", workers=1)
    assert not any(risk in words for words in plan_seeds(grid(6), DIFFERENCE, folder=tmp_path / "y").notes)


def test_contrasts_that_a_pilot_lacks_have_no_number(pilot: Path) -> None:
    study = grid(6)
    wider = parse(
        {**study.tables(), "axes": {**AXES, "activation": ["relu", "tanh", "sigmoid"]}, "contrasts": {}}
    )
    found = plan_seeds(wider, DIFFERENCE, pilot=pilot)
    lacking = found.contrasts[found.contrasts["arm"].eq("sigmoid")].iloc[0]
    assert np.isnan([lacking["n"], lacking["sd"], lacking["seeds"], lacking["seconds"]]).all()
    assert math.isnan(found.seeds)
    assert any("fewer than two seeds of 1 contrast" in words for words in found.notes)


def test_seeds_that_do_not_differ_are_told(pilot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = results.read_trials(pilot).assign(test_accuracy=0.5)
    still = pilots.Pilot(pilot, "study", pilots.read(pilot).study, trials)
    monkeypatch.setattr(pilots, "find", lambda *_: still)
    found = plan_seeds(grid(6), DIFFERENCE)
    assert found.contrasts["seeds"].isna().all()
    assert any("the same in all seeds: no spread" in words for words in found.notes)


def test_without_a_pilot_it_is_said_how_to_have_one(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no pilot.*harness run pilot --set seeds=10\).*harness noise.*--pilot"
    ):
        plan_seeds(grid(6), DIFFERENCE, folder=tmp_path)
    with pytest.raises(UsageError, match=r"--set seeds=10 --set contrasts.looks=\[\]"):
        plan_seeds(grid(6, {"looks": [3, 6]}), DIFFERENCE, folder=tmp_path)


def test_what_is_no_pilot_is_refused(pilot: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a results folder"):
        plan_seeds(grid(6), DIFFERENCE, pilot=tmp_path)
    runs.train(grid(1), tmp_path / "one", device="cpu", workers=1)
    with pytest.raises(UsageError, match="no contrast of this study with two finished seeds"):
        plan_seeds(grid(6), DIFFERENCE, pilot=tmp_path / "one")
    (tmp_path / "tuning").mkdir()
    for name in ("trials.csv", "study.toml"):
        text = (pilot / name).read_text().replace('phase = "fixed"', 'phase = "tuning"')
        (tmp_path / "tuning" / name).write_text(text)
    with pytest.raises(UsageError, match="holds the tuning trials"):
        plan_seeds(grid(6), DIFFERENCE, pilot=tmp_path / "tuning")


@pytest.mark.parametrize("difference", [0.0, -0.002, 1.0, math.nan])
def test_a_difference_out_of_range_is_refused(difference: float) -> None:
    with pytest.raises(UsageError, match="in points of accuracy, above 0 and below 100"):
        planned_seeds.check(grid(2), difference)


def test_a_search_and_one_arm_have_no_contrasts_to_plan_for(pilot: Path, study_of: Make) -> None:
    search = parse(
        {
            "study": {"name": "s", "design": "search"},
            "baseline": {"dataset": "digits"},
            "space": {"lr": {"low": 0.01, "high": 1.0}},
        }
    )
    with pytest.raises(UsageError, match="is a search"):
        plan_seeds(search, DIFFERENCE)
    with pytest.raises(UsageError, match="no contrast to plan seeds for"):
        plan_seeds(study_of(), DIFFERENCE, pilot=pilot)
    with pytest.raises(UsageError, match="for a whole study"):
        planned_seeds.check(grid(2), DIFFERENCE, "1/2")


# ------------------------------------------------------------------ blocks of seeds that choose by themselves

BLOCK, TUNING = 2, 1


def tuned(many: int, **tune: Any) -> Study:
    """Arms of which each block of seeds chooses a learning rate; `tune` replaces keys of the table [tune]."""
    return parse(
        {
            "study": {"name": "tuned", "seeds": BLOCK * many},
            "baseline": {"dataset": "digits", "hidden": [8], "steps": 30, "eval_every": "30 steps"},
            "axes": {"activation": ["relu", "tanh"]},
            "tune": {"seeds": TUNING * many, "blocks": many, "space": {"lr": [0.03, 0.3]}, **tune},
        }
    )


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three blocks."""
    folder = tmp_path_factory.mktemp("results") / "tuned"
    runs.train_phases(draw(tuned(3)), folder, RunOptions(workers=1, device="cpu"))
    return folder


def test_blocks_are_what_is_counted_and_seeds_are_those_of_whole_blocks(blocks: Path) -> None:
    found = plan_seeds(tuned(6), DIFFERENCE, folder=blocks)
    trials = results.read_trials(blocks / "tuned")
    means = trials.pivot_table(index="seed_block", columns="activation", values="test_accuracy")
    sd = (means["tanh"] - means["relu"]).std(ddof=1)
    one = row(found, "activation")
    assert (found.pilot, one["n"], one["planned"]) == (blocks / "tuned", 3, 12)
    assert one["sd"] == pytest.approx(sd)
    units = needed(sd, DIFFERENCE, 0.05)
    assert one["seeds"] == BLOCK * units
    assert one["detectable"] == pytest.approx(sd * TTestPower().solve_power(nobs=6, alpha=0.05, power=0.8))
    assert found.overrides == (
        f"study.seeds={BLOCK * units}", f"tune.blocks={units}", f"tune.seeds={TUNING * units}"
    )  # fmt: skip
    assert any("blocks of 2 seeds choose by themselves" in said for said in found.notes)


def test_a_pilot_of_one_finished_block_is_told_what_it_counts(blocks: Path, tmp_path: Path) -> None:
    for name in ("trials.csv", "study.toml"):
        (tmp_path / name).write_bytes((blocks / "tuned" / name).read_bytes())
    trials = pd.read_csv(tmp_path / "trials.csv", dtype=str, keep_default_na=False)
    trials.loc[trials["seed_block"] != "0", "status"] = "diverged"
    trials.to_csv(tmp_path / "trials.csv", index=False)
    with pytest.raises(UsageError, match="no contrast of this study with two finished blocks of seeds"):
        plan_seeds(tuned(6), DIFFERENCE, pilot=tmp_path)


def test_a_pilot_that_counts_another_unit_is_refused(blocks: Path, pilot: Path, tmp_path: Path) -> None:
    for asked, given, words in (
        (tuned(6), blocks, "counts seeds, and tuned counts blocks of 2 seeds"),
        (tuned(6, seeds=3, blocks=3), blocks / "tuned", "blocks of 2 seeds .* counts blocks of 4 seeds"),
        (grid(6), blocks / "tuned", "counts blocks of 2 seeds .*, and pilot counts seeds"),
    ):
        with pytest.raises(UsageError, match=words):
            plan_seeds(asked, DIFFERENCE, pilot=given)
    with pytest.raises(UsageError, match=r"study\.seeds=20 --set tune\.blocks=10 --set tune\.seeds=10"):
        plan_seeds(tuned(30), DIFFERENCE, folder=tmp_path)
    assert plan_seeds(grid(6), DIFFERENCE, pilot=pilot).overrides[0].startswith("seeds=")


def test_a_tuned_study_is_priced_with_its_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned_seeds, "flops_per_second", lambda: 1e9)

    def seconds(study: Study, seeds: int) -> float:
        return SeedPrices(draw(study), RunOptions(workers=1)).seconds(None, seeds)

    many: dict[str, Any] = {"seeds": 24, "space": {"lr": [0.01, 0.03, 0.1, 0.3]}}
    halved, whole = (seconds(tuned(6, halving=cut, **many), 12) for cut in (True, False))
    assert seconds(tuned(6), 12) < halved < whole
    assert seconds(tuned(6), 120) == pytest.approx(10 * seconds(tuned(6), 12), rel=0.5)  # blocks tune, too
    tables = tuned(6).tables()
    alone = parse({name: table for name, table in tables.items() if name != "tune"})
    once = parse({**tables, "tune": {"space": {"lr": [0.03, 0.3]}, "seeds": 20}})
    tuning = [seconds(once, seeds) - 2 * seconds(alone, seeds) for seeds in (40, 400)]
    assert tuning[0] > 0
    assert tuning[1] == pytest.approx(tuning[0])
