"""A main program that workers cannot run again trains in one process and says why; others start workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.registry import PACKAGE_ROOT
from harness.training import executors

STUDY = """
[study]
name = "s"
seeds = 4
[baseline]
dataset = "digits"
epochs = 1
[axes]
hidden = [[16], [32], [64]]
"""
UNGUARDED = "import harness\nresults = harness.run(harness.load('study.toml'), workers=2)\n"
GUARD = 'if __name__ == "__main__":'


class StartedError(Exception):
    """Workers would have been started."""


def no_workers(*_: Any) -> None:
    raise StartedError


def run_as_main(file: str | None, text: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Run a text as the main program that `file` holds, in this process; gives the module it has become."""
    main = types.ModuleType("__main__")
    if file is not None:
        main.__file__ = file
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(executors, "pool", no_workers)
    exec(compile(text, file or "<string>", "exec"), vars(main))  # noqa: S102 (as Python runs a script)
    return main


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("script.py", r"line 2 of .*script\.py is outside of `if __name__"),
        ("<stdin>", "<stdin>, again; save it"),
    ],
)
def test_unguarded_scripts_train_in_their_own_process(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    words: str,
) -> None:
    (tmp_path / "script.py").write_text(UNGUARDED)
    main = run_as_main(str(tmp_path / name), UNGUARDED, monkeypatch)
    assert re.search(words, capsys.readouterr().err)
    assert set(main.results.trials["status"]) == {"ok"}
    assert main.results.trials["val_accuracy"].mean() == pytest.approx(0.5376, abs=5e-5)


CALL = "harness.run(harness.load('study.toml'), workers=2)"
STARTING = {
    "guarded": f"import harness\n{GUARD}\n    {CALL}\n",
    "a guarded call of a function": f"import harness\ndef main():\n    {CALL}\n{GUARD}\n    main()\n",
    "a guard within the function": f"import harness\ndef main():\n    {GUARD}\n        {CALL}\nmain()\n",
    "a guard in one line": f"import harness\n__name__ == '__main__' and {CALL}\n",
}


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("text", STARTING.values(), ids=STARTING)
def test_a_guarded_script_starts_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "script.py").write_text(text)
    with pytest.raises(StartedError):
        run_as_main(str(tmp_path / "script.py"), text, monkeypatch)


@pytest.mark.usefixtures("_here")
def test_a_notebook_or_a_command_line_starts_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartedError):  # a spawned process runs no main program that has no file
        run_as_main(None, f"import harness\n{CALL}\n", monkeypatch)


@pytest.mark.usefixtures("_here")
def test_this_test_runner_starts_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "pool", no_workers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(StartedError):
            harness.run(harness.load("study.toml"), workers=2)


SEARCH = """
[study]
name = "q"
design = "search"
seeds = 2
[search]
suggestions = 6
batch = 3
[baseline]
dataset = "digits"
epochs = 1
[space]
lr = { low = 0.01, high = 1.0, log = true }
optimizer = ["sgd", "adam"]
"""


@pytest.mark.slow
@pytest.mark.parametrize("piped", [False, True])
def test_a_search_from_an_unguarded_script_is_whole(tmp_path: Path, piped: bool) -> None:
    (tmp_path / "q.toml").write_text(SEARCH)
    script = "import harness\nfound = harness.search(harness.load('q.toml'), workers=2)\n"
    script += "print(found.suggestions.state.value_counts().to_dict())\n"
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-" if piped else "script.py"], input=script, capture_output=True, text=True,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "{'complete': 6}"
    assert "Traceback" not in done.stderr
    assert "trains in this process" in done.stderr
