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
from harness.data import pins as published_pins
from harness.errors import MachineError, UsageError, did_you_mean
from harness.system import locks

PINS: Mapping[str, Mapping[str, str]] = published_pins.all_pins()
"""The digest of each file, by data set: the SHA-256 of unpacked bytes, or "sha256:..." or "md5:..."
of a file that is kept as its publisher has it."""
USUAL = ("mnist", "fashion_mnist")
"""Data sets that studies of the harness use: those that are fetched where none is named."""
CHUNK = 1 << 20  # bytes
LARGEST = 1 << 28  # bytes of one file, unpacked: those that are downloaded have at most 47 MB
LARGEST_PACKED = 1 << 30  # bytes of one file that stays packed: EMNIST's archive has 562 MB
LOCK_TIMEOUT = 1800  # seconds to wait for another process that downloads the same data set


class Unreadable(Exception):  # noqa: N818 (a reason to try another source, not an error a person meets)
    """A downloaded file is cut or damaged; the message says how."""


class DiskError(OSError):
    """The cache cannot be written, so that no other source can help."""


@dataclass(frozen=True)
class FileState:
    """The state of one cached file; `got` is its digest in the form of a pin, "" if it is missing."""

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


def fetched() -> list[str]:
    """List the data sets to check where none is named: those of USUAL, and others with files."""
    root = cache_root()
    return [n for n in PINS if n in USUAL or any((root / n / file).exists() for file in PINS[n])]


def pins_of(name: str) -> Mapping[str, str]:
    """Return the files of data set `name` and their digests."""
    if name not in PINS:
        raise UsageError(f"data set {name!r} is not downloaded: {did_you_mean(name, PINS)}")
    return PINS[name]


def stays_packed(pin: str) -> bool:
    """Tell whether a pin is of a file that is kept as its publisher has it."""
    return ":" in pin


def _hasher(pin: str) -> hashlib._Hash:
    """Start the digest that a pin is of."""
    return hashlib.new(pin.partition(":")[0] if stays_packed(pin) else "sha256", usedforsecurity=False)


def _as_pin(got: str, pin: str) -> str:
    """Write a digest in hexadecimal as `pin` is written."""
    kind, colon, _ = pin.rpartition(":")
    return f"{kind}{colon}{got}"


def _file_state(path: Path, expected: str) -> FileState:
    """Hash one cached file."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, lambda: _hasher(expected)).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return FileState(path, "missing", expected, "")
    except OSError as error:
        raise MachineError(
            f"the cached file {path} cannot be read: {error.strerror}. Make it readable, or set HARNESS_DATA "
            "to another folder."
        ) from error
    got = _as_pin(digest, expected)
    return FileState(path, "ok" if got == expected else "damaged", expected, got)


def install(path: Path, temporary: Path, target: Path, expected: str) -> str:
    """Decompress `path` unless it stays packed, verify it, and move it to `target` in one step.

    Returns:
        Its fault, or "".

    Raises:
        DiskError: the cache cannot be written.
    """
    packed = stays_packed(expected)
    digest, largest = _hasher(expected), LARGEST_PACKED if packed else LARGEST
    try:
        with temporary.open("wb") as stream:
            for chunk in _chunks(path, unpack=not packed):
                digest.update(chunk)
                stream.write(chunk)
                if stream.tell() > largest:
                    return f"damaged: it {'has' if packed else 'unpacks to'} over {largest:,} bytes"
            stream.flush()
            os.fsync(stream.fileno())
        if _as_pin(digest.hexdigest(), expected) == expected:
            temporary.replace(target)
            return ""
    except Unreadable as reason:
        return str(reason)
    except OSError as error:
        raise DiskError(error.errno, error.strerror) from error
    kind = "MD5" if expected.startswith("md5:") else "SHA-256"
    wanted, got = expected.rpartition(":")[2], digest.hexdigest()
    return f"damaged: {kind} expected {wanted[:16]}..., got {got[:16]}..."


def _chunks(path: Path, *, unpack: bool) -> Iterator[bytes]:
    """Yield the bytes of a file, gunzipped if it is gzip; raise Unreadable if it is cut or damaged."""
    try:
        with path.open("rb") as raw:
            packed = unpack and raw.read(2) == b"\x1f\x8b"
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
