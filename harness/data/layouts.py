"""Layouts of folders that are in another format than their table says, or in none, and how to convert them.

docs/own-images.md has a loop for each of them.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from harness.data.folder_parts import VALIDATION
from harness.errors import MOST_LISTED, few

MOST_LOOKED_AT = 5_000  # names in one folder
OTHER_IMAGES = {".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
IMAGES = {".png", *OTHER_IMAGES}
READ = {".png", ".jpg", ".jpeg"}
TABLES = {".csv", ".tsv", ".parquet", ".xlsx"}
ARCHIVES = {".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz"}
CIFAR = re.compile(
    r"data_batch_\d+\.bin|test_batch\.bin|(train|test)\.bin|cifar-10-batches-bin|cifar-100-binary"
)
ARRAY = re.compile(r"(x_train|train_(images|imgs))\.npy", re.IGNORECASE)
NUMBERED = re.compile(r"\d{1,9}_.+\.png|img_\d+\.npy", re.IGNORECASE)


def words(folder: Path, form: str) -> list[str]:
    """Return sentences on the layout of a folder, and how to convert it; none for an unknown layout."""
    names, folders = _names(folder)
    inside, within = _names(folder / "train") if "train" in folders else ([], [])
    other = _other_format(folder, form, (names, folders), (inside, within))
    sentences = [*_foreign(names), *_images(inside)]
    loops = [f"{folder}: {sentence}. docs/own-images.md has it as a loop" for sentence in sentences]
    return [f"{folder}: {other}", *loops] if other else loops


def _names(folder: Path) -> tuple[list[str], list[str]]:
    """Return the first few thousand names of files and of folders in a folder; none if it cannot be read."""
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in itertools.islice(entries, MOST_LOOKED_AT):
                if not entry.name.startswith((".", "__")):
                    (folders if entry.is_dir() else files).append(entry.name)
    except OSError:
        return [], []
    return sorted(files), sorted(folders)


Listing: TypeAlias = tuple[list[str], list[str]]


def _other_format(folder: Path, form: str, top: Listing, train: Listing) -> str:
    """Return a sentence if another format fits the files and folders at the top and in train/, else ""."""
    (names, folders), (inside, within) = top, train
    divided = _class_folders(folder / "train", within)
    fits = {
        "idx": any(re.search(r"[-.]idx\d-(ubyte|int)", name) for name in [*names, *folders]),
        "cifar": any(CIFAR.fullmatch(name) for name in [*names, *folders]),
        "npz": any(name.endswith(".npz") for name in names),
        "npy": "train_imgs" in folders or any(ARRAY.fullmatch(name) for name in names),
        "png": any(NUMBERED.fullmatch(name) for name in inside if name.lower().endswith(".png")),
        "folders": bool(divided or ("train" not in folders and _class_folders(folder, folders))),
    }
    other = [name for name, fit in fits.items() if fit and name != form]
    if fits[form] or not other:
        return ""
    more = ""
    if other[0] == "folders":
        classes = divided or _class_folders(folder, folders)
        more = f" (a folder a class: {few(classes)}{'' if divided else '; with a test_fraction'})"
    return f"it looks like format = {other[0]!r}{more}, and the table says {form!r}"


def _foreign(names: list[str]) -> Iterator[str]:
    """Describe files of other formats at the folder's top, and how to turn them into images."""
    by_end: dict[str, list[str]] = {}
    for name in names:
        by_end.setdefault(Path(name).suffix.lower(), []).append(name)
    for ends, sentence in (
        (
            TABLES,
            "tables: load one with pandas, and save each row's pixels as an image, as train/LABEL_NUMBER.png",
        ),
        (ARCHIVES, "an archive: unpack it, and name the unpacked folder as the path"),
    ):
        if matches := [name for end in sorted(ends) for name in by_end.get(end, [])]:
            yield f"it holds {few(matches)}, {sentence}"
    if matches := [name for end in sorted(IMAGES) for name in by_end.get(end, [])]:
        yield (
            f"it holds {few(matches)} beside train/ and test/: put the images into these two, "
            "in train/ those to learn from"
        )


def _images(names: list[str]) -> Iterator[str]:
    """Describe images in train/ that are not PNG, or that a class in words names."""
    foreign = [name for name in names if Path(name).suffix.lower() in OTHER_IMAGES]
    if foreign:
        yield (
            f"train/ holds {few(foreign)}, not PNG: save each again with "
            "ImageOps.exif_transpose(Image.open(path)).convert('RGB').save(path.with_suffix('.png')), "
            "or sort them into a folder a class, where format = 'folders' reads JPEG too"
        )
    unnumbered = [Path(name) for name in names if not NUMBERED.fullmatch(name)]
    words = {
        path.stem.rstrip("0123456789()").rstrip(" _.-")
        for path in unnumbered
        if path.suffix.lower() in IMAGES
    }
    classes = sorted(word for word in words if any(map(str.isalpha, word)))  # cat of cat_001.png
    if classes:
        yield (
            f"names in train/ begin with a class in words, {few(classes)}: begin them with the class's "
            f"number, {_numbered(classes)}, as 0_001.png; the words go into the table, "
            f"classes = {_quoted(classes)}"
        )


def _class_folders(folder: Path, folders: list[str]) -> list[str]:
    """List the folders that hold images that a class has, as torchvision's ImageFolder has it."""
    classes = [
        name
        for name in folders
        if any(Path(n).suffix.lower() in READ for n in _names(folder / name)[0][:MOST_LISTED])
    ]
    return [] if set(classes) <= {"train", "test", *VALIDATION} else classes


def _numbered(classes: list[str], form: str = "{name} {i}") -> str:
    listed = [form.format(name=name, i=i) for i, name in enumerate(classes[:MOST_LISTED])]
    return ", ".join([*listed, ".."] if len(classes) > MOST_LISTED else listed)


def _quoted(classes: list[str]) -> str:
    return "[" + _numbered(classes, '"{name}"') + "]"
