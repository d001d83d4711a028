"""Files within archives, read into memory: only those named, once each, of a size that is known before.

Nothing is unpacked to the disk, and no path of an archive is used as one.
"""

from __future__ import annotations

import bz2
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import MachineError

DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    zlib.error,
    RuntimeError,
    NotImplementedError,
)
CHUNK = 1 << 20  # bytes


def _unfit(path: Path, reason: object) -> MachineError:
    return MachineError(f"{path}: {reason}. Remove the file and fetch it again")


def of_tar(path: Path, sizes: Mapping[str, int]) -> dict[str, bytes]:
    """Read the members of a tar file, packed in any way, that `sizes` names; each has so many bytes.

    Raises:
        MachineError: one is missing, comes twice, is a link or has another size; or the archive is damaged.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                if member.name not in sizes:
                    continue
                stream = tar.extractfile(member) if member.isreg() else None
                if stream is None or member.size != sizes[member.name] or member.name in found:
                    raise _unfit(path, f"its {member.name} is no file of {sizes[member.name]:,} bytes, once")
                found[member.name] = stream.read()
    except DAMAGE as error:
        raise _unfit(path, f"the archive cannot be read ({error})") from error
    return _whole(path, found, list(sizes))


def of_zip(path: Path, names: Sequence[str], most: int) -> dict[str, bytes]:
    """Read the members of a zip file of these names; each unpacks to at most so many bytes.

    Raises:
        MachineError: one is missing, comes twice or is larger; or the archive is damaged.
    """
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename not in names:
                    continue
                if member.file_size > most or member.filename in found:
                    raise _unfit(path, f"its {member.filename} is no file of at most {most:,} bytes, once")
                found[member.filename] = archive.read(member)
    except DAMAGE as error:
        raise _unfit(path, f"the archive cannot be read ({error})") from error
    return _whole(path, found, names)


def _whole(path: Path, found: dict[str, bytes], names: Sequence[str]) -> dict[str, bytes]:
    if missing := [name for name in names if name not in found]:
        raise _unfit(path, f"the archive lacks {', '.join(missing)}")
    return found


def of_bz2(path: Path, most: int) -> bytes:
    """Read a bz2 file that unpacks to at most so many bytes.

    Raises:
        MachineError: it is larger, or damaged.
    """
    text = bytearray()
    try:
        with bz2.open(path) as stream:
            while chunk := stream.read(CHUNK):
                text += chunk
                if len(text) > most:
                    raise _unfit(path, f"it unpacks to over {most:,} bytes")
    except DAMAGE as error:
        raise _unfit(path, f"it cannot be read ({error})") from error
    return bytes(text)
