"""The parts of a results folder, as they lie on disk: read whole and checked, or not at all.

parts/<group>.zip      trials.csv, epochs.csv, confusion.csv of one stack, and files.json: the SHA-256 of
                       the weights and predictions that were written with them
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from harness import checksums, csv_rows, documents, files
from harness.settings import EPOCHS, OUTCOME

TABLES = ("trials", "epochs", "confusion")
WRITTEN = "files.json"
NEEDED: Mapping[str, list[str]] = {
    "trials": ["trial_id", "status", "reason"], "epochs": EPOCHS, "confusion": csv_rows.CONFUSION
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A part's tables, each the text of a CSV; its name, its digest, and those of files written with it."""

    name: str
    digest: str
    trials: str
    epochs: str
    confusion: str
    files: Mapping[str, str] = field(default_factory=dict)


_heard: dict[Path, set[Path]] = {}
"""Folder -> parts that this process knows to be written, since the listing of a shared one may be old."""


def remember(folder: Path, group: str) -> None:
    """Note that a stack's part was written by this run, in whichever process."""
    _heard.setdefault(folder.absolute(), set()).add(folder / "parts" / f"{group}.zip")


def paths(folder: Path) -> list[Path]:
    """A folder's parts, in order of their names."""
    listed = set((folder / "parts").glob("*.zip"))
    return sorted(listed | {path for path in _heard.get(folder.absolute(), ()) if path.is_file()})


def read(path: Path) -> Part | None:
    """A part; None if it is damaged."""
    try:
        content = path.read_bytes()
        texts = files.members(content, [*(f"{name}.csv" for name in TABLES), WRITTEN])
        trials, epochs, confusion = (_checked(name, texts[f"{name}.csv"]) for name in TABLES)
        written = files.json_value(texts.get(WRITTEN, "{}"))
        listed = {_inside(name): str(digest) for name, digest in written.items()}
    except (*files.DAMAGE, AttributeError):
        return None
    return Part(path.name, checksums.digest(content), trials, epochs, confusion, listed)


def whole(folder: Path) -> tuple[list[Part], list[Path]]:
    """The parts that are what a run wrote, and the paths of the others: damaged ones, and changed ones.

    A part that checksums.json does not know is one of a run that was killed, and counts if it can be read.
    """
    record = checksums.read(folder) or checksums.Record()
    sound, others = [], []
    for path in paths(folder):
        part = read(path)
        if part is None or record.parts.get(path.name, part.digest) != part.digest:
            others.append(path)
        else:
            sound.append(part)
    return sound, others


def _checked(name: str, text: str) -> str:
    """A table's text; raises ValueError where its columns, its rows or its ids are not a part's."""
    columns = csv_rows.header(text)
    lacking = [column for column in NEEDED[name] if column not in columns]
    if lacking or not text.endswith("\n") or columns[0] != "trial_id":
        raise ValueError(f"{name}.csv has no whole rows of {', '.join(NEEDED[name])}")
    if name == "trials":
        _check_trials(csv_rows.read(io.StringIO(text)))
    elif not _rows(len(columns)).fullmatch(text):
        raise ValueError(f"{name}.csv has rows of other lengths than its header")
    return text


def _check_trials(frame: pd.DataFrame) -> None:
    """Raise ValueError where a stack's rows of trials.csv are not those of a stack."""
    if not frame["trial_id"].map(files.is_name).all() or frame["trial_id"].duplicated().any():
        raise ValueError("a trial_id is none, or there twice")
    if not frame["status"].isin(documents.STATUSES[:4]).all():
        raise ValueError("a status is none")
    if "group" in frame and not frame["group"].map(files.is_name).all():
        raise ValueError("a group is none")
    numbers = [name for name in OUTCOME if name.endswith(("_loss", "_accuracy")) and name in frame]
    for name in numbers:
        pd.to_numeric(frame[name].replace("", None))


def _rows(columns: int) -> re.Pattern[str]:
    """Rows of so many cells, none of them quoted."""
    return re.compile(rf'(?:[^,\n"]*(?:,[^,\n"]*){{{columns - 1}}}\n)+')


def _inside(name: str) -> str:
    """The name of a file of a results folder; raises ValueError where it leads elsewhere."""
    if not re.fullmatch(r"(weights|predictions)/[A-Za-z0-9_-]+\.(safetensors|npz)", name):
        raise ValueError("a file outside of the folder")
    return name


def misfits(folder: Path, part: Part) -> list[str]:
    """The files written with a part that are there and are not what was written, by their names."""
    return [
        name
        for name, digest in part.files.items()
        if (folder / name).is_file() and checksums.digest((folder / name).read_bytes()) != digest
    ]
