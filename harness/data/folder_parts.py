"""Parts of a person's own data set, as a folder or an archive lists them, and checks that formats share."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.data import remedies
from harness.data.images import CHANNELS, SHAPES, channels_come_first

if TYPE_CHECKING:
    from harness.data.images import RawPixels

Part = Literal["train", "test"]
PARTS: tuple[Part, Part] = ("train", "test")
VALIDATION = ("val", "valid", "validation")
"""Names that a third part of images has, beside train and test."""
LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon"}
"""Names that file browsers and archives leave behind."""


@dataclass(frozen=True)
class ListedPart:
    """Train or test as a folder lists it: image files in order, labels (N,), and the place that says them.

    Args:
        files: a file an image, or the one place of them all.
        labels: (N,) whole numbers.
        labelled_by: the file or array that says the labels; None where the images' own names do.
        whole: whether one place holds all images.
        named: the images' names, if they are not those of the files.
    """

    files: Sequence[Path | str]
    labels: NDArray[np.int64]
    labelled_by: Path | str | None = None
    whole: bool = False
    named: tuple[str, ...] = ()

    def label(self, i: int) -> str:
        """Name label i in an error."""
        return f"{self.labelled_by}: label {i}" if self.labelled_by else f"{self.files[i]}: its label"

    def image(self, i: int) -> str:
        """Name image i in an error."""
        return f"{self.files[0]}: image {i}" if self.whole else str(self.files[i])

    @property
    def names(self) -> tuple[str, ...]:
        """The images' names; none if one file holds them all."""
        if self.named or self.whole:
            return self.named
        return tuple(Path(path).name for path in self.files)


@dataclass(frozen=True)
class FolderRead:
    """The images that a reader found: train and test, each as listed and with its pixels.

    Args:
        parts: both, or fewer and a problem that says why.
        classes: class names that the files themselves say, in label order; none where they do not.
        said: sentences on what was corrected or joined while reading.
    """

    parts: list[tuple[ListedPart, RawPixels]]
    classes: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


NOTHING = FolderRead([])


