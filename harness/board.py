"""The board: what stacks tell the parent process while they train, in memory that all processes share.

There is no lock, which a killed worker could hold for ever: only the process that trains a stack writes in
its places, and a number that is read while it is written is wrong for one look at most.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import multiprocessing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data import TRAINED_ON

if TYPE_CHECKING:
    from harness.engines.outcome import Outcome, Point

LOSS, ACCURACY = range(2)


class Board:
    """Places for S stacks of T trials in all, each evaluated E times at most.

    `trained` (S,) counts each stack's trials trained so far, in whole and broken numbers. `seen`
    (T, E, 2, 2) holds, of each trial and evaluation, on train and val, loss and accuracy; NaN where nothing
    has been seen yet. Trials are numbered stack by stack. It takes 16 bytes an evaluation of a trial, a
    tenth of what its rows in epochs.csv will take. `missing` says why the memory is this process's alone,
    where it is (/dev/shm is full, too few open files): no worker process would be heard then.

    Args:
        sizes: the trials of each stack.
        evaluations: E.
    """

    def __init__(self, sizes: Sequence[int], evaluations: int) -> None:
        self.first = [0, *itertools.accumulate(sizes)]
        self.shape = (self.first[-1], evaluations, len(TRAINED_ON), 2)
        places, looks = max(1, len(sizes)), max(1, math.prod(self.shape))
        self.missing, self._trained, self._seen = _memory(places, looks)
        self.seen[:] = np.nan

    @property
    def trained(self) -> NDArray[np.float64]:
        """Trials trained so far, a place a stack."""
        return np.frombuffer(self._trained, np.float64)[: len(self.first) - 1]

    @property
    def seen(self) -> NDArray[np.float32]:
        """Loss and accuracy of every trial, evaluation and split."""
        return np.frombuffer(self._seen, np.float32)[: math.prod(self.shape)].reshape(self.shape)

    def clear(self, place: int) -> None:
        """Forget what was seen of a stack, which failed."""
        self.seen[self.first[place] : self.first[place + 1]] = np.nan

    def latest(self) -> NDArray[np.float32]:
        """What was seen last of each trial (T, 2, 2): train and val, loss and accuracy."""
        there = ~np.isnan(self.seen[:, :, 0, LOSS])
        last = there.shape[1] - 1 - there[:, ::-1].argmax(1)
        return np.asarray(self.seen[np.arange(len(last)), last])

    def in_training(self) -> NDArray[np.bool_]:
        """Which trials (T,) are of a stack that has been begun and is not done."""
        sizes = np.diff(self.first)
        begun = ~np.isnan(self.seen[:, 0, 0, LOSS])
        return begun & np.repeat(self.trained < sizes, sizes)


def _memory(places: int, looks: int) -> tuple[str, Any, Any]:
    """Why no memory can be shared ("" where it can), and arrays of doubles and floats, zero all of them."""
    context = multiprocessing.get_context("spawn")
    try:
        return "", context.RawArray("d", places), context.RawArray("f", looks)
    except OSError as error:
        return str(error), (ctypes.c_double * places)(), (ctypes.c_float * looks)()


class Ticker:
    """Tells a board how far some trials of a stack are, and what was seen of them.

    Args:
        board: where to write; None for nowhere.
        place: the stack's.
        before: trials of the stack that were trained before these.
        trials: how many are being trained.
    """

    def __init__(self, board: Board | None, place: int, before: int, trials: int) -> None:
        self.board, self.place, self.before, self.trials = board, place, before, trials
        self._told = 0
        self._columns: dict[int, int] = {}
        if board is not None:
            first = board.first[place] + before
            self._rows = slice(first, first + trials)
            board.seen[self._rows] = np.nan  # of a try that was given up

    def __call__(self, fraction: float, outcome: Outcome) -> None:
        """Write down the fraction of the steps that is done, and what is new in the outcome."""
        if self.board is None:
            return
        self.board.trained[self.place] = self.before + fraction * self.trials
        for point in outcome.curve[self._told :]:
            self._write(self.board.seen[self._rows], point)
        self._told = len(outcome.curve)

    def _write(self, seen: NDArray[Any], point: Point) -> None:
        column = self._columns.setdefault(point.step, len(self._columns))
        places = seen[:, column, TRAINED_ON.index(point.split)]
        with np.errstate(over="ignore"):  # a loss beyond float32 is infinite here
            places[:, LOSS], places[:, ACCURACY] = point.loss, point.accuracy
