"""The cache of downloaded data sets: its folder, its files' SHA-256, and its lock.

A file enters the cache whole and verified, by one rename, or not at all.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness import notes
from harness.errors import MachineError, UsageError, did_you_mean
from harness.system import locks

# SHA-256 of the decompressed files, by data set and file.
PINS: Mapping[str, Mapping[str, str]] = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}
CHUNK = 1 << 20  # bytes
LARGEST = 1 << 28  # bytes of one file, unpacked: those that are downloaded have at most 47 MB
LOCK_TIMEOUT = 1800  # seconds to wait for another process that downloads the same data set


class Unreadable(Exception):  # noqa: N818 (a reason to try another source, not an error a person meets)
    """A downloaded file is cut or damaged; the message says how."""


class DiskError(OSError):
    """The cache cannot be written, so that no other source can help."""


@dataclass(frozen=True)
class FileState:
    """The state of one cached file; `got` is its SHA-256, "" if it is missing."""

    path: Path
    status: Literal["ok", "missing", "damaged"]
    expected: str
    got: str

    def __str__(self) -> str:
        detail = f": expected {self.expected}, got {self.got}" if self.status == "damaged" else ""
        return f"{self.path}: {self.status}{detail}"


def cache_root() -> Path:
    """Return the cache folder: `HARNESS_DATA` if it is set, else the platform's folder for caches.

    Raises:
        UsageError: `HARNESS_DATA` names the home of an unknown user.
    """
    chosen = os.environ.get("HARNESS_DATA")
    try:
        chosen = chosen and str(Path(chosen).expanduser())
    except RuntimeError as error:
        raise UsageError(
            f"HARNESS_DATA = {chosen!r}: {error}; allowed: a folder for downloaded data"
        ) from error
    if chosen:
        return Path(chosen)
    import platformdirs

    return platformdirs.user_cache_path("ablation-harness")


def verify(name: str, *, root: Path | None = None, pins: Mapping[str, str] | None = None) -> list[FileState]:
    """Hash the cached files of data set `name`, by default those of PINS; nothing is downloaded or changed.

    Raises:
        UsageError: no data set of this name is downloaded.
        MachineError: a cached file cannot be read.
    """
    folder = (root or cache_root()) / name
    return [_file_state(folder / file, expected) for file, expected in (pins or pins_of(name)).items()]


def pins_of(name: str) -> Mapping[str, str]:
    """Return the files of data set `name` and their SHA-256."""
    if name not in PINS:
        raise UsageError(f"data set {name!r} is not downloaded: {did_you_mean(name, PINS)}")
    return PINS[name]


def _file_state(path: Path, expected: str) -> FileState:
    """Hash one cached file."""
    try:
        with path.open("rb") as stream:
            got = hashlib.file_digest(stream, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return FileState(path, "missing", expected, "")
    except OSError as error:
        raise MachineError(
            f"the cached file {path} cannot be read: {error.strerror}. Make it readable, or set HARNESS_DATA "
            "to another folder."
        ) from error
    return FileState(path, "ok" if got == expected else "damaged", expected, got)


def install(path: Path, temporary: Path, target: Path, expected: str) -> str:
    """Decompress `path`, verify it, and move it to `target` in one step; return its fault, or "".

    Raises:
        DiskError: the cache cannot be written.
    """
    digest = hashlib.sha256()
    try:
        with temporary.open("wb") as stream:
            for chunk in _decompressed(path):
                digest.update(chunk)
                stream.write(chunk)
                if stream.tell() > LARGEST:
                    return f"damaged: it unpacks to over {LARGEST:,} bytes"
            stream.flush()
            os.fsync(stream.fileno())
        if digest.hexdigest() == expected:
            temporary.replace(target)
            return ""
    except Unreadable as reason:
        return str(reason)
    except OSError as error:
        raise DiskError(error.errno, error.strerror) from error
    return f"damaged: SHA-256 expected {expected[:16]}..., got {digest.hexdigest()[:16]}..."


def _decompressed(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, gunzipped if it is gzip; raise Unreadable if it is cut or damaged."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if packed else raw as stream:
                while chunk := stream.read(CHUNK):
                    yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"{path.name} cannot be read ({error})") from error


@contextmanager
def locked(name: str, folder: Path) -> Iterator[None]:
    """Hold the data set's lock, so that two processes never download it at once.

    Raises:
        MachineError: another process held it for over LOCK_TIMEOUT seconds.
        OSError: the cache cannot be written.
    """
    from filelock import Timeout

    folder.mkdir(parents=True, exist_ok=True)
    path, advice = folder / ".lock", "Set HARNESS_DATA to a local folder"
    try:
        lock = locks.hold(path, advice)
    except Timeout:
        notes.tell(f"{name}: another process is downloading it into {folder}; waiting ...")
        try:
            lock = locks.hold(path, advice, LOCK_TIMEOUT)
        except Timeout:
            raise MachineError(
                f"{name}: another process has held {path} for over {LOCK_TIMEOUT} s. "
                "End it, or set HARNESS_DATA to another folder."
            ) from None
    try:
        yield
    finally:
        lock.release()
