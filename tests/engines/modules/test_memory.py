"""Memory that a stack frees: kept while it trains, and given back after it."""

from __future__ import annotations

import sys

import pytest
import torch

from harness.engines.modules.memory import freed_memory_kept


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 (no file of a disk)
        return int(file.read().split()[1]) * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_kept_inside_and_given_back_at_the_end() -> None:
    large = 2**26  # bytes: four times as many as glibc ever keeps by itself
    with freed_memory_kept() as kept:
        if not kept:
            pytest.skip("this C library has no mallopt")
        before = resident()
        for _ in range(3):
            torch.ones(large)  # of four bytes each
        assert resident() > before + 3 * large
    assert resident() < before + large
