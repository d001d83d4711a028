"""Formats with a file for each image: labels in the names (png), in a table (npy), or a folder a class."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data import decoded_cache, npy
from harness.data.folder_parts import (
    NOTHING,
    PARTS,
    VALIDATION,
    FolderRead,
    ListedPart,
    Part,
    class_labels,
    files,
    joined_words,
    names_in,
)
from harness.errors import few

PICTURES = (".png", ".jpg", ".jpeg")


def read_png(folder: Path, order: str, name: str, problems: list[str]) -> FolderRead:
    """Read train/LABEL_NUMBER.png and test/LABEL_NUMBER.png, by name or by the number."""
    return _read([_list_png(folder, order, part, problems) for part in PARTS], "png", name, problems)


def read_npy(folder: Path, name: str, problems: list[str]) -> FolderRead:
    """Read train_imgs/img_NUMBER.npy with train_labels.npy, and the same of test."""
    return _read([_list_npy(folder, part, problems) for part in PARTS], "npy", name, problems)


def read_folders(folder: Path, test_fraction: float | None, name: str, problems: list[str]) -> FolderRead:
    """Read train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png of which a fraction becomes test.

    Classes are the folders' names, sorted. A part for validation is joined to train where there is a test
    part, and is test where there is none.
    """
    there = names_in(folder)[1]
    val = next((part for part in VALIDATION if part in there), None)
    if test_fraction is not None:
        return _read_undivided(folder, there, test_fraction, name, problems)
    if "train" not in there or ("test" not in there and val is None):
        problems.append(_undivided_words(folder, there))
        return NOTHING
    classes = names_in(folder / "train")[1]
    if not classes:
        problems.append(f"{folder / 'train'}: holds no folder; allowed: a folder for each class")
        return NOTHING
    names = ["train", "test" if "test" in there else str(val)]
    listed = [_list_classes(folder / part, classes, problems) for part in names]
    said: tuple[str, ...] = ()
    if names[1] == "test" and val is not None:
        more = _list_classes(folder / val, classes, problems)
        if listed[0] is not None and more is not None:
            said = (joined_words(f"{val}/", len(listed[0].files), len(more.files)),)
            listed[0] = _both(listed[0], more)
    elif names[1] != "test":
        said = (f"there is no test/, so the images of {val}/ are test; val is drawn from train",)
    read = _read(listed, "picture", name, problems)
    return FolderRead(read.parts, tuple(classes), said)


def _both(first: ListedPart, second: ListedPart) -> ListedPart:
    return ListedPart(
        [*first.files, *second.files],
        np.concatenate([first.labels, second.labels]),
        named=(*first.named, *second.named),
    )


def _undivided_words(folder: Path, there: Sequence[str]) -> str:
    """Say what a folder without train and test needs."""
    if there and "train" not in there and "test" not in there:
        return (
            f"{folder}: its folders ({few(there)}) are not train and test; allowed: train/CLASS/NAME.png and "
            "test/CLASS/NAME.png. Where each is a class, give the table test_fraction = 0.2 (that share of "
            "each class is test), or move the images into train/ and test/ yourself, which is better where "
            "several show one thing"
        )
    missing = "train/" if "train" not in there else "test/"
    return f"{folder}: {missing} is missing; allowed: train/CLASS/NAME.png and test/CLASS/NAME.png"


def _read_undivided(
    folder: Path, classes: list[str], fraction: float, name: str, problems: list[str]
) -> FolderRead:
    """Read CLASS/*.png; of each class the first images by the SHA-256 of their names are test.

    No seed decides that: the same names are test whatever else the folder gets.
    """
    if divided := [part for part in ("train", "test") if part in classes]:
        problems.append(
            f"{folder}: has {' and '.join(f'{part}/' for part in divided)}, and the table test_fraction; "
            "leave out test_fraction, or name the folder whose folders are the classes"
        )
        return NOTHING
    if not classes:
        problems.append(f"{folder}: holds no folder; allowed: a folder for each class")
    listed = _list_classes(folder, classes, problems)
    if listed is None or problems:
        return NOTHING
    test = np.zeros(len(listed.files), bool)
    for label, title in enumerate(classes):
        places = np.flatnonzero(listed.labels == label)
        count = round(fraction * len(places))
        if not 0 < count < len(places):
            problems.append(
                f"{folder / title}: has {len(places)} images, of which test_fraction = {fraction:g} leaves "
                f"{count} for test and {len(places) - count} to train on; allowed: at least one of each"
            )
        drawn = sorted(places.tolist(), key=lambda i: _drawn(Path(listed.files[i]).name))
        test[drawn[:count]] = True
    parts = [_some(listed, np.flatnonzero(chosen)) for chosen in (~test, test)]
    read = _read(parts, "picture", name, problems)
    said = (
        f"{int(test.sum()):,} of {len(test):,} images are test (test_fraction = {fraction:g} of each class, "
        "by their names' SHA-256): images of one thing may be on both sides"
    )
    return FolderRead(read.parts, tuple(classes), (said,))


def _drawn(name: str) -> bytes:
    return hashlib.sha256(os.fsencode(name)).digest()


def _some(listed: ListedPart, places: NDArray[np.int64]) -> ListedPart:
    return ListedPart(
        [listed.files[i] for i in places],
        listed.labels[places],
        named=tuple(listed.named[i] for i in places),
    )


def _list_classes(folder: Path, classes: Sequence[str], problems: list[str]) -> ListedPart | None:
    """List the images of a folder a class; a class of train that has no folder here has no image here."""
    loose, there = names_in(folder)
    if strange := [name for name in there if name not in classes]:
        problems.append(
            f"{folder}: has a folder {few(strange)}, and train has none of that name; allowed: train's "
            f"classes, {few(classes)}"
        )
    if loose:
        problems.append(
            f"{folder}: holds {few(loose)} beside the folders of its classes; allowed: folders alone. Move "
            "it away"
        )
    found: list[Path] = []
    labels: list[int] = []
    allowed = "PNG or JPEG images of this class"
    for label, name in enumerate(classes):
        if name not in there:
            continue
        for path in files(folder / name, allowed, problems):
            if path.suffix.lower() not in PICTURES:
                problems.append(f"{path}: is not an image that is read; allowed: {allowed}; move it away")
            found.append(path)
            labels.append(label)
    if not found:
        return None
    names = tuple(f"{path.parent.name}/{path.name}" for path in found)
    return ListedPart(found, np.array(labels, np.int64), named=names)


def _read(
    listed: Sequence[ListedPart | None], kind: decoded_cache.Kind, name: str, problems: list[str]
) -> FolderRead:
    """Decode both parts together, because they must have one size."""
    train, test = listed
    if problems or train is None or test is None:
        return NOTHING
    paths = [Path(path) for path in (*train.files, *test.files)]
    pixels = decoded_cache.pixels(paths, kind, name, problems)
    return FolderRead([(train, pixels[: len(train.files)]), (test, pixels[len(train.files) :])])


def _list_png(folder: Path, order: str, part: Part, problems: list[str]) -> ListedPart | None:
    allowed = "files named LABEL_NUMBER.png, as 7_000123.png, LABEL a class number"
    number = ".+" if order == "name" else "[0-9]{1,18}"
    pattern = re.compile(rf"([0-9]{{1,9}})_({number})\.png", re.IGNORECASE)
    images: list[tuple[int, Path, int]] = []
    for path in files(folder / part, allowed, problems):
        match = pattern.fullmatch(path.name)
        if match is None:
            problems.append(f"{path}: the name does not fit; allowed: {allowed}: rename it or move it away")
        else:
            place = int(match[2]) if order == "number" else len(images)
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
    return ListedPart([path for _, path, _ in images], np.array([label for *_, label in images], np.int64))


def _list_npy(folder: Path, part: Part, problems: list[str]) -> ListedPart | None:
    allowed = "files named img_NUMBER.npy, as img_00000.npy"
    images, labelled_by = folder / f"{part}_imgs", folder / f"{part}_labels.npy"
    labels = npy_labels(labelled_by, problems)
    numbered: dict[int, Path] = {}
    for path in files(images, allowed, problems):
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
    return ListedPart([numbered[i] for i in sorted(numbered)], labels, labelled_by)


def npy_labels(path: Path, problems: list[str]) -> NDArray[np.int64] | None:
    """Read the labels (N,) of a .npy file; None, and a problem, where it has none."""
    try:
        labels = npy.read(path)
    except FileNotFoundError:
        problems.append(f"{path}: is missing; allowed: whole numbers of shape (N,), written with np.save")
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror or error})")
    except ValueError as error:
        problems.append(f"{path}: {error}")
    else:
        return class_labels(path, labels, problems)
    return None
