"""Progress of long work: a bar on a terminal or in a notebook's cell, elsewhere a line now and then."""

from __future__ import annotations

import html
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from harness import notes
from harness.notes import notebook

LINE_EVERY = 10.0  # seconds between lines, where there is no terminal
FRAME_EVERY = 0.5  # seconds between updates of a bar


@contextmanager
def shown(
    title: str, unit: str, total: int, done: Callable[[], float], detail: Callable[[], str] = str, *,
    delay: float = 0.0,
) -> Iterator[None]:  # fmt: skip
    """Show how far the block is, its rate and the time to go, from a thread of its own.

    Args:
        title: names the work.
        unit: names what is counted, in the plural.
        total: how many there are.
        done: returns how many are done; what was done before the block has no part in the rate.
        detail: returns more words on the present state.
        delay: seconds in which short work may end without being shown.
    """
    work = _Work(title, unit, total, done, detail)
    cell = _cell(title, unit, total)

    def draw(stop: threading.Event) -> None:
        if cell is not None:
            _draw_in(cell, work, stop, delay)
        elif notebook.on_terminal():
            _draw_bar(work, stop, delay)
        else:
            _write_lines(work, stop, delay)

    end = "stopped after"
    try:
        with notebook.drawn_beside(draw):
            yield
        end = "done in"
    finally:
        if cell is not None and (cell.begun or work.seconds >= delay):
            cell.show(work.now, [work.pace()[0], f"{end} {work.seconds:.3g} s"])


class _Work:
    """Work that is shown: how far it is, and how fast it went since it began."""

    def __init__(
        self, title: str, unit: str, total: int, done: Callable[[], float], detail: Callable[[], str]
    ) -> None:
        self.title, self.unit, self.total, self.detail = title, unit, total, detail
        self._done, self._start, self._first = done, time.monotonic(), done()

    @property
    def now(self) -> float:
        """The number that is done; those in work count by their share."""
        return self._done()

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._start

    def pace(self) -> tuple[str, str]:
        """Return the rate and the time to go in words; "" while nothing is known of them."""
        count, seconds = self.now, self.seconds
        if count - self._first < 0.5:
            return "", ""
        left = (self.total - count) * seconds / (count - self._first)
        return rate(count - self._first, seconds, self.unit), f"ETA {int(left // 60)}:{int(left % 60):02d}"


def _write_lines(work: _Work, stop: threading.Event, delay: float) -> None:
    wait = delay or LINE_EVERY
    while not stop.wait(wait):
        speed, left = work.pace()
        count = f"{int(work.now):,}/{work.total:,} {work.unit}"
        notes.tell(f"{work.title}: {count}  {speed}  {left}  {work.detail()}".rstrip())
        wait = LINE_EVERY


def _draw_bar(work: _Work, stop: threading.Event, delay: float) -> None:
    if stop.wait(delay):
        return
    with _bar(work.title, work.unit, work.total) as update:
        over = False
        while not over:
            over = stop.wait(FRAME_EVERY)
            update(int(work.now), *work.pace(), work.detail())


def _draw_in(cell: _Cell, work: _Work, stop: threading.Event, delay: float) -> None:
    wait = delay
    while not stop.wait(wait):
        cell.show(work.now, [*work.pace(), work.detail()])
        wait = FRAME_EVERY


class _Cell:
    """A bar in a notebook's cell: one place that is drawn anew, and keeps its last state."""

    def __init__(self, display: Any, title: str, unit: str, total: int) -> None:
        self._display, self._title, self._unit, self._total = display, title, unit, total
        self._handle: Any = None

    @property
    def begun(self) -> bool:
        """Return whether something was shown."""
        return self._handle is not None

    def show(self, done: float, words: Sequence[str]) -> None:
        """Show how many are done, and words; an output that cannot be written to stops nothing."""
        told = " \u00b7 ".join(filter(None, [f"{int(done + 1e-6):,}/{self._total:,} {self._unit}", *words]))
        page = (
            f"<div>{html.escape(self._title)} <progress value='{done:.3f}' max='{self._total}'></progress> "
            f"{html.escape(told)}</div>"
        )
        bundle = {"text/html": page, "text/plain": f"{self._title}: {told}"}
        with suppress(Exception):
            if self._handle is None:
                self._handle = self._display.display(bundle, raw=True, display_id=True)
            else:
                self._handle.update(bundle, raw=True)


def _cell(title: str, unit: str, total: int) -> _Cell | None:
    """Make a bar in the notebook's cell that is running; None elsewhere, and where progress is hidden."""
    display = notebook.ipython_display() if notes.logger.isEnabledFor(logging.INFO) else None
    return _Cell(display, title, unit, total) if display is not None else None


@contextmanager
def _bar(title: str, unit: str, total: int) -> Iterator[Callable[[int, str, str, str], None]]:
    """Draw a bar; give a function that takes how many are done, the rate, the time to go and the detail."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    columns = (
        TextColumn(title, markup=False), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    progress, below = Progress(*columns), Text(style="dim")
    task = progress.add_task("", total=total, rate="", left="")

    def update(done: int, speed: str, left: str, detail: str) -> None:
        progress.update(task, completed=done, rate=speed, left=left)
        below.plain = detail

    with Live(Group(progress, below), console=Console(stderr=True)):
        yield update


def rate(count: float, seconds: float, unit: str) -> str:
    """Return how many a second, or a minute where they take longer.

    >>> rate(10, 4, "trials"), rate(1, 4, "trials")
    ('2.5 trials/s', '15.0 trials/min')
    """
    speed = count / seconds
    return f"{speed:,.1f} {unit}/s" if speed >= 1 else f"{60 * speed:.1f} {unit}/min"
