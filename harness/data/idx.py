"""IDX, the file format of MNIST: a magic number, the dimensions, then the values, all big-endian."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.system import resources

# The third byte of the magic number -> NumPy's name of the type.
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_DIMENSIONS = 8  # images have 3; NumPy would take 64
CHUNK = 1 << 24  # bytes


def read(path: Path) -> NDArray[Any]:
    """Read an IDX file, as it is or gzipped: a writable array in the machine's byte order.

    Raises:
        UsageError: the file cannot be read or is not a complete IDX file; the message names it.
    """
    try:
        if path.exists() and not path.is_file():  # opening a named pipe would wait for a writer
            raise UsageError(f"{path}: cannot be read as IDX: it is not a file")
        with path.open("rb") as file:
            return parse(file, os.fstat(file.fileno()).st_size, str(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read as IDX: {error.strerror or error}") from error


def parse(file: BinaryIO, size: int, name: str) -> NDArray[Any]:
    """Parse an IDX file of `size` bytes, as it is or gzipped; errors call it `name`.

    Source: "The IDX file format", at the end of the MNIST page (LeCun, Cortes, Burges).

    >>> from io import BytesIO
    >>> parse(BytesIO(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])), 10, "labels")
    array([7, 9], dtype=uint8)

    Raises:
        UsageError: the magic number, the length or the compression is wrong; the message names the file.
    """
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not packed:
        return _array(file, size, name)
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            return _array(cast("BinaryIO", stream), None, name)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{name}: damaged or cut gzip ({error}); fetch or copy it again") from error


def _array(stream: BinaryIO, size: int | None, name: str) -> NDArray[Any]:
    """Read the header and its values, never more, and one byte to see that the file ends.

    `size` is the file's length in bytes; None if it is not known without reading.
    """
    shape, dtype = _header(stream, name)
    start = 4 + 4 * len(shape)
    expected = start + math.prod(shape) * dtype.itemsize
    if size in {None, expected} and (fault := resources.too_large(expected)):
        raise UsageError(
            f"{name}: its header says shape {shape} of {dtype.name}: {fault}; fetch or copy it again"
        )
    values = b"" if size not in {None, expected} else _take(stream, expected - start + 1)
    got = start + len(values) if size is None else size
    if got != expected:
        fault = "cut" if got < expected else "longer than its header says"
        more = "at least " if size is None and got > expected else ""
        raise UsageError(
            f"{name}: {fault}: shape {shape} of {dtype.name} makes {expected} bytes, got {more}{got}; "
            "copy it again"
        )
    try:
        # astype copies: an array over the bytes themselves would be read-only, which torch warns about.
        return np.frombuffer(values, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as error:  # no values, in more rows and columns than an array can have
        raise UsageError(f"{name}: its header says shape {shape}: {error}; copy it again") from error


def _header(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read shape and type from a file's first bytes."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        raise UsageError(
            f"{name}: not an IDX file: it starts with {magic.hex(' ') or 'nothing'}, allowed is 00 00, "
            f"a type ({', '.join(f'{code:02x}' for code in DTYPES)}) and the number of dimensions"
        )
    if magic[3] > MOST_DIMENSIONS:
        raise UsageError(
            f"{name}: not an IDX file, or damaged: its header says {magic[3]} dimensions; allowed: up to "
            f"{MOST_DIMENSIONS}. Copy it again"
        )
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise UsageError(
            f"{name}: cut within its header: {4 + len(sizes)} bytes of {4 + 4 * magic[3]}; copy it again"
        )
    return struct.unpack(f">{magic[3]}I", sizes), np.dtype(DTYPES[magic[2]])


def _take(stream: BinaryIO, most: int) -> bytearray:
    """Read at most so many bytes of a stream; memory grows with the bytes read, not with those requested."""
    taken = bytearray()
    while len(taken) < most and (chunk := stream.read(min(CHUNK, most - len(taken)))):
        taken += chunk
    return taken


def pack(array: NDArray[Any]) -> bytes:
    """Write an array as the bytes of an IDX file.

    >>> import numpy as np
    >>> pack(np.array([7, 9], np.uint8)).hex(" ")
    '00 00 08 01 00 00 00 02 07 09'

    Raises:
        KeyError: IDX has no such type.
    """
    codes = {np.dtype(name).newbyteorder("="): code for code, name in DTYPES.items()}
    code = codes[array.dtype]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(DTYPES[code]).tobytes()
