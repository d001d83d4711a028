"""Rows of large tables outside of memory: kept by number in a file without a name, and read in any order."""

from __future__ import annotations

import mmap
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from harness.system import files

AT_ONCE = 2**20  # bytes that are written at once


class RowStore:
    """Texts by number, each put once, then read; its file goes when it is closed, or the process ends.

    Args:
        folder: where the file is, which has no name there.

    Raises:
        MachineError: it cannot be written, as the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self._places = array("q")  # start and end of each text
        self._end = 0
        self._waiting = bytearray()
        self._folder = folder
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise files.unwritten(folder, error) from error
        self._texts: mmap.mmap | bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the disk space back."""
        if isinstance(self._texts, mmap.mmap):
            self._texts.close()
        with suppress(OSError):  # a full disk: closing writes what waits
            self._file.close()

    def put(self, texts: Mapping[int, bytes]) -> None:
        """Keep texts under their numbers."""
        places, end = self._places, self._end
        missing = 2 * (max(texts, default=0) + 1) - len(places)
        if missing > 0:
            places.frombytes(bytes(8 * missing))
        for number, text in texts.items():
            places[2 * number] = end
            end += len(text)
            places[2 * number + 1] = end
        self._end = end
        self._waiting += b"".join(texts.values())
        if len(self._waiting) > AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        try:
            self._file.write(self._waiting)
            self._file.flush()
        except OSError as error:
            raise files.unwritten(self._folder, error) from error
        self._waiting.clear()

    def __getitem__(self, number: int) -> bytes:
        """Give a text, empty if it was never put. After the first one, nothing can be put any more."""
        if self._texts is None:
            self._flush()
            self._texts = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if self._end else b""
        if 2 * number >= len(self._places):
            return b""
        return self._texts[self._places[2 * number] : self._places[2 * number + 1]]

    def texts(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """Give the texts of these numbers."""
        return (self[number] for number in numbers)
