"""A person's own images: a folder in one of three formats, read whole and checked.

    png   train/7_000123.png ..., test/...: the label is the name's part before "_"
    npy   train_imgs/img_00000.npy ..., test_imgs/..., train_labels.npy, test_labels.npy
    idx   train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-... (or test-...), as they are or .gz, with a
          dot for the dash before idx, or each in a folder of its own name

A study declares one as [datasets.NAME]; `exports` writes any data set in each format.
"""

from __future__ import annotations

import filecmp
import functools
import itertools
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.data import decoded_cache, idx, layouts, npy, remedies
from harness.data.datasets import Dataset
from harness.data.images import SHAPES, Images, channels_come_first, size_in_words
from harness.errors import MOST_LISTED, UsageError, few
from harness.settings import CONTROL_WORDS, control_character

Part = Literal["train", "test"]
PARTS: tuple[Part, Part] = ("train", "test")
MOST_TOLD = 10  # problems of one folder; beyond it their number
LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon"}
"""Names that file browsers and archives leave behind."""


class Folder(BaseModel):
    """A [datasets.NAME] table: the folder of a person's own images, and their format.

    Args:
        format: png, npy or idx.
        path: the folder.
        classes: the class names, in label order; the label numbers as text if not given.
        pixel_max: the value of a full pixel.
        order: png only: by "name", so that one class comes after the other, or by the "number" after "_".
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Literal["png", "npy", "idx"]
    path: Path
    classes: list[str] | None = Field(default=None, min_length=2)
    pixel_max: int = Field(default=255, ge=1, le=255)
    order: Literal["name", "number"] = "name"

    @field_validator("path")
    @classmethod
    def _exists(cls, path: Path) -> Path:
        if not path.is_dir():
            raise ValueError("a folder that is there")
        return path

    @field_validator("classes")
    @classmethod
    def _no_name_twice(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and (len(set(names)) < len(names) or not all(name.strip() for name in names)):
            raise ValueError("a name for each class, none twice")
        if any(map(control_character, names or [])):
            raise ValueError(f"names without {CONTROL_WORDS}")
        return names

    @model_validator(mode="after")
    def _order_is_for_png(self) -> Folder:
        if self.order != "name" and self.format != "png":
            raise ValueError("order = 'number' with format = 'png' only")
        return self

    def dataset(self, name: str) -> Dataset:
        """Return the data set under the name that a study gives it; nothing is read yet."""
        classes = None if self.classes is None else tuple(self.classes)
        return Dataset(name, functools.partial(read, self, name), classes, self.pixel_max)

    def table(self) -> dict[str, Any]:
        """Return the table as a study file writes it: only values that differ from the defaults."""
        return {**self.model_dump(exclude_defaults=True), "path": self.path.as_posix()}


@dataclass(frozen=True)
class _Listed:
    """Train or test as a folder lists it: image files in order, labels (N,), and the file that says them.

    The png format says labels by file name, so that `labelled_by` is None; the idx format has one file.
    """

    files: Sequence[Path]
    labels: NDArray[np.int64]
    labelled_by: Path | None = None

    def label(self, i: int) -> str:
        """Name label i in an error."""
        return f"{self.labelled_by}: label {i}" if self.labelled_by else f"{self.files[i]}: its label"

    def image(self, i: int) -> str:
        """Name image i in an error."""
        return str(self.files[i]) if self.names else f"{self.files[0]}: image {i}"

    @property
    def names(self) -> tuple[str, ...]:
        """The images' names; none if one file holds them all."""
        single = self.labelled_by is not None and self.labelled_by.suffix != ".npy"
        return () if single else tuple(path.name for path in self.files)


