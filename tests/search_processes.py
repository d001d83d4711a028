"""Searches in processes of their own, which tests kill and interrupt."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.registry import PACKAGE_ROOT


def start(cwd: Path, options: Sequence[str] = ("--workers", "1")) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "search", "s.toml", *options], cwd=cwd, text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def stop_after(process: subprocess.Popen[str], signal_: int, done: Callable[[], bool]) -> None:
    """Send a signal to a search and what it started, once something is done."""
    while not done():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    os.killpg(process.pid, signal_)
