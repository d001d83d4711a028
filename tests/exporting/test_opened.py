"""Checkpoints, opened as state_dicts: a person's own loop goes on from them as the engine would have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import harness
from harness.axes.optimizers import Scalar, descend, optimizers
from harness.data.samples import prepare
from harness.engines import classifier, loop, numpy_engine, stack_engine
from harness.engines.base import EngineOptions
from harness.errors import UsageError
from harness.exporting.opened import TrialState, open_checkpoint
from harness.planning.plan import make
from harness.planning.stack import Stack
from harness.results.checkpoints import Cadence, ShareCheckpoint
from harness.study.reading import parse
from harness.study.study import Study
from harness.study.trials import Trial
from harness.training import runs

ENGINES: dict[str, Any] = {"stacked": stack_engine, "loop": loop, "numpy": numpy_engine}
ARMS: list[dict[str, Any]] = [
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "weight_decay": 0.01},
    {"optimizer": "momentum", "dampening": 0.1},
    {"optimizer": "nesterov"},
    {"optimizer": "adam"},
    {"optimizer": "adam", "amsgrad": True},
    {"optimizer": "adamw"},
    {"optimizer": "adagrad", "initial_accumulator_value": 0.1},
    {"optimizer": "rmsprop", "momentum": 0.5},
    {"optimizer": "rmsprop", "centered": True},
    {"optimizer": "adam", "dropout": 0.4},
    {"optimizer": "momentum", "schedule": "cosine"},
]


def study_of(arms: list[dict[str, Any]], **baseline: Any) -> Study:
    values = [{"name": f"arm {i}", **arm} for i, arm in enumerate(arms)]
    return parse(
        {
            "study": {"name": "s", "seeds": 1},
            "baseline": {"dataset": "digits", "hidden": [6, 5], "epochs": 3, **baseline},
            "axes": {"made_of": values},
        }
    )


def trained(engine: str, trials: list[Trial], folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Train a stack; return its last checkpoint, after two of three epochs, and the final weights."""
    stack = Stack.of(engine, trials)
    checkpoint = ShareCheckpoint(folder, stack, trials, "cpu", Cadence(epochs=1))
    data = prepare(trials[0].arm.settings)
    outcome = ENGINES[engine].train(trials, data, options=EngineOptions(checkpoints=checkpoint))
    return checkpoint.path, outcome.weights


def gone_on(trial: Trial, state: TrialState) -> Mapping[str, Any]:
    """The weights after a person's own loop from a state to the end."""
    model = harness.model(trial)
    optimizer = harness.optimizer(trial, model)
    scheduler = harness.scheduler(trial, optimizer)
    if trial.arm.settings.dropout:
        state.load_into(model, optimizer, scheduler)
    else:
        model.load_state_dict(state.model)
        optimizer.load_state_dict(state.optimizer)
        scheduler.load_state_dict(state.scheduler)
    loss, batches = harness.loss(trial), harness.loader(trial)
    batches.set_epoch(int(state.epoch))
    for _ in range(int(state.epoch), 3):
        for x, y in batches:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            scheduler.step()
    return classifier.weights(model)


@pytest.mark.parametrize("arm", ARMS, ids=str)
@pytest.mark.parametrize("engine", ["loop", "numpy"])
def test_an_own_loop_goes_on_from_a_checkpoint_of_one_trial(
    engine: str, arm: dict[str, Any], tmp_path: Path
) -> None:
    (trial,) = make(study_of([arm])).trials
    path, (final,) = trained(engine, [trial], tmp_path)
    opened = open_checkpoint(path)
    assert (opened.step, opened.epoch, opened.trials) == (82, 2.0, [trial.trial_id])
    own = gone_on(trial, opened[trial.trial_id])
    for name, array in final.items():
        if engine == "loop":
            assert np.array_equal(own[name], array), name
        else:
            np.testing.assert_allclose(own[name], array, rtol=0, atol=1e-5)


def assert_each_goes_on(trials: Sequence[Trial], path: Path, finals: Sequence[dict[str, Any]]) -> None:
    """A person's own loop goes on from each trial of a checkpoint and ends at its final weights."""
    opened = open_checkpoint(path)
    for trial, final in zip(trials, finals, strict=True):
        own = gone_on(trial, opened[trial.trial_id])
        for name, array in final.items():
            np.testing.assert_allclose(own[name], array, rtol=0, atol=1e-5, err_msg=trial.arm.name)


@pytest.mark.parametrize("arms", [ARMS, [{**arm, "lr": lr} for arm in ARMS[4:6] for lr in (0.001, 0.003)]])
def test_an_own_loop_goes_on_from_each_trial_of_a_stack(arms: list[dict[str, Any]], tmp_path: Path) -> None:
    stack = max(make(study_of(arms)).stacks, key=lambda stack: len(stack.trials))
    assert len(stack.trials) == len(arms)
    path, finals = trained("stacked", list(stack.trials), tmp_path)
    assert_each_goes_on(stack.trials, path, finals)


def test_stacks_of_several_shapes_and_of_pytorch_are_opened(tmp_path: Path, in_pytorch: None) -> None:  # noqa: ARG001
    arms = [{"optimizer": o, "hidden": h} for h in ([6], [9, 4], []) for o in ("momentum", "adam")]
    arms[4]["activation"] = arms[5]["activation"] = "relu"
    stack = max(make(study_of(arms)).stacks, key=lambda stack: len(stack.trials))
    path, finals = trained("stacked", list(stack.trials), tmp_path)
    assert_each_goes_on(stack.trials, path, finals)


