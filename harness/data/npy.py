"""NPY, NumPy's file format: its header is read and checked before memory is given to its values."""

from __future__ import annotations

import functools
import io
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.system import resources

PEEK = 1 << 16  # bytes: a small image whole, and every header (NumPy refuses those over 10,000)


@dataclass(frozen=True)
class NpyHeader:
    """The header of a .npy file; `start` is its length in bytes."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    start: int

    def __str__(self) -> str:
        return f"{self.dtype.name} of shape {self.shape}"


def read(path: Path, check: Callable[[NpyHeader], str] = lambda _: "") -> NDArray[Any]:
    """Read one array without unpickling anything.

    `check` returns the fault of an array with this header, or ""; it is called before the values are read.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, cut, too large, or not what `check` allows.
    """
    if not path.is_file() and path.exists():  # opening a named pipe would wait for a writer
        raise ValueError("is not a file; move it away")
    with path.open("rb") as file:
        return parse(file, os.fstat(file.fileno()).st_size, check)


def parse(
    file: io.BufferedIOBase, size: int, check: Callable[[NpyHeader], str] = lambda _: ""
) -> NDArray[Any]:
    """Read one array of `size` bytes, header and all, from a file or a member of an archive: see `read`.

    Raises:
        ValueError: it is damaged, cut, too large, or not what `check` allows.
    """
    data = file.read(PEEK)
    head = header(data[: _start(data)])
    if fault := check(head):
        raise ValueError(fault)
    expected = math.prod(head.shape) * head.dtype.itemsize
    if size - head.start != expected:
        raise ValueError(
            f"is cut or damaged: shape {head.shape} makes {expected} bytes after its header, "
            f"got {size - head.start}; copy it again"
        )
    if fault := resources.too_large(expected):
        raise ValueError(f"its values take {fault}; make the images fewer or smaller")
    values = np.empty(math.prod(head.shape), head.dtype)
    taken = _fill(values.view(np.uint8), data[head.start :], file)
    if taken != expected:
        more = "more" if taken > expected else taken
        raise ValueError(f"is cut or damaged: {more} of {expected} bytes after its header; copy it again")
    return values.reshape(head.shape, order=head.order)


def _fill(values: NDArray[np.uint8], first: bytes, file: io.BufferedIOBase) -> int:
    """Fill an array with these bytes and those that follow in a file; return how many there are.

    One byte more than it has is asked for: an archive compares its checksum once its end is seen.
    """
    filled = min(len(first), len(values))
    values[:filled] = np.frombuffer(first, np.uint8, filled)
    room = values.data
    while filled < len(values) and (count := file.readinto(room[filled:])):
        filled += count
    return max(filled, len(first)) + len(file.read(1))


def _start(data: bytes) -> int:
    """Return the header's length in bytes, which its first bytes say."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12:
        raise ValueError("is not a .npy file, or is cut within its header; write it again with np.save")
    if data[6] == 1:
        return 10 + int.from_bytes(data[8:10], "little")
    return 12 + int.from_bytes(data[8:12], "little")


@functools.lru_cache(maxsize=64)
def header(head: bytes) -> NpyHeader:
    """Parse a header, once for equal ones: NumPy's parser takes longer than reading a small image.

    Raises:
        ValueError: it is damaged, or its values are of an unsupported type.
    """
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        parse = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        with warnings.catch_warnings(action="ignore"):  # a header that Python 2 wrote
            shape, fortran, dtype = parse(stream)
    except Exception as error:
        raise ValueError(f"its .npy header is damaged ({error}); write it again with np.save") from error
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"its .npy header is damaged: a shape {shape}; write it again with np.save")
    if dtype.hasobject:
        raise ValueError(
            "holds Python objects, which only unpickling could read, and that runs code; save "
            "numbers, as with np.save(path, np.array(values.tolist()))"
        )
    if not dtype.itemsize:
        raise ValueError(f"holds values of no size ({dtype}); save numbers")
    return NpyHeader(dtype, shape, "F" if fortran else "C", len(head))
