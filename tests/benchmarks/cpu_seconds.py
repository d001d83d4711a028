"""Run a command and tell the processor seconds of all its processes: `cpu_seconds.py FILE COMMAND ..`.

FILE receives one line of JSON. Processes that outlive the command's first one are waited for and counted too.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ADOPT_ORPHANS = 36  # Linux's PR_SET_CHILD_SUBREAPER


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        cpu: processor seconds of all its processes.
        wall: seconds that passed.
        peak_mb: memory of its largest process at its peak.
        status: its exit code.
    """

    cpu: float
    wall: float
    peak_mb: float
    status: int


def cost_of(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Cost:
    """Run a command in a folder.

    Raises:
        RuntimeError: it failed; the message is the end of what it printed.
    """
    with tempfile.TemporaryDirectory() as place:
        told, printed = Path(place) / "cost.json", Path(place) / "printed.txt"
        with printed.open("w") as out:
            measured = [sys.executable, __file__, str(told), *command]
            subprocess.run(
                measured, check=True, cwd=folder, env=dict(environment), stdout=out, stderr=subprocess.STDOUT
            )
        cost = Cost(**json.loads(told.read_text()))
        if cost.status:
            raise RuntimeError(f"exit code {cost.status}: {' '.join(command)}\n{printed.read_text()[-2000:]}")
        return cost


def main() -> None:
    """Run the command, and all that it leaves behind, to the end."""
    told, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    before = time.perf_counter()
    status = subprocess.run(command, check=False).returncode
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    wall, used = time.perf_counter() - before, resource.getrusage(resource.RUSAGE_CHILDREN)
    largest = used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    cost = {"cpu": used.ru_utime + used.ru_stime, "wall": wall, "peak_mb": largest, "status": status}
    Path(told).write_text(json.dumps(cost))


if __name__ == "__main__":
    main()
