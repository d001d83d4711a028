"""Runs of shards: folders of their own, which together are the whole study's, to the last bit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from shard_rows import rows

import harness
from harness import results
from harness.cli import main as cli
from harness.errors import UsageError
from harness.results import documents
from harness.study.reading import parse
from harness.study.study import Study
from harness.training import runs

Make = Callable[..., Study]
AXES = {"activation": ["relu", "tanh"], "loss": ["ce", "nll"]}


def trained(study: Study, folder: Path, **options: Any) -> Path:
    runs.train(study, folder, device="cpu", workers=1, **options)
    return folder


def test_shards_have_the_rows_of_the_whole_study(study_of: Make, tmp_path: Path) -> None:
    study = study_of(AXES, study={"seeds": 3})
    whole = trained(study, tmp_path / "whole")
    parts = [trained(study, tmp_path / f"{i}", shard=f"{i}/2") for i in (1, 2)]
    for table in ("trials", "epochs", "confusion"):
        assert sorted(row for part in parts for row in rows(part, table)) == rows(whole, table)
    assert [documents.plan(part)["shard"] for part in parts] == [[1, 2], [2, 2]]
    assert [results.read(part).trials["seed"].nunique() for part in parts] == [2, 2]  # the third is in both
    assert all(documents.study(part) == documents.study(whole) for part in parts)


def test_a_shard_has_a_folder_of_its_own(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = harness.run(study_of(study={"seeds": 2}), workers=1, device="cpu", shard="2/2")
    assert found.folder == Path("results/small-shard-2-of-2")
    assert list(found.trials["seed"]) == [1]


def test_a_shard_without_trials_is_a_folder_too(study_of: Make, tmp_path: Path) -> None:
    study = study_of(study={"seeds": 1})
    folders = [trained(study, tmp_path / f"{i}", shard=f"{i}/3") for i in (1, 2, 3)]
    assert sorted(len(results.read(folder).trials) for folder in folders) == [0, 0, 1]
    assert sorted(len(rows(folder, "trials")) for folder in folders) == [0, 0, 1]


@pytest.mark.parametrize(("first", "then"), [("1/2", "1/3"), ("1/2", "2/2"), ("1/2", ""), ("", "1/2")])
def test_a_folder_of_another_shard_is_refused_and_left_alone(
    study_of: Make, tmp_path: Path, first: str, then: str
) -> None:
    study = study_of(study={"seeds": 2})
    folder = trained(study, tmp_path / "results", shard=first)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"is for .* not .*--shard"):
        trained(study, folder, shard=then)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_study_that_has_grown_keeps_what_its_shard_has_finished(study_of: Make, tmp_path: Path) -> None:
    few = {"activation": ["relu", "tanh"]}
    folder = trained(study_of(few, study={"seeds": 3}), tmp_path / "results", shard="1/2")
    before = set(results.read(folder).trials["trial_id"])
    trained(study_of(few, study={"seeds": 4}), folder, shard="1/2")
    after = results.read(folder).trials
    assert before <= set(after["trial_id"])
    assert set(after["status"]) == {"ok"}


def test_the_phases_of_a_study_that_tunes_are_of_one_shard(tmp_path: Path) -> None:
    study = parse({
        "study": {"name": "tuned", "seeds": 1},
        "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8]},
        "axes": {"activation": ["relu", "tanh"]},
        "tune": {"seeds": 1, "space": {"lr": [0.05, 0.2]}},
    })  # fmt: skip
    whole = trained(study, tmp_path / "whole")
    parts = [trained(study, tmp_path / f"{i}", shard=f"{i}/2") for i in (1, 2)]
    for phase in ("", "tuning", "tuned"):
        both = sorted(row for part in parts for row in rows(part / phase, "trials"))
        assert both == rows(whole / phase, "trials")
        assert [documents.plan(part / phase)["shard"] for part in parts] == [[1, 2], [2, 2]]
    assert sorted(row for part in parts for row in rows(part, "chosen")) == rows(whole, "chosen")


# ---------------------------------------------------------------------------------------------- the commands


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command in an empty folder with small.toml; gives its exit code."""
    monkeypatch.chdir(tmp_path)
    tables: Mapping[str, Any] = {
        "study": {"name": "small", "seeds": 3},
        "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8]},
        "axes": {"activation": ["relu", "tanh"]},
    }
    Path("small.toml").write_bytes(tomli_w.dumps(tables).encode())

    def run(*arguments: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code

    return run


def test_the_plan_of_a_shard_counts_its_trials(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("plan", "small.toml", "--shard", "2/3") == 0
    assert "2 arms x 3 seeds = 6 trials\nshard 2 of 3: 2 trials, 2 to train\n" in capsys.readouterr().out
    assert command("plan", "small.toml", "--shard", "2/3", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["shard"], plan["trials"]) == ({"number": 2, "count": 3, "of_trials": 6, "split_seeds": 0}, 2)
    assert plan["folder"] == "results/small-shard-2-of-3"


@pytest.mark.parametrize("shard", ["0/16", "17/16", "x", ""])
def test_a_wrong_shard_is_refused_before_anything(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str], shard: str
) -> None:
    for name in ("run", "plan"):
        assert command(name, "small.toml", "--shard", shard) == 2
        assert "error: --shard" in capsys.readouterr().err
    assert not Path("results").exists()


@pytest.mark.parametrize("name", ["run", "plan", "search"])
def test_a_search_has_no_shards(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert command(name, "search", "--shard", "1/2") == 2
    assert "no shares that machines could train apart" in capsys.readouterr().err
