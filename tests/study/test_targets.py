"""Targets of a study: what `until` allows, how it is set, and that it decides no trial's number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import UsageError
from harness.study.reading import parse
from harness.study.study import Study
from harness.study.targets import Target
from harness.study.trials import trials

Make = Callable[..., Study]


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ({"val_accuracy": 97}, "a share above 0 and up to 1: 97\u00a0% is 0.97; no trial reaches more"),
        ({"val_accuracy": 0}, "a share above 0 and up to 1; no trial"),
        ({"val_accuracy": 101.0}, "a share above 0 and up to 1; no trial"),
        ({"test_accuracy": 0.9}, "test is evaluated once, at a trial's end"),
        ({"val_acuracy": 0.9}, "did you mean 'val_accuracy'"),
        ({"val_top3": 0.9}, "a target on loss or accuracy"),
        ({"val_accuracy": 0.9, "val_loss": 1.0}, "one target, as in .*; these are 2"),
        ({"val_accuracy": [0.9]}, "a number for val_accuracy"),
        ({"val_accuracy": True}, "a number for val_accuracy"),
        ({"val_loss": math.nan}, "a number for val_loss"),
        ({"val_loss": "low"}, "a number for val_loss"),
        (0.97, r"a table with one target, as in until = \{ val_accuracy = 0.97 \}"),
        ([0.97], "a table with one target"),
        ("val_accuracy", "a table with one target"),
    ],
)
def test_a_target_that_no_trial_can_reach_is_told_before_anything_runs(until: Any, said: str) -> None:
    with pytest.raises(UsageError, match=rf"study\.until = .*: allowed: .*{said}"):
        parse({"study": {"name": "t", "until": until}, "baseline": {"dataset": "digits"}})


@pytest.mark.parametrize(
    "override",
    ["until.train_loss=0.5", "study.until.train_loss=0.5", "until={train_loss = 0.5}",
     "study.until={train_loss = 0.5}"],
)  # fmt: skip
def test_a_target_is_set_on_the_command_line_in_place_of_the_files(override: str) -> None:
    tables = {"study": {"name": "t", "until": {"val_accuracy": 0.9}}, "baseline": {"dataset": "digits"}}
    assert parse(tables, [override]).target == Target("train", "loss", 0.5)
    assert parse(tables, ["until={}"]).target is None


def test_a_target_changes_no_trial_and_is_written_down_with_the_study(study_of: Make) -> None:
    plain, aiming = study_of(), study_of(study={"until": {"val_accuracy": 1}})
    assert [trial.trial_id for trial in trials(plain)[0]] == [trial.trial_id for trial in trials(aiming)[0]]
    assert "until" not in plain.tables()["study"]
    assert parse(aiming.tables()).target == Target("val", "accuracy", 1.0)


def test_a_phase_that_chooses_looks_for_no_target() -> None:
    study = parse(
        {
            "study": {"name": "t", "seeds": 2, "until": {"val_accuracy": 0.9}},
            "baseline": {"dataset": "digits"},
            "tune": {"seeds": [7], "space": {"lr": [0.1, 0.2]}},
        }
    )
    assert study.in_phase("tuning").target is None
    assert study.in_phase("tuned").target == study.target is not None


def test_an_accuracy_is_reached_from_below_and_a_loss_from_above() -> None:
    accuracy, loss = Target("val", "accuracy", 0.5), Target("train", "loss", 0.5)
    values = [0.4, 0.5, 0.6, math.nan]
    assert [accuracy.is_reached(value) for value in values] == [False, True, True, False]
    assert [loss.is_reached(value) for value in values] == [True, True, False, False]
    assert accuracy.words == "50\u00a0% val accuracy"
    assert loss.words == "a train loss of 0.5"
