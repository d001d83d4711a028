"""Memory that the kernels read and write: arrays that begin at a cache line, and their addresses."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

CACHE_LINE = 64
"""Bytes, to which arrays are aligned: a vector that lies in two lines takes twice as long."""


def zeros(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of zeros that begins at a cache line.

    >>> zeros((2, 3), "f4").ctypes.data % CACHE_LINE
    0
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def address(array: NDArray[Any]) -> int:
    """Return the address of the first element; it takes some microseconds."""
    return int(array.ctypes.data)


def function_address(library: ctypes.CDLL, name: str) -> int:
    """Return the address of a function of a shared object."""
    return int(ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0)
