"""The columns steps_to and epochs_to of a folder: from its evaluations, whatever trained them."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness import results
from harness.planning import grouping
from harness.results import csv_rows, tables, targets
from harness.study.reading import parse
from harness.study.study import Study
from harness.study.targets import Target
from harness.training import runs

UNTIL = {"val_accuracy": 0.85}
EPOCHS = """\
trial_id,epoch,step,split,loss,accuracy
ta,0,0,train,2.3,0.1
ta,0,0,val,2.3,0.2
ta,0.5,10,val,1,0.9
ta,1,20,val,1.1,0.8
tb,0,0,val,2.3,0.9
tc,0,0,val,2.3,
tc,1,20,val,0.9,0.84
"""


def study(until: dict[str, float] | None = None, **baseline: Any) -> Study:
    return parse(
        {
            "study": {"name": "sooner", "seeds": 3, **({"until": until} if until else {})},
            "baseline": {"dataset": "digits", "hidden": [16], "epochs": 6, **baseline},
            "axes": {"optimizer": ["sgd", "adam"], "lr": [0.003, 0.05, 1e25]},
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished folder of trials that reach the target, that do not, and that diverge."""
    folder = tmp_path_factory.mktemp("sooner") / "results"
    runs.train(study(UNTIL), folder, workers=1)
    return folder


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def expected(of: results.Results, target: Target) -> pd.DataFrame:
    """What the columns should be, by pandas."""
    rows = of.epochs[of.epochs["split"].eq(target.split)]
    hit = (
        rows[target.metric].ge(target.level)
        if target.metric == "accuracy"
        else rows[target.metric].le(target.level)
    )
    first = rows[hit].groupby("trial_id")[["step", "epoch"]].first()
    return first.reindex(of.trials["trial_id"]).reset_index(drop=True)


def check(of: results.Results, target: Target) -> None:
    right = expected(of, target)
    pd.testing.assert_series_equal(of.trials["steps_to"], right["step"], check_names=False, check_dtype=False)
    pd.testing.assert_series_equal(
        of.trials["epochs_to"], right["epoch"], check_names=False, check_dtype=False
    )


def test_the_first_evaluation_that_reaches_the_target_counts_whatever_follows() -> None:
    times = targets.times(EPOCHS, Target("val", "accuracy", 0.85))
    assert times == {"ta": ("10", "0.5"), "tb": ("0", "0")}
    assert targets.times(EPOCHS, Target("val", "loss", 0.9)) == {"tc": ("20", "1")}
    assert targets.times(EPOCHS, Target("train", "loss", 2.3)) == {"ta": ("0", "0")}


def test_the_reached_are_counted_among_those_that_ended() -> None:
    rows = [["ok", "10"], ["ok", ""], ["diverged", ""], ["failed", ""], ["", ""]]
    trials = csv_rows.TextTable(["status", "steps_to"], rows)
    words = targets.told(trials, Target("val", "accuracy", 0.97))
    assert words == "97\u00a0% val accuracy: reached by 1 of 3 trials (steps_to, epochs_to)"
    assert targets.told(trials, None) == ""


def test_the_columns_follow_those_of_every_folder(folder: Path) -> None:
    of = results.read(folder)
    check(of, Target("val", "accuracy", 0.85))
    assert list(of.trials.columns)[-3:] == ["host", "steps_to", "epochs_to"]
    reached = of.trials.groupby(["optimizer", "lr"])["epochs_to"].count()
    assert {0, 3} <= set(reached)
    assert of.trials.loc[of.trials["status"].eq("diverged"), "epochs_to"].isna().all()


def test_a_target_is_changed_on_a_finished_folder_and_nothing_is_trained(copied: Path) -> None:
    before = {path.name: path.read_bytes() for path in (copied / "parts").iterdir()}
    ids = results.read(copied).trials["trial_id"].to_list()
    for until, target in (
        ({"train_loss": 0.5}, Target("train", "loss", 0.5)),
        ({"val_accuracy": 0.9999}, Target("val", "accuracy", 0.9999)),
    ):
        assert runs.train(study(until), copied, workers=1).trained == 0
        of = results.read(copied)
        check(of, target)
    assert of.trials["steps_to"].isna().all()
    assert runs.train(study(), copied, workers=1).trained == 0
    of = results.read(copied)
    assert "steps_to" not in of.trials
    assert of.trials["trial_id"].to_list() == ids
    assert {path.name: path.read_bytes() for path in (copied / "parts").iterdir()} == before


def test_a_target_is_given_to_a_folder_that_had_none(tmp_path: Path) -> None:
    runs.train(study(epochs=2), tmp_path / "r", workers=1)
    assert runs.train(study(UNTIL, epochs=2), tmp_path / "r", workers=1).trained == 0
    check(results.read(tmp_path / "r"), Target("val", "accuracy", 0.85))


def test_a_run_that_lost_a_stack_and_goes_on_gives_the_same_columns(folder: Path, copied: Path) -> None:
    """As one that was killed: the tables are merged from the parts that there are."""
    whole = results.read(folder).trials.drop(columns="group_seconds")
    min((copied / "parts").iterdir()).unlink()
    tables.consolidate(copied)
    part = results.read(copied).trials
    gone = part["group"].eq("")
    assert 0 < gone.sum() < len(part)
    assert part.loc[gone, "steps_to"].isna().all()
    pd.testing.assert_series_equal(part.loc[~gone, "steps_to"], whole.loc[~gone, "steps_to"])
    assert runs.train(study(UNTIL), copied, workers=1).trained == gone.sum()
    pd.testing.assert_frame_equal(results.read(copied).trials.drop(columns="group_seconds"), whole)


def test_stacks_of_one_give_the_same_columns(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "widest", lambda *_: 1)
    runs.train(study(UNTIL), tmp_path / "alone", workers=1)
    alone, together = (results.read(place).trials for place in (tmp_path / "alone", folder))
    assert alone["group_size"].eq(1).all()
    assert together["group_size"].gt(1).any()
    pd.testing.assert_frame_equal(alone[["steps_to", "epochs_to"]], together[["steps_to", "epochs_to"]])
    assert math.isfinite(alone["steps_to"].min())


def test_a_target_given_after_training_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "r"

    def trained(until: dict[str, float] | None) -> int:
        runs.train(study(until, epochs=1), folder, workers=1)
        after: int = results.read(folder).study["contrasts"].get("target_after", 0)
        return after

    assert trained(UNTIL) == 0
    assert trained(UNTIL) == 0
    assert trained({"val_accuracy": 0.5}) == 18
    assert trained({"val_accuracy": 0.5}) == 18
    assert trained(None) == 0
    assert trained(UNTIL) == 18
