"""Which trial is meant: by id, by conditions, or the best by validation; and what is said where none is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import results
from harness.errors import UsageError
from harness.results import Results, selection


@pytest.fixture
def found(kept_results: Path) -> Results:
    return results.read(kept_results)


def test_a_trial_is_chosen_by_its_id_or_by_conditions(found: Results) -> None:
    for trial_id in found.trials.loc[found.trials["status"].eq("ok"), "trial_id"]:
        assert selection.choose(found, trial_id)["trial_id"] == trial_id
    row = selection.choose(found, conditions="lr=0.10, head=sigmoid, hidden=[16], seed=1")
    assert (row["lr"], row["head"], row["seed"]) == (0.1, "sigmoid", 1)


def test_a_list_is_a_value_as_toml_writes_it(found: Results) -> None:
    trials = found.trials.assign(hidden=["[32, 32]", *found.trials["hidden"][1:]])
    assert len(selection.where(trials, "hidden=[32,32],seed=0")) == 1
    assert len(selection.where(trials, "")) == len(trials)


def test_ambiguous_conditions_list_the_trials(found: Results) -> None:
    with pytest.raises(UsageError) as caught:
        selection.choose(found, conditions="lr=0.1,head=identity")
    assert "2 finished trials are meant" in str(caught.value)
    assert "They differ in: seed (0, 1)." in str(caught.value)
    with pytest.raises(UsageError, match=r"head \(identity, sigmoid, softmax, log_softmax\); seed"):
        selection.choose(found, conditions="lr=0.1")


def test_missing_and_unfinished_trials_are_reported(found: Results) -> None:
    known = str(found.trials["trial_id"].iloc[0])
    with pytest.raises(UsageError, match=f"has no trial '{known[:-1]}x'. Did you mean '{known}'"):
        selection.choose(found, known[:-1] + "x")
    diverged = found.trials.loc[found.trials["status"].eq("diverged"), "trial_id"].iloc[0]
    with pytest.raises(UsageError, match=rf"{diverged} diverged \(the loss.*\), so it predicts nothing"):
        selection.choose(found, diverged)
    unfinished = replace(found, trials=found.trials.assign(status=None, reason="not trained yet"))
    with pytest.raises(UsageError, match=f"trial {known} is not trained yet"):
        selection.choose(unfinished, known)
    with pytest.raises(UsageError, match="no model to look at"):
        selection.best(unfinished)


def test_the_best_is_chosen_by_val_alone(found: Results) -> None:
    (best,) = selection.best(found)["trial_id"]
    done = found.trials[found.trials["status"].eq("ok")]
    assert done.set_index("trial_id").loc[best, "val_accuracy"] == done["val_accuracy"].max()
    flattered = found.trials.assign(test_accuracy=1 - found.trials["test_accuracy"])
    assert list(selection.best(replace(found, trials=flattered))["trial_id"]) == [best]
    (of_sigmoid,) = selection.best(found, "head=sigmoid")["head"]
    assert of_sigmoid == "sigmoid"


def test_each_data_set_has_its_best_and_one_trial_alone_needs_no_val(found: Results) -> None:
    trials = found.trials.assign(val_accuracy=np.nan)
    with pytest.raises(UsageError, match="nothing is selected on test"):
        selection.best(replace(found, trials=trials))
    alone = trials.assign(dataset=["other", *trials["dataset"][1:]])
    assert list(selection.best(replace(found, trials=alone))["dataset"]) == ["other"]
    two = found.trials.assign(dataset=["other", *trials["dataset"][1:]])
    assert sorted(selection.best(replace(found, trials=two))["dataset"]) == ["digits", "other"]


def test_of_trials_that_tie_the_best_is_one_whose_weights_were_kept(found: Results, tmp_path: Path) -> None:
    tied = found.trials.assign(
        val_accuracy=found.trials["val_accuracy"].where(found.trials["status"].ne("ok"), 1)
    )
    done = tied.loc[tied["status"].eq("ok"), "trial_id"]
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"{done.iloc[-1]}.safetensors").touch()
    for folder, expected in ((tmp_path, done.iloc[-1]), (tmp_path / "none", done.iloc[0])):
        (row,) = selection.best(replace(found, folder=folder, trials=tied)).to_dict("records")
        assert row["trial_id"] == expected
        assert "_kept" not in row
