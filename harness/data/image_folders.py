"""A person's own images: a folder in one of several formats, read whole and checked.

    png      train/7_000123.png ..., test/...: the label is the name's part before "_"
    folders  train/cat/NAME.png ..., test/cat/...: a folder a class, PNG or JPEG
    npy      train_imgs/img_00000.npy ..., test_imgs/..., train_labels.npy, test_labels.npy; or all images in
             train_images.npy, test_images.npy
    npz      an archive of train_images, train_labels, test_images, test_labels, as MedMNIST's
    idx      train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-... (or test-...), or .gz of them;
             also with EMNIST's and QMNIST's names
    cifar    the binary files of CIFAR-10 or CIFAR-100

A study declares one as [datasets.NAME]; `exports` writes any data set in the formats png, npy and idx.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from harness.data import cifar_files, folder_arrays, folder_files, idx_sets, layouts
from harness.data.datasets import Dataset
from harness.data.folder_parts import PARTS, FolderRead, ListedPart, check_alike
from harness.data.images import Images
from harness.errors import MOST_LISTED, UsageError, few
from harness.settings import CONTROL_WORDS, control_character

if TYPE_CHECKING:
    from harness.data.images import RawPixels

MOST_TOLD = 10  # problems of one folder; beyond it their number
Format = Literal["png", "folders", "npy", "npz", "idx", "cifar"]
OF_FORMAT = {
    "order": "png",
    "test_fraction": "folders",
    "prefix": "idx",
    "transposed": "idx",
    "labels": "cifar",
}
"""The keys that one format alone has."""


class Folder(BaseModel):
    """A [datasets.NAME] table: the folder of a person's own images, and their format.

    Args:
        format: png, folders, npy, npz, idx or cifar.
        path: the folder; of npz, the archive or its folder.
        classes: the class names, in label order; if not given, those that the format says, or the label
            numbers as text.
        pixel_max: the value of a full pixel; above 255 for images of 16 bits.
        order: png only: by "name", so that one class comes after the other, or by the "number" after "_".
        test_fraction: folders only: the share of each class that is test, where there is no test folder.
        prefix: idx only: what the files' names begin with, where the folder holds several sets.
        transposed: idx only: whether images are written column by column; those of EMNIST are if not given.
        labels: cifar only: the "fine" or the "coarse" classes of CIFAR-100.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Format
    path: Path
    classes: list[str] | None = Field(default=None, min_length=2)
    pixel_max: int = Field(default=255, ge=1, le=65_535)
    order: Literal["name", "number"] = "name"
    test_fraction: float | None = Field(default=None, gt=0, lt=1)
    prefix: str | None = None
    transposed: bool | None = None
    labels: cifar_files.Level = "fine"

    @field_validator("path")
    @classmethod
    def _exists(cls, path: Path, info: ValidationInfo) -> Path:
        if info.data.get("format") == "npz":
            if not (path.is_dir() or path.is_file()):
                raise ValueError("an .npz file or a folder that is there")
        elif not path.is_dir():
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
    def _keys_of_the_format(self) -> Folder:
        for key, form in OF_FORMAT.items():
            value = getattr(self, key)
            if self.format != form and value != type(self).model_fields[key].default:
                raise ValueError(f"{key} = {value!r} with format = {form!r} only")
        return self

    def dataset(self, name: str) -> Dataset:
        """Return the data set under the name that a study gives it; nothing is read yet."""
        classes = None if self.classes is None else tuple(self.classes)
        return Dataset(name, functools.partial(read, self, name), classes, self.pixel_max)

    def table(self) -> dict[str, Any]:
        """Return the table as a study file writes it: only values that differ from the defaults."""
        return {**self.model_dump(exclude_defaults=True), "path": self.path.as_posix()}


