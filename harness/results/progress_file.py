"""progress.json: how far the run is that is training into a folder, for `harness watch` in another process.

A run writes it about once a second while it trains, and removes it at its end. A killed run leaves it: it is
older than the folder's lock as soon as another run has begun. Nothing that goes wrong here stops a training.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from harness import notes
from harness.errors import MachineError
from harness.notes.notebook import drawn_beside
from harness.system import files, locks

FILE = "progress.json"
EVERY = 1.0  # seconds between two states, at least; a shorter run writes none
SHARE = 0.005  # of one core's time that writing may take: states of large studies come more slowly
MOST_BYTES = 8 * 2**20  # that a reader takes; a run writes a twentieth of it at most
MOST_ARMS = 500
MOST_NUMBERS = 12_000  # of all curves together
MOST_LISTED = 100  # trials that diverged, notes
LONGEST = 300  # characters of one of these

Text = Annotated[str, Field(max_length=10_000)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Curve = list[FiniteFloat | None]


class WatchedArm(BaseModel):
    """An arm of the stacks that a run trains: how many of its trials, and their mean curves so far.

    `training` of them are in flight, the furthest at `epoch`, and `val` is the mean of the last accuracies on
    val of these. Place i of each curve is the evaluation at `epochs[i]`; `seeds[i]` trials have come so far,
    and a mean is over those whose number is finite; None without any.
    """

    model_config = ConfigDict(extra="ignore")

    dataset: Text
    arm: Text
    loss: Text
    trials: Count
    training: Count
    epoch: FiniteFloat | None = None
    val: FiniteFloat | None = None
    epochs: Curve = []
    seeds: list[Count] = []
    train_loss: Curve = []
    val_loss: Curve = []
    train_accuracy: Curve = []
    val_accuracy: Curve = []


class WatchedState(BaseModel):
    """The state of a run or a search that trains.

    `trained` of `total` trials (of a search: suggestions) are trained after so many `seconds`, those in
    flight by their share; `before` of them had been, when this run began. `groups` are the stacks that this
    run trains, `diverged` the trials in flight that have: arm, seed, and epoch by which it was seen. `states`
    counts a search's suggestions by how they ended; `best` is its best value.
    """

    model_config = ConfigDict(extra="ignore")

    version: Literal[1] = 1
    kind: Literal["run", "search"] = "run"
    total: Count
    trained: Annotated[FiniteFloat, Field(ge=0)]
    before: Count = 0
    training: Count = 0
    seconds: Annotated[FiniteFloat, Field(ge=0)]
    groups: list[Text] = []
    notes: list[Text] = []
    diverged: list[tuple[Text, int, FiniteFloat]] = []
    arms: list[WatchedArm] = []
    arms_left_out: Count = 0
    states: dict[str, Count] = {}
    best: FiniteFloat | None = None


def read(folder: Path) -> tuple[WatchedState, float] | None:
    """Read the state that a run has left last, and when, by the clock of the folder's files.

    None where there is none, or none that a run has written.
    """
    path = folder / FILE
    with suppress(OSError, ValueError, ValidationError, MachineError):
        if path.is_symlink():
            return None
        return WatchedState.model_validate_json(files.text(path, MOST_BYTES)), path.stat().st_mtime
    return None


class ProgressFile:
    """The progress.json of a folder that this process holds. Makes none in a folder that is gone."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._due = time.monotonic() + EVERY
        self._last = b""
        self.remove()  # a killed run's

    def write(self, state: Callable[[], WatchedState]) -> None:
        """Write a state, unless the last one is younger than EVERY, or the same.

        An error is told once, and stops nothing.
        """
        now, start = time.monotonic(), time.thread_time()
        if now < self._due:
            return
        try:
            content = state().model_dump_json(exclude_defaults=True).encode()
            if content != self._last:
                _replace(self._path, content)
            self._last = content
        except Exception as error:  # noqa: BLE001 (whatever it is, the training goes on)
            notes.warn_once(f"`harness watch` does not see this run: {self._path} ({error}); it goes on")
        self._due = now + max(EVERY, (time.thread_time() - start) / SHARE)

    def remove(self) -> None:
        """Remove the file, if there is one."""
        with suppress(OSError):
            if self._path.exists() or self._path.is_symlink():
                self._path.unlink()


@contextmanager
def kept(folder: Path, state: Callable[[], WatchedState]) -> Iterator[None]:
    """Keep the state of the block in a held folder's progress.json, from a thread; remove it at the end."""
    file = ProgressFile(folder)

    def write(stop: threading.Event) -> None:
        while not stop.wait(EVERY):
            file.write(state)

    try:
        with drawn_beside(write):
            yield
    finally:
        file.remove()


def _replace(path: Path, content: bytes) -> None:
    """Put content in the place of a file, without waiting for the disk: it is old in a second.

    Raises:
        OSError: it cannot be written, or its folder is gone, which is not made anew.
    """
    draft = path.with_name(f"{locks.prefix()}{secrets.token_hex(8)}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
