"""What a step of 784-h-..-10 must take on one core at least: its multiply-adds, and its weights' way to it.

A step has three parts, of which none begins before the one ahead of it has ended: layer one's product, the
layers behind, and layer one's gradient and update. Each takes as long as its multiply-adds of pixels that are
not zero at the rate of the core, or as its weights' bytes at the rate of the second cache, whichever is
longer. Both rates are measured (`roofline.c`).
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared")
CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
USUAL_CACHE = 2**20
FLOAT = 4  # bytes
STATES = {"sgd": 0, "momentum": 1, "rmsprop": 1, "adagrad": 1, "adam": 2}
TRIES, LEAST = 40, 0.003  # seconds of a try


@dataclass(frozen=True)
class Rates:
    """What one core does: multiply-adds a second, bytes read, and bytes read and written, a second."""

    multiply_adds: float
    read: float
    changed: float

    def __str__(self) -> str:
        """In words."""
        return (
            f"one core: {2e-9 * self.multiply_adds:.0f} GFLOP/s of multiply-adds; from the second cache "
            f"{1e-9 * self.read:.0f} GB/s read, {1e-9 * self.changed:.0f} GB/s read and written"
        )


@dataclass(frozen=True)
class Batches:
    """What batches of a size have on average.

    Attributes:
        size: images.
        filled: pixels that are not zero, of all images.
        seen: different pixels that are not zero in some image.
        occur: pixels that are not zero in some image of the split.
    """

    size: int
    filled: float
    seen: float
    occur: int

    @classmethod
    def of(cls, x: NDArray[np.floating], size: int, count: int = 200) -> Batches:
        """Count those of a split's images (N, D)."""
        rng, filled = np.random.default_rng(0), x != 0
        batches = [filled[rng.integers(0, len(x), size)] for _ in range(count)]
        return cls(
            size,
            float(np.mean([batch.sum() for batch in batches])),
            float(np.mean([batch.any(0).sum() for batch in batches])),
            int(filled.any(0).sum()),
        )


def step_seconds(
    rates: Rates, batches: Batches, widths: Sequence[int], optimizer: str, once: bool = True
) -> float:
    """Seconds that a step takes one member at least.

    Args:
        rates: the core's.
        batches: what they have.
        widths: of the hidden layers, and classes.
        optimizer: its name.
        once: the product reads each weight once a batch; else once for each pixel that is not zero.
    """
    # What no image of a batch has stays as it is, unless its states move on.
    moved = batches.occur if STATES[optimizer] else batches.seen
    behind = 2 * _behind(widths) * batches.size / rates.multiply_adds
    bytes_moved = 2 * moved * widths[0] * FLOAT * (1 + STATES[optimizer])
    update = max(batches.filled * widths[0] / rates.multiply_adds, bytes_moved / rates.changed)
    return forward_seconds(rates, batches, widths, once) + behind + update


def forward_seconds(rates: Rates, batches: Batches, widths: Sequence[int], once: bool = True) -> float:
    """Seconds that a forward pass of a batch takes one member at least; the arguments are `step_seconds`'."""
    read = (batches.seen if once else batches.filled) * widths[0] * FLOAT
    product = max(batches.filled * widths[0] / rates.multiply_adds, read / rates.read)
    return product + _behind(widths) * batches.size / rates.multiply_adds


def _behind(widths: Sequence[int]) -> int:
    return sum(i * o for i, o in itertools.pairwise(widths))


def measure() -> Rates:
    """Measure the rates, compiled as the kernels are: by $CC, for this machine."""
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "roofline.so"
        compiler = shlex.split(os.environ.get("CC") or "cc")
        subprocess.run([*compiler, *FLAGS, "-o", str(built), str(SOURCE)], check=True)
        library = ctypes.CDLL(str(built))
    at, n, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
    library.multiply.argtypes, library.multiply.restype = [n, number, at], n
    library.read_all.argtypes, library.read_all.restype = [at, n, n, at], None
    library.change_all.argtypes, library.change_all.restype = [at, n, n, number], None
    size = second_cache() // 2 // 640 * 640  # ten vectors of 64 bytes
    room = np.zeros(size + 64, np.uint8)
    start, to = room.ctypes.data + -room.ctypes.data % 64, np.zeros(1, np.float32)
    multiplied = library.multiply(1, 0.5, to.ctypes.data)
    return Rates(
        multiplied * fastest(lambda times: library.multiply(times, 0.5, to.ctypes.data)),
        size * fastest(lambda times: library.read_all(start, size, times, to.ctypes.data)),
        2 * size * fastest(lambda times: library.change_all(start, size, times, 0.0)),
    )


def fastest(call: Callable[[int], object]) -> float:
    """Rounds a second, of the fastest of some tries."""
    times = 1
    while _took(call, times) < LEAST:
        times *= 2
    return times / min(_took(call, times) for _ in range(TRIES))


def _took(call: Callable[[int], object], times: int) -> float:
    before = time.process_time()
    call(times)
    return time.process_time() - before


def second_cache() -> int:
    """Bytes of a core's second cache."""
    try:
        told = CACHE.read_text().strip()
    except OSError:
        return USUAL_CACHE
    return int(told[:-1]) * 2**10 if told.endswith("K") else int(told[:-1]) * 2**20


if __name__ == "__main__":
    print(measure())
