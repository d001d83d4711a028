"""Rows of two results folders: those that one has lost, doubled or changed, cell by cell.

Cells are compared as text: seconds, names and sizes of stacks, and hosts are left out.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

TABLES: Mapping[str, tuple[str, ...]] = {
    "trials.csv": ("trial_id",),
    "epochs.csv": ("trial_id", "epoch", "step", "split"),
    "confusion.csv": ("trial_id", "split", "label", "prediction"),
    "suggestions.csv": ("number",),
}
"""Of a table: the columns that name a row."""
LEFT_OUT = {"group", "group_size", "group_seconds", "seconds", "host"}
"""Columns that no two runs share, or that say where a row was made."""


@dataclass(frozen=True)
class Differences:
    """Counts of rows by what became of them, and the first difference in words."""

    compared: int = 0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    first: str = ""

    def __add__(self, other: Differences) -> Differences:
        return Differences(
            self.compared + other.compared, self.lost + other.lost, self.doubled + other.doubled,
            self.different + other.different, self.first or other.first,
        )  # fmt: skip

    @property
    def none(self) -> bool:
        return not (self.lost or self.doubled or self.different)

    def __str__(self) -> str:
        return (
            f"{self.lost} lost, {self.doubled} doubled, {self.different} different of {self.compared:,} rows"
        )


def compare(undisturbed: Path, disturbed: Path) -> Differences:
    """Compare two results folders: CSV files, kept predictions and weights, and those of folders in them.

    Rows that only the disturbed folder has count as different.
    """
    names = {path.relative_to(undisturbed) for path in _tables(undisturbed)}
    names |= {path.relative_to(disturbed) for path in _tables(disturbed)}
    total = Differences()
    for name in sorted(names):
        total += _compared(undisturbed / name, disturbed / name, str(name))
    before, after = (
        {name: [array] for name, array in _arrays(folder)} for folder in (undisturbed, disturbed)
    )
    return total + _counted(before, after, "arrays")


def _tables(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*.csv") if path.name in TABLES)


def _compared(before: Path, after: Path, name: str) -> Differences:
    old, new = (_rows(path) if path.is_file() else {} for path in (before, after))
    return _counted(old, new, name)


def _rows(path: Path) -> dict[str, list[str]]:
    """Return a table's rows by what names them, each as one text; a name may have several."""
    found: dict[str, list[str]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        named = [name for name in TABLES[path.name] if name in (reader.fieldnames or ())]
        for row in reader:
            text = "; ".join(f"{key}={value}" for key, value in row.items() if key not in LEFT_OUT)
            found.setdefault(" ".join(row[name] for name in named), []).append(text)
    return found


def _counted(before: Mapping[str, list[str]], after: Mapping[str, list[str]], name: str) -> Differences:
    """Count what became of rows, by what names them."""
    lost = doubled = different = 0
    first = ""
    for key in dict.fromkeys([*before, *after]):
        expected, got = Counter(before.get(key, [])), Counter(after.get(key, []))
        if expected == got:
            continue
        missing, extra = expected.total() - got.total(), got.total() - expected.total()
        lost += max(0, missing)
        doubled += extra if extra > 0 and key in before else 0
        changed = missing == 0 or key not in before or not (expected & got)
        different += changed and bool(got)
        first = first or f"{name}, {key}: {_told(expected)}, then {_told(got)}"
    return Differences(sum(map(len, before.values())), lost, doubled, different, first)


def _told(rows: Counter[str]) -> str:
    texts = [f"{count} times {text}" if count > 1 else text for text, count in rows.items()]
    return " and ".join(texts) or "no row"


def _arrays(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the digest of every kept prediction and weight, by its trial, split and name.

    A checkpoint of a trial that failed is neither: it says where the last try had come to.
    """
    for path in sorted(folder.rglob("*.npz")):
        if path.parent.name == "predictions":
            yield from _predictions(path)
    for path in sorted(folder.rglob("weights/*.safetensors")):
        for name, array in load_file(path).items():
            yield f"weights {path.stem} {name}", _digest(array)


def _predictions(path: Path) -> Iterator[tuple[str, str]]:
    with np.load(path) as arrays:
        ids = [str(name) for name in arrays["trial_id"]] if "trial_id" in arrays else []
        for name, array in arrays.items():
            if name.endswith(("_predicted", "_confidence")) and len(array) == len(ids):
                for trial, values in zip(ids, array, strict=True):
                    yield f"predictions {trial} {name}", _digest(values)


def _digest(array: np.ndarray) -> str:
    content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
    return f"{array.dtype} {array.shape} {content}"
