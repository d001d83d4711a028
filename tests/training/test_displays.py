"""Losses on the screen while trials are trained."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.notes import progress_bar
from harness.planning import plan
from harness.study.study import Study
from harness.training import displays, runs
from harness.training.progress import ACCURACY, LOSS, Progress, SharedProgress

Make = Callable[..., Study]


def progress_of(study: Study) -> Progress:
    stacks = plan.make(study).stacks
    sizes = [len(stack.trials) for stack in stacks]
    return Progress(sum(sizes), SharedProgress(sizes, 4), stacks)


@pytest.mark.usefixtures("a_stack_a_seed")
def test_progress_shows_the_median_loss_of_trials_in_training(study_of: Make) -> None:
    progress = progress_of(study_of({"lr": [0.1, 0.2, 0.3]}))
    seen = progress.shared.curves
    assert displays.losses(progress) == ""
    seen[:, 0] = 9.0
    seen[:3, 1, :, LOSS] = np.array([[0.2311, 0.3], [0.1, 0.2622], [7, 5]])
    seen[:3, 1, :, ACCURACY] = np.array([[0.5, 0.25], [0.75, 0.5], [0.25, 0.125]])
    progress.shared.trained[:] = np.array([2.5, 3])  # the second stack is done
    said = "median of 3 in training: loss train 0.231 val 0.3; accuracy train 50.0 % val 25.0 %"
    assert displays.losses(progress) == said
    seen[0, 1, :, LOSS] = np.array([np.inf, np.nan])  # it diverged: the median is that of the others
    assert "loss train 3.55 val 2.63" in displays.losses(progress)
    progress.shared.trained[:] = 3
    assert displays.losses(progress) == ""


def test_losses_of_different_kinds_have_a_median_each(study_of: Make) -> None:
    study = study_of({"loss": ["ce", "mse"]}, study={"seeds": 1}, val_fraction=0.0)
    progress = progress_of(study)
    progress.shared.curves[:, 0, 0] = np.array([[2.3, 0.1], [0.09, 0.2]])
    assert displays.losses(progress) in {
        "median of 2 in training: loss ce train 2.3, mse train 0.09; accuracy train 15.0 %",
        "median of 2 in training: loss mse train 2.3, ce train 0.09; accuracy train 15.0 %",
    }


@pytest.mark.parametrize("terminal", [True, False])
def test_a_run_shows_losses_and_accuracies(
    study_of: Make, tmp_path: Path, terminal: bool, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(progress_bar, "LINE_EVERY", 0.02)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "200")
    told: list[str] = []
    whole = displays.losses

    def losses(progress: Progress) -> str:
        told.append(whole(progress))
        return told[-1]

    monkeypatch.setattr(displays, "losses", losses)
    study = study_of({"lr": [0.1, 0.2]}, epochs=40)
    runs.train(study, tmp_path, device="cpu", workers=1, display=displays.show_progress)
    err = capsys.readouterr().err
    if terminal:
        assert "4/4" in err
        return
    lines = [line for line in err.splitlines() if line.startswith("training: ")]
    assert any(" val 0." in line or " val 1." in line or " val 2." in line for line in lines), err
    assert all(line.rstrip().endswith(words) for line, words in zip(lines, told, strict=True))
