"""The processes that a peer runs in: one, or one a core; each does what it is told and answers."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cells import Cell

from harness.system.resources import cores
from peers import Form, Peer
from peers.shares import Share, Timing, as_json, shares

BENCHMARKS = Path(__file__).parents[1]
WARNINGS = "ignore"  # of libraries among themselves; in the tests they are errors


class PeerError(Exception):
    """A peer could not do the work."""


class Process:
    """One process of a peer."""

    def __init__(self, module: str, place: tuple[int, int], environment: Mapping[str, str]) -> None:
        self.module = module
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the process)
        path = os.pathsep.join(
            map(str, (BENCHMARKS, BENCHMARKS.parents[1], os.environ.get("PYTHONPATH", "")))
        )
        self.process = subprocess.Popen(
            [sys.executable, "-W", WARNINGS, "-m", "peers.one_peer", module, *map(str, place)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env={**os.environ, **environment, "PYTHONPATH": path},
        )  # fmt: skip

    def ask(self, **asked: Any) -> None:
        """Send an order."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(self._last_words()) from None

    def reply(self) -> Any:
        """Wait for the answer.

        Raises:
            PeerError: it failed, or it is dead.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(self._last_words())
        reply = json.loads(line)
        if "failed" in reply:
            raise PeerError(f"{self.module}: {reply['failed'].strip()}")
        return reply["done"]

    def _last_words(self) -> str:
        self.errors.seek(0)
        return f"{self.module}: its process died: {self.errors.read()[-500:].strip()}"

    def close(self) -> None:
        """End it: its stdin ends."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


class Crew:
    """The processes of one form of a peer."""

    def __init__(self, module: str, form: Form, environment: Mapping[str, str]) -> None:
        places = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [-1] * cores()
        placed = [(core, 1) for core in places] if form.a_core else [(-1, form.threads)]
        self.processes = [Process(module, place, environment) for place in placed]

    def all_do(self, do: str, asked: Sequence[Share]) -> list[Any]:
        """Give every process its share at once, and wait for all."""
        busy = self.processes[: len(asked)]
        for process, share in zip(busy, asked, strict=True):
            process.ask(do=do, share=as_json(share))
        return [process.reply() for process in busy]

    def close(self) -> None:
        """End all processes."""
        for process in self.processes:
            process.close()


class Crews:
    """All processes of the peers: started when first needed, kept until the end."""

    def __init__(self) -> None:
        self._open: dict[tuple[Any, ...], Crew] = {}

    def __enter__(self) -> Crews:
        return self

    def __exit__(self, *_: object) -> None:
        for crew in self._open.values():
            crew.close()
        self._open.clear()

    def of(self, module: str, form: Form, environment: Mapping[str, str] | None = None) -> Crew:
        """The processes of a form, whose environment has this in it."""
        told = dict(environment or {})
        key = module, form.a_core, form.threads, *sorted(told.items())
        if key not in self._open:
            self._open[key] = Crew(module, form, told)
        return self._open[key]

    def time(
        self, peer: Peer, form: Form, work: Cell, environment: Mapping[str, str] | None = None, **how: Any
    ) -> Timing:
        """Prepare and time all shares of the work at once.

        Args:
            peer: who.
            form: in which of its forms.
            work: all of the work.
            environment: what its processes' environment has besides.
            how: `extent` and `slice`.

        Raises:
            PeerError: it could not.
        """
        crew = self.of(peer.module, form, environment)
        dealt = shares(
            work, len(crew.processes), members=form.members, variant=form.variant, cores=cores(), **how
        )
        try:
            crew.all_do("prepare", dealt)
            return as_one([Timing(**reply) for reply in crew.all_do("time", dealt)])
        except PeerError:
            self._drop(crew)
            raise

    def _drop(self, crew: Crew) -> None:
        """A crew that failed has answers on their way: it is not asked again."""
        for key in [key for key, opened in self._open.items() if opened is crew]:
            self._open.pop(key).close()


def missing(peer: Peer) -> str:
    """Why a peer cannot take part; empty if it can."""
    absent = [name for name in peer.needs if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} is not installed: `nox -s bench` installs it" if absent else ""


def as_one(timings: Sequence[Timing]) -> Timing:
    """What all processes took together: the slowest one's seconds, everybody's processor seconds."""
    slowest = max(timings, key=lambda timing: timing.wall)
    accuracies = [one for timing in timings for one in timing.accuracies]
    trained = sum(timing.trials for timing in timings)
    return Timing(
        slowest.wall, sum(timing.cpu for timing in timings), trained, slowest.extrapolated, accuracies
    )
