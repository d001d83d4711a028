"""[tune]: what every arm may try, how it chooses, and that nothing which chooses has seen the test set."""

from __future__ import annotations

import dataclasses
import math
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import results
from harness.data.samples import prepare
from harness.engines import loop
from harness.engines import numpy_engine as by_hand
from harness.engines import stack_engine as engine
from harness.engines.base import EngineOptions
from harness.errors import UsageError
from harness.planning import checks, plan
from harness.study.reading import load, parse
from harness.study.space import Choices, Floats, SpaceEntry
from harness.study.study import Study
from harness.study.trials import trials
from harness.study.tuning_space import TuningSpace, points
from harness.system import locks
from harness.training import runs, tuning

SPACE = {"lr": [0.01, 0.1, 1.0]}
OUTPUT: list[dict[str, Any]] = [
    {"name": "CE", "head": "identity", "loss": "ce"},
    {"name": "MSE", "head": "softmax", "loss": "mse", "tune": {"lr": [0.5, 5.0, 50.0]}},
    {"name": "boom", "head": "identity", "loss": "ql", "tune": {"lr": [1e25, 1e26, 1e27]}},
]


def study(tune: dict[str, Any] | None = None, overrides: list[str] | None = None, **tables: Any) -> Study:
    base = {
        "study": {"name": "tuned", "seeds": 2, "keep_weights": "all"},
        "baseline": {"dataset": "digits", "epochs": 2, "hidden": [8]},
        "axes": {"output": OUTPUT},
    }
    return parse({**base, **tables, "tune": {"seeds": 2, "space": SPACE, **(tune or {})}}, overrides or [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "tuned"
    runs.train(study(), folder, workers=1)
    return folder


# ------------------------------------------------------------------------------------------------- the phases


def test_three_phases_in_three_folders(folder: Path) -> None:
    fixed, tuning_, tuned = (results.read(folder / name).trials for name in (".", "tuning", "tuned"))
    assert list(fixed["seed"].unique()) == list(tuned["seed"].unique()) == [0, 1]
    assert list(tuning_["seed"].unique()) == [1000, 1001]
    assert list(fixed["arm"]) == list(tuned["arm"])
    assert (fixed["lr"] == 0.1).all()
    assert tuning_.groupby("of_arm")["lr"].nunique().to_dict() == {"CE": 3, "MSE": 3, "boom": 3}


def test_each_arm_chooses_the_best_setting_by_val(folder: Path) -> None:
    tried = results.read(folder / "tuning").trials.query("status == 'ok'")
    tuned = results.read(folder / "tuned").trials
    for arm in ("CE", "MSE"):
        means = tried[tried["of_arm"].eq(arm)].groupby("lr")["val_accuracy"].mean()
        assert tuned.loc[tuned["arm"].eq(arm), "lr"].unique() == [means.idxmax()]
        row = tuning.read(folder).set_index("arm").loc[arm]
        assert float(str(row["lr"])) == means.idxmax()
        assert row["val_accuracy"] == pytest.approx(means.max(), abs=1e-6)


def test_an_arm_without_finished_tries_chooses_nothing_and_is_reported(folder: Path) -> None:
    row = tuning.read(folder).set_index("arm").loc["boom"]
    assert math.isnan(float(str(row["lr"])))
    assert (row["unfinished"], row["tried"]) == (3, 3)
    boom = results.read(folder / "tuned").trials.query("arm == 'boom'")
    assert set(boom["status"]) == {"skipped"}
    assert boom["reason"].str.contains("none of the settings it tried finished").all()
    assert len(boom) == 2  # nothing that was planned is missing


def test_while_it_tunes_the_test_set_is_closed(folder: Path) -> None:
    tried = results.read(folder / "tuning")
    assert tried.trials[["test_loss", "test_accuracy"]].isna().all(axis=None)
    assert set(tried.confusion["split"]) == {"val"}
    assert not (folder / "tuning" / "predictions").exists()
    assert not list((folder / "tuning").glob("weights/*"))


@pytest.mark.parametrize("engine", [engine, loop, by_hand])
def test_no_engine_reads_a_sealed_test_set(engine: Any) -> None:
    (trial, *_), _ = trials(study().in_phase("tuning"))
    data = prepare(trial.arm.settings)
    blind = np.full_like(data.test.x, np.nan)
    sealed = dataclasses.replace(data, test=dataclasses.replace(data.test, pixels=blind))
    outcome = engine.train([trial], sealed, options=EngineOptions(sealed=True))
    assert set(outcome.final) == {"train", "val"}
    assert set(engine.train([trial], data).final) == {"train", "val", "test"}


def test_a_finished_tuned_study_trains_nothing_again(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*.csv")}
    summary = runs.train(study(), folder, workers=1)
    assert summary.trained == 0
    assert {path: path.read_bytes() for path in folder.rglob("*.csv")} == before


def test_a_tuned_folder_rebuilds_its_models(folder: Path) -> None:
    from harness.exporting import models
    from harness.results import selection

    found = results.read(folder / "tuned")
    row = selection.choose(found, conditions="output=MSE,seed=1")
    model = models.restore(found, row)
    images = len(prepare(model.trial.arm.settings).test.y)
    right = models.count_right(model.classifier, model.trial.arm.settings)
    assert right / images == pytest.approx(row["test_accuracy"])


def test_a_trial_to_tune_by_is_not_exported(folder: Path, tmp_path: Path) -> None:
    from harness.exporting import models

    found = results.read(folder / "tuning")
    row = found.trials.query("status == 'ok'").iloc[0]
    with pytest.raises(UsageError, match=r"test set is closed\. The tuned arms are in .*tuned: export"):
        models.write_model(found, row, tmp_path / "out")


def test_a_failed_tuning_trial_chooses_nothing(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for part in (copy / "tuning" / "parts").glob("*.zip"):
        part.unlink()
    (copy / "tuning" / "checksums.json").unlink()  # or the changed rows are refused
    rows = pd.read_csv(copy / "tuning" / "trials.csv", dtype=str, keep_default_na=False)
    rows["status"] = ""
    rows.to_csv(copy / "tuning" / "trials.csv", index=False)
    with pytest.raises(UsageError, match="tuning trials have no result, so nothing is chosen yet"):
        tuning.choose(plan.draw(study()), copy)


# --------------------------------------------------------------------------------------------------- choosing


@pytest.mark.parametrize(
    ("chosen", "told"),
    [(0.01, "lr is the lowest tried"), (0.1, ""), (1.0, "lr is the highest tried")],
)
def test_a_choice_at_the_edge_is_reported(chosen: float, told: str) -> None:
    assert tuning.edge({"lr": chosen}, [{"lr": lr} for lr in SPACE["lr"]]) == told


def test_words_have_no_edge() -> None:
    assert tuning.edge({"schedule": "linear"}, [{"schedule": "linear"}, {"schedule": "constant"}]) == ""


# ----------------------------------------------------------------------------------------------------- spaces


def space(**values: Floats | list[Any]) -> TuningSpace:
    return {
        name: SpaceEntry(name, Choices(tuple(map(str, of))), {str(value): {name: value} for value in of})
        if isinstance(of, list)
        else SpaceEntry(name, of)
        for name, of in values.items()
    }


def test_a_range_is_tried_evenly_with_both_ends() -> None:
    tried = points(space(lr=Floats(0.001, 1.0, log=True)), 4)
    assert tried == [{"lr": lr} for lr in (0.001, 0.01, 0.1, 1.0)]
    assert points(space(momentum=Floats(0.0, 0.9)), 3) == [{"momentum": m} for m in (0.0, 0.45, 0.9)]


def test_lists_are_a_grid() -> None:
    assert points(space(lr=[0.1, 1.0], schedule=["linear", "cosine"]), 0) == [
        {"lr": lr, "schedule": schedule} for lr in (0.1, 1.0) for schedule in ("linear", "cosine")
    ]


def test_several_settings_with_a_range_fill_the_space_and_are_the_same_every_time() -> None:
    tunable = space(lr=Floats(0.01, 1.0, log=True), schedule=["linear", "constant"])
    tried = points(tunable, 16)
    assert tried == points(tunable, 16)
    assert len({str(point) for point in tried}) == 16
    assert all(0.01 <= point["lr"] <= 1 for point in tried)  # type: ignore[operator]
    below = sum(point["lr"] < 0.1 for point in tried)  # type: ignore[operator]
    assert 7 <= below <= 9
    assert 7 <= sum(point["schedule"] == "linear" for point in tried) <= 9


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"seeds": [0, 7]}, r"tune\.seeds: \[0\] are seeds of the study too"),
        ({"seeds": 0}, "tuning needs at least 1 seed"),
        ({"space": {"lr": 0.1}}, "a list of at least two values"),
        ({"space": {"lr": [0.1]}}, r"tune\.space\.lr: its one value '0\.1' leaves nothing to choose"),
        (
            {"space": {"lr": {"low": 0.1, "high": 0.3, "step": 0.1}}},
            r"lr\.step: unknown key; allowed: low, high, log",
        ),
        (
            {"space": {**SPACE, "batch_size": {"low": 8, "high": 64}}},
            "allowed for whole numbers: a list of values",
        ),
        ({"space": {"lr": [0.1, 0.1]}}, "a value is listed twice"),
        ({"space": {"lr": [0.1, -1]}}, r"tune\.space\.lr = -1: allowed"),
        ({"space": {"lr": {"low": 1.0, "high": 0.1}}}, r"low = 1 must lie below high = 0\.1"),
        ({"space": {"lr": {"low": 0.0, "high": 0.1, "log": True}}}, "allowed: greater than 0"),
        (
            {"space": {**SPACE, "weight_decay": {"low": 0, "high": 0.1, "log": True}}},
            "with log = true it must be above 0",
        ),
        ({"space": {**SPACE, "epochs": [1, 2]}}, "cannot be tuned: it is the same for all arms"),
        ({"space": {**SPACE, "lrr": [1, 2]}}, r"tune\.space\.lrr: unknown setting; did you mean 'lr'"),
        ({"budget": 7}, r"lists 3 settings, tune\.budget is 7: all arms try as many"),
        ({"budget": 1}, r"tune\.budget = 1: allowed"),
        ({"space": {"lr": [0.1, 1.0]}}, "an arm would try 2 or 3 settings; every arm gets the same budget"),
        ({"metric": "test_accuracy"}, r"tune\.metric: unknown key"),
    ],
)
def test_invalid_tune_tables_are_refused(tune: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        study(tune)


def test_every_arm_tunes_the_learning_rate() -> None:
    with pytest.raises(UsageError, match=r"tune\.space: lr is missing; every arm tunes the learning rate"):
        study({"space": {"momentum": [0.1, 0.2]}}, axes={"activation": ["relu", "tanh"]})


def test_a_range_needs_a_budget() -> None:
    with pytest.raises(UsageError, match=r"tune\.budget: missing; how many settings may each arm try"):
        study({"space": {"lr": {"low": 0.1, "high": 1.0}}}, axes={"activation": ["relu", "tanh"]})


def test_varied_settings_cannot_be_tuned() -> None:
    with pytest.raises(UsageError, match=r"lr is an axis of this study; tune it or vary it"):
        study(axes={"lr": [0.1, 0.2]})


def test_nothing_is_chosen_without_a_validation_split() -> None:
    with pytest.raises(UsageError, match="val_fraction = 0 leaves no validation split to choose by"):
        study(baseline={"dataset": "digits", "val_fraction": 0})


def test_a_phase_needs_a_tune_table() -> None:
    with pytest.raises(UsageError, match=r"study\.phase = 'tuning': only for a study with \[tune\]"):
        parse({"study": {"name": "x", "phase": "tuning"}})


def test_tuning_seeds_can_be_set_on_the_command_line() -> None:
    assert study(overrides=["tune.seeds=1"]).in_phase("tuning").seeds == [1000]


def test_the_plan_shows_the_trials_of_tuning(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli import output

    fixed, tries = plan.make(study()), plan.make(study().in_phase("tuning"))
    output.show_tuning_plan(fixed, tries, 2)
    told = capsys.readouterr().out
    assert "then tuning: 3 arms x 3 settings x 2 other seeds = 18 trials" in told
    assert "then tuned: 6 trials" in told


def test_with_resampled_splits_the_choice_finds_its_trials(tmp_path: Path) -> None:
    head = {"name": "tuned", "seeds": 1, "resample_split": True}
    axes = {"output": OUTPUT[:1]}
    runs.train(study({"seeds": 1}, study=head, axes=axes), tmp_path / "x", workers=1)
    assert tuning.read(tmp_path / "x")["unfinished"].tolist() == [0]
    written = tomllib.loads((tmp_path / "x" / "tuned" / "study.toml").read_text())
    assert written["chosen"]["CE"]["lr"] in SPACE["lr"]


def test_arms_that_differ_only_in_tuned_settings_choose_alike(tmp_path: Path) -> None:
    same: list[dict[str, Any]] = [{"name": "slow", "lr": 0.01}, {"name": "fast", "lr": 0.5}]
    runs.train(study({"seeds": 1}, axes={"pace": same}), tmp_path / "x", workers=1)
    chosen = tuning.read(tmp_path / "x").set_index("arm")["lr"]
    assert chosen["slow"] == chosen["fast"]


def test_the_screen_shows_tuned_arms_and_edges(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli import output

    output.show_summary(runs.train(study(), folder, workers=1))
    told = capsys.readouterr()
    assert "digits: tuned, arms by" in told.out.replace("\n", " ")
    assert "note: boom chose nothing" in told.err


# ------------------------------------------------------------------------------------ the same chance for all


def refused(given: Study, message: str) -> None:
    for check in (plan.make, checks.check):
        with pytest.raises(UsageError, match=message):
            check(given)


def test_an_arm_without_a_space_is_reported() -> None:
    output = [OUTPUT[0] | {"tune": SPACE}, {"name": "QL", "head": "softmax", "loss": "ql"}]
    refused(study({"space": {}}, axes={"output": output}), "arm 'QL' tunes no lr; give it a space")


def test_a_setting_that_an_arm_lacks_is_refused_as_a_try() -> None:
    space = {**SPACE, "momentum": [0.5, 0.9]}
    given = study({"space": space}, axes={"optimizer": ["sgd", "momentum"]})
    refused(given, "arm 'optimizer=sgd' has no momentum to tune; give a space with momentum to those")


def test_an_arm_without_a_validation_split_cannot_choose() -> None:
    axes = {"held": [{"name": "some", "val_fraction": 0.1}, {"name": "none", "val_fraction": 0.0}]}
    refused(study(axes=axes), "arm 'none' has val_fraction = 0, so no validation split to choose by")


def test_tuned_arms_are_not_judged_by_their_tuning_trials() -> None:
    with pytest.raises(UsageError, match="tuned arms are chosen by it, so it cannot judge them"):
        study(contrasts={"metric": "val_accuracy"})


def test_a_space_without_a_tune_table_is_reported() -> None:
    tables = {"study": {"name": "x"}, "baseline": {"dataset": "digits"}, "axes": {"output": OUTPUT}}
    with pytest.raises(UsageError, match="a space to tune, in a study without"):
        parse(tables)


def test_arms_that_chose_the_same_keep_their_rows_and_are_trained_once(tmp_path: Path) -> None:
    same: list[dict[str, Any]] = [{"name": "slow", "lr": 0.01}, {"name": "fast", "lr": 0.5}]
    given = study({"seeds": 1}, axes={"pace": same})
    runs.train(given, tmp_path / "x", workers=1)
    tuned = results.read(tmp_path / "x" / "tuned")
    assert tuned.trials["arm"].tolist() == ["slow", "slow", "fast", "fast"]
    assert set(tuned.trials["status"]) == {"ok"}
    assert tuned.trials["trial_id"].nunique() == 2
    assert tuned.epochs["trial_id"].nunique() == 2
    assert not tuned.epochs.duplicated(["trial_id", "epoch", "split"]).any()
    assert runs.train(given, tmp_path / "x", workers=1).trained == 0


def test_arms_that_are_one_arm_as_given_choose_once(tmp_path: Path) -> None:
    axes = {"output": [OUTPUT[0], OUTPUT[0] | {"name": "again"}]}
    runs.train(study({"seeds": 1}, axes=axes), tmp_path / "x", workers=1)
    assert tuning.read(tmp_path / "x")["arm"].tolist() == ["CE"]
    assert set(results.read(tmp_path / "x" / "tuned").trials["arm"]) == {"CE"}


# -------------------------------------------------------------------------------------- one folder, one study


def test_the_file_of_a_phase_does_not_run_into_the_studys_folder(folder: Path) -> None:
    again = load(folder / "tuning" / "study.toml")
    before = (folder / "trials.csv").read_bytes()
    with pytest.raises(UsageError, match="holds the fixed trials of 'tuned', not the tuning ones"):
        runs.train(again, folder)
    assert (folder / "trials.csv").read_bytes() == before
    with pytest.raises(UsageError, match="unknown setting"):
        study(overrides=["phase=tuning"])


def test_the_studys_folder_is_held_while_it_tunes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(given: plan.Plan, place: Path) -> dict[str, Any]:
        with pytest.raises(UsageError, match="another run is writing into"), locks.locked(place):
            pass
        return really(given, place)

    really = tuning.choose
    monkeypatch.setattr(tuning, "choose", choose)
    runs.train(study(), folder, workers=1)


def test_a_failed_try_chooses_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.cli import output
    from harness.training import executors

    really = executors.run_task

    def fail(task: Any, shared: Any = None) -> Any:
        return task.died("no luck") if task.study.sealed else really(task, shared)

    monkeypatch.setattr(executors, "run_task", fail)
    output.show_summary(runs.train(study(), tmp_path / "x", workers=1))
    assert not (tmp_path / "x" / "chosen.csv").exists()
    assert "not tuned: 18 of the trials to tune by failed, so no arm has chosen" in capsys.readouterr().err
    monkeypatch.setattr(executors, "run_task", really)
    runs.train(study(), tmp_path / "x", workers=1)
    assert (tmp_path / "x" / "chosen.csv").exists()


def test_trials_of_a_tuned_study_are_found_in_one_folder(folder: Path) -> None:
    assert results.folder_with("best", folder.parent) == folder
    ids = [set(results.read(place).trials["trial_id"]) for place in (folder, folder / "tuned")]
    both, alone = ids[0] & ids[1], ids[1] - ids[0]
    assert {results.folder_with(one, folder.parent) for one in alone} <= {folder / "tuned"}
    assert {results.folder_with(one, folder.parent) for one in both} <= {folder}
