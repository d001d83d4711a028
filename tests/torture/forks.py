"""Processes forked from one that has everything imported: a case costs milliseconds instead of seconds."""

from __future__ import annotations

import faulthandler
import importlib
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from torture import oracle
from torture.oracle import Outcome

NEEDED = (
    "matplotlib.pyplot", "sqlalchemy", "safetensors.numpy", "harness.comparison", "harness.cli.output",
    "harness.gallery.prediction_pages", "harness.gallery.dataset_pages",
    "harness.exporting.models", "harness.reporting", "harness.searching.loop",
    "harness.cli.search_output", "harness.training.runs",
)  # fmt: skip
MOST_SAID = 5_000  # characters of output that a forked process hands over
ROOM = 4 << 30  # bytes of address space that a case may take beside what was there
COMPILED: list[Path] = []  # the folder of what `warm` compiled


def warm() -> None:
    """Import and run what every case needs, so that forked processes have it."""
    os.environ.setdefault("MPLBACKEND", "agg")
    # A command that is killed while it asks git for its commit would leave this repository's index locked.
    os.environ["GIT_DIR"] = os.devnull
    import torch

    torch.set_num_threads(1)
    import harness

    for name in NEEDED:
        with suppress(
            ModuleNotFoundError
        ):  # a module that is elsewhere now is imported by the first that needs it
            importlib.import_module(name)
    study = {
        "study": {"name": "warm", "seeds": 1},
        "baseline": {"dataset": "digits", "hidden": [4], "epochs": 1},
    }
    with tempfile.TemporaryDirectory() as folder:
        harness.run(harness.parse(study), Path(folder) / "results", workers=1)
    compiler: Any = importlib.import_module("harness.lowering.compiler")
    COMPILED[:] = [compiler.folder()]


@contextmanager
def compiled_before() -> Iterator[None]:
    """Compiled code is that of the machine: a case's empty cache would have it compiled and checked anew."""
    compiler: Any = importlib.import_module("harness.lowering.compiler")
    own = compiler.folder
    compiler.folder = lambda: COMPILED[0]
    try:
        yield
    finally:
        compiler.folder = own


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory where there is one, else among temporary files; gone at the end."""
    memory = Path("/dev/shm")  # noqa: S108 (memory that is a folder, on Linux)
    under = memory if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 1 << 30 else None
    folder = Path(tempfile.mkdtemp(prefix="harness-torture-", dir=under))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def settle(folder: Path) -> None:
    """Make a forked process a case's own: a group, a folder, output to files, a bound on memory."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(folder)
    for name in ("tmp", "cache"):
        (folder / name).mkdir(exist_ok=True)
    os.environ |= {"TMPDIR": str(folder / "tmp"), "HARNESS_DATA": str(folder / "cache"), "COLUMNS": "110"}
    tempfile.tempdir = None
    sys.dont_write_bytecode = True
    oracle.captured(folder)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit_memory(ROOM)
    faulthandler.enable(open(folder / "faults", "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    faulthandler.register(signal.SIGUSR1, open(folder / "stalls", "w", encoding="utf-8"))  # noqa: PTH123, SIM115


def limit_memory(room: int) -> None:
    """Bound this process's address space: what it has, and `room` bytes more."""
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        bound = pages * resource.getpagesize() + room
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def ended(code: int) -> NoReturn:
    """End a forked process here: nothing of what its parent registered is run."""
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def apart(work: Callable[[], Outcome], folder: Path, seconds: float, grace: float = 0.0) -> Outcome:
    """What `work` gives in a process forked for it; killed after so many seconds, with all that it started.

    Its output goes to files in `folder`, as `oracle.command` wants it. With `grace`, what it started has so
    many seconds to end by itself once it is over.

    The outcome's code is None where the process did not live to give one.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(work, folder, writing)
    os.close(writing)
    late = not _over(child, seconds)
    left = bool(grace) and not _gone(child, grace)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    if late:
        os.waitpid(child, 0)
    os.set_blocking(reading, False)
    answer = b""
    with suppress(BlockingIOError):
        answer = os.read(reading, MOST_SAID * 8)
    os.close(reading)
    if late or left:
        return Outcome(None, err="it took too long" if late else "what it started lives on")
    return oracle.loaded(answer.decode()) if answer else Outcome(None)


def _answer(work: Callable[[], Outcome], folder: Path, pipe: int) -> NoReturn:
    """In the forked process: do the work, hand over what came out, and end; whatever happens."""
    try:
        os.setpgid(0, 0)
        oracle.captured(folder)
        try:
            outcome = work()
        except BaseException as error:  # noqa: BLE001 (the other process must be told, whatever it is)
            outcome = Outcome(1, raised=oracle.signature(error))
        # A pipe holds so much that nobody needs to read while this is written.
        cut = replace(outcome, out=outcome.out[:MOST_SAID], err=outcome.err[:MOST_SAID])
        os.write(pipe, oracle.saved(cut).encode())
    finally:
        ended(0)


def _over(child: int, seconds: float) -> bool:
    """Whether a process ended in time."""
    descriptor = os.pidfd_open(child) if hasattr(os, "pidfd_open") else -1
    if descriptor < 0:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if os.waitpid(child, os.WNOHANG)[0]:
                return True
            time.sleep(0.01)
        return False
    try:
        ready, _, _ = select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)
    if ready:
        os.waitpid(child, 0)
    return bool(ready)


def _gone(group: int, seconds: float) -> bool:
    """Whether all processes of a group end in time; those that nobody waits for do not count."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        states = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                states += [fields[0]] if fields[2] == str(group) else []
        if not any(state not in "ZX" for state in states):
            return True
        time.sleep(0.05)
    return False


def innermost(path: Path) -> str:
    """Where a process was, from faulthandler's words: in the harness, or in outside software."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    frames = [line.strip() for line in lines if line.strip().startswith("File ")]
    if frames and "/harness/" in frames[0] and "site-packages" not in frames[0]:
        return f"in {frames[0].partition('/harness/')[2]}"
    return "in outside software" if frames else "no one knows where"
