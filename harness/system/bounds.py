"""Bounds on the size of files, checked before memory is allocated for them."""

from __future__ import annotations

import functools
import os

from harness.system import resources

MOST_PIXELS = 1 << 24
"""Most pixels of one image, 4096 x 4096: every pixel is a network's input, so a larger one is a mistake."""


@functools.cache
def memory() -> int:
    """Return the bytes of memory that this machine, container or job may use.

    If the system does not say, this is more than any machine has.
    """
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = 1 << 62
    return min(total, resources.memory_limit() or total)


def too_large(size: int) -> str:
    """Say why so many bytes are not read; empty if memory holds them."""
    if size <= memory():
        return ""
    return f"{size / 1e9:,.1f} GB, and this machine has {memory() / 1e9:,.1f} GB of memory"
