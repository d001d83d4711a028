"""Reading of untrusted files with bounded sizes, and atomic writing.

Nothing here knows a file's meaning: a damaged file raises ValueError, which the caller puts into words. A
file that exists but cannot be read now, because a disk fails, raises MachineError: it may be whole.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import re
import secrets
import struct
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import MachineError
from harness.system import locks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

DAMAGE = (
    OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
"""Exceptions that reading a damaged file may raise."""
MOST_TEXT = 64 * 2**20
"""Largest size of a JSON or TOML file in bytes; a plan of 100,000 trials has a twentieth of it."""
SPARE = 16 * 2**20
RATIO = 50
"""Limits of an archive's unpacked size, SPARE plus RATIO times its own; CSVs shrink to a tenth at most."""
SPARE_ARRAYS = 256 * 2**20
"""SPARE for arrays: a thousand networks that always predict one class compress to almost nothing."""
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Form of a stack's name and of a trial_id: both name files, which must stay in their folder."""


def is_name(value: object) -> bool:
    """Tell whether a value has the form of a stack's name or a trial_id."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def write(path: Path, content: bytes) -> None:
    """Write a file whole or, with a MachineError, not at all: temporary file, flush to disk, rename."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.parent / f"{locks.prefix()}{secrets.token_hex(8)}"
        with draft.open("xb") as file:  # with the permissions that this process gives its files
            temporary = draft
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):  # the disk may be gone by now: its first error is reported
                temporary.unlink()
        raise unwritten(path, error) from error


def unwritten(path: Path, error: OSError) -> MachineError:
    """Make the error that says why a file, or into a folder, nothing can be written."""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    advice = "free some space" if full else "check the folder's permissions"
    return MachineError(
        f"{path} cannot be written: {error.strerror or error}. What is finished is safe; {advice}, "
        "then run the same command again: it goes on from here."
    )


class DraftFile:
    """A file that is written bit by bit, beside its place, and put there whole with `place`.

    `digest` is the SHA-256 of what was written, and `head` its first line. Without `place`, nothing is there.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.head = path, b""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._draft = path.parent / f"{locks.prefix()}{secrets.token_hex(8)}"
        self._sha = hashlib.sha256()
        self._file = self._draft.open("xb")

    @property
    def digest(self) -> str:
        """The SHA-256 of what has been written."""
        return self._sha.hexdigest()

    def write(self, content: bytes) -> None:
        """Write some more; raise MachineError where that fails."""
        if not self.head:
            self.head = content.partition(b"\n")[0]
        self._sha.update(content)
        try:
            self._file.write(content)
        except OSError as error:
            raise unwritten(self.path, error) from error

    def place(self) -> None:
        """Put the file into its place; raise MachineError where that fails."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._draft.replace(self.path)
        except OSError as error:
            raise unwritten(self.path, error) from error

    def drop(self) -> None:
        """Remove the draft, if it is not in its place."""
        with suppress(OSError):  # a full disk: closing writes what waits
            self._file.close()
        with suppress(OSError):
            self._draft.unlink()


def keep_first(path: Path, content: str, read: Callable[[Path], T | None]) -> T | None:
    """Keep a text unless another process has kept one; return what is there: the first decides for all.

    Args:
        path: its folder is made if need be.
        content: the text.
        read: returns what a file says, or None if there is none or it is damaged: such a one is replaced.

    Returns None where nothing can be kept.
    """
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            draft = Path(scratch) / path.name
            draft.write_text(content, encoding="utf-8")
            try:
                path.hardlink_to(draft)  # which replaces nothing
            except FileExistsError:
                if read(path) is None:
                    draft.replace(path)
            except OSError:  # a file system without links
                draft.replace(path)
    return read(path)


def content_of(path: Path, most: int | None = None) -> bytes:
    """Read a file's bytes, at most the first `most` of them.

    Raises:
        OSError: there is no such file.
        MachineError: the file exists, and the machine cannot read it now.
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


def names(folder: Path) -> list[str]:
    """List the names in a folder; none where it is not there."""
    return os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 (a million paths take a second)


def text(path: Path, most: int = MOST_TEXT) -> str:
    """Read a text file, without its byte order mark, as `content_of`.

    Raises:
        ValueError: it is longer than `most` bytes, or not UTF-8.
    """
    content = content_of(path, most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content.decode("utf-8-sig")


def json_table(path: Path) -> dict[str, Any]:
    """Read the object that a JSON file holds; raise ValueError if it holds something else."""
    content = json_value(text(path))
    if isinstance(content, dict):
        return content
    raise ValueError("it does not hold a JSON object")


def json_value(content: str) -> Any:
    """Parse a JSON text; raise ValueError if it is malformed or nested too deeply."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def toml_table(path: Path) -> dict[str, Any]:
    """Read the table that a TOML file holds; raise ValueError if it is none."""
    try:
        return tomllib.loads(text(path).replace("\r\n", "\n"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check_unpacked(archive: zipfile.ZipFile, spare: int = SPARE) -> None:
    """Raise ValueError if an archive would unpack to more than any results do."""
    members = archive.infolist()
    packed, unpacked = (sum(getattr(m, size) for m in members) for size in ("compress_size", "file_size"))
    if unpacked > spare + RATIO * packed:
        raise ValueError(f"its {packed:,} bytes would unpack to {unpacked:,}, which no results do")


def unpacked(content: bytes, most: int) -> bytes:
    """Unpack what gzip packed; raise ValueError if it is damaged, or more than `most` bytes."""
    try:
        with gzip.open(io.BytesIO(content)) as file:
            plain = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"it cannot be unpacked: {error}") from error
    if len(plain) > most:
        raise ValueError(f"it would unpack to more than {most:,} bytes")
    return plain


def members(content: bytes, names: Sequence[str]) -> dict[str, str]:
    """Read these members of a zip archive as texts, but absent ones; a damaged one raises any of DAMAGE."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        check_unpacked(archive)
        there = set(archive.namelist())
        return {name: archive.read(name).decode() for name in names if name in there}


def first_line(content: bytes, name: str) -> str:
    """Read the first line of a member of a zip archive; a damaged one raises any of DAMAGE."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(name) as member:
        return member.readline().decode()


def size_of(content: bytes, name: str) -> int:
    """Return the unpacked bytes of a member of a zip archive; a damaged one raises any of DAMAGE."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.getinfo(name).file_size


def arrays(content: bytes) -> dict[str, NDArray[np.generic]]:
    """Read the arrays of a .npz file; nothing is unpickled, and a damaged one raises any of DAMAGE."""
    import numpy as np

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        check_unpacked(archive, SPARE_ARRAYS)
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file}


def steady(content: bytes) -> bytes:
    """Put the header of a safetensors file into a fixed order: the library's changes from run to run."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    about = header.pop("__metadata__", None)
    ordered = ({"__metadata__": dict(sorted(about.items()))} if about else {}) | header
    packed = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    packed += b" " * (-len(packed) % 8)  # arrays begin at a multiple of 8 bytes
    return struct.pack("<Q", len(packed)) + packed + content[8 + size :]
