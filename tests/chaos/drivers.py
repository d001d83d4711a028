"""The driver of a study on a cluster: started, killed, and started again until it has come to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.clusters import CHECKOUT, Cluster
from chaos.machines import MARK, processes

INTERRUPTED = {130: "130 (interrupted)", 143: "143 (terminated)"}


@dataclass
class Driver:
    """A command that is run again, as it stands, for as long as it has not come to its end.

    Args:
        words: the words after `harness`.
        folder: where it runs; its output goes into driver.log there.
        results: its results folder.
    """

    cluster: Cluster
    words: Sequence[str]
    folder: Path
    results: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    killed: bool = False
    held: bool = False
    """True while it is not to be started again, for want of a cluster."""
    codes: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Start it."""
        self.starts, self.killed = self.starts + 1, False
        command = self.cluster.command(
            sys.executable, str(Path(__file__).with_name("driving.py")), *self.words
        )
        with (self.folder / "driver.log").open("ab") as log:
            log.write(f"\n--- start {self.starts}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                command, env={**self.cluster.surroundings(), **self.environment, MARK: self.mark},
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def mark(self) -> str:
        return f"driver-{os.getpid()}"

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll() if self.process else None

    def strike(self, number: int) -> None:
        """Send it a signal that ends it; workers of its own that it leaves behind must end by themselves."""
        assert self.process is not None
        if self.code is not None:
            return
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def stacks(self) -> int:
        """Count the stacks that are finished."""
        return sum(1 for _ in self.results.rglob("parts/*.zip"))

    def last_words(self) -> str:
        """Return the last line that it said."""
        lines = (self.folder / "driver.log").read_text(errors="replace").strip().splitlines()
        return next((line for line in reversed(lines) if line.strip()), "") if lines else ""

    def words_since_start(self) -> str:
        """Return all that it has said since its last start."""
        text = (self.folder / "driver.log").read_text(errors="replace")
        return text.rpartition("--- start ")[2]

    def close(self) -> None:
        """Kill it and all that it has started."""
        for pid in processes(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()


def undisturbed(words: Sequence[str], folder: Path, environment: Mapping[str, str], code: int = 0) -> None:
    """Run a command on this machine alone, without a cluster; raise unless it ends with this exit code."""
    path = {**os.environ, "PYTHONPATH": str(CHECKOUT), **environment}
    command = [sys.executable, "-m", "harness", *words]
    with (folder / "undisturbed.log").open("ab") as log:
        ended = subprocess.run(command, env=path, cwd=folder, check=False, stdout=log, stderr=log).returncode
    if ended != code:
        raise ChildProcessError(f"exit code {ended}, not {code}, of a run without faults: see {folder}")
