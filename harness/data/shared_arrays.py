"""Arrays made once a machine and mapped by all of its processes: many workers hold one copy of the images.

A file <cache>/arrays/<key> holds a length (8 bytes, little-endian), so many bytes of JSON (type, shape and
place of every array by its name, and a checksum of all), and the arrays. Read-only maps of it are pages of
the system, which takes them back where memory runs short. All files together have MOST_BYTES at most.
"""

from __future__ import annotations

import json
import mmap
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.data import cache
from harness.errors import MachineError
from harness.system import files, locks

VERSION = 1
"""Version of the files; part of every key."""
MOST_BYTES = 4 << 30
"""Bytes of all files. What finds no room among those of the last day is not shared."""
UNUSED = 86_400.0
"""Seconds after a file was last mapped from which it may go: earlier, a process of another machine that
shares the folder might lose its pages."""
SPARE = 4
"""Free space on the disk, in sizes of the arrays, without which they are not written."""
PATIENCE = 600.0
"""Seconds to wait for another process that makes the same arrays."""
ALIGNED = 64
"""Bytes of a cache line, at which every array begins."""
MOST_HEADER = 1 << 16

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


def shared_arrays(key: str, make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays of a key: maps of those that a process of this machine has made, or makes now.

    They are read-only. Where the cache is full, cannot be written, or has no locks, they are this process's
    own, as `make` returns them; nothing else differs, so nothing is said. Damaged files are made anew.

    Args:
        key: all that decides the arrays.
        make: makes them.
    """
    path = _path(key)
    there = _mapped(path)
    if there is not None:
        return there
    from filelock import Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = locks.hold(path.with_name(f".lock-{path.name[:2]}"), "", PATIENCE)
    except (OSError, MachineError, Timeout):
        return _closed(make())
    try:
        there = _mapped(path)  # another process was making them
        return _kept(path, make()) if there is None else there
    finally:
        lock.release()


def find_arrays(key: str) -> Arrays | None:
    """Map the arrays of a key, as `shared_arrays` does; None where no process has made them."""
    return _mapped(_path(key))


def _path(key: str) -> Path:
    return cache.cache_root() / "arrays" / sha256(f"{VERSION} {key}".encode()).hexdigest()[:32]


def _closed(arrays: Arrays) -> Arrays:
    """Make arrays read-only, as shared ones are."""
    for array in arrays.values():
        array.setflags(write=False)
    return arrays


def _mapped(path: Path) -> Arrays | None:
    """Map the arrays of a file; None if there is none, or it is damaged."""
    try:
        with path.open("rb") as file:
            content = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        size = int.from_bytes(content[:8].tobytes(), "little")
        header = json.loads(content[8 : 8 + min(size, MOST_HEADER)].tobytes())
        start = _aligned(8 + size)
        if zlib.crc32(content[start:].data) != header["sum"]:
            return None
        arrays = {}
        for name, (dtype, shape, place) in header["arrays"].items():
            kind = np.dtype(dtype)
            end = start + place + kind.itemsize * int(np.prod(shape, dtype=np.int64))
            arrays[name] = content[start + place : end].view(kind).reshape(shape)
    except files.DAMAGE:
        return None
    with suppress(OSError):  # another person's file
        path.touch()  # the oldest go first
    return arrays


def _aligned(place: int) -> int:
    return -(-place // ALIGNED) * ALIGNED


def _packed(arrays: Arrays) -> list[bytes | memoryview]:
    """Return the content of a file, in pieces."""
    places: dict[str, tuple[str, tuple[int, ...], int]] = {}
    pieces: list[bytes | memoryview] = []
    end, total = 0, 0
    for name, array in arrays.items():
        places[name] = (array.dtype.str, array.shape, end)
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        for piece in (content, bytes(_aligned(array.nbytes) - array.nbytes)):
            total = zlib.crc32(piece, total)
            pieces.append(piece)
        end += _aligned(array.nbytes)
    header = json.dumps({"arrays": places, "sum": total}).encode()
    first = len(header).to_bytes(8, "little") + header
    return [first.ljust(_aligned(len(first)), b"\0"), *pieces]


def _kept(path: Path, arrays: Arrays) -> Arrays:
    """Write arrays whole or not at all, and map them; where that fails, return them as they are."""
    size = sum(array.nbytes for array in arrays.values())
    temporary = None
    try:
        if shutil.disk_usage(path.parent).free < SPARE * size or not _has_room(path, size):
            return _closed(arrays)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=locks.prefix(), delete=False) as file:
            temporary = Path(file.name)
            for piece in _packed(arrays):
                file.write(piece)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        return _closed(arrays)
    there = _mapped(path)
    return _closed(arrays) if there is None else there


def _has_room(path: Path, size: int) -> bool:
    """Tell whether so many more bytes may be kept, after those that were used longest ago have gone."""
    now = locks.time_of(path.with_name(".clock"))
    locks.sweep(path.parent, now, held=False)
    states = [(file, file.stat()) for file in path.parent.iterdir() if not file.name.startswith(".")]
    left = MOST_BYTES - size - sum(state.st_size for file, state in states if file != path)
    for file, state in sorted(states, key=lambda pair: pair[1].st_mtime):
        if left >= 0 or now - state.st_mtime < UNUSED:
            break
        file.unlink()
        left += state.st_size if file != path else 0
    return left >= 0
