"""One trained trial, chosen from a results folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.errors import UsageError
from harness.exporting.untrained import untrained
from harness.results import Results, TrainedTrial
from harness.results.trained import planned, trained
from harness.study.study import Study
from harness.study.trials import trials


@pytest.fixture
def results(sweep_folder: Path) -> Results:
    """A study with linked settings, a tracked metric, and trials that diverge."""
    return harness.read(sweep_folder)


def test_the_best_by_val_is_the_one_without_a_word(results: Results) -> None:
    trial = results.trial()
    assert isinstance(trial, TrainedTrial)
    assert trial.row["val_accuracy"] == results.trials["val_accuracy"].max()
    best = results.trials[results.trials["activation"].eq("tanh")]["val_accuracy"].max()
    assert results.trial(where="activation=tanh").row["val_accuracy"] == best


def test_a_trial_is_chosen_by_its_id_or_by_conditions(results: Results) -> None:
    conditions = "lr=0.03,activation=relu,output=logits + CE,seed=1"
    trial = results.trial(where=conditions)
    again = results.trial(trial.trial_id)
    for one in (trial, again):
        assert (one.seed, one.settings["lr"], one.settings["activation"]) == (1, 0.03, "relu")
        assert one.arm == trial.row["arm"]
        assert one.results is results


def test_settings_have_their_types_and_make_the_trial_again(results: Results) -> None:
    planned_trials = trials(harness.load(results.folder / "study.toml"))[0]
    finished = set(results.trials[results.trials["status"].eq("ok")]["trial_id"])
    checked = [trial for trial in planned_trials if trial.trial_id in finished]
    assert len(checked) > 10
    for trial in checked:
        found = results.trial(trial.trial_id)
        assert found.settings == dict(trial.arm.settings)
        assert {name: type(value) for name, value in found.settings.items()} == {
            name: type(value) for name, value in trial.arm.settings.items()
        }
        assert untrained(found.settings, {"seed": found.seed}).trial_id == trial.trial_id
        again = planned(found)
        assert (again.trial_id, dict(again.arm.settings)) == (trial.trial_id, dict(trial.arm.settings))


def test_settings_of_every_kind_come_back(study_of: Callable[..., Study], tmp_path: Path) -> None:
    study = study_of(optimizer="adam", amsgrad=True, betas=[0.5, 0.9], study={"seeds": [7]}, hidden=[])
    trial = harness.run(study, tmp_path / "results", workers=1).trial()
    assert trial.settings == dict(trials(study)[0][0].arm.settings)
    assert (trial.settings["hidden"], trial.settings["amsgrad"], trial.seed) == ([], True, 7)


def test_it_reads_as_a_line_and_as_a_table(results: Results) -> None:
    trial = results.trial()
    shown = f"{100 * trial.row['val_accuracy']:.2f} %"
    for text in (repr(trial), trial._repr_html_()):
        assert trial.trial_id in text
        assert shown in text
    assert "\n" not in repr(trial)
    trial.row["arm"] = "<script>"
    assert "<script>" not in trial._repr_html_()


def test_functions_take_a_trial_results_or_a_folder(results: Results) -> None:
    best = results.trial()
    assert trained(best) is best
    for given in (results, results.folder, str(results.folder)):
        assert trained(given).trial_id == best.trial_id
        assert trained(given, where="activation=tanh").settings["activation"] == "tanh"
    for wrong in (None, 3, best.row):
        with pytest.raises(UsageError, match="allowed: a trained trial"):
            trained(wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trial_id": "t000000000000"}, "has no trial 't000000000000'"),
        ({"where": "los=ce"}, "no such column; did you mean"),
        ({"where": "activation=relo"}, "no trial is left; did you mean 'relu'"),
        ({"where": "status=diverged"}, r"no finished trial is meant: trial .* diverged"),
    ],
)
def test_a_trial_that_is_not_there_is_told(results: Results, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        results.trial(**arguments)


def test_each_data_set_has_a_best(results: Results) -> None:
    two = results.trials.copy()
    two.loc[two["seed"].eq(1), "dataset"] = "mnist"
    both = Results(results.folder, two, results.epochs, results.confusion, results.study, results.provenance)
    with pytest.raises(UsageError, match="with where: dataset=digits or dataset=mnist"):
        both.trial()
    assert both.trial(where="dataset=mnist").seed == 1
