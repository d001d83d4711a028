"""Many small image files -> one array: decoded once, then kept in the cache until a file changes."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from harness import notes
from harness.data import cache, npy, pictures
from harness.data.folder_parts import kind as described
from harness.data.folder_parts import pixel_fault
from harness.notes import progress_bar
from harness.system import locks, resources

if TYPE_CHECKING:
    from harness.data.images import RawPixels

T = TypeVar("T")
Kind = Literal["png", "npy", "picture"]
VERSION = 3  # of the decoding; part of every cache key
SLOW = 1.0  # seconds: longer work shows its progress, and its pixels are kept
OLD = 86_400.0  # seconds, more than any two clocks differ by
SETTLED = 2.0  # seconds: a file just written may change once more within its time stamp's resolution
MOST_KEPT = 10  # folders' pixels in the cache; the oldest go first


def pixels(files: Sequence[Path], kind: Kind, name: str, problems: list[str]) -> RawPixels:
    """Decode image files of one size, in order: (N, H, W), or (N, H, W, C) of images with channels.

    Each is of 8 or of 16 bits a channel, and all are alike. A `picture` is a PNG or a JPEG.

    Pixels that take over a second are kept in the cache folder, in an uncompressed .npz under a key of every
    file's name, size and times; so the next process has them at once. `problems` gets a line for every faulty
    file; if there is one, do not use the pixels.
    """
    # By path, whatever order is asked for: a folder read in two orders is decoded and kept once.
    place = sorted(range(len(files)), key=files.__getitem__)
    images = _pixels([files[i] for i in place], kind, name, problems)
    return images if len(images) < len(files) else images[np.argsort(place)]


def _pixels(files: Sequence[Path], kind: Kind, name: str, problems: list[str]) -> RawPixels:
    try:
        key, newest = _state(files, kind)
    except OSError as error:
        problems.append(f"{error.filename}: cannot be read ({error.strerror}); was it removed just now?")
        return np.empty((0, 0, 0), np.uint8)
    path = (
        cache.cache_root()
        / "folders"
        / f"{hashlib.sha256(os.fsencode(files[0].parent)).hexdigest()[:16]}.npz"
    )
    kept = _read(path, key, len(files))
    if kept is not None:
        return kept
    start, before = time.monotonic(), len(problems)
    images = _decode(files, kind, name, problems)
    sound = len(problems) == before
    if sound and time.monotonic() - start > SLOW and _settled(files, kind, (key, newest), start):
        _keep(path, key, images)
    return images


def _settled(files: Sequence[Path], kind: Kind, state: tuple[str, float], start: float) -> bool:
    """Return whether files are unchanged since `start`, and any later change would show in their times.

    A file server's clock, which dates them, may be minutes off this machine's: only a day between the two
    means anything. Else the files have stayed as they are for longer than time stamps are coarse.
    """
    if state[1] < time.time() - OLD:
        return True
    try:
        return time.monotonic() - start >= SETTLED and _state(files, kind) == state
    except OSError:
        return False


def _decode(files: Sequence[Path], kind: Kind, name: str, problems: list[str]) -> RawPixels:
    decode = DECODERS[kind]
    first, images = files[0], np.empty((0, 0, 0), np.uint8)
    for i, path in enumerate(counted(files, len(files), f"reading {name}")):
        try:
            image = decode(path)
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror or error}); copy it again")
            continue
        except ValueError as error:
            problems.append(f"{path}: {error}")
            continue
        except Exception as error:  # noqa: BLE001 (a damaged file makes Pillow raise whatever it will)
            problems.append(f"{path}: cannot be decoded ({error}); copy it again")
            continue
        if not images.size:
            if fault := resources.too_large(len(files) * image.nbytes):
                problems.append(
                    f"{len(files):,} images of {described(image.shape, image.dtype)} take {fault}"
                )
                break
            first, images = path, np.empty((len(files), *image.shape), image.dtype)
        if (image.shape, image.dtype) == (images.shape[1:], images.dtype):
            images[i] = image
        else:
            problems.append(f"{path}: {_unlike(image, images, f'{first.parent.name}/{first.name}')}")
    return images


def _unlike(image: RawPixels, images: RawPixels, first: str) -> str:
    """Say how an image differs from the first one, and how to make them alike."""
    said = f"is {described(image.shape, image.dtype)}, {first} {described(images.shape[1:], images.dtype)}"
    if image.shape[:2] != images.shape[1:3]:
        return f"{said}; allowed is one size (height x width): resize one of them"
    if image.ndim != images.ndim - 1 or image.shape[2:] != images.shape[3:]:
        return (
            f"{said}; allowed is one number of channels: save all in colour, of PNG "
            "image.convert('RGB'), or all in grey, image.convert('L')"
        )
    return f"{said}; allowed is one number of bits: save all with 8 or all with 16"


def _npy(path: Path) -> RawPixels:
    """Read one .npy file as (H, W) or (H, W, C).

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, cut, too large, or not an image.
    """

    def check(header: npy.NpyHeader) -> str:
        fault = pixel_fault(header.dtype, header.shape, stacked=False)
        return fault or pictures.size_fault(*header.shape[:2])

    image: RawPixels = npy.read(path, check)
    return image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image


DECODERS: dict[Kind, Callable[[Path], RawPixels]] = {
    "png": lambda path: pictures.decode(path, ("PNG",)),
    "npy": _npy,
    "picture": lambda path: pictures.decode(path, ("PNG", "JPEG")),
}


def _state(files: Sequence[Path], kind: Kind) -> tuple[str, float]:
    """Return a hash of everything the pixels depend on, and the time of the last change of a file.

    ctime is part of it: archives and copies set mtime to what it was, but nothing sets ctime back.
    """
    total, newest = hashlib.sha256(f"{VERSION} {kind}".encode()), 0
    for path in files:
        stat = path.stat()
        times = f"\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        total.update(b"\0" + os.fsencode(path) + times.encode())
        newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
    return total.hexdigest(), newest / 1e9


def _read(path: Path, key: str, count: int) -> RawPixels | None:
    """Return the pixels kept under the key; None if there are none, or they are damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if str(archive["key"]) != key:
                return None
            images: RawPixels = archive["images"]
    except Exception:  # noqa: BLE001 (damaged, it makes zipfile and NumPy raise whatever they will)
        return None
    known = images.dtype in {np.dtype(np.uint8), np.dtype(np.uint16)} and images.ndim in {3, 4}
    return images if known and len(images) == count else None


def _keep(path: Path, key: str, images: RawPixels) -> None:
    """Write the pixels whole or not at all; a failure costs only time, so it is a note."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=locks.prefix(), delete=False) as file:
            temporary = Path(file.name)
            np.savez(file, key=np.array(key), images=images)
        temporary.chmod(0o644)
        temporary.replace(path)
        for old in sorted(path.parent.glob("*.npz"), key=lambda kept: kept.stat().st_mtime)[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
        locks.sweep(path.parent, path.stat().st_mtime, held=False)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):  # the first of the two errors is reported
                temporary.unlink()
        notes.warn(f"the decoded images cannot be kept in {path.parent}: {error}")


def counted(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    """Go through items; show how far that is once it takes over a second."""
    if multiprocessing.parent_process() is not None:  # a worker's screen is its parent's
        yield from items
        return
    done = 0
    with progress_bar.shown(title, "images", total, lambda: done, delay=SLOW):
        for item in items:
            yield item
            done += 1
