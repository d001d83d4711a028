"""Signals that ask a command to stop: a scheduler's SIGTERM, or the SIGHUP of a terminal that was closed.

What can save itself (`saving`) has GRACE seconds for it, in the command's process and in its workers.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

NAMES = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP
BASE = 128
"""A shell's exit code for a process that a signal ended, less the signal's number."""

GRACE = 15.0
"""Seconds for what can save itself: half of those that spot machines and schedulers give, from SIGTERM on."""


class _EndRequest:
    """A request to end: whether it has come, whether what runs can save itself, whether this is a worker."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self.savers = 0
        self.of_worker = False


_request = _EndRequest()


@contextmanager
def saving() -> Iterator[None]:
    """Let a request to end the process wait, up to GRACE seconds, for a block that asks for it (`asked`).

    A worker process ends with the block.
    """
    _request.savers += 1
    try:
        yield
    finally:
        _request.savers -= 1
    if _request.of_worker and asked():
        end()


def asked() -> bool:
    """Tell whether this process was asked to end while a block could save itself."""
    return _request.came.is_set()


def ask() -> bool:
    """Ask what runs in this process to save itself and to end; tell whether anything can."""
    if _request.savers:
        _request.came.set()
    return bool(_request.savers)


def end() -> NoReturn:
    """End a worker process; in the command's own process, raise KeyboardInterrupt."""
    if _request.of_worker:
        os._exit(BASE + signal.SIGTERM)
    raise KeyboardInterrupt


def end_when_told() -> None:
    """Have this worker process end at SIGTERM and SIGHUP: at once, or when what runs has saved itself.

    A thread hears of a signal while the main thread is in a long call. One that is ignored (nohup) stays so.
    """
    _request.of_worker = True
    if os.name == "nt":  # ends at once
        return
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    for name in NAMES:
        number = getattr(signal, name)
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    threading.Thread(target=_end_after, args=(told,), daemon=True).start()


def _end_after(told: int) -> None:
    """Wait for the first signal to end, then for what saves itself, and end this process."""
    ends = {getattr(signal, name) for name in NAMES}
    while os.read(told, 1)[0] not in ends:  # another one, which a component handles itself
        continue
    _request.came.set()
    pause = threading.Event()
    if _request.savers:
        pause.wait(GRACE)
    os._exit(BASE + signal.SIGTERM)


@contextmanager
def interrupts_after() -> Iterator[None]:
    """Let Ctrl-C, or a notebook's interrupt, wait until the block is over; it is handled then.

    In another thread than the main one, and where interrupts are ignored, nothing is done.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    waiting: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        for number in waiting[:1]:  # in a block within a block, it waits for the outer one
            usual(number, None)


@contextmanager
def stopping() -> Iterator[Sequence[int]]:
    """Let signals stop the block as Ctrl-C does, by KeyboardInterrupt; gives the received ones.

    The first one stops the block, or lets what it trains save itself before that; later ones have no effect,
    because results are being written then. A signal that is ignored (nohup) or handled already stays so.
    """
    received: list[int] = []
    handled: list[int] = []
    late, waiting = math.inf, list[threading.Timer]()

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal late
        received.append(number)
        first = len(received) == 1
        if _request.savers and first:
            late = time.monotonic() + GRACE
            _request.came.set()
            waiting.append(threading.Timer(GRACE, os.kill, [os.getpid(), number]))
            waiting[0].daemon = True
            waiting[0].start()
        elif first or (_request.savers and time.monotonic() >= late):
            raise KeyboardInterrupt

    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)
            handled.append(number)
    try:
        yield received
    finally:
        for timer in waiting:
            timer.cancel()
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
        _request.came.clear()


def code(received: Sequence[int], otherwise: int) -> int:
    """Return the exit code of a command that a signal has stopped; `otherwise` if none has."""
    return BASE + received[0] if received else otherwise