def test_an_optimizer_that_torch_does_not_have_goes_on(tmp_path: Path) -> None:
    @optimizers.register("means")
    def means(param: Any, grad: Any, state: Any, t: Any, *, lr: Scalar = 0.05) -> None:
        seen = state.setdefault("seen", torch.zeros_like(param)).add_(grad)
        descend(param, seen / t, lr)

    (trial,) = make(study_of([{"optimizer": "means"}])).trials
    path, (final,) = trained("loop", [trial], tmp_path)
    opened = open_checkpoint(path)
    own = gone_on(trial, opened[trial.trial_id])
    assert all(np.array_equal(own[name], array) for name, array in final.items())


def test_a_state_has_the_learning_curve_so_far_and_the_next_learning_rate(tmp_path: Path) -> None:
    (trial,) = make(study_of([{"optimizer": "adam", "schedule": "exponential", "gamma": 0.5}])).trials
    path, _ = trained("stacked", [trial], tmp_path)
    opened = open_checkpoint(path)
    assert opened.settings["optimizer"] == "adam"
    assert opened.optimizer["param_groups"][0]["lr"] == 0.001 * 0.25
    assert opened.optimizer["state"][0]["step"].item() == 82
    assert list(opened.curve) == ["epoch", "step", "split", "loss", "accuracy"]
    assert opened.curve["step"].tolist() == [0, 0, 41, 41, 82, 82]
    assert opened.curve["accuracy"].between(0, 1).all()


def test_a_trained_trial_is_opened_where_its_state_was_kept(tmp_path: Path) -> None:
    study = study_of(ARMS[:3])
    runs.train(study, tmp_path / "none", workers=1)
    about = study.about.model_copy(update={"keep_state": "all"})
    runs.train(replace(study, about=about), tmp_path / "all", workers=1)
    results = harness.read(tmp_path / "all")
    trial = results.trial()
    state = harness.open_checkpoint(trial)
    assert (state.trial_id, state.epoch) == (trial.trial_id, 3.0)
    assert repr(harness.open_checkpoint(results)) == repr(state)  # the best trial is meant
    of_folder = harness.open_checkpoint(tmp_path / "all")
    assert of_folder.trials == [trial.trial_id]
    assert torch.equal(of_folder.model["0.weight"], state.model["0.weight"])
    x = torch.zeros(2, 64)
    model = harness.model(trial)
    model.load_state_dict(state.model)
    assert torch.equal(model(x), harness.module_of(trial)(x))
    curve = results.epochs[results.epochs["trial_id"].eq(trial.trial_id)]
    pd.testing.assert_series_equal(
        curve["loss"].reset_index(drop=True), state.curve["loss"], rtol=1e-6, check_exact=False
    )
    with pytest.raises(UsageError, match=r'the state of trial t.* was not kept: set keep_state = "all"'):
        harness.open_checkpoint(harness.read(tmp_path / "none").trial())


def test_one_of_several_trials_has_to_be_chosen(tmp_path: Path) -> None:
    stack = make(study_of(ARMS[:2])).stacks[0]
    path, _ = trained("stacked", list(stack.trials), tmp_path)
    opened = open_checkpoint(path)
    with pytest.raises(UsageError, match=r"holds 2 trials that train together; choose one: checkpoint\['t"):
        _ = opened.model
    assert len(opened) == 2
    assert list(opened) == [trial.trial_id for trial in stack.trials]
    with pytest.raises(UsageError, match="has no trial 't0'; "):
        _ = opened["t0"]
    assert opened.trials[0] in repr(opened)


def test_what_is_no_checkpoint_is_refused_in_words(tmp_path: Path) -> None:
    (trial,) = make(study_of(ARMS[:1])).trials
    path, _ = trained("stacked", [trial], tmp_path)
    content = path.read_bytes()
    for damaged in (content[:-7], content[:50], b"", content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match="is no checkpoint of this version, or it is damaged"):
            open_checkpoint(path)
    with pytest.raises(UsageError, match=r"there is no file .*nowhere; checkpoints are in results/<study>"):
        open_checkpoint(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="got int; allowed: "):
        open_checkpoint(3)  # type: ignore[call-overload]
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError):
        open_checkpoint(tmp_path / "folder")


def test_a_state_of_another_study_is_not_loaded(tmp_path: Path) -> None:
    (trial,) = make(study_of(ARMS[:1])).trials
    path, _ = trained("stacked", [trial], tmp_path)
    state = open_checkpoint(path)[trial.trial_id]
    other = harness.model(dataset="digits", hidden=[7])
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(
        UsageError, match=rf"the network is not that of trial {trial.trial_id}: .*\(7, 64\).*\(6, 64\)"
    ):
        state.load_into(other)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    fitting = harness.model(**state.settings)
    adam = torch.optim.Adam(fitting.parameters())
    with pytest.raises(UsageError, match=f"the optimizer, Adam, is not that of trial {trial.trial_id}: sgd"):
        state.load_into(fitting, adam)
    state.load_into(fitting, harness.optimizer(fitting, **state.settings))
    state.load_into(fitting)
    assert torch.equal(fitting.state_dict()["0.weight"], state.model["0.weight"])
