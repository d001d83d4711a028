"""Longer trials go on from kept states, and give the numbers of a training from the start, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w
import torch
from torch import nn

from harness import results
from harness.axes.architectures import architectures
from harness.axes.optimizers import Scalar, descend, optimizers
from harness.axes.schedules import Clock, Factors, schedules
from harness.engines.compiled.training import CompiledTraining
from harness.errors import MachineError
from harness.planning.cost import disk_bytes, state_bytes
from harness.planning.plan import draw, make
from harness.registry import PACKAGE_ROOT
from harness.results import checkpoints, kept_states
from harness.study.reading import parse
from harness.study.study import Study
from harness.training import folder_runs, going_on, runs
from harness.training.options import RunOptions

TABLES = ("trials", "epochs", "confusion")
ASIDE = ["group", "group_size", "group_seconds"]
"""Columns in which a trial that went on may differ from one that did not, beside its parent."""
OPTIMIZERS = ["sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop"]


def study_of(
    axes: Mapping[str, Any] | None = None, study: Mapping[str, Any] | None = None, **baseline: Any
) -> Study:
    budget = {} if "steps" in baseline else {"epochs": 2}
    return parse(
        {
            "study": {"name": "s", "seeds": 1, "keep_state": "all", "keep_weights": "all", **(study or {})},
            "baseline": {"dataset": "digits", "hidden": [6], **budget, **baseline},
            "axes": axes or {},
        }
    )


def rows(folder: Path) -> dict[str, pd.DataFrame]:
    """The three CSVs as text, but for what tells how a trial was trained."""
    frames = {name: pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False) for name in TABLES}
    frames["trials"] = frames["trials"].drop(columns=[*ASIDE, "parent"], errors="ignore")
    return frames


def assert_same(one: Path, other: Path) -> None:
    """Both folders hold the same numbers, and the same weights to the last bit."""
    for name, frame in rows(one).items():
        pd.testing.assert_frame_equal(frame, rows(other)[name])
    weights = {path.name: path.read_bytes() for path in (other / "weights").iterdir()}
    assert weights
    for name, content in weights.items():
        assert (one / "weights" / name).read_bytes() == content, name


def parents(folder: Path) -> list[str]:
    trials = results.read_trials(folder)
    return [] if "parent" not in trials else trials["parent"].dropna().tolist()


def grown(short: Study, longer: Study, folder: Path, **options: Any) -> Path:
    """A folder in which a study was trained, and then its longer form; and beside it one from the start."""
    for study, place in ((short, folder / "grown"), (longer, folder / "grown"), (longer, folder / "anew")):
        runs.train(study, place, workers=1, **options)
    return folder / "grown"


@pytest.mark.parametrize("engine", ["stacked", "loop", "numpy"])
def test_going_on_gives_the_numbers_of_a_training_from_the_start(engine: Any, tmp_path: Path) -> None:
    axes = {"optimizer": OPTIMIZERS}
    short, longer = (study_of(axes, dropout=0.3, epochs=epochs) for epochs in (2, 3))
    folder = grown(short, longer, tmp_path, engine=engine)
    assert_same(folder, tmp_path / "anew")
    assert len(parents(folder)) == len(OPTIMIZERS)
    assert not parents(tmp_path / "anew")


@pytest.mark.usefixtures("in_pytorch")
def test_going_on_gives_the_same_numbers_in_stacks_of_pytorch(tmp_path: Path) -> None:
    axes = {"optimizer": OPTIMIZERS, "dropout": [0.0, 0.3]}
    folder = grown(study_of(axes), study_of(axes, epochs=3), tmp_path)
    assert_same(folder, tmp_path / "anew")
    assert len(parents(folder)) == 14


def test_a_trial_names_the_shorter_one_as_its_parent(tmp_path: Path) -> None:
    axes = {"lr": [0.1, 0.3]}
    runs.train(study_of(axes), tmp_path, workers=1)
    shorter = results.read_trials(tmp_path).set_index("arm")["trial_id"]
    runs.train(study_of(axes, epochs=4), tmp_path, workers=1)
    trials = results.read_trials(tmp_path).set_index("arm")
    assert trials["parent"].to_dict() == shorter.to_dict()
    assert trials["epochs_done"].eq(4).all()


def test_the_longest_shorter_trial_is_gone_on_from(tmp_path: Path) -> None:
    for epochs in (1, 3, 2, 5):
        runs.train(study_of(epochs=epochs), tmp_path, workers=1)
    runs.train(study_of(epochs=5), tmp_path / "anew", workers=1)
    # From 1 came 3; 2 is from 1 as well, and 5 from 3.
    three = results.read_trials(tmp_path)["parent"].item()
    states = {state.step: state.trials for state in kept_states.listed(tmp_path)}
    assert sorted(states) == [41, 82, 123, 205]
    assert [three] == states[123]
    assert_same(tmp_path, tmp_path / "anew")


def remarks(study: Study, folder: Path, **options: Any) -> list[str]:
    """What a run would say of trials that go on."""
    drawn = draw(study, options.get("engine", "stacked"))
    planned, _ = folder_runs.plan_run(drawn, folder, RunOptions(workers=1, **options))
    return list(planned.remarks)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the state of one trial, after two epochs."""
    folder = tmp_path_factory.mktemp("kept")
    runs.train(study_of(), folder, workers=1)
    return folder


