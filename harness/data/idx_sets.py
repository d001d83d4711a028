"""A folder of IDX files as MNIST, Fashion-MNIST, Kuzushiji-MNIST, EMNIST and QMNIST come.

    MNIST, KMNIST  train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-... (or test-...)
    EMNIST         emnist-letters-train-images-idx3-ubyte, .., emnist-letters-mapping.txt; its images are
                   written column by column, and the labels of its letters count from 1
    QMNIST         qmnist-train-images-idx3-ubyte, qmnist-train-labels-idx2-int: a row of 8 numbers an image,
                   of which the first is the class

Each as it is or .gz, with a dot for the dash before idx, or in a folder of its own name.
"""

from __future__ import annotations

import filecmp
import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data import idx
from harness.data.emnist import QMNIST_COLUMNS
from harness.data.folder_parts import (
    NOTHING,
    FolderRead,
    ListedPart,
    class_labels,
    names_in,
    pixel_fault,
    plain_pixels,
)
from harness.errors import UsageError, few

if TYPE_CHECKING:
    from harness.data.images import RawPixels

FILE = re.compile(r"(?:(.+)-)?(?:train|t10k|test)-(?:images|labels)[-.]idx\d-(?:ubyte|int)(?:\.gz)?")


def read_idx(folder: Path, prefix: str | None, transposed: bool | None, problems: list[str]) -> FolderRead:
    """Read the four files of a set, or of the one that `prefix` names where a folder holds several.

    Args:
        folder: holds the files.
        prefix: what the files' names begin with, as "emnist-letters"; None where there is one set.
        transposed: whether rows and columns of the images are exchanged; None: those of EMNIST are.
        problems: gets a line for each fault.
    """
    chosen = _chosen(folder, prefix, problems)
    if chosen is None:
        return NOTHING
    parts, said = [], []
    for names in (("train",), ("t10k", "test")):
        part = _part(folder, [f"{chosen}-{name}" if chosen else name for name in names], problems)
        if part is not None:
            parts.append(part)
    if len(parts) < 2:
        return FolderRead(parts)
    emnist = chosen.lower().startswith("emnist")
    if emnist if transposed is None else transposed:
        parts = [(listed, np.ascontiguousarray(np.swapaxes(pixels, 1, 2))) for listed, pixels in parts]
        said.append(
            f"the images of {chosen or folder.name} are written column by column, and were turned upright "
            "(rows and columns exchanged)"
        )
    classes: tuple[str, ...] = ()
    if emnist:
        shifted, classes = _emnist(folder, chosen, [listed for listed, _ in parts], problems)
        if shifted is not None:
            parts = [(listed, pixels) for listed, (_, pixels) in zip(shifted, parts, strict=True)]
            said.append(f"the labels of {chosen} count from 1, and were lowered by 1")
    if any("idx2-int" in str(listed.labelled_by) for listed, _ in parts):
        said.append(f"labels are the first of the {QMNIST_COLUMNS} numbers of an image in QMNIST's table")
    return FolderRead(parts, classes, tuple(said))


def _chosen(folder: Path, prefix: str | None, problems: list[str]) -> str | None:
    """Give what the names of the set's files begin with, "" of MNIST's; None, and a problem, if open."""
    names = itertools.chain(*names_in(folder))
    found = sorted({(match[1] or "") for name in names if (match := FILE.fullmatch(name))})
    if prefix is not None:
        if prefix not in found:
            there = few([repr(name) for name in found]) if found else "no IDX file"
            problems.append(
                f"{folder}: no {prefix}-train-images-idx3-ubyte, as prefix = {prefix!r} names it; there is "
                f"{there}: allowed is what stands before -train-images"
            )
            return None
        return prefix
    if len(found) > 1:
        sets = few([name or "train-images" for name in found])
        problems.append(f"{folder}: holds several sets, {sets}; give the table one: prefix = {found[-1]!r}")
        return None
    return found[0] if found else ""


def _part(folder: Path, names: Sequence[str], problems: list[str]) -> tuple[ListedPart, RawPixels] | None:
    """Read images and labels of a part of one of these names; None, and problems, if they are faulty."""
    images = _idx(folder, [f"{name}-images-idx3-ubyte" for name in names], problems)
    labels = _idx(folder, [f"{name}-labels-idx1-ubyte" for name in names], problems)
    if images is None or labels is None:
        return None
    (path, pixels), (labelled_by, raw) = images, labels
    if fault := pixel_fault(pixels.dtype, pixels.shape, stacked=True):
        problems.append(f"{path}: {fault}")
        return None
    table = raw.ndim == 2 and raw.shape[1] == QMNIST_COLUMNS and "idx2-int" in labelled_by.name
    checked = class_labels(labelled_by, raw, problems, column=0 if table else None)
    if checked is None:
        return None
    if len(checked) != len(pixels):
        problems.append(
            f"{labelled_by}: {len(checked):,} labels, and {len(pixels):,} images in {path.name}; allowed: "
            "one an image"
        )
    return ListedPart([path], checked, labelled_by, whole=True), plain_pixels(pixels)


def _emnist(
    folder: Path, prefix: str, parts: list[ListedPart], problems: list[str]
) -> tuple[list[ListedPart] | None, tuple[str, ...]]:
    """Give labels from 0 where EMNIST's count from 1, else None; and the class names of its mapping."""
    mapping = _mapping(folder / f"{prefix}-mapping.txt", problems)
    lowest = min(int(part.labels.min()) for part in parts)
    first = min(mapping, default=lowest)
    names = [mapping.get(first + i, "") for i in range(max(mapping, default=first - 1) - first + 1)]
    classes = tuple(names) if all(names) and len(set(names)) == len(names) else ()
    if first != 1 or lowest < 1:
        return None, classes
    return [replace(part, labels=part.labels - 1) for part in parts], classes


def _mapping(path: Path, problems: list[str]) -> dict[int, str]:
    """Read a mapping of labels to characters: lines of a label and the codes of its characters.

    A class of capitals and small letters is called by the capital, whose code comes first.
    """
    if not path.is_file():
        return {}
    try:
        rows = [list(map(int, line.split())) for line in path.read_text("ascii").splitlines() if line.strip()]
        return {row[0]: chr(row[1]) for row in rows}
    except (OSError, ValueError, OverflowError, IndexError) as error:
        problems.append(
            f"{path}: is no mapping ({error}); allowed: lines of a label and character codes, as 1 65 97"
        )
        return {}


def _idx(folder: Path, stems: Sequence[str], problems: list[str]) -> tuple[Path, NDArray[Any]] | None:
    """Read an IDX file of one of these names, in any of the spellings of MNIST's archives.

    A plain file comes before .gz if both exist, and the spelling of MNIST's own page before any other.
    """
    other = [*stems, *(stem.replace("labels-idx1-ubyte", "labels-idx2-int") for stem in stems)]
    other += [stem.replace("images-idx3-ubyte", "images-idx4-ubyte") for stem in stems]
    known = dict.fromkeys(other)
    there = [(stem, path) for stem in known for path in _spellings(folder, stem) if path.is_file()]
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
