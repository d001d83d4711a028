"""`harness continue`, and what `harness run` and `plan` say of trials that go on."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import tomli_w

from harness import results
from harness.cli import main


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a study file and its results."""
    monkeypatch.chdir(tmp_path)
    tables = {
        "study": {"name": "s", "seeds": 1, "keep_state": "all"},
        "baseline": {"dataset": "digits", "hidden": [6], "epochs": 1},
        "axes": {"schedule": ["constant", "cosine"]},
    }
    Path("s.toml").write_text(tomli_w.dumps(tables))
    assert command("run", "s.toml", "--workers", "1") == 0
    capsys.readouterr()
    return tmp_path


def command(*arguments: str) -> int:
    with patch.object(sys, "argv", ["harness", *arguments]), pytest.raises(SystemExit) as end:
        main.main()
    return int(end.value.code or 0)


@pytest.mark.usefixtures("trained")
def test_a_plan_and_a_run_say_what_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    said = ["1 trial goes on from 1 epoch", "1 starts again: their schedule depends on the number of epochs"]
    assert command("plan", "s.toml", "--set", "epochs=2") == 0
    planned = capsys.readouterr()
    assert "kept states: 0.0 MB of it" in planned.out
    assert command("run", "s.toml", "--set", "epochs=2", "--workers", "1") == 0
    ran = capsys.readouterr()
    for sentence in said:
        assert sentence in planned.err
        assert sentence in ran.err
    parents = results.read_trials("results/s").set_index("schedule")["parent"]
    assert parents.notna().to_dict() == {"constant": True, "cosine": False}


@pytest.mark.usefixtures("trained")
def test_a_trial_is_continued(capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--where", "schedule=constant"]
    change = ["--lr", "0.01", "--set", "batch_size=64", "--set", "optimizer=momentum"]
    assert command("continue", "results/s", *where, "--epochs", "2", *change, "--out", "again") == 0
    said = capsys.readouterr()
    trial = results.read_trials("again").iloc[0]
    assert f"{trial['trial_id']}: baseline, seed 0, on digits" in said.out
    assert f"went on from trial {trial['parent']}" in said.out
    assert (trial["epochs_done"], trial["batch_size"], trial["optimizer"]) == (3, 64, "momentum")


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--epochs", "0"], "--epochs 0: allowed: greater than or equal to 1"),
        ([], "how much more? Give epochs=3, or steps=500; one of the two"),
        (["--epochs", "1", "--set", "lr"], "--set 'lr': allowed: KEY=VALUE"),
        (["--epochs", "1", "--set", "hidden=[3]"], "--set hidden=[3]: a trained network keeps its layers"),
        (["--epochs", "1", "--set", "dropout=0.1", "--set", "dropout=0.2"], "--set dropout is given twice"),
        (["--epochs", "1", "--trial", "t0"], "has no trial 't0'"),
        (["--epochs", "1", "--optimizer-state", "some"], "'some' is not one of 'auto', 'kept', 'fresh'"),
    ],
)
def test_mistakes_are_told_and_end_with_2(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("continue", "results/s", "--where", "schedule=constant", *options) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in Path("results").iterdir()] == ["s"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "pixel_dropout_share=0.1",
            "augmentation 'none' has no such setting; add --set augmentation=pixel_dropout, or leave it out",
        ),
        (
            "momentum=0.9",
            "optimizer 'sgd' has no such setting; add --set optimizer=momentum (or nesterov, rmsprop), or",
        ),
        ("augmentation=pixl", "unknown augmentation; allowed: erase, flip, mixup, none, pixel_dropout"),
        ("norm=batch", "a trained network keeps its layers"),
    ],
)
def test_a_change_is_refused_by_its_option_before_anything_is_trained(
    change: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of the parent nothing was kept, so that its weights would have to be trained again."""
    monkeypatch.chdir(tmp_path)
    tables = {
        "study": {"name": "s", "seeds": 1, "keep_weights": "none"},
        "baseline": {"dataset": "digits", "hidden": [6], "epochs": 1},
    }
    Path("s.toml").write_text(tomli_w.dumps(tables))
    assert command("run", "s.toml", "--workers", "1") == 0
    capsys.readouterr()
    assert command("continue", "results/s", "--epochs", "1", "--set", change) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --set {change}: {said}")
    assert "study.toml" not in error
    assert [path.name for path in Path("results").iterdir()] == ["s"]
