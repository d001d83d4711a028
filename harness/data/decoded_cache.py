"""Many small image files -> one array: decoded once, then kept in the cache until a file changes."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import struct
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness import notes
from harness.data import cache, npy, remedies
from harness.notes import progress_bar
from harness.system import locks, resources

T = TypeVar("T")
Kind = Literal["png", "npy"]
VERSION = 2  # of the decoding; part of every cache key
SLOW = 1.0  # seconds: longer work shows its progress, and its pixels are kept
OLD = 86_400.0  # seconds, more than any two clocks differ by
SETTLED = 2.0  # seconds: a file just written may change once more within its time stamp's resolution
MOST_PIXELS = (
    1 << 24
)  # of an image, 4096 x 4096: every pixel is a network's input, so a larger one is a mistake
MOST_KEPT = 10  # folders' pixels in the cache; the oldest go first
GREY = ("L", "1")  # Pillow's names for grey of 8 bits or fewer


def pixels(files: Sequence[Path], kind: Kind, name: str, problems: list[str]) -> NDArray[np.uint8]:
    """Decode image files of one size, in order: (N, H, W).

    Pixels that take over a second are kept in the cache folder, in an uncompressed .npz under a key of every
    file's name, size and times; so the next process has them at once. `problems` gets a line for every faulty
    file; if there is one, do not use the pixels.
    """
    # By path, whatever order is asked for: a folder read in two orders is decoded and kept once.
    place = sorted(range(len(files)), key=files.__getitem__)
    images = _pixels([files[i] for i in place], kind, name, problems)
    return images if len(images) < len(files) else images[np.argsort(place)]


def _pixels(files: Sequence[Path], kind: Kind, name: str, problems: list[str]) -> NDArray[np.uint8]:
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


def _decode(files: Sequence[Path], kind: Kind, name: str, problems: list[str]) -> NDArray[np.uint8]:
    decode = _png if kind == "png" else _npy
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
            if fault := resources.too_large(len(files) * image.size):
                problems.append(
                    f"{len(files):,} images of {image.shape[0]} x {image.shape[1]} pixels take {fault}"
                )
                break
            first, images = path, np.empty((len(files), *image.shape), np.uint8)
        if image.shape == images.shape[1:]:
            images[i] = image
        else:
            (h, w), (height, width) = image.shape, images.shape[1:]
            problems.append(
                f"{path}: is {h} x {w} pixels, {first.parent.name}/{first.name} {height} x {width}; "
                "allowed is one size (height x width): resize one of them"
            )
    return images


def _png(path: Path) -> NDArray[np.uint8]:
    """Decode one PNG as (H, W), turned upright by its EXIF orientation.

    Raises:
        OSError, SyntaxError: Pillow finds it damaged or cut.
        ValueError: it is not grey of 8 bits, or too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with _strict(Image.DecompressionBombWarning), Image.open(path, formats=("PNG",)) as image:
            if fault := _size_fault(image.height, image.width):
                raise ValueError(fault)
            if (pictures := int(getattr(image, "n_frames", 1))) > 1:
                raise ValueError(f"is an animation of {pictures} pictures; allowed: 1. Save each by itself")
            transparent = image.has_transparency_data
            if transparent or image.mode not in GREY:
                remedy = remedies.png(image.mode, transparent=transparent)
                raise ValueError(f"is a PNG of mode {image.mode} {remedy}")
            upright = ImageOps.exif_transpose(image)  # as every viewer shows it
            return np.asarray(upright.convert("L") if upright.mode == "1" else upright, np.uint8)
    except UnidentifiedImageError:
        raise ValueError("is not a PNG, or its beginning is damaged; copy it again") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(_size_fault(*_written_size(path))) from None


@contextmanager
def _strict(error: type[Warning]) -> Iterator[None]:
    """Turn Pillow's warnings (damaged EXIF, a broken animation, a bomb) into errors, and silence the rest."""
    with warnings.catch_warnings(action="ignore"):
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", error)
        yield


def _written_size(path: Path) -> tuple[int, int]:
    """Read height and width from a PNG's first chunk."""
    with path.open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:])
    return height, width


def _npy(path: Path) -> NDArray[np.uint8]:
    """Read one .npy file as (H, W).

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, cut, too large, or not a grey image.
    """

    def check(header: npy.NpyHeader) -> str:
        if header.dtype == "uint8" and len(header.shape) == 2 and 0 not in header.shape:
            return _size_fault(*header.shape)
        remedy = remedies.pixels(header.dtype, header.shape)
        return f"got {header}; allowed: uint8 of shape (height, width); {remedy}"

    return npy.read(path, check)


def _size_fault(height: int, width: int) -> str:
    """Return the reason not to read an image of this size, or ""."""
    if height * width <= MOST_PIXELS:
        return ""
    return (
        f"is {height} x {width} pixels; allowed: up to {MOST_PIXELS:,} pixels an image (each is an "
        "input of the network). Make the images smaller"
    )


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


def _read(path: Path, key: str, count: int) -> NDArray[np.uint8] | None:
    """Return the pixels kept under the key; None if there are none, or they are damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if str(archive["key"]) != key:
                return None
            images: NDArray[np.uint8] = archive["images"]
    except Exception:  # noqa: BLE001 (damaged, it makes zipfile and NumPy raise whatever they will)
        return None
    return images if images.dtype == np.uint8 and images.ndim == 3 and len(images) == count else None


def _keep(path: Path, key: str, images: NDArray[np.uint8]) -> None:
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
