"""Files that may be damaged, or come from anybody: read with their sizes bounded, written the same each time.

Nothing here knows what a file means: what is wrong is a ValueError, which the reader puts into words. A file
that is there and cannot be read now, as a disk fails, is not taken for a damaged one: that is a MachineError.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import struct
import tomllib
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import MachineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DAMAGE = (
    OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
"""What reading a damaged file may raise."""
MOST_TEXT = 64 * 2**20
"""Bytes of a JSON or TOML file, at most: a plan of 100,000 trials has a twentieth of it."""
SPARE = 16 * 2**20
RATIO = 50
"""An archive may unpack to SPARE bytes and RATIO times its own: CSVs of results shrink to a tenth at most."""
SPARE_ARRAYS = 256 * 2**20
"""The same of arrays: what a thousand dead networks predict of 60,000 images is next to nothing, packed."""
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""The form of a stack's name and of a trial_id: both name files, which must stay in their folder."""


def is_name(value: object) -> bool:
    """Whether a value has the form of a stack's name or a trial_id."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def content_of(path: Path, most: int | None = None) -> bytes:
    """A file's bytes, the first `most` of them if it is given.

    Raises:
        OSError: there is no such file.
        MachineError: it is there, and the machine cannot read it now.
    """
    try:
        with path.open("rb") as file:
            # Not `most` at once: Python takes the memory before it knows how much there is.
            return file.read(-1 if most is None else min(most, os.fstat(file.fileno()).st_size + 1))
    except OSError as error:
        if isinstance(error, ABSENT) or error.errno == errno.ELOOP or path.is_dir():
            raise
        raise MachineError(
            f"{path} cannot be read: {error.strerror or error}. It may be whole, and nothing was made in its "
            "place; check the disk and the file's permissions, then run the same command again"
        ) from error


def text(path: Path, most: int = MOST_TEXT) -> str:
    """A text file's content, without a byte order mark.

    Raises:
        OSError: there is no such file.
        MachineError: it is there, and the machine cannot read it now.
        ValueError: it is longer than `most` bytes, or no UTF-8.
    """
    content = content_of(path, most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content.decode("utf-8-sig")


def json_table(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        OSError, ValueError: it cannot be read, or holds something else.
    """
    content = json_value(text(path))
    if isinstance(content, dict):
        return content
    raise ValueError("it holds no JSON object")


def json_value(content: str) -> Any:
    """What a JSON text says; raises ValueError where it is none, or nested beyond all measure."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def toml_table(path: Path) -> dict[str, Any]:
    """The table that a TOML file holds.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    try:
        return tomllib.loads(text(path).replace("\r\n", "\n"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check_unpacked(archive: zipfile.ZipFile, spare: int = SPARE) -> None:
    """Raise ValueError where an archive would unpack to more than any results do."""
    members = archive.infolist()
    packed, unpacked = (sum(getattr(m, size) for m in members) for size in ("compress_size", "file_size"))
    if unpacked > spare + RATIO * packed:
        raise ValueError(f"its {packed:,} bytes would unpack to {unpacked:,}, which no results do")


def members(content: bytes, names: Sequence[str]) -> dict[str, str]:
    """The texts of those of these members that a zip archive has, its size looked at first.

    Raises:
        any of DAMAGE: it is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        check_unpacked(archive)
        there = set(archive.namelist())
        return {name: archive.read(name).decode() for name in names if name in there}


def arrays(content: bytes) -> dict[str, NDArray[np.generic]]:
    """The arrays of a .npz file, their size looked at first; nothing is unpickled.

    Raises:
        any of DAMAGE: it is damaged.
    """
    import numpy as np

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        check_unpacked(archive, SPARE_ARRAYS)
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file}


def steady(content: bytes) -> bytes:
    """The bytes of a safetensors file with its header in one order: the library's changes from run to run."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    about = header.pop("__metadata__", None)
    ordered = ({"__metadata__": dict(sorted(about.items()))} if about else {}) | header
    packed = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    packed += b" " * (-len(packed) % 8)  # arrays begin at a multiple of 8 bytes
    return struct.pack("<Q", len(packed)) + packed + content[8 + size :]