def read(folder: Folder, name: str) -> Images:
    """Read and check a folder; errors call the data set `name`.

    Raises:
        UsageError: lists all problems, each with its file.
    """
    problems: list[str] = []
    parts = (_read_idx if folder.format == "idx" else _read_files)(folder, name, problems)
    if not problems:
        for listed, pixels in parts:
            _check_pixels(folder, listed, pixels, problems)
        _check_labels(folder, [listed for listed, _ in parts], problems)
    if problems:
        if len(parts) < len(PARTS):  # not all files were where this format has them
            problems = [*layouts.words(folder.path, folder.format), *problems]
        listing = "".join(f"\n  - {problem}" for problem in problems[:MOST_TOLD])
        more = f"\n  - and {len(problems) - MOST_TOLD:,} more" if len(problems) > MOST_TOLD else ""
        raise UsageError(
            f"data set {name!r}, {folder.format} folder {folder.path}: {len(problems):,} "
            f"problem{'s' if len(problems) > 1 else ''}, nothing was run{listing}{more}"
        )
    (train, train_pixels), (test, test_pixels) = parts
    return Images(train_pixels, train.labels, test_pixels, test.labels, train.names, test.names)


Found = list[tuple[_Listed, "NDArray[np.uint8]"]]


def _read_files(folder: Folder, name: str, problems: list[str]) -> Found:
    """Read a folder of files of one image; both parts together, because they must have one size."""
    kind: decoded_cache.Kind = "png" if folder.format == "png" else "npy"
    train, test = ((_list_png if kind == "png" else _list_npy)(folder, part, problems) for part in PARTS)
    if problems or train is None or test is None:
        return []
    pixels = decoded_cache.pixels([*train.files, *test.files], kind, name, problems)
    return [(train, pixels[: len(train.files)]), (test, pixels[len(train.files) :])]


