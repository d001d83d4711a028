"""The progress of a run in its folder: the numbers of its curves, bounded, and gone at its end."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.results import progress_file
from harness.results.progress_file import WatchedState
from harness.study.reading import parse
from harness.study.study import Study
from harness.training import runs as training
from harness.training import watched
from harness.training.progress import ACCURACY, LOSS, Progress

Make = Callable[..., Study]


@pytest.fixture
def run_of(study_of: Make, tmp_path: Path) -> Callable[..., Progress]:
    """Make the progress of a run that is over; what it left in shared memory may be changed."""

    def make(axes: dict[str, Any], **keys: Any) -> Progress:
        seen: list[Progress] = []

        def display(progress: Progress) -> contextlib.nullcontext[None]:
            seen.append(progress)
            return contextlib.nullcontext()

        study = study_of(axes, **keys)
        training.train(study, tmp_path / "run", device="cpu", workers=1, display=display)
        return seen[0]

    return make


def test_means_are_over_the_seeds_that_have_come(run_of: Callable[..., Progress]) -> None:
    progress = run_of({"lr": [0.1, 0.2]}, epochs=2, study={"seeds": 2})
    shared, trials = progress.shared, [t for stack in progress.stacks for t in stack.trials]
    rows = {(t.arm.name, t.seed): i for i, t in enumerate(trials)}
    shared.curves[:] = np.nan
    first, second = rows["lr=0.1", 0], rows["lr=0.1", 1]
    for evaluation, accuracy in enumerate([0.1, 0.5, 0.75]):
        shared.curves[first, evaluation, :, ACCURACY] = accuracy
        shared.curves[first, evaluation, :, LOSS] = 2.0 - accuracy
    shared.curves[second, 0] = [[4.0, 0.2], [5.0, 0.3]]
    shared.curves[second, 1] = [[np.inf, 0.1], [np.nan, 0.1]]
    shared.trained[:] = 0.5
    state = watched._WatchedRun(progress).state()
    assert state.total == 4
    arm = next(one for one in state.arms if "0.1" in one.arm)
    assert (arm.trials, arm.training, arm.epochs, arm.seeds) == (2, 2, [0, 1, 2], [2, 2, 1])
    assert arm.val_accuracy == pytest.approx([0.2, 0.3, 0.75])
    assert arm.train_loss == pytest.approx([2.95, 1.5, 1.25])
    assert arm.val_loss == pytest.approx([3.45, 1.5, 1.25])
    assert arm.epoch == 2
    assert arm.val == pytest.approx((0.75 + 0.1) / 2)
    other = next(one for one in state.arms if "0.2" in one.arm)
    assert (other.training, other.epochs, other.val_loss, other.epoch) == (0, [], [], None)
    assert [(name, seed, epoch) for name, seed, epoch in state.diverged] == [(arm.arm, 1, 1.0)]


def test_however_large_a_run_its_state_is_small(
    run_of: Callable[..., Progress], monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = run_of({"lr": [0.1, 0.2, 0.3]}, epochs=30, study={"seeds": 1})
    monkeypatch.setattr(watched, "MOST_ARMS", 2)
    monkeypatch.setattr(watched, "MOST_NUMBERS", 2 * 6 * 5)
    state = watched._WatchedRun(progress).state()
    assert state.arms_left_out == 1
    assert [len(arm.epochs) for arm in state.arms] == [5, 5]
    assert state.arms[0].epochs[0] == 0
    assert state.arms[0].epochs[-1] == 30
    told = state.arms[0].val_loss
    curves = progress.shared.curves[0, :, 1, LOSS]
    assert (told[0], told[-1]) == pytest.approx((curves[0], curves[-1]), rel=1e-4)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, WatchedState]]:
    """Every state that is written, as often as possible."""
    states: list[tuple[Path, WatchedState]] = []
    whole = progress_file._replace

    def replace(path: Path, content: bytes) -> None:
        whole(path, content)
        found = progress_file.read(path.parent)
        assert found is not None
        assert found[0] == WatchedState.model_validate(json.loads(content))
        states.append((path, found[0]))

    monkeypatch.setattr(progress_file, "_replace", replace)
    monkeypatch.setattr(progress_file, "EVERY", 0.001)
    monkeypatch.setattr(progress_file, "SHARE", 1)
    return states


def test_every_phase_tells_in_its_own_folder_and_leaves_nothing(
    tmp_path: Path, written: list[tuple[Path, WatchedState]]
) -> None:
    study = parse(
        {
            "study": {"name": "tuned", "seeds": 2},
            "baseline": {"dataset": "digits", "hidden": [8], "epochs": 100},
            "axes": {"activation": ["relu", "tanh"]},
            "tune": {"seeds": 1, "space": {"lr": [0.05, 0.1]}},
        }
    )
    training.train(study, tmp_path, device="cpu", workers=1)
    folders = {path.parent.relative_to(tmp_path).as_posix() for path, _ in written}
    assert folders == {".", "tuning", "tuned"}
    own = [state for path, state in written if path.parent == tmp_path]
    assert [state.trained for state in own] == sorted(state.trained for state in own)
    assert own[0].total == 4
    assert not list(tmp_path.rglob(progress_file.FILE))
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_disk_that_takes_nothing_stops_no_training(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress_file, "EVERY", 0.001)
    monkeypatch.setattr(progress_file, "_replace", full)
    study = study_of({"lr": [0.1]}, epochs=100, study={"seeds": 1})
    summary = training.train(study, tmp_path, device="cpu", workers=1)
    assert summary.statuses == {"ok": 1}
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_what_a_killed_run_left_is_removed_where_nothing_is_left_to_train(
    study_of: Make, tmp_path: Path
) -> None:
    study = study_of({"lr": [0.1]}, epochs=1, study={"seeds": 1})
    training.train(study, tmp_path, device="cpu", workers=1)
    (tmp_path / progress_file.FILE).write_text("{}")
    training.train(study, tmp_path, device="cpu", workers=1)
    assert not (tmp_path / progress_file.FILE).exists()
