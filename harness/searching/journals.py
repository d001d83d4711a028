"""A search's journal file: whole lines of Optuna's, and a lock beside it, which a killed writer may leave.

Optuna passes over a last line that it cannot read, and appends to it; then nothing can read the file.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from optuna.storages.journal import JournalFileOpenLock

LEFT_SECONDS = 5
"""Seconds after which we remove a lock that nobody has touched meanwhile."""
LINE_START = b'{"op_code":'  # of every line that Optuna writes


def check(path: Path) -> None:
    """Read every whole line of a journal; raises UsageError where one is damaged, or not Optuna's."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                sound = line.endswith(b"\n") and "op_code" in json.loads(line)
            except (ValueError, TypeError):
                sound = False
            if not line.endswith(b"\n"):  # torn
                sound = line.startswith(LINE_START) or LINE_START.startswith(line)
            if not sound:
                raise damaged(path, f"line {number} is not a journal record")


def damaged(path: Path, why: str) -> UsageError:
    """Return the error of a file that is not a journal."""
    return UsageError(
        f"{path} is damaged, or not an Optuna journal (or a newer Optuna's): {why}. Bring back a copy, or "
        "move it away and run again: the search then starts anew."
    )


def cut_torn_line(path: Path, lock: JournalFileOpenLock) -> None:
    """Cut the rest that a killed writer, or a full disk, left behind the last whole line."""
    if not _is_torn(path):
        return
    lock.acquire()
    try:
        if _is_torn(path):  # another program may have been writing it
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    finally:
        lock.release()


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def free(path: Path) -> None:
    """Remove a lock of a journal that a killed writer left; wait for one that is held.

    Optuna's locks do so when they are asked for, but not where the lock is a symbolic link to nowhere, as a
    dashboard that was started in another folder leaves it: they would wait for ever.
    """
    lock = path.with_name(path.name + ".lock")
    stamp, since = _stamp(lock), time.monotonic()
    while stamp is not None:
        if time.monotonic() - since > LEFT_SECONDS:
            lock.unlink(missing_ok=True)
            return
        time.sleep(LEFT_SECONDS / 100)
        if (now := _stamp(lock)) != stamp:
            stamp, since = now, time.monotonic()


def _stamp(lock: Path) -> tuple[int, int] | None:
    """Return a lock's file number and time; None if there is none."""
    try:
        status = lock.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