def _files(folder: Path, allowed: str, problems: list[str]) -> list[Path]:
    """List the files of a folder by name, without litter; a missing or empty folder is a problem."""
    try:
        with os.scandir(folder) as entries:
            names = sorted((e.name, _is_file(e)) for e in entries if not is_litter(e.name))
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"({error.strerror})"
        problems.append(f"{folder}: {reason}; allowed: {allowed}")
        return []
    problems += [f"{folder / name}: is not a file; move it away" for name, is_file in names if not is_file]
    files = [name for name, is_file in names if is_file]
    odd = [name for name in files if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in name)]
    problems += [f"{folder}: a file name contains a control character: {name!a}; rename it" for name in odd]
    if not files:
        problems.append(f"{folder}: contains no file; allowed: {allowed}")
    return [folder / name for name in files if name not in odd]


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Return whether it is an ordinary file: not a folder, a loop of links or a named pipe (which blocks)."""
    try:
        return entry.is_file()
    except OSError:
        return False


def is_litter(name: str) -> bool:
    """Return whether a file browser or an archive left this name behind."""
    return name.startswith(".") or name.lower().rstrip("\r") in LITTER


def _list_png(folder: Folder, part: Part, problems: list[str]) -> _Listed | None:
    allowed = "files named LABEL_NUMBER.png, as 7_000123.png, LABEL a class number"
    number = ".+" if folder.order == "name" else "[0-9]{1,18}"
    pattern = re.compile(rf"([0-9]{{1,9}})_({number})\.png", re.IGNORECASE)
    images: list[tuple[int, Path, int]] = []
    for path in _files(folder.path / part, allowed, problems):
        match = pattern.fullmatch(path.name)
        if match is None:
            problems.append(f"{path}: the name does not fit; allowed: {allowed}: rename it or move it away")
        else:
            place = int(match[2]) if folder.order == "number" else len(images)
            images.append((place, path, int(match[1])))
    if not images:
        return None
    images.sort(key=lambda image: image[0])
    for (place, path, _), (following, other, _) in itertools.pairwise(images):
        if place == following:
            problems.append(
                f"{other}: has the same number as {path.name}; allowed with order = 'number': each once in "
                f"{part}/. Without order, images come by name"
            )
    return _Listed([path for _, path, _ in images], np.array([label for *_, label in images], np.int64))


def _list_npy(folder: Folder, part: Part, problems: list[str]) -> _Listed | None:
    allowed = "files named img_NUMBER.npy, as img_00000.npy"
    images, labelled_by = folder.path / f"{part}_imgs", folder.path / f"{part}_labels.npy"
    labels = _npy_labels(labelled_by, problems)
    numbered: dict[int, Path] = {}
    for path in _files(images, allowed, problems):
        match = re.fullmatch(r"img_([0-9]{1,18})\.npy", path.name)
        if match is None:
            problems.append(f"{path}: the name does not fit; allowed: {allowed}: rename it or move it away")
        elif numbered.setdefault(int(match[1]), path) != path:
            problems.append(f"{path}: has the same number as {numbered[int(match[1])].name}; remove one")
    if labels is None or not numbered:
        return None
    if missing := [i for i in range(len(labels)) if i not in numbered]:
        names = few([f"img_{i:05d}.npy" for i in missing])
        problems.append(
            f"{images}: no {names}; {labelled_by.name} labels images 0 to {len(labels) - 1}, "
            f"{len(numbered):,} are there: add what is missing, or take its labels out"
        )
    if extra := sorted(i for i in numbered if i >= len(labels)):
        names = few([numbered[i].name for i in extra])
        problems.append(
            f"{labelled_by}: {len(labels):,} labels for {len(numbered):,} images: none for {names}; "
            "allowed: one an image, numbers from 0"
        )
    return _Listed([numbered[i] for i in sorted(numbered)], labels, labelled_by)


def _npy_labels(path: Path, problems: list[str]) -> NDArray[np.int64] | None:
    try:
        labels = npy.read(path)
    except FileNotFoundError:
        problems.append(f"{path}: is missing; allowed: whole numbers of shape (N,), written with np.save")
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror or error})")
    except ValueError as error:
        problems.append(f"{path}: {error}")
    else:
        return _labels(path, labels, problems)
    return None


def _read_idx(folder: Folder, name: str, problems: list[str]) -> Found:  # noqa: ARG001 (a reader's signature)
    parts = []
    for prefixes in (("train",), ("t10k", "test")):
        named = [f"{prefix}-images-idx{axes}-ubyte" for prefix in prefixes for axes in (3, 4)]
        images = _idx(folder.path, named, problems)
        labels = _idx(folder.path, [f"{prefix}-labels-idx1-ubyte" for prefix in prefixes], problems)
        if images is None or labels is None:
            continue
        (path, pixels), (labelled_by, raw) = images, labels
        wrong = pixels.ndim not in {3, 4} or channels_come_first(pixels.shape)
        if wrong or pixels.dtype != "uint8" or not pixels.size:
            remedy = remedies.stacked_pixels(pixels.dtype, pixels.shape)
            problems.append(
                f"{path}: got {pixels.dtype} of shape {pixels.shape}; allowed: uint8 of shape "
                f"{SHAPES}, at least one image; {remedy}"
            )
            continue
        checked = _labels(labelled_by, raw, problems)
        if checked is not None and len(checked) != len(pixels):
            problems.append(
                f"{labelled_by}: {len(checked):,} labels, and {len(pixels):,} images in {path.name}; "
                "allowed: one an image"
            )
        if checked is not None:
            parts.append((_Listed([path], checked, labelled_by), pixels))
    if len(parts) == 2 and parts[0][1].shape[1:] != parts[1][1].shape[1:]:
        of_train, of_test = (size_in_words(pixels.shape[1:]) for _, pixels in parts)
        problems.append(
            f"{parts[1][0].files[0]}: images are {of_test}, those of train {of_train}; "
            "allowed is one size (height x width)"
        )
    return parts


def _idx(folder: Path, stems: Sequence[str], problems: list[str]) -> tuple[Path, NDArray[Any]] | None:
    """Read an IDX file of one of these names, in any of the spellings of MNIST's archives.

    A plain file comes before .gz if both exist, and the spelling of MNIST's own page before any other.
    """
    there = [(stem, path) for stem in stems for path in _spellings(folder, stem) if path.is_file()]
    if not there:
        fault = "is not a file" if (folder / stems[0]).exists() else "is missing"
        problems.append(f"{folder / stems[0]}: {fault}; allowed: {' or '.join(stems)}, or .gz of it")
        return None
    (stem, first), *others = there
    # A packed file is not compared with a plain one.
    rivals = [
        path
        for other, path in others
        if other != stem
        or ((first.suffix == ".gz") == (path.suffix == ".gz") and not filecmp.cmp(first, path, shallow=False))
    ]
    if rivals:
        problems.append(f"{first} and {rivals[0].relative_to(folder)}: both are there; keep one of them")
    try:
        return first, idx.read(first)
    except UsageError as error:
        problems.append(str(error))
        return None


def _spellings(folder: Path, stem: str) -> list[Path]:
    """List the places of one of MNIST's files: a dot before "idx", a folder of its name, or .gz."""
    names = (stem, stem.replace("-idx", ".idx"))
    places = [folder, *(folder / name for name in names)]
    return [place / (name + end) for place in places for name in names for end in ("", ".gz")]


