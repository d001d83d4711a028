"""Rows of large tables outside of memory: kept by number in a file without a name, and read in any order."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

AT_ONCE = 2**20  # bytes that are written at once


class RowStore:
    """Texts by number, each put once; the file ends with the process, or with the block that holds the store.

    Args:
        count: texts have numbers below it.
        folder: where the file is, which has no name there.
    """

    def __init__(self, count: int, folder: Path) -> None:
        self._start = np.zeros(count, np.int64)
        self._size = np.zeros(count, np.int64)
        self._end = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, number: int, text: bytes) -> None:
        """Keep a text under a number."""
        self._start[number], self._size[number] = self._end, len(text)
        self._end += len(text)
        self._waiting.append(text)
        self._waiting_bytes += len(text)
        if self._waiting_bytes > AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        self._file.write(b"".join(self._waiting))
        self._waiting, self._waiting_bytes = [], 0

    def in_order(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """Give the texts of these numbers; one that was never put is empty. Nothing can be put any more."""
        self._flush()
        self._file.flush()
        if not self._end:
            yield from (b"" for _ in numbers)
            return
        starts, sizes = self._start, self._size
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as texts:
            for number in numbers:
                start = int(starts[number])
                yield texts[start : start + int(sizes[number])]
