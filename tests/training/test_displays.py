"""What a run shows while it trains: a bar with losses, and a line for each evaluation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

import harness
from harness.errors import InterruptedRun
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


def test_each_evaluation_is_told_with_the_numbers_of_epochs(
    study_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(study={"seeds": 1}, epochs=3)
    results = harness.run(study, tmp_path, device="cpu", workers=1, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    expected = []
    for epoch, rows in results.epochs.groupby("epoch"):
        told = [
            f"{row.split} loss {row.loss:.4g}, accuracy {row.accuracy:.2%}".replace("%", " %")
            for row in rows.sort_values("split").itertuples()  # train, then val
        ]
        expected.append(f"epoch {epoch:g}: {'; '.join(told)}")
    assert lines == expected
    assert len(lines) == 4


def test_several_trials_are_told_by_name_and_steps_by_number(
    study_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of({"lr": [0.1, 0.2]}, val_fraction=0.0, eval_every="30 steps")
    harness.run(study, tmp_path, device="cpu", workers=1, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 * 4  # after 0, 30, 60 and 90 steps
    assert lines[1].startswith("lr=0.1, seed 0: step 30 (epoch 0.6667): train loss ")
    assert not [line for line in lines if "val" in line]


def test_very_many_trials_are_not_told_one_by_one(
    study_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of({"lr": [0.1, 0.2]}, study={"seeds": 11}, epochs=1)
    harness.run(study, tmp_path, device="cpu", workers=1, verbose=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "the evaluations of 22 trials are not told one by one" in err


def test_an_interrupt_in_a_notebook_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, study_of: Make
) -> None:
    monkeypatch.setattr(displays, "ipython_display", object)
    monkeypatch.setattr(displays, "show_progress", lambda _: nullcontext())
    display = displays.chosen(None)
    assert display is not None
    with pytest.raises(KeyboardInterrupt) as caught, display(progress_of(study_of())):
        raise KeyboardInterrupt
    assert isinstance(caught.value, InterruptedRun)
    assert caught.value._render_traceback_()[-1] == (
        "InterruptedRun: interrupted: what is finished is kept; the same cell goes on from there"
    )


def test_a_notebook_has_a_bar_by_itself_and_a_script_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert displays.chosen(None) is None
    assert displays.chosen(displays.show_progress) is displays.show_progress
    monkeypatch.setattr(displays, "ipython_display", object)
    assert displays.chosen(None) is not None
    assert displays.chosen(displays.show_progress) is displays.show_progress
