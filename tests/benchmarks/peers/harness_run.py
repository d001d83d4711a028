"""This harness: a whole `harness.run`, workers, data, training and files; or the command as it is typed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time as clock
from pathlib import Path
from typing import Any

import tomli_w
import torch  # noqa: F401 (set-up, as it is every peer's)
from work import Share, Timing

import harness
from harness import results
from harness.study import study
from harness.training import runs


def tables(share: Share) -> dict[str, Any]:
    """The work as a study: the learning rate is its one axis."""
    work = share.work
    about = {"name": "bench", "seeds": 1}
    return {"study": about, "baseline": dict(work.settings), "axes": {"lr": list(work.rates)}}


def prepare(share: Share) -> None:
    """Read the study once, so that a mistake in it is told before the clock runs."""
    study.parse(tables(share))


def time(share: Share) -> Timing:
    """Everything, once."""
    with tempfile.TemporaryDirectory() as folder:
        run = _command if share.variant == "command" else _run
        return run(share, Path(folder))


def _run(share: Share, folder: Path) -> Timing:
    wanted = study.parse(tables(share))
    before = clock.perf_counter()
    found = runs.run(wanted, folder / "results", device=share.device)
    return _timing(share, found, clock.perf_counter() - before)


def _command(share: Share, folder: Path) -> Timing:
    (folder / "bench.toml").write_bytes(tomli_w.dumps(tables(share)).encode())
    command = [sys.executable, "-m", "harness", "run", str(folder / "bench.toml")]
    command += ["--device", share.device, "--results", str(folder / "results")]
    path = os.pathsep.join([str(Path(harness.__file__).parents[1]), *sys.path])
    before = clock.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": path})
    seconds = clock.perf_counter() - before
    return _timing(share, results.read(folder / "results"), seconds)


def _timing(share: Share, found: results.Results, seconds: float) -> Timing:
    trials = found.trials
    if len(trials) != share.work.trials or not trials["status"].isin(["ok", "diverged"]).all():
        raise RuntimeError(f"{len(trials)} of {share.work.trials} trials:\n{trials['status'].value_counts()}")
    accuracies = [float(one) for one in trials["test_accuracy"].fillna(0)]
    return Timing(
        seconds,
        seconds,
        0.0,
        steps=share.work.steps,
        trials=share.work.trials,
        accuracies=accuracies,
        device=share.device,
    )
