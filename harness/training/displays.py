"""Displays of a run while it trains: a progress bar, and a line for each evaluation."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import numpy as np

from harness import notes
from harness.data.samples import TRAINED_ON
from harness.errors import InterruptedRun
from harness.notes import progress_bar
from harness.notes.notebook import drawn_beside, ipython_display
from harness.planning.stack import budget_of
from harness.training.progress import ACCURACY, LOSS, Display, Progress

MOST_TOLD = 20
"""Trials whose evaluations are told one by one."""
INTERRUPTED = "interrupted: what is finished is kept; the same cell goes on from there"
LOOK_EVERY = 0.2  # seconds between looks for new evaluations


def chosen(display: Display | None, *, verbose: bool = False) -> Display | None:
    """Return the display of a run: the given one; in a notebook, else, a bar; with `verbose`, also lines."""
    if display is None and ipython_display() is not None:
        display = _in_notebook
    return told_by_evaluation(display) if verbose else display


@contextmanager
def _in_notebook(progress: Progress) -> Iterator[None]:
    """Show a run in a notebook's cell, and say in words where it trains nothing or is interrupted."""
    if progress.total == 0:
        notes.tell(f"{progress.title}: nothing is left to train")
    try:
        with show_progress(progress):
            yield
    except KeyboardInterrupt:
        raise InterruptedRun(INTERRUPTED) from None


def told_by_evaluation(display: Display | None = None) -> Display:
    """Return a display that writes a line for each evaluation of each trial, beside another display."""

    @contextmanager
    def both(progress: Progress) -> Iterator[None]:
        with (display or nullcontext)(progress), _telling(progress):
            yield

    return both


@contextmanager
def _telling(progress: Progress) -> Iterator[None]:
    """Write a line for each evaluation while the block runs, from another thread, and the rest after it."""
    if progress.total > MOST_TOLD:
        notes.warn(
            f"the evaluations of {progress.total} trials are not told one by one, those of up to {MOST_TOLD} "
            "are; epochs.csv has them"
        )
        yield
        return
    lines = _Lines(progress)

    def look(stop: threading.Event) -> None:
        while not stop.wait(LOOK_EVERY):
            lines.tell()

    try:
        with drawn_beside(look):
            yield
    finally:
        lines.tell()


class _Lines:
    """The evaluations of a run's trials that have not been told yet."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._out = progress, sys.stdout  # which is another while this process trains itself
        self._trials = [(stack, trial) for stack in progress.stacks for trial in stack.trials]
        self._told = [0] * len(self._trials)

    def tell(self) -> None:
        """Write a line for each new evaluation; an output that is closed stops nothing."""
        curves = self._progress.shared.curves
        for row, (stack, trial) in enumerate(self._trials):
            budget, settings = budget_of(stack), trial.arm.settings
            splits = TRAINED_ON if settings.val_fraction else TRAINED_ON[:1]
            name = f"{trial.arm.name}, seed {trial.seed}: " if len(self._trials) > 1 else ""
            for place in range(self._told[row], len(budget.eval_steps)):
                now = curves[row, place]
                if np.isnan(now[: len(splits), ACCURACY]).any():
                    break
                self._told[row] += 1
                step = budget.eval_steps[place]
                at = f"epoch {budget.epoch_of(step):.4g}"
                at = f"step {step:,} ({at})" if settings.eval_every.endswith(("step", "steps")) else at
                values = [
                    f"{split} loss {now[i, LOSS]:.4g}, accuracy {now[i, ACCURACY]:.2%}".replace("%", " %")
                    for i, split in enumerate(splits)
                ]
                with suppress(OSError, ValueError):
                    self._out.write(f"{name}{at}: {'; '.join(values)}\n")
                    self._out.flush()


@contextmanager
def show_progress(
    progress: Progress, tell: Callable[[str], None] | None = None, delay: float = 0.0
) -> Iterator[None]:
    """Show a run's notes, then its trials done, their rate and the time to go while the block runs.

    `tell` tells a note (None: `notes.warn`); a run that is over within `delay` seconds shows no progress.
    """
    for note in progress.notes:
        (tell or notes.warn)(note)
    if progress.total == 0:
        yield
        return
    with progress_bar.shown(
        progress.title,
        "trials",
        progress.total,
        lambda: progress.trials,
        lambda: losses(progress),
        delay=delay,
    ):
        yield


def losses(progress: Progress) -> str:
    """Put the present losses and accuracies into words: medians over the trials in training; "" if none is.

    Losses of different kinds are not comparable: each has its own median.
    """
    shared = progress.shared
    rows = shared.in_training()
    if not len(rows):
        return ""
    now, kinds = shared.latest(rows), progress.losses[rows]
    by_kind = {kind: _medians(now[kinds == kind, :, LOSS], "{:.3g}") for kind in dict.fromkeys(kinds)}
    loss = ", ".join(f"{kind} {median}" if len(by_kind) > 1 else median for kind, median in by_kind.items())
    accuracy = _medians(now[:, :, ACCURACY], "{:.1%}").replace("%", " %")
    trials_meant = f"median of {len(rows)} in training: " if len(rows) > 1 else ""
    return f"{trials_meant}loss {loss}; accuracy {accuracy}"


def _medians(values: Any, form: str) -> str:
    """Return medians over K trials (K, 2), such as "train 0.231 val 0.262"; diverged ones are left out."""
    columns = [(split, values[np.isfinite(values[:, i]), i]) for i, split in enumerate(TRAINED_ON)]
    return " ".join(f"{split} {form.format(np.median(column))}" for split, column in columns if len(column))
