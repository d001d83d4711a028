"""Layouts of folders that are in other formats than the three, and how to convert them.

docs/own-images.md has a loop for each of them.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from harness.errors import MOST_LISTED, few

MOST_LOOKED_AT = 5_000  # names in one folder
OTHER_IMAGES = {".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
IMAGES = {".png", *OTHER_IMAGES}
TABLES = {".csv", ".tsv", ".parquet", ".xlsx"}
ARCHIVES = {".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz"}
NUMBERED = re.compile(r"\d{1,9}_.+\.png|img_\d+\.npy", re.IGNORECASE)


def words(folder: Path, form: str) -> list[str]:
    """Return sentences on the layout of a folder, and how to convert it; none for an unknown layout."""
    names, folders = _names(folder)
    inside, within = _names(folder / "train") if "train" in folders else ([], [])
    other = _other_format(form, names, folders, inside)
    sentences = [*_foreign(names), *_images(inside)]
    sentences += _class_folders(folder / "train", within)
    sentences += [] if "train" in folders else _class_folders(folder, folders)
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


def _other_format(form: str, names: list[str], folders: list[str], inside: list[str]) -> str:
    """Return a sentence if another of the three formats fits, else ""."""
    fits = {
        "idx": any(re.search(r"[-.]idx\d-ubyte", name) for name in [*names, *folders]),
        "npy": "train_imgs" in folders,
        "png": any(NUMBERED.fullmatch(name) for name in inside if name.lower().endswith(".png")),
    }
    other = [name for name, fit in fits.items() if fit and name != form]
    return (
        "" if fits[form] or not other else f"it looks like format = {other[0]!r}, and the table says {form!r}"
    )


def _foreign(names: list[str]) -> Iterator[str]:
    """Describe files of other formats at the folder's top, and how to turn them into images."""
    by_end: dict[str, list[str]] = {}
    for name in names:
        by_end.setdefault(Path(name).suffix.lower(), []).append(name)
    arrays = [*by_end.get(".npz", []), *(n for n in by_end.get(".npy", []) if not n.endswith("_labels.npy"))]
    if arrays:
        yield (
            f"it holds {few(arrays)}, arrays of many images: load them (np.load) and save each image x "
            "of label y as train/ or test/ with Image.fromarray(x).save(f'train/{y}_{i:06d}.png')"
        )
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
            "ImageOps.exif_transpose(Image.open(path)).convert('L').save(path.with_suffix('.png'))"
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


def _class_folders(folder: Path, folders: list[str]) -> Iterator[str]:
    """Describe a folder for each class, as torchvision's ImageFolder has it, if there is one."""
    classes = [
        name for name in folders if any(Path(n).suffix.lower() in IMAGES for n in _names(folder / name)[0])
    ]
    if not classes or set(classes) <= {"train", "test"}:
        return
    where = f"{folder.name}/" if folder.name == "train" else "it"
    yield (
        f"{where} holds a folder a class, {few(classes)}: move each {classes[0]}/NAME.png to "
        f"train/0_NAME.png or test/0_NAME.png, with the class's number in front "
        f"({_numbered(classes)}); the names go into the table, classes = {_quoted(classes)}"
    )


def _numbered(classes: list[str], form: str = "{name} {i}") -> str:
    listed = [form.format(name=name, i=i) for i, name in enumerate(classes[:MOST_LISTED])]
    return ", ".join([*listed, ".."] if len(classes) > MOST_LISTED else listed)


def _quoted(classes: list[str]) -> str:
    return "[" + _numbered(classes, '"{name}"') + "]"