SCHEDULES = {"schedule": ["constant", "exponential", "cosine", "linear"]}


def test_schedules_that_depend_on_the_budget_start_again(tmp_path: Path) -> None:
    runs.train(study_of(SCHEDULES), tmp_path / "grown", workers=1)
    longer = study_of(SCHEDULES, epochs=3)
    assert remarks(longer, tmp_path / "grown") == [
        "2 trials go on from 2 epochs",
        "2 start again: their schedule depends on the number of epochs",
    ]
    runs.train(longer, tmp_path / "grown", workers=1)
    runs.train(longer, tmp_path / "anew", workers=1)
    # Some members of a compiled stack went on, without the others.
    assert_same(tmp_path / "grown", tmp_path / "anew")
    assert len(parents(tmp_path / "grown")) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"epochs": 3, "eval_every": "20 steps"},
            ["1 starts again: their learning curve is measured at other steps"],
        ),
        ({"epochs": 3, "eval_every": "2 epochs"}, ["1 trial goes on from 2 epochs"]),
        ({"steps": 100}, ["1 trial goes on from 2 epochs"]),
        ({"steps": 82}, ["1 starts again: they are not longer"]),
        ({"epochs": 1}, ["1 starts again: they are not longer"]),
        ({"epochs": 3, "lr": 0.2}, []),
        ({"epochs": 3, "batch_size": 16}, []),
        ({"epochs": 3, "val_fraction": 0.2}, []),
    ],
)
def test_what_goes_on_is_what_differs_in_its_budget_alone(
    changes: dict[str, Any], said: list[str], kept: Path
) -> None:
    assert remarks(study_of(**changes), kept) == said


@pytest.mark.parametrize("budget", [{"steps": 100}, {"epochs": 3, "eval_every": "2 epochs"}, {"steps": 150}])
def test_a_state_within_an_epoch_or_beside_the_grid_is_gone_on_from(
    budget: dict[str, Any], tmp_path: Path
) -> None:
    axes = {"optimizer": ["momentum", "adam"]}
    short = study_of(axes, steps=50, eval_every="1 epoch")
    longer = study_of(axes, **{"eval_every": "1 epoch", **budget})
    folder = grown(short, longer, tmp_path)
    assert_same(folder, tmp_path / "anew")
    # eval_every = "2 epochs" has no point where the shorter one was measured last, and needs none.
    assert len(parents(folder)) == 2


def test_other_metrics_start_again(kept: Path) -> None:
    longer = study_of({}, {"metrics": ["brier"]}, epochs=3)
    assert remarks(longer, kept) == ["1 starts again: other metrics were tracked"]


def test_another_engine_starts_again(kept: Path) -> None:
    longer = study_of(epochs=3)
    said = "1 starts again: their state is the stacked engine's, not the numpy engine's"
    assert remarks(longer, kept, engine="numpy") == [said]


@pytest.mark.usefixtures("in_pytorch")
def test_other_kernels_start_again(kept: Path) -> None:
    (said,) = remarks(study_of(epochs=3), kept)
    assert said.startswith("1 starts again: another version or device made their state: kernels ")


@pytest.mark.usefixtures("in_pytorch")
def test_some_of_a_stack_of_pytorch_start_again_since_others_may_change_their_bits(tmp_path: Path) -> None:
    runs.train(study_of(SCHEDULES), tmp_path, workers=1)
    assert remarks(study_of(SCHEDULES, epochs=3), tmp_path) == [
        f"2 start again: {going_on.SCHEDULE}",
        f"2 start again: {going_on.OTHER_STACK}",
    ]


