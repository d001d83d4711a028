"""Progress on the screen: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.run import Progress

LINE_EVERY = 10.0  # seconds, where there is no terminal


@contextmanager
def shown(progress: Progress) -> Iterator[None]:
    """Show a run's trials done, trials/s and time to go while the block runs."""
    if progress.total == 0:
        yield
        return
    with _bar(progress) if sys.stderr.isatty() else _lines(progress):
        yield


@contextmanager
def _bar(progress: Progress) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("trials"),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=progress.total, rate="", left="")
        start = time.monotonic()

        def update() -> None:
            rate, left = _pace(progress, time.monotonic() - start)
            bar.update(task, completed=int(progress.trials), rate=rate, left=left)

        with _repeated(update, 0.5):
            yield
        update()


@contextmanager
def _lines(progress: Progress) -> Iterator[None]:
    start = time.monotonic()

    def update() -> None:
        rate, left = _pace(progress, time.monotonic() - start)
        print(f"training: {int(progress.trials)}/{progress.total} trials  {rate}  {left}", file=sys.stderr, flush=True)

    with _repeated(update, LINE_EVERY):
        yield


def _pace(progress: Progress, seconds: float) -> tuple[str, str]:
    trials = progress.trials
    if trials < 0.5:  # noqa: PLR2004 (half a trial: too early to tell)
        return "", ""
    left = (progress.total - trials) * seconds / trials
    return f"{trials / seconds:.1f} trials/s", f"ETA {int(left // 60)}:{int(left % 60):02d}"


@contextmanager
def _repeated(update: Callable[[], None], every: float) -> Iterator[None]:
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(every):
            update()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
