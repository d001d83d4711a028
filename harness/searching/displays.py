"""The progress of a search, and its display: how many suggestions are done, how they ended, and the best."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness import notes
from harness.notes import progress_bar
from harness.notes.notebook import ipython_display
from harness.results.progress_file import LONGEST, MOST_LISTED, ProgressFile, WatchedState


@dataclass
class SearchProgress:
    """The progress of a search, for a display in another thread.

    `in_training` suggestions are a batch, `share` of which is done; `before` were done when it began. With a
    `file` it also tells those who watch. No thread does that: workers could not be forked beside it.
    """

    total: int
    done: int = 0
    in_training: int = 0
    share: float = 0.0
    states: dict[str, int] = field(default_factory=dict)
    best: float | None = None
    notes: Sequence[str] = ()
    before: int = 0
    file: ProgressFile | None = None
    start: float = field(default_factory=time.monotonic)

    @property
    def suggestions(self) -> float:
        """Suggestions that are over, those in training by their share."""
        return self.done + self.share * self.in_training

    def keep(self) -> None:
        """Tell those who watch."""
        if self.file is not None:
            self.file.write(self._state)

    def _state(self) -> WatchedState:
        return WatchedState(
            kind="search",
            total=self.total,
            trained=self.suggestions,
            before=self.before,
            training=self.in_training,
            seconds=round(time.monotonic() - self.start, 2),
            notes=[note[:LONGEST] for note in self.notes[:MOST_LISTED]],
            states=self.states,
            best=self.best if self.best is not None and math.isfinite(self.best) else None,
        )


SearchDisplay = Callable[[SearchProgress], AbstractContextManager[Any]]


def chosen(display: SearchDisplay | None) -> SearchDisplay | None:
    """Return the display of a search: the given one; in a notebook, else, a progress bar."""
    return show_progress if display is None and ipython_display() is not None else display


@contextmanager
def show_progress(progress: SearchProgress) -> Iterator[None]:
    """Show a search's notes, then its suggestions done, how they ended, the best, and the time to go."""
    for note in progress.notes:
        notes.warn(note)
    with progress_bar.shown(
        "searching", "suggestions", progress.total, lambda: progress.suggestions, lambda: _counts(progress)
    ):
        yield


def _counts(progress: SearchProgress) -> str:
    states = ", ".join(f"{count} {state}" for state, count in sorted(progress.states.items()))
    return states if progress.best is None else f"{states}; best {progress.best:.4f}"
