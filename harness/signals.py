"""Signals that ask a command to stop: a scheduler's SIGTERM, or the SIGHUP of a terminal that was closed."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP
BASE = 128
"""A shell's exit code of a process that a signal ended is this and the signal's number."""


@contextmanager
def stopping() -> Iterator[Sequence[int]]:
    """Have signals stop the block as Ctrl-C does, by KeyboardInterrupt; gives those that came.

    The first one stops it, further ones have no effect: what is finished is being written down then. A signal
    that is ignored (nohup) or handled already stays so.
    """
    came: list[int] = []
    handled: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt

    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)
            handled.append(number)
    try:
        yield came
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def code(came: Sequence[int], otherwise: int) -> int:
    """Give the exit code of a command that a signal has stopped; `otherwise` where none has."""
    return BASE + came[0] if came else otherwise
