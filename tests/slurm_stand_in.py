"""A scheduler for tests, of one machine: `sbatch` runs the tasks of a script's array, one after the other.

As Slurm does it, the batch shell alone gets the signal of `--signal=B:TERM@60`, the process group is killed
some time later, and `scontrol requeue JOB_TASK` has a task run again. The signal comes to the tasks of
STAND_IN_PREEMPTED (such as "1,2"), in their first run, as soon as STAND_IN_WHEN exists, a pattern of files in
which %a is the task.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

SPOOL = ".requeued-{}"
KILL_WAIT = 60.0


def options(script: Path, arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options of a script and of the command line, which come first there, and the script's arguments."""
    found = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", script.read_text(), re.MULTILINE))
    for argument in arguments[: arguments.index(str(script))]:
        name, _, value = argument.removeprefix("--").partition("=")
        found[name] = value
    return found, arguments[arguments.index(str(script)) + 1 :]


def tasks(array: str) -> list[int]:
    """The numbers of an array such as 1-3,7."""
    spans = [[int(end) for end in span.split("-")] for span in array.split(",")]
    return [number for span in spans for number in range(span[0], span[-1] + 1)]


def submit(arguments: list[str]) -> int:
    """Run the tasks of an array, those that are requeued again; the exit code is the last that is not 0."""
    script = next(Path(argument) for argument in arguments if not argument.startswith("--"))
    asked, rest = options(script, arguments)
    numbers, code = tasks(asked["array"]), 0
    for number in numbers:
        runs = 0
        while runs == 0 or Path(SPOOL.format(number)).exists():
            Path(SPOOL.format(number)).unlink(missing_ok=True)
            ended = run(["bash", str(script), *rest], number, len(numbers), asked, first=runs == 0)
            runs += 1
        code = ended or code
    print("Submitted batch job 1")
    return code


def run(command: list[str], task: int, count: int, asked: dict[str, str], *, first: bool) -> int:
    """Run a task, with its output as the script asks for it."""
    environment = {
        **os.environ, "SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": str(task),
        "SLURM_ARRAY_TASK_COUNT": str(count), "SLURM_RESTART_COUNT": str(int(not first)),
    }  # fmt: skip
    name, mode = asked["output"].replace("%a", str(task)), asked.get("open-mode", "truncate")
    with Path(name).open("a" if mode == "append" else "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        told, killed = False, float("inf")
        while process.poll() is None:
            if first and not told and preempted(task):
                assert asked["signal"].startswith("B:TERM@")
                os.kill(process.pid, signal.SIGTERM)
                told, killed = True, time.monotonic() + KILL_WAIT
            if time.monotonic() > killed or Path(SPOOL.format(task)).exists():
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.02)
    return process.returncode


def preempted(task: int) -> bool:
    """Tell whether a task's time is over."""
    chosen = os.environ.get("STAND_IN_PREEMPTED", "").split(",")
    pattern = os.environ.get("STAND_IN_WHEN", "").replace("%a", str(task))
    return str(task) in chosen and any(Path().glob(pattern))


def main() -> int:
    """Do as `sbatch OPTIONS SCRIPT ARGUMENTS` or `scontrol requeue JOB_TASK`."""
    command, *arguments = sys.argv[1:]
    if command == "sbatch":
        return submit(arguments)
    assert arguments[0] == "requeue", arguments
    Path(SPOOL.format(arguments[1].partition("_")[2])).touch()
    time.sleep(KILL_WAIT)  # the scheduler ends the task that asks for it
    return 0


if __name__ == "__main__":
    sys.exit(main())
