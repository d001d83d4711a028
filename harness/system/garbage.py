"""Python's collector of reference cycles, without which large plans and merges are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Let reference cycles wait until the block is over, which makes millions of objects that stay.

    The collector looks through all of them again and again, and finds nothing. Where it is off already, it
    stays off.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
