"""SECURITY.md, held: what a results folder of somebody else's makes commands run, read and write."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import harness
from harness.cli.main import harness as command
from harness.errors import MachineError, UsageError

PLUGIN = """
import pathlib, torch
from harness.axes.activations import activations

with pathlib.Path({log!r}).open("a") as log:
    log.write("run ")


@activations.register("{name}")
def {name}(x):
    return torch.tanh(x)
"""
STUDY = """
[study]
name = "own"
seeds = 1
plugins = ["{name}.py"]
keep_weights = "all"
[baseline]
dataset = "digits"
hidden = [4]
epochs = 1
[axes]
activation = ["relu", "{name}"]
"""


def made(folder: Path, name: str) -> tuple[Path, Path]:
    """A results folder whose study has a plugin; and where the plugin writes whenever it is run."""
    log = folder / "log"
    (folder / f"{name}.py").write_text(PLUGIN.format(log=str(log), name=name))
    (folder / f"{name}.toml").write_text(STUDY.format(name=name))
    harness.run(harness.load(folder / f"{name}.toml"), folder / "results", workers=1)
    forget(name)
    return folder / "results", log


def forget(name: str) -> None:
    """Be another process, which has not run the plugin."""
    from harness.axes.activations import activations

    activations.remove(name)
    for module in [one for one in sys.modules if one.startswith(f"harness_plugin_{name}")]:
        del sys.modules[module]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Somebody else's results folder, and the log of its plugin."""
    return made(tmp_path_factory.mktemp("theirs"), "theirs")


def called(*arguments: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)), input=answer)


@pytest.mark.parametrize(
    ("arguments", "ends"),
    [
        (
            ["export", "best", "--where", "activation=theirs", "--out", "OUT", "--results", "FOLDER"],
            UsageError,
        ),
        (["plan", "FOLDER/study.toml"], UsageError),
        (["run", "FOLDER/study.toml", "--results", "OUT"], UsageError),
        (["export", "best", "--where", "activation=relu", "--out", "OUT", "--results", "FOLDER"], None),
        (["compare", "FOLDER", "FOLDER"], None),
        (["show", "FOLDER", "predictions", "--where", "activation=theirs", "--out", "OUT"], None),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_a_plugin_of_a_results_folder_is_not_run_unasked(
    arguments: list[str], ends: Any, theirs: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, log = theirs
    before = log.read_text()
    places = {"FOLDER": str(folder), "OUT": str(tmp_path / "out")}
    filled = list(arguments)
    for mark, place in places.items():
        filled = [word.replace(mark, place) for word in filled]
    done = called(*filled)
    assert type(done.exception) is (ends or type(None)), done.output
    if ends:
        assert "is code, and it was not run" in str(done.exception)
        assert f"--plugin {folder.parent / 'theirs.py'}" in str(done.exception)
    assert log.read_text() == before


def test_a_plugin_that_the_user_names_is_run(theirs: tuple[Path, Path], tmp_path: Path) -> None:
    folder, log = theirs
    before = log.read_text()
    try:
        done = called(
            "export", "best", "--where", "activation=theirs", "--results", folder,
            "--out", tmp_path / "out", "--plugin", folder.parent / "theirs.py",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        assert log.read_text() == before + "run "
    finally:
        forget("theirs")
    with pytest.raises(UsageError, match="it was not run"):
        harness.load(folder / "study.toml")
    try:
        loaded = harness.load(folder / "study.toml", plugin_files=[folder.parent / "theirs.py"])
        assert loaded.axes["activation"] == ["relu", "theirs"]
    finally:
        forget("theirs")


class Noted:
    """An object whose unpickling would be noticed, and do no harm."""

    unpickled: list[str] = []  # noqa: RUF012 (of the class: unpickling makes no instance)

    def __reduce__(self) -> tuple[Any, ...]:
        return Noted.unpickled.append, ("here",)


def test_nothing_in_a_results_folder_is_unpickled(theirs: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(theirs[0], tmp_path / "copy")
    buffer = io.BytesIO()
    np.savez(buffer, trial_id=np.array([Noted()], object))
    for file in (tmp_path / "copy/predictions").glob("*.npz"):
        file.write_bytes(buffer.getvalue())
    for file in (tmp_path / "copy/weights").glob("*.safetensors"):
        file.write_bytes(buffer.getvalue())
    folder, out = tmp_path / "copy", tmp_path / "out"
    for arguments in (
        ["show", folder, "predictions", "--trial", "best", "--out", out],
        ["export", "best", "--results", folder, "--out", out],
    ):
        done = called(*arguments)
        assert done.exception is None or isinstance(done.exception, (UsageError, MachineError)), done.output
    assert not Noted.unpickled


def test_a_report_runs_no_plugin_and_asks_no_other_host(theirs: tuple[Path, Path]) -> None:
    folder, log = theirs
    before = log.read_text()
    assert called("report", folder).exit_code == 0
    assert log.read_text() == before
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script src" not in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert 'src="https://' not in page
    assert "fetch(" not in page