@pytest.mark.usefixtures("in_pytorch")
def test_rates_that_part_later_start_again_in_pytorch(tmp_path: Path) -> None:
    axes = {"gamma": [0.5, 0.9]}
    short, longer = (study_of(axes, schedule="exponential", epochs=n) for n in (1, 2))
    runs.train(short, tmp_path, workers=1)
    assert remarks(longer, tmp_path) == ["2 start again: their learning rates part later"]


def test_more_seeds_and_epochs_at_once(tmp_path: Path) -> None:
    short, longer = study_of({"lr": [0.1, 0.3]}), study_of({"lr": [0.1, 0.3]}, {"seeds": 3}, epochs=3)
    folder = grown(short, longer, tmp_path)
    assert_same(folder, tmp_path / "anew")
    assert len(parents(folder)) == 2


def test_a_diverged_member_stays_diverged(tmp_path: Path) -> None:
    axes = {"lr": [0.1, 1e25]}
    folder = grown(study_of(axes, loss="mse"), study_of(axes, loss="mse", epochs=3), tmp_path)
    assert_same(folder, tmp_path / "anew")
    assert results.read_trials(folder)["status"].tolist() == ["ok", "diverged"]


def test_a_damaged_state_starts_again_and_says_so(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept, tmp_path / "grown")
    (state,) = (tmp_path / "grown" / "states").iterdir()
    content = bytearray(state.read_bytes())
    content[-5] ^= 1
    state.write_bytes(content)
    longer = study_of(epochs=3)
    (said,) = remarks(longer, tmp_path / "grown")
    assert said.startswith(f"1 starts again: their state {state} is damaged")
    state.write_bytes(content[:100])
    assert remarks(longer, tmp_path / "grown") == []  # nobody can tell whose it is: a warning names it
    runs.train(longer, tmp_path / "grown", workers=1)
    assert not parents(tmp_path / "grown")


