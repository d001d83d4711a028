"""Data folders that are whole, and not what a study can read: as people have them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

Arrangement = Callable[[random.Random, Path], None]
"""Given a generator and the data folder, which it changes."""


def _pngs(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def _modes(rng: random.Random, folder: Path) -> None:
    """PNGs in colour, transparent, of 16 bits, black and white, or with a palette."""
    mode = rng.choice(["RGB", "RGBA", "LA", "I;16", "1", "P"])
    for path in _pngs(folder)[: rng.choice([1, 100])]:
        with Image.open(path) as image:
            grey = image.convert("L")
        if mode == "I;16":
            Image.fromarray(np.asarray(grey, np.uint16) * 4000).save(path)
        else:
            grey.convert(mode).save(path)


def _turned(_rng: random.Random, folder: Path) -> None:
    """A PNG that says by its EXIF data that it is to be turned."""
    for path in _pngs(folder)[:3]:
        with Image.open(path) as image:
            exif = image.getexif()
            exif[0x0112] = 6
            image.save(path, exif=exif)


def _film(_rng: random.Random, folder: Path) -> None:
    """A PNG of several pictures."""
    for path in _pngs(folder)[:1]:
        with Image.open(path) as image:
            first = image.copy()
        first.save(path, save_all=True, append_images=[Image.eval(first, lambda pixel: 16 - pixel)])


def _jpeg(_rng: random.Random, folder: Path) -> None:
    """Photographs, under their own or another name."""
    for i, path in enumerate(_pngs(folder)[:2]):
        with Image.open(path) as image:
            image.save(path.with_suffix(".jpg") if i else path, format="JPEG")


def _class_folders(_rng: random.Random, folder: Path) -> None:
    """A folder a class."""
    for path in _pngs(folder):
        place = path.parent / path.name.partition("_")[0]
        place.mkdir(exist_ok=True)
        path.rename(place / path.name.partition("_")[2])


def _flat(_rng: random.Random, folder: Path) -> None:
    """All images in one folder."""
    for path in _pngs(folder):
        path.rename(folder / path.name)


def _words(_rng: random.Random, folder: Path) -> None:
    """Classes by name."""
    for path in _pngs(folder):
        path.rename(path.with_name(path.name.replace("0_", "cat_", 1).replace("1_", "dog_", 1)))


def _sizes(rng: random.Random, folder: Path) -> None:
    """Images of several sizes, or all of a large one."""
    side = rng.choice([1, 9, 3000])
    for path in _pngs(folder)[: rng.choice([1, 100]) if side < 100 else 1]:
        with Image.open(path) as image:
            image.resize((side, side)).save(path)


def _alike(rng: random.Random, folder: Path) -> None:
    """All images are the same, or those of a class, or of test and train."""
    paths = _pngs(folder)
    if rng.random() < 0.5:
        paths = [path for path in paths if path.name.startswith("0")]
    for path in paths[1:]:
        shutil.copy(paths[0], path)


def _arrays(rng: random.Random, folder: Path) -> None:
    """Arrays of another type or shape: floats, colour, all images in one; labels one-hot or in words."""
    images = sorted(folder.glob("*_imgs/*.npy"))
    labels = sorted(folder.glob("*_labels.npy"))
    if not images or not labels:
        return
    changes: list[Callable[[np.ndarray], object]] = [
        lambda x: x / 16.0, lambda x: np.stack([x] * 3, -1), lambda x: np.stack([x] * 3),
    lambda x: x.astype(bool),
        lambda x: x.astype(np.int64) * 3, lambda x: x[None], lambda x: x.ravel(),
    lambda x: np.full_like(x, 200),
        lambda _: np.zeros((0, 8), np.uint8), lambda _: np.array("x"), lambda x: x.astype("m8[s]"),
    ]  # fmt: skip
    of_labels: list[Callable[[np.ndarray], object]] = [
        lambda y: np.eye(2)[y], lambda y: y[:, None], lambda y: y.astype(str), lambda y: y + 0.5,
    lambda y: y - 1,
        lambda y: y * 0, lambda y: y + 1, lambda y: y[:-1], lambda y: y * 10**9, lambda y: y.astype(np.uint8),
        lambda _: np.array([]), lambda _: np.array(3),
    ]  # fmt: skip
    if rng.random() < 0.5:
        change = rng.choice(changes)
        for path in images[: rng.choice([1, 100])]:
            np.save(path, np.asarray(change(np.load(path))))
    else:
        change = rng.choice(of_labels)
        for path in labels[: rng.choice([1, 2])]:
            np.save(path, np.asarray(change(np.load(path))))


def _whole_arrays(rng: random.Random, folder: Path) -> None:
    """X_train.npy and the like, an archive, or a table, instead of the folders."""
    shutil.rmtree(folder)
    folder.mkdir()
    x, y = np.zeros((18, 8, 8), np.uint8), np.arange(18) % 2
    how = rng.randrange(3)
    if how == 0:
        np.save(folder / "X_train.npy", x)
        np.save(folder / "y_train.npy", y)
    elif how == 1:
        np.savez(folder / "data.npz", x=x, y=y)
    else:
        rows = "".join(
            f"{label},{','.join(map(str, image.ravel()))}\n" for label, image in zip(y, x, strict=True)
        )
        (folder / "train.csv").write_text(rows)


def _renamed(rng: random.Random, folder: Path) -> None:
    """A folder or file under another name."""
    paths = sorted(folder.rglob("*"))
    path = rng.choice(paths)
    if path.exists():
        names = [
            "Train",
            "training",
            path.name + ".idx3-ubyte",
            path.name.upper(),
            "7.png",
            "img_0.npy",
            "a b",
            "x",
        ]
        target = path.with_name(rng.choice([*names, path.name.replace("-", "."), "t10k" + path.name[5:]]))
        if not target.exists():
            path.rename(target)


def _litter(rng: random.Random, folder: Path) -> None:
    """What other programs leave behind."""
    name = rng.choice(
        [".DS_Store", "Thumbs.db", "desktop.ini", "README.txt", "._0_000.png", "0_000 (1).png", "_"]
    )
    there = [path for path in sorted(folder.rglob("*")) if path.is_dir()] + [folder]
    (rng.choice(there) / name).write_bytes(b"x")


ARRANGEMENTS: Mapping[str, Arrangement] = {
    "modes": _modes, "turned": _turned, "film": _film, "jpeg": _jpeg, "class folders": _class_folders,
    "flat": _flat, "words": _words, "sizes": _sizes, "alike": _alike, "arrays": _arrays,
    "whole arrays": _whole_arrays, "renamed": _renamed, "litter": _litter,
}  # fmt: skip
OF_FORMAT: Mapping[str, tuple[str, ...]] = {
    "png": tuple(name for name in ARRANGEMENTS if name != "arrays"),
    "npy": ("arrays", "arrays", "arrays", "whole arrays", "renamed", "litter"),
    "idx": ("renamed", "renamed", "whole arrays", "litter"),
    "gz": ("renamed", "litter"),
}


def arrange(rng: random.Random, folder: Path, kind: str) -> str:
    """Rearrange a data folder of a format; gives what was done, in a word."""
    name = rng.choice(OF_FORMAT[kind])
    ARRANGEMENTS[name](rng, folder)
    return name
