"""The processes of a cell: started together, measured, and ended with all that they started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import HERE, MARK, Method, environment
from problem import Cell

GRACE = 30.0
"""Seconds behind the deadline in which a method may end by itself."""
TERMINATION = 5.0
"""Seconds between asking a process to end and ending it."""
PRINTED, CELL, COST = "printed.txt", "cell.json", "cost.json"


@dataclass(frozen=True)
class Ended:
    """The end of a cell's processes.

    Attributes:
        cpu: processor seconds of all of them.
        wall: seconds from the start of the first to the end of the last.
        status: the exit code of the first; negative: ended by a signal.
        words: the last line that was printed.
    """

    cpu: float
    wall: float
    status: int
    words: str


def run(cell: Cell, method: Method) -> Ended:
    """Run a method on a cell, whose clock starts now; some GRACE seconds behind its deadline all is over."""
    cell.write(cell.folder / CELL)
    mark = str(cell.folder.resolve())
    wrapper = [sys.executable, str(HERE.parent / "cpu_seconds.py"), COST]
    command = [*wrapper, str(method.python), str(method.script), CELL]
    with (cell.folder / PRINTED).open("wb") as printed:
        process = subprocess.Popen(
            command,
            cwd=cell.folder,
            env=environment(os.environ, mark),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(max(0.0, cell.left) + GRACE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            end(mark, process)
    # It is missing where even the measuring process had to be ended.
    killed = {"cpu": float("nan"), "wall": cell.clock() - cell.start, "status": -signal.SIGKILL}
    cost: dict[str, Any] = killed
    with contextlib.suppress(FileNotFoundError):
        cost = json.loads((cell.folder / COST).read_text(encoding="utf-8"))
    return Ended(cost["cpu"], cost["wall"], cost["status"], last_line(cell.folder / PRINTED))


def end(mark: str, process: subprocess.Popen[bytes]) -> None:
    """End the processes of a cell but the one that measures them, which ends behind them."""
    for number, seconds in ((signal.SIGTERM, TERMINATION), (signal.SIGKILL, TERMINATION)):
        until = time.monotonic() + seconds
        for pid in processes_of(mark, process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
    if process.poll() is None:
        process.kill()
    process.wait()


def processes_of(mark: str, but: int) -> list[int]:
    """List the processes whose environment names the cell."""
    entry = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != but:
                found.append(int(folder.name))
    return found


def last_line(path: Path) -> str:
    """Return the last line of a text file that is not empty; "" without any."""
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
