"""Provenance: where a folder's numbers come from."""

from __future__ import annotations

import json
import os
import platform
import runpy
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.data.datasets import datasets
from harness.engines import kernels
from harness.planning import plan
from harness.registry import PACKAGE_ROOT
from harness.results import documents, provenance
from harness.study.study import Study
from harness.training import progress
from harness.training import runs as training

Make = Callable[..., Study]


def test_provenance_has_versions_machine_and_data(study_of: Make, tmp_path: Path) -> None:
    training.train(study_of(epochs=1), tmp_path, device="cpu", workers=1)
    told = json.loads((tmp_path / "provenance.json").read_text())
    assert told["versions"]["python"] == platform.python_version()
    assert told["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert told["device"] == "cpu"
    assert (told["workers"], told["threads"]) == (1, 1)
    digits = datasets["digits"].facts
    assert told["data"] == {
        "digits": {"digest": digits.digest, "classes": list(digits.classes), "train": 1437, "test": 360}
    }
    (run,) = told["runs"]
    assert run["trials_trained"] == 2
    assert run["seconds"] >= 0
    assert datetime.fromisoformat(run["started"]) <= datetime.fromisoformat(run["finished"])
    assert run["command"]


def test_the_session_that_trains_with_the_wheel_knows_kernels_that_compute(
    study_of: Make, tmp_path: Path
) -> None:
    pytest.importorskip("nox", reason="nox is not installed")
    if why := kernels.why_not():
        pytest.skip(why)
    noxfile = runpy.run_path(str(PACKAGE_ROOT.parent / "noxfile.py"))
    check = [sys.executable, "-c", noxfile["KERNELS_ARE_USED"]]
    training.train(study_of(epochs=1), tmp_path / "results" / "choices", device="cpu", workers=1)
    done = subprocess.run(check, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    path = tmp_path / "results" / "choices" / "provenance.json"
    told = json.loads(path.read_text())
    told["runs"][-1]["kernels"] = "HARNESS_KERNELS is off"
    path.write_text(json.dumps(told))
    assert subprocess.run(check, cwd=tmp_path, check=False, capture_output=True).returncode == 1


def test_earlier_runs_stay_listed(study_of: Make, tmp_path: Path) -> None:
    for seeds in (1, 3, 3):
        training.train(study_of(epochs=1, study={"seeds": seeds}), tmp_path, device="cpu", workers=1)
    runs = json.loads((tmp_path / "provenance.json").read_text())["runs"]
    assert [run["trials_trained"] for run in runs] == [1, 2, 0]


def test_a_run_that_trains_nothing_does_not_describe_the_numbers(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one on another machine, that draws a report anew."""
    training.train(study_of(epochs=1), tmp_path, device="cpu", workers=2)
    path = tmp_path / "provenance.json"
    first = json.loads(path.read_text())
    monkeypatch.setattr(provenance, "_commit", lambda: "another")
    monkeypatch.setattr("harness.system.machine.model", lambda: "another processor")
    training.train(study_of(epochs=1), tmp_path, device="cpu", workers=1)
    again = json.loads(path.read_text())
    assert [run["commit"] for run in again["runs"]] == [first["commit"], "another"]
    assert {**again, "runs": []} == {**first, "runs": []}
    training.train(study_of(epochs=1, study={"seeds": 3}), tmp_path, device="cpu", workers=1)
    later = json.loads(path.read_text())
    assert (later["commit"], later["cpu"], later["workers"]) == ("another", "another processor", 1)
    assert [run["trials_trained"] for run in documents.trained_runs(later)] == [2, 1]


def test_an_idle_run_that_is_killed_has_described_nothing_either(study_of: Make, tmp_path: Path) -> None:
    drawn = plan.make(study_of(epochs=1))
    provenance.Provenance(tmp_path, drawn, ["cpu"], 2).finish(2)
    provenance.Provenance(tmp_path, drawn, ["cpu"], 7, idle=True)
    told = json.loads((tmp_path / "provenance.json").read_text())
    assert (told["workers"], len(told["runs"])) == (2, 2)


@pytest.mark.parametrize("first", [{"cluster": {"address": "local:2"}}, {}])
def test_a_cluster_that_trained_nothing_is_not_the_folders(
    study_of: Make, tmp_path: Path, first: dict[str, Any]
) -> None:
    drawn, second = plan.make(study_of(epochs=1)), {} if first else {"cluster": {"address": "auto"}}
    for trained, more in ((2, first), (0, second)):
        provenance.Provenance(tmp_path, drawn, ["cpu"], 1, here=not more).finish(trained, more)
    told = json.loads((tmp_path / "provenance.json").read_text())
    assert told.get("cluster") == first.get("cluster")
    assert told["kernels"].startswith("those of the nodes") == bool(first)
    assert [run.get("cluster") for run in told["runs"]] == [first.get("cluster"), second.get("cluster")]


def test_a_run_that_stops_is_listed_with_what_it_trained(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.Progress, "note", stop)
    with pytest.raises(KeyboardInterrupt):
        training.train(study_of(epochs=1), tmp_path, device="cpu", workers=1)
    (run,) = json.loads((tmp_path / "provenance.json").read_text())["runs"]
    assert run["trials_trained"] == 0
    assert "finished" in run


def test_asking_for_the_commit_writes_nothing_into_the_repository(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A lock on the index, of a run that is killed, would stop its owner's next commit."""

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    (tmp_path / "file").write_text("as committed")
    git("init")
    git("add", "file")
    git("commit", "-m", "one file")
    monkeypatch.setattr(provenance, "PACKAGE_ROOT", tmp_path)
    os.utime(tmp_path / "file", (1, 1))  # so that git would like to write down that it has not changed
    before = (tmp_path / ".git/index").read_bytes()
    clean = provenance._commit()
    (tmp_path / "file").write_text("changed since")
    assert clean
    assert provenance._commit() == f"{clean}-dirty"
    assert (tmp_path / ".git/index").read_bytes() == before


def test_the_commit_is_this_checkouts_or_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provenance, "PACKAGE_ROOT", tmp_path)
    assert provenance._commit() == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance._commit() == ""