def read(folder: Folder, name: str) -> Images:
    """Read and check a folder; errors call the data set `name`.

    Raises:
        UsageError: lists all problems, each with its file.
    """
    problems: list[str] = []
    found = _read(folder, name, problems)
    parts = found.parts
    names = folder.classes or (list(found.classes) or None)
    if not problems:
        for listed, pixels in parts:
            _check_pixels(folder, listed, pixels, problems)
        check_alike(parts, problems)
        _check_labels(names, [listed for listed, _ in parts], problems, own=folder.classes is not None)
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
    return Images(
        train_pixels, train.labels, test_pixels, test.labels, train.names, test.names,
        tuple(names or ()), found.said,
    )  # fmt: skip


def _read(folder: Folder, name: str, problems: list[str]) -> FolderRead:
    """Read a folder as its format says."""
    path = folder.path
    match folder.format:
        case "png":
            return folder_files.read_png(path, folder.order, name, problems)
        case "folders":
            return folder_files.read_folders(path, folder.test_fraction, name, problems)
        case "npy":
            if folder_arrays.whole_arrays(path):
                return folder_arrays.read_npy_arrays(path, problems)
            return folder_files.read_npy(path, name, problems)
        case "npz":
            return folder_arrays.read_npz(path, problems)
        case "idx":
            return idx_sets.read_idx(path, folder.prefix, folder.transposed, problems)
        case "cifar":
            return cifar_files.read_cifar(path, folder.labels, problems)


def _check_pixels(folder: Folder, listed: ListedPart, pixels: RawPixels, problems: list[str]) -> None:
    """Check that no pixel is above the study's full one."""
    if pixels.max() > folder.pixel_max:
        i = int((pixels.reshape(len(pixels), -1).max(axis=1) > folder.pixel_max).argmax())
        deep = "Raise it"
        if pixels.dtype.itemsize == 2 and folder.pixel_max == 255:
            deep = (
                f"The images have 16 bits a pixel, up to {pixels.max():,} here: give the table the value "
                "of a full one, pixel_max = 65535, or the largest that the camera or scanner can "
                "give (4095 of 12 bits)"
            )
        problems.append(
            f"{listed.image(i)}: has a pixel of {pixels[i].max()}; allowed: 0..{folder.pixel_max}, the "
            f"study's pixel_max. {deep}"
        )


def _check_labels(
    classes: Sequence[str] | None, parts: Sequence[ListedPart], problems: list[str], *, own: bool
) -> None:
    """Check that labels are 0..C-1, C at least 2, and that train has an image of each.

    Class names are the table's `own`, or those that the files say.
    """
    names = classes or []
    before = len(problems)
    whose = f"its {len(names)} classes" if own else f"the {len(names)} classes that the files name"
    limit = f"0..{len(names) - 1}, for {whose}" if names else "0 and up"
    for part in parts:
        wrong = (part.labels < 0) | (part.labels >= (len(names) or np.inf))
        problems += [
            f"{part.label(int(i))} is {part.labels[i]}; allowed: {limit}" for i in np.flatnonzero(wrong)
        ]
    if len(problems) > before:
        return
    train, highest = parts[0], max(int(part.labels.max()) for part in parts)
    place = train.labelled_by or Path(train.files[0]).parent
    present, count = set(np.unique(train.labels).tolist()), len(names) or highest + 1
    if count < 2:
        problems.append(f"{place}: every label is 0; allowed: at least 2 classes")
    elif len(present) < count:
        # Not all of range(count): a stray label of a billion would name a billion classes.
        missing = [i for i in range(min(count, len(present) + MOST_LISTED)) if i not in present]
        absent = few([f"{i} ({names[i]})" if names else str(i) for i in missing], count - len(present))
        top = next(part for part in parts if part.labels.max() == highest)
        where = "" if names else f" ({top.label(int(top.labels.argmax()))} is {highest})"
        remedy = (
            f"add some, or {'name fewer classes' if names and own else 'number the classes without a gap'}"
        )
        if min(int(part.labels.min()) for part in parts) == 1:
            remedy += ". If the labels count from 1, lower each by 1: class 0 is the first"
        problems.append(
            f"{place}: no train image of class {absent}, of classes 0..{count - 1}{where}; {remedy}"
        )
