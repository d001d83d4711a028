"""A machine that goes: a run that is told to end keeps the state of what it trains, and goes on elsewhere."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tomli_w
from shard_rows import rows

from harness.data.batches import Budget
from harness.engines import driver
from harness.engines.base import LOOK_EVERY, LOOK_SECONDS, EngineOptions
from harness.registry import PACKAGE_ROOT
from harness.results import checkpoints
from harness.study.reading import load
from harness.system import signals
from harness.training import runs

needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows ends processes at once")
LONG = {
    "study": {"name": "long", "seeds": 2, "resample_split": True},  # which keeps seeds apart
    "baseline": {
        "dataset": "digits",
        "epochs": 300,
        "hidden": [64],
        "batch_size": 8,
        "eval_every": "10 epochs",
    },
    "axes": {"activation": ["relu", "tanh"]},
}
"""A study of two stacks, each of which trains for some seconds."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "long.toml"
    path.write_bytes(tomli_w.dumps(LONG).encode())
    return path


@pytest.fixture(scope="module")
def undisturbed(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    runs.train(load(study), folder, device="cpu", workers=1)
    return folder


def started(study: Path, folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "harness", "run", str(study), "--results", str(folder), "--device", "cpu",
            "--verbose", *options,
        ],
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def when_training(process: subprocess.Popen[str], stacks: int) -> None:
    """Wait until each of so many stacks, one a seed, has been evaluated after some of its steps."""
    assert process.stdout is not None
    waited = {f"seed {seed}: epoch 10:" for seed in range(stacks)}
    for line in process.stdout:
        waited = {words for words in waited if words not in line}
        if not waited:
            return
    pytest.fail(str(process.communicate()))


def kept_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder."""
    paths = sorted((folder / checkpoints.FOLDER).glob("*.safetensors"))
    return [checkpoints.opened(path)[2].step for path in paths]


def same(folder: Path, other: Path) -> bool:
    return all(rows(folder, table) == rows(other, table) for table in ("trials", "epochs", "confusion"))


@needs_signals
@pytest.mark.parametrize(
    ("workers", "stacks", "tell"),
    [(2, 2, os.kill), (1, 1, os.kill), (2, 2, os.killpg)],
    ids=["workers", "one-process", "all-at-once"],
)
def test_a_run_that_is_told_to_end_keeps_its_state_and_goes_on(
    study: Path,
    undisturbed: Path,
    tmp_path: Path,
    workers: int,
    stacks: int,
    tell: Callable[[int, int], None],
) -> None:
    process = started(study, tmp_path / "results", "--workers", str(workers))
    when_training(process, stacks)
    tell(process.pid, signal.SIGTERM)
    errors, _ = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "The same command goes on from there" in errors
    steps = kept_steps(tmp_path / "results")
    assert len(steps) == stacks
    assert all(steps)
    again = started(study, tmp_path / "results", "--workers", str(workers))
    errors, _ = again.communicate()
    assert again.returncode == 0, errors
    assert "on from a checkpoint" in errors
    assert same(tmp_path / "results", undisturbed)


@needs_signals
@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_checkpoints_a_run_ends_at_once(study: Path, tmp_path: Path, workers: str) -> None:
    options = ["--workers", workers, "--checkpoint-every", "never"]
    process = started(study, tmp_path / "results", *options)
    when_training(process, int(workers))
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert kept_steps(tmp_path / "results") == []


STUCK = """
import sys, time
from harness.system import signals
signals.GRACE = 0.2
if sys.argv[1] == "worker":
    signals.end_when_told()
    with signals.saving():
        print("ready", flush=True)
        time.sleep(60)
else:
    with signals.stopping(), signals.saving():
        print("ready", flush=True)
        time.sleep(60)
"""


@needs_signals
@pytest.mark.parametrize(("role", "code"), [("worker", 143), ("command", 130)])
def test_what_does_not_save_itself_is_ended(role: str, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, role], env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    process.stdout.close()
    assert process.wait(30) in {code, -signal.SIGINT}  # of KeyboardInterrupt, CPython ends by the signal


@needs_signals
def test_a_second_signal_does_not_hurry_what_saves_itself() -> None:
    with signals.stopping() as came:
        with signals.saving():
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
            assert signals.asked()
        with pytest.raises(KeyboardInterrupt):
            signals.end()
    assert len(came) == 2
    assert not signals.asked()


# ------------------------------------------------------------------------------------------------- slow steps


class SlowSteps:
    """A training whose steps take some seconds each, by a clock that it moves."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now = seconds, 0.0
        self.budget = Budget.of(SimpleNamespace(**BUDGET), 640)  # type: ignore[arg-type]
        self.parameters, self.notes = np.ones(1, np.int64), list[str]()
        self.data: Any = {split: SimpleNamespace(y=()) for split in ("train", "val", "test")}

    def take_steps(self, step: int, until: int) -> Any:
        self.now += self.seconds * (until - step)
        return np.ones((until - step, 1))

    def weights(self) -> list[Any]:
        return []


BUDGET = {"batch_size": 1, "epochs": 1, "steps": None, "eval_every": "1 epochs", "parent_steps": 0}


@pytest.mark.parametrize(("seconds", "most"), [(0.001, LOOK_EVERY), (0.1, 20), (0.5, 4), (5.0, 1)])
def test_slow_steps_are_looked_at_soon(monkeypatch: pytest.MonkeyPatch, seconds: float, most: int) -> None:
    training = SlowSteps(seconds)
    monkeypatch.setattr(driver, "time", SimpleNamespace(perf_counter=lambda: training.now))
    looks = [0]
    told = EngineOptions(tell=lambda share, _: looks.append(round(share * 640)), sealed=True)
    driver.run(training, told)  # type: ignore[arg-type]
    between = [b - a for a, b in itertools.pairwise(looks)]
    assert looks[-1] == 640
    assert between[0] == LOOK_EVERY  # nothing is known before
    assert max(between[1:]) == most
    assert most == 1 or most * seconds <= LOOK_SECONDS
