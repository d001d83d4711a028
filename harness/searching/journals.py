"""The journal's file: checked line by line, and cut behind its last whole line.

Optuna passes over a last line that it cannot read, and appends to it; from then on nothing can read the file.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Protocol

from harness.errors import UsageError

LEFT_SECONDS = 5
"""After which a lock that stays as it is counts as left by a killed writer: no write takes so long."""
START = b'{"op_code":'  # of every line that Optuna writes


class Lock(Protocol):
    """What keeps two writers apart."""

    def acquire(self) -> bool:
        """Wait for it."""

    def release(self) -> None:
        """Let it go."""


def check(path: Path) -> None:
    """Read every whole line of a journal.

    Raises:
        UsageError: one is damaged, or none of Optuna's.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                if not (line.startswith(START) or START.startswith(line)):
                    raise damaged(path, f"line {number} is none of a journal's")
                return
            try:
                whole = "op_code" in json.loads(line)
            except (ValueError, TypeError):
                whole = False
            if not whole:
                raise damaged(path, f"line {number} is none of a journal's")


def damaged(path: Path, why: str) -> UsageError:
    """Say what is wrong with a journal, and what to do."""
    return UsageError(
        f"{path} is damaged, or no journal of Optuna's (or a newer Optuna's): {why}. Bring back a copy, or "
        "move it away and run again: the search then starts anew."
    )


def cut_torn_line(path: Path, lock: Lock) -> None:
    """Cut what a killed writer, or a full disk, left behind the last whole line."""
    if not _torn(path):
        return
    lock.acquire()
    try:
        if _torn(path):  # another program may have been writing it
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    finally:
        lock.release()


def free(path: Path) -> None:
    """Remove a lock of a journal that a killed writer left; wait for one that is held.

    Optuna's locks do so when they are asked for, but not where the lock is a symbolic link to nowhere, as a
    dashboard that was started in another folder leaves it: they would wait for ever.
    """
    lock = path.with_name(path.name + ".lock")
    seen, since = _stamp(lock), time.monotonic()
    while seen is not None:
        if time.monotonic() - since > LEFT_SECONDS:
            lock.unlink(missing_ok=True)
            return
        time.sleep(LEFT_SECONDS / 100)
        if (now := _stamp(lock)) != seen:
            seen, since = now, time.monotonic()


def _stamp(lock: Path) -> tuple[int, int] | None:
    """Which lock there is, and since when; None if there is none."""
    try:
        there = lock.lstat()
    except OSError:
        return None
    return there.st_ino, there.st_mtime_ns


def _torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
