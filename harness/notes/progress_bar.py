"""Progress of long work: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness import notes

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
    start, first, stop = time.monotonic(), done(), threading.Event()

    def pace() -> tuple[str, str]:
        count, seconds = done(), time.monotonic() - start
        if count - first < 0.5:
            return "", ""
        left = (total - count) * seconds / (count - first)
        return rate(count - first, seconds, unit), f"ETA {int(left // 60)}:{int(left % 60):02d}"

    def lines() -> None:
        wait = delay or LINE_EVERY
        while not stop.wait(wait):
            speed, left = pace()
            notes.tell(f"{title}: {int(done()):,}/{total:,} {unit}  {speed}  {left}  {detail()}".rstrip())
            wait = LINE_EVERY

    def bar() -> None:
        if stop.wait(delay):
            return
        with _bar(title, unit, total) as update:
            over = False
            while not over:
                over = stop.wait(FRAME_EVERY)
                update(int(done()), *pace(), detail())

    thread = threading.Thread(target=bar if sys.stderr.isatty() else lines, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


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
