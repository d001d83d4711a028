"""The state of a run for whoever watches it: how far it is, and each arm's mean curves so far, thinned."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.samples import TRAINED_ON
from harness.planning.stack import budget_of
from harness.results import progress_file
from harness.results.progress_file import (
    LONGEST,
    MOST_ARMS,
    MOST_LISTED,
    MOST_NUMBERS,
    WatchedArm,
    WatchedState,
)
from harness.training.progress import ACCURACY, LOSS, Progress

FEWEST_POINTS, MOST_POINTS = 3, 60  # of a curve


@contextmanager
def watched(folder: Path, progress: Progress) -> Iterator[None]:
    """Keep the progress of a run in its folder while the block trains, for `harness watch`."""
    if progress.total == 0:
        progress_file.ProgressFile(folder)  # removes what a killed run has left
        yield
        return
    with progress_file.kept(folder, _WatchedRun(progress).state):
        yield


class _WatchedRun:
    """A run's trials by arm, and what of their curves is told."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.start = progress, time.monotonic()
        self.trials = [(stack, trial) for stack in progress.stacks for trial in stack.trials]
        rows: dict[tuple[str, str, str], list[int]] = {}
        for row, (_, trial) in enumerate(self.trials):
            settings = trial.arm.settings
            rows.setdefault((settings.dataset, trial.arm.name, settings.loss), []).append(row)
        self.rows = {key: np.array(members) for key, members in rows.items()}
        self.epochs: dict[int, list[float]] = {}
        self._last: tuple[tuple[float, int], WatchedState] | None = None

    def state(self) -> WatchedState:
        """Return the present state; the last one, where nothing has come since."""
        now = self.progress.trials, len(self.progress.engine_notes)
        if self._last is None or self._last[0] != now:
            self._last = now, self._state()
        return self._last[1]

    def _state(self) -> WatchedState:
        progress = self.progress
        curves, training = progress.shared.curves.astype(float), progress.shared.in_training()
        # Of very many arms, those in training come first, in the plan's order.
        keys = sorted(self.rows, key=lambda key: not training[self.rows[key]].any())
        shown = keys[:MOST_ARMS]
        most = min(MOST_POINTS, max(FEWEST_POINTS, MOST_NUMBERS // (6 * len(shown))))
        listed = [*progress.notes, *progress.engine_notes]
        return WatchedState(
            total=progress.total,
            trained=progress.trials,
            training=int(training.sum()),
            seconds=round(time.monotonic() - self.start, 2),
            groups=[stack.group for stack in progress.stacks],
            notes=[note[:LONGEST] for note in listed[:MOST_LISTED]],
            diverged=self._diverged(curves),
            arms=[self._arm(key, curves, training, most) for key in shown],
            arms_left_out=len(keys) - len(shown),
        )

    def _epochs(self, row: int) -> list[float]:
        """Return the epochs of a trial's evaluations, in seven digits, as in epochs.csv."""
        stack = self.trials[row][0]
        if id(stack) not in self.epochs:
            budget = budget_of(stack)
            self.epochs[id(stack)] = [float(f"{budget.epoch_of(step):.7g}") for step in budget.eval_steps]
        return self.epochs[id(stack)]

    def _diverged(self, curves: NDArray[np.float64]) -> list[tuple[str, int, float]]:
        """List the trials of which an evaluated loss is not finite."""
        not_finite = ~np.isnan(curves[..., ACCURACY]) & ~np.isfinite(curves[..., LOSS])
        broken: NDArray[np.bool_] = np.any(not_finite, axis=2)
        listed = []
        for row in np.flatnonzero(np.any(broken, axis=1))[:MOST_LISTED].tolist():
            trial, first = self.trials[row][1], int(broken[row].argmax())
            listed.append((trial.arm.name, trial.seed, self._epochs(row)[first]))
        return listed

    def _arm(
        self, key: tuple[str, str, str], curves: NDArray[np.float64], training: NDArray[np.bool_], most: int
    ) -> WatchedArm:
        """Return an arm's mean curves, at `most` of its evaluations: the first, the last, and between."""
        rows = self.rows[key]
        came = ~np.isnan(curves[rows][..., ACCURACY]).all(2)  # trials, evaluations
        reached = int(came.any(0).sum())
        places = np.unique(np.linspace(0, reached - 1, min(most, reached)).round().astype(int))
        epochs, own = self._epochs(int(rows[0])), curves[np.ix_(rows, places)]
        means = {
            f"{split}_{name}": _means(own[:, :, i, metric])
            for i, split in enumerate(TRAINED_ON)
            for name, metric in (("loss", LOSS), ("accuracy", ACCURACY))
        }
        return WatchedArm(
            dataset=key[0],
            arm=key[1],
            loss=key[2],
            trials=len(rows),
            training=int(training[rows].sum()),
            epochs=[epochs[place] for place in places],
            seeds=came[:, places].sum(0).tolist(),
            **means,
        )


def _means(values: NDArray[np.float64]) -> list[float | None]:
    """Return the means (E,) of the finite values (K, E), in five digits; None without any."""
    finite = np.isfinite(values)
    counts = finite.sum(0)
    with np.errstate(over="ignore"):
        means = np.where(finite, values, 0).sum(0) / np.maximum(counts, 1)
    pairs = zip(means.tolist(), counts.tolist(), strict=True)
    return [float(f"{mean:.5g}") if count and math.isfinite(mean) else None for mean, count in pairs]
