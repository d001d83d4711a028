"""Many small image files -> one array: decoded once, then kept in the cache until a file changes."""

from __future__ import annotations

import functools
import hashlib
import io
import math
import multiprocessing
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from harness import sources

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
Kind = Literal["png", "npy"]
VERSION = 1  # of what decoding means; part of every cache key
SLOW = 1.0  # seconds: what takes longer is shown, and kept
SETTLED = 2.0  # seconds: a file just written may change once more within its time stamp's resolution
MOST_KEPT = 10  # folders' pixels in the cache; the oldest go first
LINE_EVERY = 10.0  # seconds, where there is no terminal
GREY = ("L", "1")  # Pillow's names for grey of 8 bits or fewer


def pixels(files: Sequence[Path], kind: Kind, name: str, problems: list[str]) -> NDArray[np.uint8]:
    """Decode image files of one size, in order: (N, H, W).

    What takes over a second is kept in the cache folder, in an uncompressed .npz under a key of every file's
    name, size and times; so the next process has it at once.

    Args:
        files: at least one.
        kind: the files' format.
        name: what the progress bar calls them.
        problems: gets a line for every file that is not what it should be; if there is one, the pixels are
            not to be used.
    """
    import numpy as np

    # By path, whatever order is asked for: a folder read in two orders is decoded and kept once.
    place = sorted(range(len(files)), key=files.__getitem__)
    images = _pixels([files[i] for i in place], kind, name, problems)
    return images if len(images) < len(files) else images[np.argsort(place)]


def _pixels(files: Sequence[Path], kind: Kind, name: str, problems: list[str]) -> NDArray[np.uint8]:
    import numpy as np

    try:
        key, newest = _state(files, kind)
    except OSError as error:
        problems.append(f"{error.filename}: cannot be read ({error.strerror}); was it removed just now?")
        return np.empty((0, 0, 0), np.uint8)
    path = (
        sources.cache_root()
        / "folders"
        / f"{hashlib.sha256(str(files[0].parent).encode()).hexdigest()[:16]}.npz"
    )
    kept = _read(path, key, len(files))
    if kept is not None:
        return kept
    start, before = time.monotonic(), len(problems)
    images = _decode(files, kind, name, problems)
    slow = time.monotonic() - start > SLOW
    if slow and len(problems) == before and newest < time.time() - SETTLED:
        _keep(path, key, images)
    return images


def _decode(files: Sequence[Path], kind: Kind, name: str, problems: list[str]) -> NDArray[np.uint8]:
    import numpy as np

    decode = _png if kind == "png" else _npy
    first, images = files[0], np.empty((0, 0, 0), np.uint8)
    for i, path in enumerate(counted(files, len(files), f"reading {name}")):
        try:
            image = decode(path)
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror or error}); copy it again")
            continue
        except (ValueError, SyntaxError) as error:
            problems.append(f"{path}: {error}")
            continue
        if not images.size:
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
    """One PNG as (H, W).

    Raises:
        OSError, SyntaxError: as Pillow says that it is damaged or cut.
        ValueError: it is not grey of 8 bits.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode not in GREY:
                raise ValueError(
                    f"is a PNG of mode {image.mode} (colour, alpha or more than 8 bits); allowed: "
                    "8-bit grey. Convert it first (Pillow: image.convert('L'))"
                )
            return np.asarray(image.convert("L") if image.mode == "1" else image, np.uint8)
    except UnidentifiedImageError:
        raise ValueError("is no PNG, or its beginning is damaged; copy it again") from None


def _npy(path: Path) -> NDArray[np.uint8]:
    """One .npy file as (H, W).

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, cut, or no grey image.
    """
    import numpy as np

    data = path.read_bytes()
    if data[:6] != b"\x93NUMPY" or len(data) < 12:
        raise ValueError("is no .npy file, or cut within its header; write it again with np.save")
    start = (
        10 + int.from_bytes(data[8:10], "little")
        if data[6] == 1
        else 12 + int.from_bytes(data[8:12], "little")
    )
    shape, order, kind = _header(data[:start])
    if kind != "uint8" or len(shape) != 2 or 0 in shape:
        raise ValueError(
            f"got {kind} of shape {shape}; allowed: uint8 of shape (height, width). "
            "Convert colour to grey first"
        )
    if len(data) - start != math.prod(shape):
        raise ValueError(
            f"is cut or damaged: shape {shape} makes {math.prod(shape)} bytes after its header, "
            f"got {len(data) - start}; copy it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape, order=order)


@functools.lru_cache(maxsize=64)
def _header(head: bytes) -> tuple[tuple[int, ...], Literal["C", "F"], str]:
    """Shape, order and type from a .npy header: NumPy's parser takes longer than reading a small image."""
    import numpy as np

    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        parse = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = parse(stream)
    except Exception as error:
        raise ValueError(f"its .npy header is damaged ({error}); write it again with np.save") from error
    return shape, "F" if fortran else "C", dtype.name


# -------------------------------------------------------------------------------------------- the cache


def _state(files: Sequence[Path], kind: Kind) -> tuple[str, float]:
    """What the pixels depend on, as one hash, and when a file changed last.

    ctime is part of it: archives and copies set mtime to what it was, but nothing sets ctime back.
    """
    total, newest = hashlib.sha256(f"{VERSION} {kind}".encode()), 0
    for path in files:
        stat = path.stat()
        total.update(f"\0{path}\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}".encode())
        newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
    return total.hexdigest(), newest / 1e9


def _read(path: Path, key: str, count: int) -> NDArray[np.uint8] | None:
    """What is kept under the key; None where there is nothing, or it is damaged."""
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if str(archive["key"]) != key:
                return None
            images: NDArray[np.uint8] = archive["images"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return images if images.dtype == np.uint8 and images.ndim == 3 and len(images) == count else None


def _keep(path: Path, key: str, images: NDArray[np.uint8]) -> None:
    """Write whole or not at all; where that fails it costs time only, so it is said and no more."""
    import numpy as np

    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tmp-", delete=False) as file:
            temporary = Path(file.name)
            np.savez(file, key=np.array(key), images=images)
        temporary.chmod(0o644)
        temporary.replace(path)
        for old in sorted(path.parent.glob("*.npz"), key=lambda kept: kept.stat().st_mtime)[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        print(f"note: the decoded images cannot be kept in {path.parent}: {error}", file=sys.stderr)


# ------------------------------------------------------------------------------------------- the screen


def counted(items: Iterable[T], total: int, words: str) -> Iterator[T]:
    """Go through items; once it takes over a second, say how far it is: a bar, or now and then a line."""
    if multiprocessing.parent_process() is not None:  # a worker's screen is its parent's
        yield from items
    elif sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, words, total, delay=SLOW, unit=" images")
    else:
        yield from _lines(items, total, words)


def _lines(items: Iterable[T], total: int, words: str) -> Iterator[T]:
    start = told = time.monotonic()
    for i, item in enumerate(items):
        now = time.monotonic()
        if i and now - told > (LINE_EVERY if told > start else SLOW):
            left = (total - i) * (now - start) / i
            print(f"{words}: {i:,} of {total:,} images, {left:.0f} s to go", file=sys.stderr, flush=True)
            told = now
        yield item
