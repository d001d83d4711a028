"""The state of a run for whoever watches it: how far it is, and each arm's mean curves so far, thinned."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
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
from harness.training.progress import ACCURACY, LOSS, Progress, SharedProgress

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
        of_arm: dict[int, list[int]] = {}
        for row, (_, trial) in enumerate(self.trials):
            if id(trial.arm) not in of_arm:
                settings = trial.arm.settings
                key = (settings.dataset, trial.arm.name, settings.loss)
                of_arm[id(trial.arm)] = rows.setdefault(key, [])
            of_arm[id(trial.arm)].append(row)
        self.rows, self.arms = rows, list(rows)
        self.order = np.array([row for members in rows.values() for row in members])
        self.first = np.cumsum([0, *map(len, rows.values())])[:-1]
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
        looked = _Look(progress.shared, self.order, self.first)
        # Of very many arms, those in training come first, in the plan's order.
        shown = np.argsort(looked.training == 0, kind="stable")[:MOST_ARMS].tolist()
        most = min(MOST_POINTS, max(FEWEST_POINTS, MOST_NUMBERS // (6 * len(shown))))
        listed = [*progress.notes, *progress.engine_notes]
        return WatchedState(
            total=progress.total,
            trained=progress.trials,
            training=int(looked.training.sum()),
            seconds=round(time.monotonic() - self.start, 2),
            groups=[stack.group for stack in progress.stacks],
            notes=[note[:LONGEST] for note in listed[:MOST_LISTED]],
            diverged=self._diverged(looked.diverged()),
            arms=[self._arm(place, looked, most) for place in shown],
            arms_left_out=len(self.arms) - len(shown),
        )

    def _epochs(self, row: int) -> list[float]:
        """Return the epochs of a trial's evaluations, in seven digits, as in epochs.csv."""
        stack = self.trials[row][0]
        if id(stack) not in self.epochs:
            budget = budget_of(stack)
            self.epochs[id(stack)] = [float(f"{budget.epoch_of(step):.7g}") for step in budget.eval_steps]
        return self.epochs[id(stack)]

    def _diverged(self, first: Mapping[int, int]) -> list[tuple[str, int, float]]:
        """List trials that diverged, with the epoch of the evaluation that showed it first."""
        listed = []
        for row, evaluation in sorted(first.items())[:MOST_LISTED]:
            trial = self.trials[row][1]
            listed.append((trial.arm.name, trial.seed, self._epochs(row)[evaluation]))
        return listed

    def _arm(self, arm: int, looked: _Look, most: int) -> WatchedArm:
        """Return an arm's mean curves at `most` of its evaluations: the first, the last, and between."""
        (dataset, name, loss), members = self.arms[arm], self.rows[self.arms[arm]]
        reached = int(np.count_nonzero(looked.seeds[arm]))
        places = sorted({round(i * (reached - 1) / max(most - 1, 1)) for i in range(min(most, reached))})
        places = list(range(reached)) if reached <= most else places
        epochs, means, finite = self._epochs(members[0]), looked.means[arm], looked.finite[arm]
        told = {
            f"{split}_{metric}": [_told(means[k, i, j], finite[k, i, j]) for k in places]
            for i, split in enumerate(TRAINED_ON)
            for metric, j in (("loss", LOSS), ("accuracy", ACCURACY))
        }
        at = looked.at[arm]
        return WatchedArm(
            dataset=dataset,
            arm=name,
            loss=loss,
            trials=len(members),
            training=int(looked.training[arm]),
            epoch=epochs[at] if at >= 0 else None,
            val=_told(looked.val[arm], 1),
            epochs=[epochs[place] for place in places],
            seeds=[int(looked.seeds[arm, place]) for place in places],
            **told,
        )


class _Look:
    """One look at the shared curves, summed by arm: arrays of A arms, E evaluations, 2 splits, 2 numbers.

    `order` lists the trials arm by arm, and `first` where each arm begins there. `means` are over the
    `finite` ones, `seeds` (A, E) counts the trials that have come; of those in `training` (A,), `at` is the
    furthest evaluation, -1 before the first, and `val` their mean last accuracy.
    """

    def __init__(self, shared: SharedProgress, order: NDArray[np.int_], first: NDArray[np.int_]) -> None:
        self.curves, self.order = shared.curves[order].astype(float), order
        finite, came = np.isfinite(self.curves), ~np.isnan(self.curves[..., ACCURACY])
        self.finite = np.add.reduceat(finite.astype(int), first)
        sums = np.add.reduceat(np.where(finite, self.curves, 0), first)
        self.means = sums / np.maximum(self.finite, 1)
        self.seeds = np.add.reduceat(came.any(2).astype(int), first)
        training = np.isin(order, shared.in_training())
        self.training = np.add.reduceat(training.astype(int), first)
        last = came.any(2).sum(1) - 1
        self.at = np.maximum.reduceat(np.where(training, last, -1), first)
        accuracy = self.curves[np.arange(len(order)), np.maximum(last, 0), TRAINED_ON.index("val"), ACCURACY]
        known = training & np.isfinite(accuracy)
        counted = np.add.reduceat(known.astype(int), first)
        total = np.add.reduceat(np.where(known, accuracy, 0), first)
        self.val = np.where(counted > 0, total / np.maximum(counted, 1), np.nan)

    def diverged(self) -> dict[int, int]:
        """Map trials of which an evaluated loss is not finite to the first such evaluation."""
        broken = ~np.isnan(self.curves[..., ACCURACY]) & ~np.isfinite(self.curves[..., LOSS])
        by_evaluation: NDArray[np.bool_] = np.any(broken, axis=2)
        found = np.flatnonzero(np.any(by_evaluation, axis=1))
        return {int(self.order[place]): int(by_evaluation[place].argmax()) for place in found}


def _told(value: float, count: int) -> float | None:
    """Return a mean in five digits; None where it is over nothing, or not finite."""
    return float(f"{value:.5g}") if count and math.isfinite(value) else None
