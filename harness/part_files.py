"""The parts of a results folder, as they lie on disk: read whole and checked, or not at all.

parts/<group>.zip      trials.csv, epochs.csv, confusion.csv of one stack, and files.json: the SHA-256 of
                       the weights and predictions that were written with them
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from harness import checksums, csv_rows, documents, files, notes
from harness.schema import EPOCHS, OUTCOME

TABLES = ("trials", "epochs", "confusion")
WRITTEN = "files.json"
BATCH = re.compile(r"b[0-9a-f]{8}\.zip")
"""The name of the part that a search writes of a batch: it holds trials of several stacks."""
NEEDED: Mapping[str, list[str]] = {
    "trials": ["trial_id", "status", "reason"], "epochs": EPOCHS, "confusion": csv_rows.CONFUSION
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A part's tables, each the text of a CSV; its name, its digest, and those of files written with it.

    `stacks` are the names of those whose trials it holds: its own, or those of a batch of a search.
    """

    name: str
    digest: str
    trials: str
    epochs: str
    confusion: str
    stacks: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def named(self) -> bool:
        """Whether it has the name that a run gave it, and is no copy that was put beside it."""
        return self.stacks in {(), (self.name.removesuffix(".zip"),)} or bool(BATCH.fullmatch(self.name))


@dataclass(frozen=True)
class Parts:
    """A folder's parts: what a run wrote; paths of damaged and changed ones; copies under other names."""

    sound: list[Part]
    damaged: list[Path]
    copies: list[Part]


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
    """A part; None if it is damaged, or not there.

    Raises:
        MachineError: it cannot be read now, and may be whole.
    """
    try:
        content = files.content_of(path)
        texts = files.members(content, [*(f"{name}.csv" for name in TABLES), WRITTEN])
        trials, epochs, confusion = (_checked(name, texts[f"{name}.csv"]) for name in TABLES)
        stacks = _stacks(csv_rows.read(io.StringIO(trials)))
        written = files.json_value(texts.get(WRITTEN, "{}"))
        listed = {_inside(name): str(digest) for name, digest in written.items()}
    except (*files.DAMAGE, AttributeError):
        return None
    return Part(path.name, checksums.digest(content), trials, epochs, confusion, stacks, listed)


def whole(folder: Path) -> Parts:
    """The parts of a folder, sorted by what they are worth.

    A part that checksums.json does not know is one of a run that was killed, and counts if it can be read.

    Raises:
        MachineError: one cannot be read now, and may be whole.
    """
    record = checksums.read(folder) or checksums.Record()
    sorted_ = Parts([], [], [])
    for path in paths(folder):
        part = read(path)
        if part is None or record.parts.get(path.name, part.digest) != part.digest:
            sorted_.damaged.append(path)
        elif part.named:
            sorted_.sound.append(part)
        else:
            sorted_.copies.append(part)
    return sorted_


def say_copies(folder: Path, copies: Sequence[Part]) -> None:
    """Say which parts are not read because of their names, and what to do with them."""
    for part in copies:
        stack = f"{part.stacks[0]}.zip" if len(part.stacks) == 1 else "b########.zip, as it was"
        there = (folder / "parts" / stack).exists()
        advice = f"{stack} is there: remove this one" if there else f"rename it to {stack}, and it is read"
        notes.warn(f"{folder / 'parts' / part.name} is a part under another name, so not read; {advice}")


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


def _stacks(trials: pd.DataFrame) -> tuple[str, ...]:
    """The names of the stacks that a part's trials were of, each once; () where its trials do not say."""
    return tuple(dict.fromkeys(trials["group"])) if "group" in trials else ()


def _rows(columns: int) -> re.Pattern[str]:
    """Rows of so many cells, none of them quoted."""
    return re.compile(rf'(?:[^,\n"]*+(?:,[^,\n"]*+){{{columns - 1}}}\n)++')


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
        if (folder / name).is_file() and checksums.digest(files.content_of(folder / name)) != digest
    ]
