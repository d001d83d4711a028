"""Signals that ask a command to stop: a scheduler's SIGTERM, or the SIGHUP of a terminal that was closed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP
BASE = 128
"""A shell's exit code for a process that a signal ended, less the signal's number."""


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

    The first one stops the block; later ones have no effect, because results are being written then. A signal
    that is ignored (nohup) or handled already stays so.
    """
    received: list[int] = []
    handled: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            raise KeyboardInterrupt

    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)
            handled.append(number)
    try:
        yield received
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def code(received: Sequence[int], otherwise: int) -> int:
    """Return the exit code of a command that a signal has stopped; `otherwise` if none has."""
    return BASE + received[0] if received else otherwise