def files(folder: Path, allowed: str, problems: list[str]) -> list[Path]:
    """List the files of a folder by name, without litter; a missing or empty folder is a problem."""
    try:
        with os.scandir(folder) as entries:
            names = sorted((e.name, _is_file(e)) for e in entries if not is_litter(e.name))
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"({error.strerror})"
        problems.append(f"{folder}: {reason}; allowed: {allowed}")
        return []
    problems += [f"{folder / name}: is not a file; move it away" for name, is_file in names if not is_file]
    found = [name for name, is_file in names if is_file]
    odd = [name for name in found if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in name)]
    problems += [f"{folder}: a file name contains a control character: {name!a}; rename it" for name in odd]
    if not found:
        problems.append(f"{folder}: contains no file; allowed: {allowed}")
    return [folder / name for name in found if name not in odd]


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Return whether it is an ordinary file: not a folder, a loop of links or a named pipe (which blocks)."""
    try:
        return entry.is_file()
    except OSError:
        return False


def names_in(folder: Path) -> tuple[list[str], list[str]]:
    """List the names of files and of folders in a folder, without litter; none if it cannot be read."""
    found: tuple[list[str], list[str]] = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_litter(entry.name):
                    found[entry.is_dir()].append(entry.name)
    except OSError:
        return [], []
    return sorted(found[0]), sorted(found[1])


def is_litter(name: str) -> bool:
    """Return whether a file browser or an archive left this name behind."""
    return name.startswith(".") or name.lower().rstrip("\r") in LITTER


def class_labels(
    place: Path | str, labels: NDArray[Any], problems: list[str], column: int | None = None
) -> NDArray[np.int64] | None:
    """Return labels of shape (N,) or (N, 1) as int64 (N,), or None and a problem; of a table, its column."""
    if column is not None and labels.ndim == 2:
        labels = labels[:, column]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 1 and labels.dtype.kind in "iu" and labels.size:
        if labels.dtype.kind == "u" and int(labels.max()) > np.iinfo(np.int64).max:
            problems.append(f"{place}: a label is {labels.max()}; allowed: 0, 1, 2, ..")
            return None
        return labels.astype(np.int64)
    fault = "labels" if labels.dtype.kind in "iufb" else "labels are not numbers"
    problems.append(
        f"{place}: {fault}: got {labels.dtype} of shape {labels.shape}; allowed: whole numbers of shape "
        f"(N,) or (N, 1), at least one; {_label_remedy(labels)}"
    )
    return None


def _label_remedy(labels: NDArray[Any]) -> str:
    """Say how labels become one number an image; several labels an image are told from one-hot ones."""
    if labels.ndim == 2 and labels.dtype.kind in "iufb" and labels.size and (labels.sum(axis=1) != 1).any():
        return "several columns of an image are set, or none: a network here learns one class an image"
    return remedies.labels(labels.dtype, labels.shape)


def pixel_fault(dtype: np.dtype[Any], shape: tuple[int, ...], *, stacked: bool) -> str:
    """Say why an array is no image (height, width[, channels]), or no `stacked` (N, ..) of them; or ""."""
    image = shape[1:] if stacked else shape
    channels = image[2] if len(image) == 3 else 1
    known = dtype.kind == "u" and dtype.itemsize <= 2
    if known and len(image) in {2, 3} and 0 not in shape and channels <= CHANNELS:
        return ""
    least = ", at least one image" if stacked else ""
    remedy = (remedies.stacked_pixels if stacked else remedies.pixels)(dtype, shape)
    if known and len(image) == 3 and channels > CHANNELS and not channels_come_first((1, *image)):
        remedy = "volumes and more channels are not read"
    return (
        f"got {dtype.name} of shape {shape}; allowed: uint8 or uint16 of shape "
        f"{SHAPES if stacked else '(height, width), or (height, width, channels)'}, up to {CHANNELS} "
        f"channels{least}; {remedy}"
    )


def plain_pixels(pixels: NDArray[Any]) -> RawPixels:
    """Give pixels (N, H, W) or (N, H, W, C) in the machine's byte order; one channel needs no axis."""
    taken = pixels[..., 0] if pixels.ndim == 4 and pixels.shape[3] == 1 else pixels
    return np.ascontiguousarray(taken, taken.dtype.newbyteorder("="))


def check_alike(parts: Sequence[tuple[ListedPart, RawPixels]], problems: list[str]) -> None:
    """Tell parts whose images differ in size, in channels or in bits."""
    for (one, first), (other, second) in itertools.pairwise(parts):
        if (first.shape[1:], first.dtype) != (second.shape[1:], second.dtype):
            problems.append(
                f"{other.files[0]}: images are {kind(second.shape[1:], second.dtype)}, those of "
                f"{one.files[0]} {kind(first.shape[1:], first.dtype)}; allowed is one size (height x width), "
                "one number of channels and of bits"
            )


def kind(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Describe an image: its size, its channels and its bits where they are not one of 8 bits."""
    height, width, *channels = shape
    colour = f" in {channels[0]} channels" if channels else ""
    deep = f"{' and' if channels else ' of'} 16 bits" if dtype.itemsize == 2 else ""
    return f"{height} x {width} pixels{colour}{deep}"


def joined(
    train: tuple[ListedPart, RawPixels], val: tuple[ListedPart, RawPixels], problems: list[str]
) -> tuple[ListedPart, RawPixels]:
    """Join the images of a validation part behind those of train; unlike ones are a problem."""
    before = len(problems)
    check_alike([train, val], problems)
    if len(problems) > before:
        return train
    (listed, pixels), (more, others) = train, val
    together = replace(
        listed,
        files=listed.files if listed.whole else [*listed.files, *more.files],
        labels=np.concatenate([listed.labels, more.labels]),
        named=(*listed.named, *more.named),
    )
    return together, np.concatenate([pixels, others])


def joined_words(name: str, train: int, val: int) -> str:
    """Say that a part of the folder's own for validation was joined to train."""
    return (
        f"its {val:,} images of {name} are the last of train's {train + val:,}: val is drawn from all of "
        f"them, unless val_split = 'last' and val_fraction = {val / (train + val):.6g} keep these"
    )
