"""`harness noise` and `harness try`: words, JSON and exit codes."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import tomli_w

from harness.cli import main
from harness.comparison.tries.folder import TryFolder
from harness.errors import MachineError


@pytest.fixture(autouse=True)
def study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a study file, which the commands run in."""
    monkeypatch.chdir(tmp_path)
    tables = {
        "study": {"name": "s", "seeds": 2},
        "baseline": {"dataset": "digits", "hidden": [16], "epochs": 2, "lr": 0.1},
    }
    Path("s.toml").write_text(tomli_w.dumps(tables))


def command(*arguments: str) -> int:
    with patch.object(sys, "argv", ["harness", *arguments]), pytest.raises(SystemExit) as end:
        main.main()
    return int(end.value.code or 0)


def test_noise_says_what_shows_and_a_try_goes_on_from_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("noise", "s.toml", "--seeds", "3", "--workers", "1") == 0
    said = capsys.readouterr().out
    assert "s, baseline on digits: val accuracy" in said
    assert "SD over 3 seeds" in said
    assert "next: harness try s.toml --set KEY=VALUE" in said
    assert command("noise", "s.toml", "--seeds", "3", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["command"] == "noise"
    assert [row["seeds"] for row in content["detectable"]] == [3, 5, 10, 20]
    assert content["baselines"][0]["sd"] > 0
    assert command("try", "s.toml", "--set", "lr=0.001", "--workers", "1") == 1
    said = capsys.readouterr().out
    assert "s, baseline against lr=0.001\n  lr: 0.1 -> 0.001\n  looks at 3, 5, 7, 10, 14, 20 seeds" in said
    assert "\n3 seeds: -" in said
    assert "Worse: lr=0.001 gives -" in said
    assert "the 95\u00a0% interval of the true difference, which holds at all looks" in said
    assert "next: keep the baseline" in said


def test_the_next_command_has_the_options_of_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.py").write_text("")
    how = ["--plugin", "own.py", "--workers", "1", "--results", "t"]
    asked = ["--metric", "val_loss", "--margin", "0.001", "--budget", "9 minutes"]
    assert command("try", "s.toml", "--set", "sampling=replacement", *how, *asked, "--max-seeds", "3") == 2
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("next: harness try s.toml --set sampling=replacement --max-seeds ")
    assert told.endswith(
        " --plugin own.py --workers 1 --results t --metric val_loss --margin 0.001 --budget '9 minutes'"
    )
    assert command("try", "s.toml", "--set", "lr=0.101", *how, "--margin", "0.5", "--json") == 0
    told = json.loads(capsys.readouterr().out)["next"]
    assert told.endswith(" --results results/s-lr --plugin own.py --workers 1")
    assert command("noise", "s.toml", "--seeds", "3", *how, "--metric", "val_loss") == 0
    assert (
        "next: harness try s.toml --set KEY=VALUE --plugin own.py --workers 1 --results t --metric val_loss "
        "--margin MARGIN\n"
    ) in capsys.readouterr().out


def test_the_line_that_follows_a_noise_floor_works_as_typed(capsys: pytest.CaptureFixture[str]) -> None:
    tables = {
        "study": {"name": "s", "seeds": 2, "design": "grid"},
        "baseline": {"hidden": [16], "epochs": 2, "lr": 0.1},
        "axes": {"dataset": ["mnist", "fashion_mnist"]},
    }
    Path("s.toml").write_text(tomli_w.dumps(tables))
    small = ["--seeds", "3", "--workers", "1", "--set", "dataset=digits", "--set", "epochs=1"]
    assert command("noise", "s.toml", *small) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("next: ")]
    _, _, *words = shlex.split(line.replace("KEY=VALUE", "lr=0.001"))
    assert words[0] == "try"
    assert command(*words, "--max-seeds", "3", "--workers", "1") in {1, 2}
    said = capsys.readouterr()
    assert not said.err
    assert "s, baseline against lr=0.001" in said.out


def test_json_has_the_verdict_and_nothing_else_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    undecided = ["try", "s.toml", "--set", "sampling=replacement", "--max-seeds", "3", "--json"]
    assert command(*undecided, "--base", "epochs=1", "--workers", "1") == 2
    content = json.loads(capsys.readouterr().out)
    assert content["verdict"] == "cannot tell"
    assert content["exit_code"] == 2
    assert (content["seeds"], content["trials_trained"], content["why"]) == (3, 6, "seeds")
    assert content["differences"] == {"sampling": {"before": "shuffle", "after": "replacement"}}
    assert len(content["looks"]) == 1
    assert len(content["values"]) == 3
    assert "--base epochs=1" in content["next"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "allowed is a list of one or more"),
        (("--set", "lr=0.1"), "lr=0.1 changes nothing"),
        (("--set", "lr=0.2", "--max-seeds", "2"), "the first look is at 3 seeds"),
        (("--set", "lr=0.2", "--budget", "soon"), "allowed is a time such as"),
        (("--set", "lr=0.2,0.3"), "a try has one"),
    ],
)
def test_wrong_usage_exits_2(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("try", "s.toml", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not Path("results").exists()


@pytest.mark.parametrize("error", [MachineError("the disk is full"), OSError("the disk is full")])
def test_a_machine_that_fails_is_not_worse(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(TryFolder, "train", fail)
    assert command("try", "s.toml", "--set", "lr=0.2") == 2
    assert "the disk is full" in capsys.readouterr().err
