"""Files of merged folders in their new place: linked, so that no byte is written twice, or else copied."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MachineError
from harness.results import checksums
from harness.system import files, locks


@dataclass
class Placed:
    """Counts of files that were linked and that were copied, and the bytes of the copies.

    Files that were there are neither.
    """

    linked: int = 0
    copied: int = 0
    copied_bytes: int = 0

    def add(self, other: Placed) -> None:
        """Count what was placed elsewhere, too."""
        self.linked += other.linked
        self.copied += other.copied
        self.copied_bytes += other.copied_bytes


class LinkedFiles:
    """Puts files into a results folder that is held, each whole or not at all."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self.done = Placed()
        self._there: dict[str, Mapping[str, int]] = {}

    def put(self, source: str, name: str, digest: str = "") -> None:
        """Put a file into the folder, with a name such as weights/t0123456789ab.safetensors.

        What is there already stays if it has the `digest`; without one, if it has the same content.

        Raises:
            MachineError: it cannot be written.
        """
        folder, _, file = name.rpartition("/")
        there = self._listed(folder)
        try:
            if file not in there:
                self._link(source, f"{self._out}/{name}", new=True)
            elif not self._is_there(Path(source), self._out / name, there[file], digest):
                self._link(source, f"{self._out}/{name}", new=False)
        except OSError as error:
            raise MachineError(
                f"{self._out / name} cannot be written: {error.strerror or error}. What is merged is safe: "
                "the same command goes on"
            ) from error

    def _listed(self, folder: str) -> Mapping[str, int]:
        """List the files of a folder, each with its inode, once."""
        if folder not in self._there:
            (self._out / folder).mkdir(parents=True, exist_ok=True)
            with os.scandir(self._out / folder) as entries:
                self._there[folder] = {entry.name: entry.inode() for entry in entries}
        return self._there[folder]

    def _is_there(self, source: Path, target: Path, inode: int, digest: str) -> bool:
        if inode and source.stat().st_ino == inode and source.samefile(target):
            return True
        content = files.content_of(target)
        return checksums.digest(content) == digest if digest else content == files.content_of(source)

    def _link(self, source: str, target: str, *, new: bool) -> None:
        try:
            if new:
                os.link(source, target)
            else:
                draft = Path(target).parent / f"{locks.prefix()}{secrets.token_hex(8)}"
                os.link(source, draft)
                draft.replace(target)
            self.done.linked += 1
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without links
            content = files.content_of(Path(source))
            files.write(Path(target), content)
            self.done.copied += 1
            self.done.copied_bytes += len(content)
