"""The journal's file: checked line by line, and cut behind its last whole line.

Optuna passes over a last line that it cannot read, and appends to it; from then on nothing can read the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Protocol

from harness.errors import UsageError

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


def _torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
