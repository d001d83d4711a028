"""Commands that answer without importing torch or pandas, and the public names of the package."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import harness
from harness.system import lazy, signals

PACKAGE_ROOT = Path(harness.__file__).parent


def python(code: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    path = os.pathsep.join([str(PACKAGE_ROOT.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def heavy_after(code: str, cwd: Path | None = None) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """Which heavy packages a fresh interpreter has imported at its end."""
    code_with_report = f"""
import atexit, json, sys
atexit.register(lambda: print("HEAVY", json.dumps([m for m in ("torch", "pandas") if m in sys.modules])))
{code}
"""
    done = python(code_with_report, cwd=cwd)
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("HEAVY "), done.stdout + done.stderr
    return set(json.loads(last.removeprefix("HEAVY "))), done


def command(*arguments: str, cwd: Path | None = None) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """Run the `harness` command in a fresh interpreter."""
    return heavy_after(
        f"sys.argv = ['harness', *{arguments!r}]\nfrom harness.cli.main import main\nmain()", cwd
    )


STUDY = '[study]\nname = "small"\n[baseline]\ndataset = "digits"\n[axes]\nactivation = ["relu", "tanh"]\n'


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(STUDY)
    return tmp_path


@pytest.mark.parametrize("room", ["training.runs", "cli.output", "searching.rounds", "engines.stack_engine"])
def test_what_runs_a_study_imports_nothing_heavy(room: str) -> None:
    heavy, done = heavy_after(f"import harness.{room}")
    assert done.returncode == 0, done.stderr
    assert heavy == set()


def test_no_room_but_engines_and_contract_tests_imports_torch() -> None:
    rooms = ["study.reading", "study.trials", "planning.plan", "results.run_folder", "training.runs"]
    rooms += ["cli.output", "cli.main", "stats", "plots", "comparison", "reporting.page"]
    heavy, done = heavy_after(
        f"import importlib\nfor room in {rooms}:\n"
        "    importlib.import_module('harness.' + room)\n"
        "    assert 'torch' not in sys.modules, room"
    )
    assert done.returncode == 0, done.stderr
    assert heavy == {"pandas"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy, done = heavy_after("import harness, harness.cli.main; harness.load")
    assert done.returncode == 0, done.stderr
    assert heavy == set()


@pytest.mark.parametrize(
    "arguments", [("--help",), ("run", "--help"), ("list",), ("list", "loss"), ("--version",)]
)
def test_help_and_list_answer_without_torch_and_pandas(arguments: tuple[str, ...]) -> None:
    heavy, done = command(*arguments)
    assert heavy == set()
    if arguments != ("--version",):  # which a checkout that is not installed cannot tell
        assert done.returncode == 0, done.stderr


def test_list_shows_every_axis() -> None:
    _, done = command("list")
    for word in (
        "activation",
        "gelu",
        "optimizer",
        "adagrad",
        "ccql_weight",
        "schedule",
        "cosine",
        "fashion_mnist",
    ):
        assert word in done.stdout


def test_plan_answers_without_torch(study: Path) -> None:
    heavy, done = command("plan", "small.toml", cwd=study)
    assert done.returncode == 0, done.stderr
    assert "torch" not in heavy


def test_torch_is_imported_where_stacks_are_trained(study: Path) -> None:
    arguments = ("run", "small.toml", "--device", "cpu", "--engine", "loop")
    heavy, done = command(*arguments, "--workers", "2", cwd=study)
    assert done.returncode == 0, done.stderr
    assert heavy == set()
    heavy, done = command(*arguments, "--workers", "1", "--results", "in this process", cwd=study)
    assert done.returncode == 0, done.stderr
    assert heavy == {"torch"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("runn", "small.toml"), "did you mean 'run'"),
        (("run", "smal"), "there is no study 'smal'"),
        (("run", "small.toml", "--set", "activation=relo,tanh"), "did you mean 'relu'"),
        (("plan", "small.toml", "--set", "lr=-1"), "greater than 0"),
        (("run", "small.toml", "--set", "batch_size=5000"), "batch_size = 5000"),
        (("list", "optimiser"), "did you mean 'optimizer'"),
        (("try", "small.toml", "--set", "activation=relo"), "did you mean 'relu'"),
        (("noise", "small.toml", "--seeds", "1"), "one seed shows no spread"),
        (("run", "small.toml", "--engine", "numpi"), "numpi"),
    ],
)
def test_a_usage_error_answers_without_torch(study: Path, arguments: tuple[str, ...], message: str) -> None:
    heavy, done = command(*arguments, cwd=study)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "torch" not in heavy


def test_the_lazy_torch_is_torch() -> None:
    assert lazy.torch.zeros is torch.zeros
    assert lazy.torch.nn.functional.relu is torch.nn.functional.relu
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = lazy.torch.no_such_thing  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", harness.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(harness, name) is not None


def test_registries_are_public() -> None:
    from harness import activations, datasets, preprocessings
    from harness.axes.activations import activations as registry

    assert activations is registry
    assert "relu" in activations
    assert "digits" in datasets
    assert "unit" in preprocessings


def test_public_names_are_completed_and_a_typo_is_answered() -> None:
    assert dir(harness) == sorted(harness.__all__)
    assert {"engine", "device", "workers"} <= set(inspect.signature(harness.run).parameters)
    assert "retrain" not in inspect.signature(harness.search).parameters
    with pytest.raises(AttributeError, match="no attribute 'serch': did you mean 'search'"):
        _ = harness.serch


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends itself no interrupts")
def test_an_interrupt_waits_for_the_end_of_an_import(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "home.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nthing = 1\n", encoding="utf-8"
    )
    (tmp_path / "parts" / "__init__.py").write_text(
        "from harness.system.lazy import public_names\n"
        "__getattr__, __dir__ = public_names(__name__, {'thing': 'home'})\n",
        encoding="utf-8",
    )
    code = (
        "import parts, sys\n"
        "try:\n    parts.thing\n"
        "except KeyboardInterrupt:\n    print('interrupted', sys.modules['parts.home'].thing, parts.thing)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(PACKAGE_ROOT.parent)])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("interrupted 1 1\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends itself no interrupts")
def test_an_interrupt_waits_for_the_outermost_import() -> None:
    done = []

    def within() -> None:
        with signals.interrupts_after():
            with signals.interrupts_after():
                os.kill(os.getpid(), signal.SIGINT)
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        within()
    assert done == ["inner", "outer"]
