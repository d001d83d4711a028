"""IDX, the file format of MNIST: a magic number, the dimensions, then the values, all big-endian."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# The third byte of the magic number -> NumPy's name of the type.
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(path: Path) -> NDArray[Any]:
    """Read an IDX file, as it is or gzipped.

    Returns:
        A writable array of the file's shape and type, in the machine's byte order.

    Raises:
        UsageError: the file cannot be read or is no whole IDX file; names it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read as IDX: {error.strerror or error}") from error
    return parse(data, str(path))


def parse(data: bytes, name: str) -> NDArray[Any]:
    """Parse the bytes of an IDX file, as they are or gzipped; `name` is what errors call it.

    Source: "The IDX file format", at the end of the MNIST page (LeCun, Cortes, Burges).

    >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), "labels")
    array([7, 9], dtype=uint8)

    Raises:
        UsageError: the magic number, the length or the compression is wrong; names the file.
    """
    import numpy as np

    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{name}: damaged or cut gzip ({error}); fetch or copy it again") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in DTYPES:
        raise UsageError(
            f"{name}: not an IDX file: it starts with {data[:4].hex(' ') or 'nothing'}, allowed is 00 00, "
            f"a type ({', '.join(f'{code:02x}' for code in DTYPES)}) and the number of dimensions"
        )
    dtype, start = np.dtype(DTYPES[data[2]]), 4 + 4 * data[3]
    if len(data) < start:
        raise UsageError(f"{name}: cut within its header: {len(data)} bytes of {start}; copy it again")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        fault = "cut" if len(data) < expected else "longer than its header says"
        raise UsageError(
            f"{name}: {fault}: shape {shape} of {dtype.name} makes {expected} bytes, got {len(data)}; "
            "copy it again"
        )
    # astype copies: an array over the bytes themselves would be read-only, which torch warns about.
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def pack(array: NDArray[Any]) -> bytes:
    """The bytes of an IDX file that holds the array; what `parse` reads.

    >>> import numpy as np
    >>> pack(np.array([7, 9], np.uint8)).hex(" ")
    '00 00 08 01 00 00 00 02 07 09'

    Raises:
        KeyError: IDX has no such type.
    """
    import numpy as np

    codes = {np.dtype(name).newbyteorder("="): code for code, name in DTYPES.items()}
    code = codes[array.dtype]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(DTYPES[code]).tobytes()
