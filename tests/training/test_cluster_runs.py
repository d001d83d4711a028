"""Runs on a cluster: one on real actors of Ray's, and every way in which none can be had, in words."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import MachineError, UsageError
from harness.study.study import Study
from harness.training import runs
from harness.training.cluster import connection

INSTALLED = importlib.util.find_spec("ray") is not None
MADE_BY = {"group", "group_size", "group_seconds", "host"}
STUDY = """
[study]
name = "small"
seeds = 2
keep_weights = "all"
[baseline]
dataset = "digits"
epochs = 2
hidden = [8]
[axes]
activation = ["relu", "tanh"]
"""


def command(study: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "harness", "run", str(study), "--results", str(folder), "--device", "cpu"]
    package = str(Path(__file__).parents[2])
    return subprocess.run(
        [*line, *options], env={**os.environ, "PYTHONPATH": package}, capture_output=True, text=True,
        timeout=500, check=False,
    )  # fmt: skip


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [
            {key: cell for key, cell in row.items() if key not in MADE_BY} for row in csv.DictReader(file)
        ]


@pytest.mark.skipif(not INSTALLED, reason="Ray is an extra")
def test_a_run_on_rays_actors_is_that_of_one_process(tmp_path: Path) -> None:
    study = tmp_path / "small.toml"
    study.write_text(STUDY, encoding="utf-8")
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, options in ((here, ["--workers", "1"]), (there, ["--cluster", "local:2"])):
        done = command(study, folder, *options)
        assert done.returncode == 0, done.stderr
    for name in ("trials", "epochs", "confusion"):
        assert rows(there / f"{name}.csv") == rows(here / f"{name}.csv")
    weights = [
        {path.name: path.read_bytes() for path in (folder / "weights").iterdir()} for folder in (here, there)
    ]
    assert weights[0] == weights[1]
    assert len(weights[0]) == 4


@pytest.mark.parametrize(
    "address", ["nowhere", "local:", "local:0", "host:", "host:70000", "ray://host", "http://a:1"]
)
def test_an_address_of_another_form_is_refused(
    study_of: Callable[..., Study], tmp_path: Path, address: str
) -> None:
    with pytest.raises(UsageError, match=r"--cluster .*(allowed|Allowed)"):
        runs.train(study_of(), tmp_path / "out", cluster=address)
    assert not list((tmp_path / "out").glob("*.csv"))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"needs Ray.*No module named 'ray'.*ablation-harness\[ray\]"):
        connection.imported()


@pytest.mark.skipif(not INSTALLED, reason="Ray is an extra")
def test_a_cluster_that_is_not_there_is_told() -> None:
    with pytest.raises(MachineError, match=r"127.0.0.1:9.*refused.*nothing was trained"):  # noqa: SIM117
        with connection.connected("127.0.0.1:9"):
            pass


@pytest.mark.parametrize(("system", "name"), [("win32", "Windows"), ("darwin", "macOS")])
def test_several_nodes_are_refused_where_ray_has_none(
    monkeypatch: pytest.MonkeyPatch, system: str, name: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    for address in ("auto", "10.0.0.1:6379"):
        with pytest.raises(UsageError, match=f"no clusters of several nodes on {name}.*--shard"):
            connection.check_form(address)
    for address in ("local", "local:4", "ray://10.0.0.1:10001"):
        connection.check_form(address)
