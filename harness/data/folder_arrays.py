"""Formats with one array of all images: .npz archives as MedMNIST or Keras write them, and .npy files.

An array is named by its part and by what it holds: train_images, train_labels (or train_imgs, x_train,
y_train), and the same of test and of val. Nothing is unpickled.
"""

from __future__ import annotations

import functools
import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from numpy.typing import NDArray

from harness.data import npy
from harness.data.folder_parts import (
    NOTHING,
    VALIDATION,
    FolderRead,
    ListedPart,
    class_labels,
    is_litter,
    joined,
    joined_words,
    pixel_fault,
    plain_pixels,
)
from harness.errors import few

if TYPE_CHECKING:
    from harness.data.images import RawPixels

Check: TypeAlias = Callable[[npy.NpyHeader], str]
What = Literal["images", "labels"]
PARTED = rf"(train|test|{'|'.join(VALIDATION)})"
NAMES = (
    re.compile(rf"(?:.*[-_])?{PARTED}[-_](images|imgs|labels)", re.IGNORECASE),
    re.compile(rf"(x|y)_{PARTED}", re.IGNORECASE),
)
ALLOWED = "train_images (N, height, width[, channels]), train_labels (N,), test_images, test_labels"


@dataclass(frozen=True)
class NamedArray:
    """An array that a file or a member of an archive holds; `read` gives it, if a check allows its header."""

    place: Path | str
    read: Callable[[Check], NDArray[Any]]


def read_npz(path: Path, problems: list[str]) -> FolderRead:
    """Read an .npz archive, or the one in a folder, or a folder of archives that hold an array each."""
    archives = [path] if path.is_file() else sorted(p for p in path.glob("*.npz") if not is_litter(p.name))
    if not archives:
        problems.append(f"{path}: holds no .npz file; allowed: one, with {ALLOWED}")
    members = {archive: list(_members(archive, problems)) for archive in archives}
    if problems:
        return NOTHING
    if len(archives) > 1 and any(len(arrays) > 1 for arrays in members.values()):
        problems.append(
            f"{path}: holds {len(archives)} archives, {few([a.name for a in archives])}; allowed: one, or "
            "archives of one array each. Give one file as the path"
        )
        return NOTHING
    named = [
        (archive.stem if len(archives) > 1 else stem, array)
        for archive, arrays in members.items()
        for stem, array in arrays
    ]
    return _read(path, named, problems)


def read_npy_arrays(folder: Path, problems: list[str]) -> FolderRead:
    """Read train_images.npy, train_labels.npy, test_images.npy and test_labels.npy."""
    paths = sorted(path for path in folder.glob("*.npy") if not is_litter(path.name))
    named = [(path.stem, NamedArray(path, functools.partial(npy.read, path))) for path in paths]
    return _read(folder, named, problems)


def whole_arrays(folder: Path) -> bool:
    """Return whether a folder holds an array of all train images as a .npy file."""
    names = (_parted(path.stem) for path in folder.glob("*.npy") if not is_litter(path.name))
    return ("train", "images") in names


def _parted(name: str) -> tuple[str, What] | None:
    """Give the part and the kind that an array's name says; None of another name."""
    if match := NAMES[0].fullmatch(name):
        part, what = match[1].lower(), match[2].lower()
        return ("val" if part in VALIDATION else part), "labels" if what == "labels" else "images"
    if match := NAMES[1].fullmatch(name):
        part = match[2].lower()
        return ("val" if part in VALIDATION else part), "images" if match[1] in "xX" else "labels"
    return None


def _read(path: Path, named: list[tuple[str, NamedArray]], problems: list[str]) -> FolderRead:
    arrays: dict[tuple[str, What], NamedArray] = {}
    for name, array in named:
        key = _parted(name)
        if key is not None and arrays.setdefault(key, array) is not array:
            problems.append(f"{array.place} and {arrays[key].place}: both are there; keep one of them")
    absent = [
        f"{part}_{what}"
        for part, what in itertools.product(("train", "test"), ("images", "labels"))
        if (part, what) not in arrays
    ]
    if absent:
        holds = f"holds {few([name for name, _ in named])}" if named else "holds no array"
        problems.append(f"{path}: no {', '.join(absent)}; it {holds}; allowed: {ALLOWED}")
    if problems:
        return NOTHING
    parts = {
        part: _part(part, arrays, problems) for part in ("train", "val", "test") if (part, "images") in arrays
    }
    if problems:
        return NOTHING
    found = {part: cast("tuple[ListedPart, RawPixels]", read) for part, read in parts.items()}
    said = []
    if "val" in found:
        counts = [len(found[part][1]) for part in ("train", "val")]
        found["train"] = joined(found["train"], found["val"], problems)
        said.append(joined_words("val", *counts))
    return FolderRead([found["train"], found["test"]], said=tuple(said))


def _part(
    part: str, arrays: Mapping[tuple[str, What], NamedArray], problems: list[str]
) -> tuple[ListedPart, RawPixels] | None:
    """Read images and labels of a part; None, and problems, where they do not fit."""
    images, labelled = arrays[part, "images"], arrays.get((part, "labels"))
    if labelled is None:
        problems.append(f"{images.place}: has no labels; allowed: {part}_labels (N,) beside it")
        return None
    labels = _values(labelled, problems)
    checked = None if labels is None else class_labels(labelled.place, labels, problems)
    if checked is None:
        return None
    pixels = _values(images, problems, lambda head: pixel_fault(head.dtype, head.shape, stacked=True))
    if pixels is None:
        return None
    if len(pixels) != len(checked):
        problems.append(
            f"{labelled.place}: {len(checked):,} labels, and {len(pixels):,} images in {images.place}; "
            "allowed: one an image"
        )
    return ListedPart([images.place], checked, labelled.place, whole=True), plain_pixels(pixels)


def _values(array: NamedArray, problems: list[str], check: Check = lambda _: "") -> NDArray[Any] | None:
    try:
        return array.read(check)
    except OSError as error:
        problems.append(f"{array.place}: cannot be read ({error.strerror or error})")
    except ValueError as error:
        problems.append(f"{array.place}: {error}")
    return None


def _members(archive: Path, problems: list[str]) -> Iterator[tuple[str, NamedArray]]:
    """Yield the arrays of an archive by name, none of them read."""
    if not archive.is_file():  # opening a named pipe would wait for a writer
        problems.append(f"{archive}: is not a file; move it away")
        return
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if m.filename.endswith(".npy")]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        problems.append(f"{archive}: is not an .npz archive, or is cut ({error}); copy it again")
        return
    for member in members:
        stem = member.filename.removesuffix(".npy")
        place = f"{archive}: {stem}"
        yield stem, NamedArray(place, functools.partial(_member, archive, member))


def _member(archive: Path, member: zipfile.ZipInfo, check: Check) -> NDArray[Any]:
    """Read an array of an archive; never more of it than its header says.

    Raises:
        OSError: the archive cannot be read.
        ValueError: it is damaged, locked, packed in an unknown way, or not what `check` allows.
    """
    if member.flag_bits & 1:
        raise ValueError("is locked with a password; write the archive again with np.savez_compressed")
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as stream:
            return npy.parse(cast("io.BufferedIOBase", stream), member.file_size, check)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"is damaged or cut ({error}); copy the archive again") from error
    except (NotImplementedError, RuntimeError) as error:
        raise ValueError(f"is packed in a way that is not read ({error}); write it with np.savez") from error
