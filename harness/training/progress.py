"""Progress of a run: what stacks report to the parent process while they train, and what a display reads.

The numbers lie in memory that all processes share. There is no lock, which a killed worker could hold for
ever: only the process that trains a stack writes in its places, and a number that is read while it is written
is wrong for one look at most.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.samples import TRAINED_ON
from harness.planning.stack import Stack

if TYPE_CHECKING:
    from harness.engines.outcome import Outcome, Point

LOSS, ACCURACY = range(2)


class SharedProgress:
    """Shared memory for S stacks of T trials in all, each evaluated E times at most.

    `trained` (S,) counts each stack's trials trained so far, in whole and broken numbers. `curves`
    (T, E, 2, 2) holds, of each trial and evaluation, on train and val, loss and accuracy; NaN where nothing
    has been evaluated yet. Trials are numbered stack by stack. It takes 16 bytes an evaluation of a trial, a
    tenth of what its rows in epochs.csv will take. `missing` says why the memory belongs to this process
    alone ("" if it is shared): /dev/shm is full, or too few open files are allowed, and no worker would be
    heard. `sizes` are the trials of each stack.
    """

    def __init__(self, sizes: Sequence[int], evaluations: int) -> None:
        self.first = [0, *itertools.accumulate(sizes)]
        self._starts = np.array(self.first)
        self.shape = (self.first[-1], evaluations, len(TRAINED_ON), 2)
        places, numbers = max(1, len(sizes)), max(1, math.prod(self.shape))
        self.missing, self._trained, self._curves = _memory(places, numbers)
        self.curves[:] = np.nan

    @property
    def trained(self) -> NDArray[np.float64]:
        """Trials trained so far, a place a stack."""
        return np.frombuffer(self._trained, np.float64)[: len(self.first) - 1]

    @property
    def curves(self) -> NDArray[np.float32]:
        """Loss and accuracy of every trial, evaluation and split."""
        return np.frombuffer(self._curves, np.float32)[: math.prod(self.shape)].reshape(self.shape)

    def clear(self, place: int) -> None:
        """Forget the curves of a stack that failed."""
        self.curves[self.first[place] : self.first[place + 1]] = np.nan

    def latest(self, rows: NDArray[np.int_]) -> NDArray[np.float32]:
        """Return the last evaluation of some trials (R, 2, 2): train and val, loss and accuracy."""
        evaluated = ~np.isnan(self.curves[rows, :, 0, LOSS])
        last = evaluated.shape[1] - 1 - evaluated[:, ::-1].argmax(1)
        return np.asarray(self.curves[rows, last])

    def in_training(self) -> NDArray[np.int_]:
        """Number the trials (R,) of stacks that have begun and are not done.

        Only rows of these are looked at: a display asks several times a second, of all trials of a run.
        """
        starts, sizes, trained = self._starts[:-1], np.diff(self._starts), self.trained
        unfinished = np.flatnonzero(trained < sizes)
        first = self.curves[starts[unfinished], 0, 0, LOSS]
        begun = unfinished[~np.isnan(first) | (trained[unfinished] > 0)]
        members = [np.arange(starts[stack], starts[stack] + sizes[stack]) for stack in begun]
        rows = np.concatenate([*members, np.empty(0, np.int_)])
        return np.asarray(rows[~np.isnan(self.curves[rows, 0, 0, LOSS])])


def _memory(places: int, numbers: int) -> tuple[str, Any, Any]:
    """Return why no memory can be shared ("" if it can), and arrays of doubles and floats, all zero."""
    context = multiprocessing.get_context("spawn")
    try:
        return "", context.RawArray("d", places), context.RawArray("f", numbers)
    except OSError as error:
        return str(error), (ctypes.c_double * places)(), (ctypes.c_float * numbers)()


class ProgressWriter:
    """Writes into a SharedProgress how far some `trials` of the stack at `place` are, and their curves.

    So many trials of the stack were trained `before` them. Without `shared` nothing is written.
    """

    def __init__(self, shared: SharedProgress | None, place: int, before: int, trials: int) -> None:
        self.shared, self.place, self.before, self.trials = shared, place, before, trials
        self._written = 0
        self._columns: dict[int, int] = {}
        if shared is not None:
            first = shared.first[place] + before
            self._rows = slice(first, first + trials)
            shared.curves[self._rows] = np.nan  # of an attempt that was given up

    def __call__(self, fraction: float, outcome: Outcome) -> None:
        """Write the fraction of the steps that is done, and what is new in the outcome."""
        if self.shared is None:
            return
        self.shared.trained[self.place] = self.before + fraction * self.trials
        for point in outcome.curve[self._written :]:
            self._write(self.shared.curves[self._rows], point)
        self._written = len(outcome.curve)

    def _write(self, curves: NDArray[Any], point: Point) -> None:
        column = self._columns.setdefault(point.step, len(self._columns))
        cells = curves[:, column, TRAINED_ON.index(point.split)]
        with np.errstate(over="ignore"):  # a loss beyond float32 is infinite here
            cells[:, LOSS], cells[:, ACCURACY] = point.loss, point.accuracy


@dataclass
class Progress:
    """The progress of a run, which a display reads from its own thread.

    `title` says what is trained. `total` trials are to be trained now, in `stacks`, in the order of their
    places in `shared`; `done` counts those whose stack is over, `failed` among them. `engine_notes` say what
    engines did otherwise than expected, each once.
    """

    total: int
    shared: SharedProgress
    stacks: Sequence[Stack]
    notes: Sequence[str] = ()
    title: str = "training"
    done: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    engine_notes: dict[str, None] = field(default_factory=dict)
    statuses: Mapping[str, int] = field(default_factory=dict)
    """Status -> how many planned trials have it when the run is over."""

    def note(self, stack: Stack, failure: str = "", engine_notes: Sequence[str] = ()) -> None:
        """Count a stack that is done, or that failed with a message."""
        self.done += len(stack.trials)
        self.engine_notes |= dict.fromkeys(engine_notes)
        if failure:
            self.failed += len(stack.trials)
            self.shared.clear(self._places[stack.group])
            self.failures.append(f"{len(stack.trials)} trials of stack {stack.group}: {failure}")

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {stack.group: place for place, stack in enumerate(self.stacks)}

    @functools.cached_property
    def losses(self) -> NDArray[np.str_]:
        """The name of each trial's loss, (T,)."""
        return np.array([trial.arm.settings.loss for stack in self.stacks for trial in stack.trials])

    @property
    def trials(self) -> float:
        """Trials trained in this run, those in flight by the share of their steps."""
        return float(self.shared.trained.sum())


Display = Callable[[Progress], AbstractContextManager[Any]]
