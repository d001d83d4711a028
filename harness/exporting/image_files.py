"""Exports of a data set into a folder that `image_folders` reads, with its table for a study file."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from harness.data import idx
from harness.data.datasets import Dataset
from harness.data.decoded_cache import counted
from harness.data.image_folders import Folder
from harness.data.images import Images, size_in_words
from harness.errors import MachineError, UsageError
from harness.system import locks

if TYPE_CHECKING:
    from harness.data.images import RawPixels

Format = Literal["png", "npy", "idx", "idx.gz"]
FORMATS: tuple[Format, ...] = get_args(Format)
UNFINISHED = ".export-"  # in front of the name of a folder that an export writes in until it is whole


def export(dataset: Dataset, form: Format, folder: Path) -> str:
    """Write a data set into an empty or new folder; read again, it gives the same pixels, labels and order.

    Everything is written in a hidden folder inside and moved up at the end, so that an export that was killed
    is not taken for a whole one; running it again removes what it left.

    Returns:
        The [datasets.NAME] table for a study file.

    Raises:
        UsageError: the folder is not empty, or is a file; the data set cannot be read, or not be written in
            this format without a loss.
        MachineError: it cannot be written.
    """
    _check_empty(folder)
    images = dataset.load()
    _check_format(images, form, dataset.name)
    scratch = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            for stale in folder.glob(f"{UNFINISHED}*/"):
                shutil.rmtree(stale)
            scratch = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
            _write(images, form, scratch, len(dataset.facts.classes), f"writing {dataset.name}")
            for path in sorted(scratch.iterdir()):
                path.rename(folder / path.name)
    except OSError as error:
        raise MachineError(
            f"{folder} cannot be written: {error.strerror or error}. Free some space or choose another folder"
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return table(dataset, form, folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder, so that no other export takes this one's unfinished files for those of a killed one."""
    from filelock import Timeout

    try:
        lock = locks.hold(folder / f"{UNFINISHED}lock", "Choose a local folder")
    except Timeout:
        raise UsageError(
            f"{folder}: another export is writing into it; wait for its end, or choose another folder"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # the disk may be gone by now; its error is reported
            Path(lock.lock_file).unlink()
        lock.release()


def table(dataset: Dataset, form: Format, folder: Path) -> str:
    """Return the [datasets.NAME] table, in TOML, that declares an exported folder."""
    import tomli_w

    facts = dataset.facts
    numbered = facts.classes == tuple(map(str, range(len(facts.classes))))
    entry = Folder.model_construct(
        format=form.removesuffix(".gz"),
        path=folder.absolute(),
        classes=None if numbered else list(facts.classes),
        pixel_max=int(facts.pixel_max),
        order="number" if form == "png" else "name",
    ).table()
    return tomli_w.dumps({"datasets": {f"{dataset.name}_{entry['format']}": entry}})


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; allowed: a new or an empty folder")
    held = [path.name for path in folder.iterdir()] if folder.exists() else []
    strangers = [name for name in sorted(held) if not name.startswith(UNFINISHED)]
    if strangers:
        raise UsageError(f"{folder} is not empty: it holds {strangers[0]!r}. Choose a new or an empty folder")


def _check_format(images: Images, form: Format, name: str) -> None:
    """Raise UsageError where a format has no place for images of this type and so many channels."""
    pixels = images.train_images
    deep, channels = pixels.dtype.itemsize > 1, pixels.shape[3] if pixels.ndim == 4 else 1
    if form == "png" and (channels not in {1, 3} or (deep and channels > 1)):
        kept = "PNG files keep grey images of 8 or 16 bits, and red, green and blue of 8"
    elif form in {"idx", "idx.gz"} and deep:
        kept = "IDX files have no unsigned numbers of 16 bits"
    else:
        return
    raise UsageError(
        f"{name}: its images are {size_in_words(pixels.shape[1:])} in {pixels.dtype.name}, and {kept}. "
        "Choose npy, which keeps all"
    )


def _write(images: Images, form: Format, folder: Path, classes: int, words: str) -> None:
    train, test = (images.train_images, images.train_labels), (images.test_images, images.test_labels)
    parts = {"train": train, "test": test}
    if form in {"idx", "idx.gz"}:
        for prefix, (pixels, labels) in zip(("train", "t10k"), parts.values(), strict=True):
            narrow = labels.astype(np.uint8 if classes <= 256 else np.int32)
            for name, array in ((f"images-idx{pixels.ndim}-ubyte", pixels), ("labels-idx1-ubyte", narrow)):
                _write_idx(folder / f"{prefix}-{name}", array, zipped=form == "idx.gz")
        return
    digits = len(str(classes - 1))  # so that names sort as labels do
    subfolder = "{part}" if form == "png" else "{part}_imgs"
    for part, (_, labels) in parts.items():
        (folder / subfolder.format(part=part)).mkdir()
        if form == "npy":
            np.save(folder / f"{part}_labels.npy", labels)
    total = sum(len(labels) for _, labels in parts.values())
    for part, i, image, label in counted(_each(parts), total, words):
        here = folder / subfolder.format(part=part)
        if form == "npy":
            np.save(here / f"img_{i:05d}.npy", image)
        else:
            _write_png(here / f"{label:0{digits}d}_{i:06d}.png", image)


def _each(
    parts: dict[str, tuple[RawPixels, NDArray[np.int64]]],
) -> Iterator[tuple[str, int, RawPixels, int]]:
    for part, (pixels, labels) in parts.items():
        for i, (image, label) in enumerate(zip(pixels, labels.tolist(), strict=True)):
            yield part, i, image, label


def _write_idx(path: Path, array: NDArray[Any], *, zipped: bool) -> None:
    content = idx.pack(array)
    if zipped:  # mtime=0: the same data gives the same bytes
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content, 6, mtime=0))
    else:
        path.write_bytes(content)


def _write_png(path: Path, image: RawPixels) -> None:
    """Write a grey image of 8 or 16 bits, or one in colours."""
    from PIL import Image

    Image.fromarray(image).save(path, "PNG")
