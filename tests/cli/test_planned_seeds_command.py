"""`harness plan --power`: words, JSON and exit codes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from unittest.mock import patch

import jsonschema
import pytest
import tomli_w

from harness.cli import main, schemas

TABLES = {
    "study": {"name": "s", "seeds": 4},
    "baseline": {"dataset": "digits", "hidden": [16], "epochs": 4},
    "axes": {"activation": ["relu", "tanh"], "lr": [0.1, 0.3]},
}


@pytest.fixture(autouse=True)
def study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a study file, which the commands run in."""
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(tomli_w.dumps(TABLES))


def command(*arguments: str) -> int:
    with patch.object(sys, "argv", ["harness", *arguments]), pytest.raises(SystemExit) as end:
        main.main()
    return int(end.value.code or 0)


def test_seeds_are_planned_from_the_studys_first_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("run", "s.toml", "--workers", "1") == 0
    capsys.readouterr()
    assert command("plan", "s.toml", "--power", "1", "--workers", "1") == 0
    said = capsys.readouterr()
    assert (
        "seeds that find a difference of 1.0 points of test accuracy with 80 % power: 2 contrasts" in said.out
    )
    assert "each tested at 0.025; spread from results/s" in said.out
    assert "activation tanh" in said.out
    assert "all contrasts: " in said.out
    assert "its 4 seeds find" in said.out
    assert "a spread over 4 seeds is known roughly" in said.err


def test_a_study_that_is_looked_at_is_told_settings_that_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    looked = ["--set", "seeds=6", "--set", "contrasts.looks=3,6"]
    assert command("run", "s.toml", *looked, "--workers", "1") == 0
    capsys.readouterr()
    assert command("plan", "s.toml", *looked, "--power", "0.5", "--workers", "1") == 0
    said = re.search(
        r"(--set seeds=\d+) (--set contrasts\.looks=3,\d+) plan for them", capsys.readouterr().out
    )
    assert said
    assert command("plan", "s.toml", *said[1].split(), *said[2].split()) == 0


def test_its_json_has_every_contrast(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("run", "s.toml", "--workers", "1") == 0
    capsys.readouterr()
    assert command("plan", "s.toml", "--power", "1", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schemas.schema("plan")).validate(answer)
    power = answer["power"]
    assert (power["difference"], power["kind"], power["pilot"]) == (0.01, "study", "results/s")
    assert [row["axis"] for row in power["contrasts"]] == ["activation", "lr"]
    assert all(isinstance(row["seeds"], int) and row["planned"] == 4 for row in power["contrasts"])
    assert power["seeds"] == max(row["seeds"] for row in power["contrasts"])
    assert power["seconds"] > 0
    assert any("known roughly" in note for note in answer["notes"])
    assert command("plan", "s.toml", "--json") == 0
    assert json.loads(capsys.readouterr().out)["power"] is None


def test_the_plan_of_a_study_that_is_looked_at_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("plan", "s.toml", "--set", "seeds=8", "--set", "contrasts.looks=4,8") == 0
    assert (
        "at most: looked at after 4, 8 seeds, it stops once every contrast is decided"
        in capsys.readouterr().out
    )
    assert command("plan", "s.toml", "--set", "seeds=8", "--set", "contrasts.looks=4,8", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schemas.schema("plan")).validate(answer)
    assert (answer["contrasts"]["looks"], answer["contrasts"]["spending"]) == ([4, 8], "obrien-fleming")


def test_the_run_of_a_study_that_is_looked_at_says_which_look(capsys: pytest.CaptureFixture[str]) -> None:
    looked = ["--set", "seeds=6", "--set", "contrasts.looks=3,6", "--set", "contrasts.spending=pocock"]
    clear = ["--set", "lr=0.3,0.0001", "--set", "activation=relu"]
    assert command("run", "s.toml", *looked, *clear, "--workers", "1", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schemas.schema("run")).validate(answer)
    assert (answer["contrasts"]["looks"], answer["contrasts"]["look"]) == ([3, 6], 3)
    assert answer["statuses"]["skipped"] == 6
    assert [row["verdict"] for row in answer["contrasts"]["rows"]] == ["worse"]
    assert command("plan", "s.toml", *looked, *clear) == 0
    said = capsys.readouterr()
    assert "2 arms x 6 seeds = 12 trials, 6 finished in the results folder, 0 to train" in said.out
    assert "6 trials skipped: not needed: every contrast was decided at 3 seeds" in said.out
    assert "at most" not in said.out
    assert "about" not in said.out
    assert "look at" not in said.err, "a plan goes on to nothing"
    assert command("run", "s.toml", "--set", "seeds=6", *clear, "--workers", "1") == 0
    assert "[contrasts] changed after 6 trials had been trained and could be read" in capsys.readouterr().err
    assert command("plan", "s.toml", *looked, *clear, "--shard", "1/2") == 2
    assert "is looked at after 3, 6 seeds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--power", "0.2"], "there is no pilot"),
        (["--power", "-1"], "in points of accuracy"),
        (["--power", "0.2", "--shard", "1/2"], "for a whole study"),
        (["--pilot", "x"], "beside --power POINTS"),
        (["--power", "0.2", "--pilot", "x"], "not a results folder"),
        (["--power", "much"], "not a valid float"),
    ],
)
def test_wrong_usage_is_said_and_nothing_is_trained(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("plan", "s.toml", *options) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not Path("results").exists()