def _labels(path: Path, labels: NDArray[Any], problems: list[str]) -> NDArray[np.int64] | None:
    """Return labels of shape (N,) as int64, or None and a problem."""
    if labels.ndim == 1 and labels.dtype.kind in "iu" and labels.size:
        return labels.astype(np.int64)
    fault = "labels" if labels.dtype.kind in "iufb" else "labels are not numbers"
    problems.append(
        f"{path}: {fault}: got {labels.dtype} of shape {labels.shape}; allowed: whole numbers of shape (N,), "
        f"at least one; {remedies.labels(labels.dtype, labels.shape)}"
    )
    return None


def _check_pixels(folder: Folder, listed: _Listed, pixels: NDArray[np.uint8], problems: list[str]) -> None:
    if pixels.max() > folder.pixel_max:
        i = int((pixels.reshape(len(pixels), -1).max(1) > folder.pixel_max).argmax())
        problems.append(
            f"{listed.image(i)}: has a pixel of {pixels[i].max()}; allowed: 0..{folder.pixel_max}, the "
            "study's pixel_max. Raise it"
        )


def _check_labels(folder: Folder, parts: Sequence[_Listed], problems: list[str]) -> None:
    """Check that labels are 0..C-1, C at least 2, and that train has an image of each."""
    names = folder.classes or []
    before = len(problems)
    limit = f"0..{len(names) - 1}, for its {len(names)} classes" if names else "0 and up"
    for part in parts:
        wrong = (part.labels < 0) | (part.labels >= (len(names) or np.inf))
        problems += [
            f"{part.label(int(i))} is {part.labels[i]}; allowed: {limit}" for i in np.flatnonzero(wrong)
        ]
    if len(problems) > before:
        return
    train, highest = parts[0], max(int(part.labels.max()) for part in parts)
    place = train.labelled_by or train.files[0].parent
    present, count = set(np.unique(train.labels).tolist()), len(names) or highest + 1
    if count < 2:
        problems.append(f"{place}: every label is 0; allowed: at least 2 classes")
    elif len(present) < count:
        # Not all of range(count): a stray label of a billion would name a billion classes.
        missing = [i for i in range(min(count, len(present) + MOST_LISTED)) if i not in present]
        absent = few([f"{i} ({names[i]})" if names else str(i) for i in missing], count - len(present))
        top = next(part for part in parts if part.labels.max() == highest)
        where = "" if names else f" ({top.label(int(top.labels.argmax()))} is {highest})"
        problems.append(
            f"{place}: no train image of class {absent}, of classes 0..{count - 1}{where}; add some, "
            f"or {'name fewer classes' if names else 'number the classes without a gap'}"
        )
