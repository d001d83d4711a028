"""A trial is selected by id, by conditions, or as the best by validation; or the error says why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import results
from harness.errors import UsageError
from harness.results import Results, selection


@pytest.fixture
def kept_trials(kept_results: Path) -> Results:
    return results.read(kept_results)


def test_a_trial_is_chosen_by_its_id_or_by_conditions(kept_trials: Results) -> None:
    for trial_id in kept_trials.trials.loc[kept_trials.trials["status"].eq("ok"), "trial_id"]:
        assert selection.choose(kept_trials, trial_id)["trial_id"] == trial_id
    row = selection.choose(kept_trials, conditions="lr=0.10, head=sigmoid, hidden=[16], seed=1")
    assert (row["lr"], row["head"], row["seed"]) == (0.1, "sigmoid", 1)


def test_results_are_a_path(kept_trials: Results) -> None:
    assert Path(kept_trials) == kept_trials.folder
    assert results.read(kept_trials).trials.equals(kept_trials.trials)


def test_a_list_is_a_value_as_toml_writes_it(kept_trials: Results) -> None:
    trials = kept_trials.trials.assign(hidden=["[32, 32]", *kept_trials.trials["hidden"][1:]])
    assert len(selection.where(trials, "hidden=[32,32],seed=0")) == 1
    assert len(selection.where(trials, "")) == len(trials)


def test_ambiguous_conditions_list_the_trials(kept_trials: Results) -> None:
    with pytest.raises(UsageError) as caught:
        selection.choose(kept_trials, conditions="lr=0.1,head=identity")
    assert "2 finished trials are meant" in str(caught.value)
    assert "They differ in: seed (0, 1)." in str(caught.value)
    with pytest.raises(UsageError, match=r"head \(identity, sigmoid, softmax, log_softmax\); seed"):
        selection.choose(kept_trials, conditions="lr=0.1")


def test_missing_and_unfinished_trials_are_reported(kept_trials: Results) -> None:
    known = str(kept_trials.trials["trial_id"].iloc[0])
    with pytest.raises(UsageError, match=f"has no trial '{known[:-1]}x'. Did you mean '{known}'"):
        selection.choose(kept_trials, known[:-1] + "x")
    diverged = kept_trials.trials.loc[kept_trials.trials["status"].eq("diverged"), "trial_id"].iloc[0]
    with pytest.raises(UsageError, match=rf"{diverged} diverged \(the loss.*\), so it predicts nothing"):
        selection.choose(kept_trials, diverged)
    unfinished = replace(kept_trials, trials=kept_trials.trials.assign(status=None, reason="not trained yet"))
    with pytest.raises(UsageError, match=f"trial {known} is not trained yet"):
        selection.choose(unfinished, known)
    with pytest.raises(UsageError, match="no model to look at"):
        selection.best(unfinished)


def test_the_best_is_chosen_by_val_alone(kept_trials: Results) -> None:
    (best,) = selection.best(kept_trials)["trial_id"]
    done = kept_trials.trials[kept_trials.trials["status"].eq("ok")]
    assert done.set_index("trial_id").loc[best, "val_accuracy"] == done["val_accuracy"].max()
    flattered = kept_trials.trials.assign(test_accuracy=1 - kept_trials.trials["test_accuracy"])
    assert list(selection.best(replace(kept_trials, trials=flattered))["trial_id"]) == [best]
    (of_sigmoid,) = selection.best(kept_trials, "head=sigmoid")["head"]
    assert of_sigmoid == "sigmoid"


def test_each_data_set_has_its_best_and_one_trial_alone_needs_no_val(kept_trials: Results) -> None:
    trials = kept_trials.trials.assign(val_accuracy=np.nan)
    with pytest.raises(UsageError, match="nothing is selected on test"):
        selection.best(replace(kept_trials, trials=trials))
    alone = trials.assign(dataset=["other", *trials["dataset"][1:]])
    assert list(selection.best(replace(kept_trials, trials=alone))["dataset"]) == ["other"]
    two = kept_trials.trials.assign(dataset=["other", *trials["dataset"][1:]])
    assert sorted(selection.best(replace(kept_trials, trials=two))["dataset"]) == ["digits", "other"]


def test_of_trials_that_tie_the_best_is_one_whose_weights_were_kept(
    kept_trials: Results, tmp_path: Path
) -> None:
    tied = kept_trials.trials.assign(
        val_accuracy=kept_trials.trials["val_accuracy"].where(kept_trials.trials["status"].ne("ok"), 1)
    )
    done = tied.loc[tied["status"].eq("ok"), "trial_id"]
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"{done.iloc[-1]}.safetensors").touch()
    for folder, expected in ((tmp_path, done.iloc[-1]), (tmp_path / "none", done.iloc[0])):
        (row,) = selection.best(replace(kept_trials, folder=folder, trials=tied)).to_dict("records")
        assert row["trial_id"] == expected
        assert "_kept" not in row
