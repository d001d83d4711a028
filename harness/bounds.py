"""Bounds: how much of a file is too much to read, asked before memory is given to it."""

from __future__ import annotations

import functools
import os

from harness import grants

MOST_PIXELS = 1 << 24
"""Of one image, 4096 x 4096: every pixel is an input of a network, so that larger ones are a mistake."""


@functools.cache
def memory() -> int:
    """The bytes of this machine's memory, as many as a container or a job may have of it.

    Where the system does not say, more than any machine has.
    """
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        there = 1 << 62
    return min(there, grants.memory_limit() or there)


def too_large(size: int) -> str:
    """Why so many bytes are not read, in words; empty where memory holds them."""
    if size <= memory():
        return ""
    return f"{size / 1e9:,.1f} GB, and this machine has {memory() / 1e9:,.1f} GB of memory"
