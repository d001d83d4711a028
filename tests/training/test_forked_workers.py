"""Workers that are forked: without heavy libraries, and as easily stopped, killed and replaced as others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness import results
from harness.engines import kernels

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
PACKAGE_ROOT = Path(results.__file__).parents[2]
GRACE = 1.0
HEAVY = ("torch", "sklearn", "pandas", "scipy", "matplotlib", "optuna")
BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(f"{{name}} is not to be imported")

sys.meta_path.insert(0, Blocker())
"""
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background it is ignored
from harness.system import signals
signals.GRACE = {grace}  # seconds that workers have to save themselves, and all of which a slow one takes
sys.argv = ["harness", *{arguments!r}]
from harness.cli.main import main
main()
"""
STUDY = """
[study]
name = "small"
seeds = 2
plugins = {plugins}

[baseline]
dataset = "digits"
preprocessing = "{preprocessing}"
hidden = [8]
epochs = 1

[axes]
lr = [0.01, 0.03, 0.1, 0.3, 1.0]
batch_size = [32, 64]
"""
PLUGIN = """
import multiprocessing, os, signal, time
from pathlib import Path
from harness.axes.preprocessing import preprocessings

HERE = Path(__file__).parent

@preprocessings.register("deadly")
def deadly(x, pixels):
    '''Kills the first worker.'''
    if multiprocessing.parent_process() is not None and not (HERE / "killed").exists():
        (HERE / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x / pixels.max

@preprocessings.register("slow")
def slow(x, pixels):
    '''Waits for ever in a worker.'''
    if multiprocessing.parent_process() is not None:
        (HERE / f"worker-{os.getpid()}").touch()
        time.sleep(600)
    return x / pixels.max
"""


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}


def started(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run_of(
    folder: Path, preprocessing: str = "unit", *, heavy: tuple[str, ...] = (), engine: str = "numpy"
) -> str:
    """Return a program that runs the study in a folder, with two workers."""
    (folder / "plugin.py").write_text(PLUGIN)
    plugins = '["plugin.py"]' if preprocessing in PLUGIN else "[]"
    (folder / "small.toml").write_text(STUDY.format(plugins=plugins, preprocessing=preprocessing))
    arguments = ["run", "small.toml", "--engine", engine, "--device", "cpu", "--workers", "2"]
    return BLOCKED.format(heavy=heavy) + COMMAND.format(arguments=arguments, grace=GRACE)


@pytest.mark.parametrize("engine", ["numpy", "stacked"])
def test_a_small_run_imports_nothing_heavy_in_any_process(tmp_path: Path, engine: str) -> None:
    if engine == "stacked" and kernels.why_not():
        pytest.skip(kernels.why_not())
    program = started(run_of(tmp_path, heavy=HEAVY, engine=engine), tmp_path)
    shown, errors = program.communicate()
    assert program.returncode == 0, shown + errors
    assert "20 trials trained" in shown
    assert "lr=0.01, batch_size=64" in shown
    trials = results.read(tmp_path / "results" / "small").trials
    assert set(trials["status"]) == {"ok"}
    assert set(trials["engine"]) == {engine}


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        ("", "ForkContext"),
        ("import torch", "SpawnContext"),
        ("import threading, time; threading.Thread(target=time.sleep, args=(2,)).start()", "SpawnContext"),
    ],
)
def test_workers_are_forked_where_nothing_could_be_locked(tmp_path: Path, before: str, kind: str) -> None:
    code = f"""
{before}
from harness.training import executors
print(type(executors.pool(2, None, [])._mp_context).__name__)
"""
    program = started(code, tmp_path)
    shown, errors = program.communicate()
    assert shown == f"{kind}\n", errors


def test_a_forked_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    program = started(run_of(tmp_path, "deadly"), tmp_path)
    shown, errors = program.communicate()
    assert program.returncode == 0, shown + errors
    assert (tmp_path / "killed").exists()
    assert set(results.read(tmp_path / "results" / "small").trials["status"]) == {"ok"}


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def runs(process: int) -> bool:
    """Tell whether a process runs; one that has ended may wait for its parent to notice."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A run whose two forked workers wait for ever, and their process ids."""
    program = started(run_of(tmp_path, "slow"), tmp_path)
    wait_for(lambda: len(list(tmp_path.glob("worker-*"))) == 2 or program.poll() is not None)
    workers = [int(path.name.removeprefix("worker-")) for path in tmp_path.glob("worker-*")]
    assert len(workers) == 2, program.communicate()
    yield program, workers
    for process in (program.pid, *workers):
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)
    program.communicate()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_a_run_and_its_forked_workers(
    waiting: tuple[subprocess.Popen[str], list[int]], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    program, workers = waiting
    program.send_signal(number)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == code, errors
    assert "interrupted: what is finished is kept" in errors
    assert not any(map(runs, workers))
    assert json.loads((tmp_path / "results/small/plan.json").read_text())["study"] == "small"


def test_forked_workers_end_with_a_parent_that_is_killed(
    waiting: tuple[subprocess.Popen[str], list[int]],
) -> None:
    program, workers = waiting
    program.kill()
    program.wait()
    wait_for(lambda: not any(map(runs, workers)))


def test_ctrl_c_is_the_parents_to_handle(waiting: tuple[subprocess.Popen[str], list[int]]) -> None:
    program, workers = waiting
    os.kill(workers[0], signal.SIGINT)
    time.sleep(0.2)
    assert all(map(runs, workers))
    assert program.poll() is None
