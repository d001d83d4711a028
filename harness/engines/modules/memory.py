"""The memory of a stack's activations, which come and go in every step."""

from __future__ import annotations

import ctypes
import functools
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Settings of mallopt in glibc."""
MOST = 2**30
"""Bytes of freed memory that the process keeps rather than give back."""


@functools.cache
def keep_freed() -> bool:
    """Let this process keep memory that it frees, for the next step; tell whether the C library can.

    glibc gives large pieces back to the system and gets them anew, page by page of zeros: of large stacks
    that takes as long as a third of the arithmetic. Other C libraries are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(setting, MOST) == 1 for setting in (MMAP_THRESHOLD, TRIM_THRESHOLD))
