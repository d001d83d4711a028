"""Actors: processes on the nodes of a cluster, which train a task at a time and write nothing there.

What an actor takes and gives is bytes: a task is only unpickled once its components are known.
"""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import notes
from harness.data import received_images
from harness.engines import kernels
from harness.errors import MachineError, PlainError
from harness.lowering import builds
from harness.planning.stack import budget_of
from harness.results import brought, checkpoints
from harness.system import locks, machine, signals
from harness.training import executors
from harness.training.cluster.shipment import Shipment
from harness.training.progress import SharedProgress
from harness.training.tasks import Task

CHECKPOINTS = (checkpoints.FOLDER,)
PREFIX = "harness-node-"
GONE_STALE = 86_400.0
"""Seconds after which an actor's folder is removed by the next one on its node, where no lock tells that it
was killed."""
NEW = 60.0  # seconds in which an actor has locked its folder


@dataclass(frozen=True)
class Joined:
    """An actor's answer when it joins: why it cannot train the study, "" if it can, and what it lacks.

    `lacking` are the data sets whose images have to be sent to it first. `kind` names its processor, where
    that decides its bits.
    """

    refusal: str = ""
    lacking: Sequence[str] = ()
    kind: str = ""


@dataclass(frozen=True)
class TaskProgress:
    """The state of a task in training: `trained` trials, the columns of curves that are new, checkpoints.

    `curves` (T, E', 2, 2) are the evaluations `columns` (E',) of the stack's T trials, as SharedProgress has
    them; `files` are new checkpoints by their names in the results folder.
    """

    attempt: int = 0
    trained: float = 0.0
    columns: Sequence[int] = ()
    curves: NDArray[np.float32] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The end of an attempt: its pickled result and files, or the error that says why there is none.

    `told` are the notes (level, text) of its training, `cpu_seconds` the processor time of it, and `look` is
    the last one at it. `host` and `processor` name the node as it does itself.
    """

    result: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    error: PlainError | None = None
    told: Sequence[tuple[int, str]] = ()
    cpu_seconds: float = 0.0
    look: TaskProgress = field(default_factory=TaskProgress)
    host: str = field(default_factory=machine.host)
    processor: str = field(default_factory=machine.model)


class _Collected(logging.Handler):
    """Notes of an actor, which go to the driver's person."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append((record.levelno, record.getMessage()))


class _Attempt:
    """A task in training on this node: its folder, its progress, and what of both the driver has seen."""

    def __init__(self, number: int, folder: Path, task: Task[Any]) -> None:
        self.number, self.folder = number, folder
        stack = task.stack
        self.shared = SharedProgress([len(stack.trials)], len(budget_of(stack).eval_steps))
        self._curves = self.shared.curves.copy()
        self._files: dict[str, tuple[int, int]] = brought.stamps(folder, CHECKPOINTS)

    def look(self) -> TaskProgress:
        """Return what is new since the last look."""
        now = self.shared.curves.copy()
        same = (now == self._curves) | (np.isnan(now) & np.isnan(self._curves))
        columns = np.flatnonzero(~same.all(axis=(0, 2, 3)))
        stamps = brought.stamps(self.folder, CHECKPOINTS)
        files = brought.read(self.folder, brought.changed(self.folder, self._files, CHECKPOINTS))
        self._curves, self._files = now, stamps
        return TaskProgress(
            self.number, float(self.shared.trained[0]), columns.tolist(), now[:, columns], files
        )

    def last(self) -> TaskProgress:
        """Return all checkpoints of a task that has ended before its time: an earlier look may be lost."""
        files = brought.read(self.folder, brought.stamps(self.folder, CHECKPOINTS))
        return TaskProgress(self.number, float(self.shared.trained[0]), files=files)


