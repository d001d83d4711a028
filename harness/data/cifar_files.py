"""The binary files of CIFAR-10 and CIFAR-100: records of one or two labels and 32 x 32 pixels of 3 channels.

    CIFAR-10   data_batch_1.bin .. data_batch_5.bin, test_batch.bin, batches.meta.txt
    CIFAR-100  train.bin, test.bin, fine_label_names.txt, coarse_label_names.txt

Source: Krizhevsky, "Learning multiple layers of features from tiny images" (2009), and the page of the data
set, section "Binary version".
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.data import cifar
from harness.data.folder_parts import NOTHING, FolderRead, ListedPart, names_in
from harness.errors import UsageError, few
from harness.system import resources

if TYPE_CHECKING:
    from harness.data.images import RawPixels

ARCHIVES = ("cifar-10-batches-bin", "cifar-100-binary")
PICKLES = re.compile(r"data_batch_\d+|test_batch|batches\.meta|train|test|meta|cifar-10+-(batches-py|python)")
Level = Literal["fine", "coarse"]


def read_cifar(folder: Path, level: Level, problems: list[str]) -> FolderRead:
    """Read the binary files of CIFAR-10 or CIFAR-100, by what is there; `level` is of CIFAR-100's labels."""
    inner = [folder / name for name in ARCHIVES if (folder / name).is_dir()]
    place = inner[0] if len(inner) == 1 else folder
    batches = sorted(place.glob("data_batch_*.bin"), key=_number)
    hundred = place / "train.bin"
    if batches and hundred.is_file():
        problems.append(f"{place}: holds CIFAR-10's data_batch_*.bin and CIFAR-100's train.bin; keep one")
        return NOTHING
    if hundred.is_file():
        trained, tested, labels = [hundred], place / "test.bin", 2
        names = place / f"{level}_label_names.txt"
    elif batches:
        trained, tested, labels, names = batches, place / "test_batch.bin", 1, place / "batches.meta.txt"
    else:
        problems.append(_absent(place))
        return NOTHING
    if level == "coarse" and labels == 1:
        problems.append(f"{place}: labels = 'coarse' is for CIFAR-100; leave it out of the table")
    column = 1 if labels == 2 and level == "fine" else 0
    parts = [_part(paths, labels, column, problems) for paths in (trained, [tested])]
    if problems:
        return NOTHING
    return FolderRead([part for part in parts if part is not None], _names(names, problems))


def _part(
    paths: list[Path], labels: int, column: int, problems: list[str]
) -> tuple[ListedPart, RawPixels] | None:
    """Read a part's files, in order; None, and a problem for each faulty one."""
    read = []
    for path in paths:
        try:
            read.append(cifar.parse(_content(path), str(path), labels))
        except FileNotFoundError:
            problems.append(f"{path}: is missing; allowed: CIFAR's binary file of this name")
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror or error})")
        except UsageError as error:
            problems.append(str(error))
    if len(read) < len(paths):
        return None
    place = paths[0] if len(paths) == 1 else paths[0].with_name("data_batch_*.bin")
    numbers = np.concatenate([table[:, column] for table, _ in read])
    return ListedPart([place], numbers, place, whole=True), np.concatenate([images for _, images in read])


def _content(path: Path) -> bytes:
    """Read a file that memory can hold along with its images.

    Raises:
        OSError: it cannot be read.
        UsageError: it is no file, or too large.
    """
    if path.exists() and not path.is_file():  # opening a named pipe would wait for a writer
        raise UsageError(f"{path}: is not a file; move it away")
    if fault := resources.too_large(2 * path.stat().st_size):
        raise UsageError(f"{path}: its images take {fault}")
    return path.read_bytes()


def _number(path: Path) -> tuple[int, str]:
    digits = re.sub(r"\D", "", path.stem)
    return int(digits[:9] or 0), path.name


def _names(path: Path, problems: list[str]) -> tuple[str, ...]:
    """Read class names, one a line; none where the file is not there."""
    if not path.is_file():
        return ()
    try:
        names = tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as error:
        problems.append(f"{path}: cannot be read as class names, one a line ({error})")
        return ()
    if len(set(names)) < len(names):
        problems.append(f"{path}: has a class name twice; allowed: a name for each class")
    return names


def _absent(place: Path) -> str:
    """Say that none of the files is there; the Python version is told, which is pickled."""
    held = [name for name in itertools.chain(*names_in(place)) if PICKLES.fullmatch(name)]
    if held:
        return (
            f"{place}: holds {few(held)}, CIFAR's Python version: it is pickled, and reading a pickle runs "
            "code, so it is never read; get the binary version (cifar-10-binary.tar.gz, "
            "cifar-100-binary.tar.gz) and unpack it"
        )
    return (
        f"{place}: no data_batch_1.bin and no train.bin; allowed: CIFAR-10's data_batch_1.bin .. "
        "test_batch.bin, or CIFAR-100's train.bin and test.bin, the binary version"
    )