def test_a_state_that_is_damaged_after_the_plan_was_made_starts_again(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(kept, tmp_path / "grown")
    longer = study_of(epochs=3)
    found = going_on.find

    def find_and_damage(*arguments: Any) -> going_on.Longer:
        longer = found(*arguments)
        (state,) = (tmp_path / "grown" / "states").iterdir()
        state.write_bytes(state.read_bytes()[:-9])
        return longer

    monkeypatch.setattr(going_on, "find", find_and_damage)
    runs.train(longer, tmp_path / "grown", workers=1)
    monkeypatch.undo()
    runs.train(longer, tmp_path / "anew", workers=1)
    assert_same(tmp_path / "grown", tmp_path / "anew")
    assert not parents(tmp_path / "grown")


def test_trained_anew_nothing_goes_on_from_a_state_of_before(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept, tmp_path / "grown")
    longer = study_of(epochs=3)
    runs.train(longer, tmp_path / "grown", workers=1, retrain=True)
    assert not parents(tmp_path / "grown")


def test_no_state_is_kept_unless_asked_for(tmp_path: Path) -> None:
    runs.train(study_of(study={"keep_state": "none"}), tmp_path, workers=1)
    assert not (tmp_path / "states").exists()
    runs.train(study_of(study={"keep_state": "none"}, epochs=3), tmp_path, workers=1)
    assert "parent" not in results.read_trials(tmp_path)


def test_states_of_trials_that_did_not_finish_are_removed(kept: Path, tmp_path: Path) -> None:
    """A run that was killed between a state and its part."""
    runs.train(study_of(lr=0.7), tmp_path, workers=1)
    (state,) = (kept / "states").iterdir()
    shutil.copy(state, tmp_path / "states")
    runs.train(study_of(lr=0.7, epochs=3), tmp_path, workers=1)
    assert state.name not in {path.name for path in (tmp_path / "states").iterdir()}
    assert len(list((tmp_path / "states").iterdir())) == 2


def test_a_third_partys_network_schedule_and_optimizer_go_on(tmp_path: Path) -> None:
    @architectures.register("mine")
    def mine(inputs: int, classes: int, activation: Any) -> nn.Module:
        return nn.Sequential(
            nn.Linear(inputs, 8), nn.BatchNorm1d(8), activation(), nn.Dropout(0.3), nn.Linear(8, classes)
        )

    @schedules.register("warm")
    def warm(clock: Clock) -> Factors:
        return np.minimum(1.0, (clock.step + 1) / 50)

    @optimizers.register("signs", stackable=False)
    def signs(param: Any, grad: Any, state: Any, t: Any, *, lr: Scalar = 0.01) -> None:
        seen = state.setdefault("seen", torch.zeros_like(param)).add_(grad.sign())
        descend(param, seen / t, lr)

    axes = {"optimizer": ["adam", "signs"]}
    short = study_of(axes, architecture="mine", schedule="warm")
    longer = study_of(axes, architecture="mine", schedule="warm", epochs=3)
    folder = grown(short, longer, tmp_path)
    assert_same(folder, tmp_path / "anew")
    assert len(parents(folder)) == 2


def test_a_stack_in_shares_keeps_a_state_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory runs out: halves train one after the other, and each goes on."""
    begin = CompiledTraining.__init__

    def short_of_memory(training: Any, trials: Any, *others: Any) -> None:
        if len(trials) > 2:
            raise MemoryError
        begin(training, trials, *others)

    monkeypatch.setattr(CompiledTraining, "__init__", short_of_memory)
    axes = {"lr": [0.1, 0.2, 0.3, 0.4]}
    runs.train(study_of(axes), tmp_path / "grown", workers=1)
    assert len(list((tmp_path / "grown" / "states").iterdir())) == 2
    monkeypatch.undo()
    longer = study_of(axes, epochs=3)
    runs.train(longer, tmp_path / "grown", workers=1)
    runs.train(longer, tmp_path / "anew", workers=1)
    assert_same(tmp_path / "grown", tmp_path / "anew")
    assert len(parents(tmp_path / "grown")) == 4


def test_a_run_that_is_killed_while_trials_go_on_ends_where_it_would_have(tmp_path: Path) -> None:
    """kill -9 in the middle of the longer training, in another process; the same command goes on."""
    tables = {
        "study": {"name": "s", "seeds": 1, "keep_state": "all", "keep_weights": "all"},
        "baseline": {"dataset": "digits", "hidden": [64], "epochs": 2},
        "axes": {"optimizer": ["momentum", "adam"]},
    }
    (tmp_path / "s.toml").write_text(tomli_w.dumps(tables))
    command = [
        sys.executable, "-m", "harness", "run", str(tmp_path / "s.toml"), "--workers", "1",
        "--checkpoint-every", "1 epochs",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}

    def run(folder: str, *more: str) -> subprocess.Popen[bytes]:
        whole = [*command, "--results", str(tmp_path / folder), *more]
        return subprocess.Popen(whole, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    assert run("grown").wait() == 0
    killed = run("grown", "--set", "epochs=150")
    folder = tmp_path / "grown" / "checkpoints"
    until = time.monotonic() + 60
    while not list(folder.glob("*.safetensors")) and killed.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert list(folder.glob("*.safetensors"))
    assert run("grown", "--set", "epochs=150").wait() == 0
    assert run("anew", "--set", "epochs=150").wait() == 0
    assert_same(tmp_path / "grown", tmp_path / "anew")
    assert len(parents(tmp_path / "grown")) == 2


def test_a_state_that_cannot_be_written_stops_the_run_before_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, as for weights: what is finished is safe, and the same run goes on."""

    def full(*_: Any) -> None:
        raise MachineError("no space left on device")

    monkeypatch.setattr(checkpoints, "write", full)
    with pytest.raises(MachineError, match="no space left"):
        runs.train(study_of(), tmp_path, workers=1)
    assert not list((tmp_path / "parts").glob("*.zip"))
    monkeypatch.undo()
    runs.train(study_of(), tmp_path, workers=1)
    assert len(kept_states.listed(tmp_path)) == 1


def test_states_are_priced_as_they_are(tmp_path: Path) -> None:
    for optimizer in ("sgd", "adam"):
        study = study_of({"lr": [0.1, 0.2, 0.3]}, optimizer=optimizer, hidden=[64])
        folder = tmp_path / optimizer
        runs.train(study, folder, workers=1)
        written = sum(path.stat().st_size for path in (folder / "states").iterdir())
        assert written == pytest.approx(state_bytes(make(study).stacks, study), rel=0.2)
        none = replace(study, about=study.about.model_copy(update={"keep_state": "none"}))
        assert state_bytes(make(none).stacks, none) == 0
        saved = disk_bytes(make(study).stacks, study) - disk_bytes(make(none).stacks, none)
        assert saved == pytest.approx(written, rel=0.2)