class StackActor:
    """An actor: `train` runs in one thread, `look` and `leave` in another while it does."""

    def __init__(self) -> None:
        self._attempt: _Attempt | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._left = False
        self._notes = _Collected()
        notes.logger.handlers[:] = [self._notes]

    def join(self, packed: bytes) -> Joined:
        """Load the components of a study from a pickled Shipment; say whether this node can train it."""
        self._idle.clear()
        try:
            _sweep()
            self._shipment: Shipment = pickle.loads(packed)  # noqa: S301 (the driver's)
            components = self._home() / "components"
            components.mkdir()
            refusal = self._shipment.open(components)
            return Joined(refusal) if refusal else self._ready()
        finally:
            self._idle.set()

    def _home(self) -> Path:
        """Return the folder of this actor, which it holds by a lock as long as it lives.

        Raises:
            MachineError: it has been asked to leave, and would leave the folder behind.
        """
        if self._folder is None:
            if self._left:
                raise MachineError("the run that this actor was started for is over")
            self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
            with suppress(OSError, MachineError):  # without locks the folder's age will tell
                self._held = locks.hold(Path(self._folder.name) / ".lock", "")
        return Path(self._folder.name)

    def receive(self, digest: str, arrays: Mapping[str, NDArray[Any]]) -> Joined:
        """Take the images of a data set, which Ray has brought to this node once, and keep them there."""
        received_images.take(digest, lambda: arrays)
        return self._ready()

    def _ready(self) -> Joined:
        try:
            return Joined(lacking=self._shipment.lacking(), kind=self._kind())
        except PlainError as error:
            return Joined(str(error))

    def _kind(self) -> str:
        """Name this node's kind of processor, which decides bits; "" where they are the same on all."""
        if builds.portable():
            return ""
        alone = self._shipment.engine == "stacked" and self._shipment.device == "cpu" and kernels.why_not()
        return f"{machine.kind()}, PyTorch alone ({alone})" if alone else machine.kind()

    def train(self, number: int, packed: bytes, files: Mapping[str, bytes]) -> Answer:
        """Train a task, which goes on from `files`, in a folder of this node; return all that it made."""
        before = time.thread_time()
        self._idle.clear()
        self._notes.told.clear()
        try:
            with tempfile.TemporaryDirectory(dir=self._home(), ignore_cleanup_errors=True) as name:
                folder = Path(name)
                brought.write(folder, files)
                sent = brought.stamps(folder)
                task: Task[Any] = pickle.loads(packed)  # noqa: S301 (the driver's)
                task = task.on_node(folder)
                attempt = _Attempt(number, folder, task)
                self._now_training(attempt)
                try:
                    result = executors.run_task(task, attempt.shared)
                except KeyboardInterrupt:
                    if not signals.asked():
                        raise
                    return Answer(look=attempt.last())
                self._now_training(None)
                last = replace(attempt.look(), files={})
                made = brought.read(folder, brought.changed(folder, sent))
        except PlainError as error:
            return Answer(error=error, told=list(self._notes.told))
        finally:
            self._now_training(None)
            self._idle.set()
        spent = time.thread_time() - before
        return Answer(pickle.dumps(result), made, None, list(self._notes.told), spent, last)

    def look(self) -> TaskProgress:
        """Return how far the task in training is, and its new checkpoints."""
        with self._lock:
            return TaskProgress() if self._attempt is None else self._attempt.look()

    def leave(self, seconds: float) -> None:
        """Have the task in training save itself, within so many seconds, and remove this actor's folder.

        `train` then answers with the last look at the task. An actor that is joining ends that first.
        """
        self._left = True
        if signals.ask() or self._attempt is None:
            self._idle.wait(seconds)
        if self._idle.is_set() and self._folder is not None:
            self._folder.cleanup()

    def _now_training(self, attempt: _Attempt | None) -> None:
        with self._lock:
            self._attempt = attempt


def _sweep() -> None:
    """Remove the folders of actors that were killed on this node."""
    import shutil

    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            about, held = path.stat(), locks.is_held(path)
            age = time.time() - about.st_mtime
            old = about.st_uid == os.getuid() and age > (NEW if held is False else GONE_STALE) and not held
        except OSError:
            continue
        if old:
            shutil.rmtree(path, ignore_errors=True)
