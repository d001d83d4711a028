"""The memory of a stack's activations, which come and go in every step."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Settings of mallopt in glibc."""
KEPT = {MMAP_THRESHOLD: 2**30, TRIM_THRESHOLD: 2**30}
"""Bytes of freed memory that the process keeps rather than give back, while a stack trains."""
USUAL = {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}
"""The most that glibc sets them to by itself, afterwards."""


@contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Keep memory that is freed inside, for the next step; give it back at the end.

    glibc gives large pieces back to the system and gets them anew, page by page of zeros: of large stacks
    that takes as long as a third of the arithmetic. Other C libraries are left as they are; False says so.
    """
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if library is None or not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield False
        return
    try:
        yield all(library.mallopt(setting, size) == 1 for setting, size in KEPT.items())
    finally:
        for setting, size in USUAL.items():
            library.mallopt(setting, size)
        library.malloc_trim(0)
