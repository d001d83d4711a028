"""Memory that a stack frees: kept while it trains, and given back after it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import torch
from harness.engines.modules.memory import freed_memory_kept

def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096

large = 2**26  # numbers of four bytes: eight times as many bytes as glibc ever keeps by itself
with freed_memory_kept() as kept:
    before = resident()
    for _ in range(3):
        torch.ones(large)
    inside = resident()
print(int(kept), inside - before > 3 * large, resident() - before < large)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_kept_inside_and_given_back_at_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    kept, inside, after = done.stdout.split()
    if kept == "0":
        pytest.skip("this C library has no mallopt")
    assert (inside, after) == ("True", "True")
