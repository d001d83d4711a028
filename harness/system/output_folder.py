"""Checks of the folders and files that a command writes to, before it does any work."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import UsageError


def check_folder(folder: Path, option: str = "--out") -> None:
    """Raise UsageError, which names the option, if no files can be written into a folder, be it new."""
    try:
        there = _nearest(folder.absolute())
        is_folder = there.is_dir()
    except (OSError, ValueError) as error:  # a name that is too long, a folder that may not be looked into
        raise UsageError(f"{option} {folder}: {error}; name another folder") from error
    if not is_folder:
        which = "it" if there == folder.absolute() else str(there)
        raise UsageError(f"{option} {folder}: {which} is not a folder; name a new folder, or one that exists")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {folder}: you cannot write into {there}; name another folder")


def _nearest(path: Path) -> Path:
    """Return a path if it exists, or else its nearest parent that does; raises OSError, ValueError."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return _nearest(path.parent)
    return path


def check_file(path: Path, option: str = "--out") -> None:
    """Raise UsageError if a file cannot be written, or its place is taken by something else."""
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "not an ordinary file"
        raise UsageError(f"{option} {path}: it is {kind}; name a file, for instance {path.name}.html")
    check_folder(path.parent, option)
