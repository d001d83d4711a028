"""Parts of a results folder: files that each hold all that one stack gave, written and read whole.

parts/<group>.zip      trials.csv, epochs.csv, confusion.csv of one stack, and files.json: the SHA-256 of
                       the weights and predictions that were written with them
retrain.json           the stacks that are still to be trained anew, while there are some
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import notes
from harness.results import checksums, columns, csv_rows, documents
from harness.results.columns import FINISHED, NEEDED, STATUSES, TABLES
from harness.results.csv_rows import TextTable
from harness.settings.schema import OUTCOME
from harness.system import files, locks

if TYPE_CHECKING:
    import pandas as pd

RETRAIN = "retrain.json"
DIGESTS = "files.json"
SIGNIFICANT = "%.7g"
"""Format of numbers in tables: float32 holds no more digits."""
BATCH = re.compile(r"b[0-9a-f]{8}\.zip")
"""Name of the part that a search writes of a batch: it holds trials of several stacks."""


@dataclass(frozen=True)
class Part:
    """A part: its three tables, each the text of a CSV.

    Attributes:
        name: its file name.
        digest: its SHA-256.
        trials, epochs, confusion: the tables.
        stacks: the names of the stacks whose trials it holds: its own, or those of a batch of a search.
        files: the weights and predictions written with it, by name, with their SHA-256.
    """

    name: str
    digest: str
    trials: str
    epochs: str
    confusion: str
    stacks: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_original(self) -> bool:
        """Tell whether it has the name that a run gave it; a copy put beside it has another."""
        return self.stacks in {(), (self.name.removesuffix(".zip"),)} or bool(BATCH.fullmatch(self.name))

    @property
    def group(self) -> str:
        """Name of its stack or batch."""
        return self.name.removesuffix(".zip")

    def table(self, name: str) -> TextTable:
        """Parse one of its tables."""
        return csv_rows.table(getattr(self, name))

    def without(self, trial_ids: Collection[str]) -> Part:
        """Drop the rows of some trials."""
        trials, epochs, confusion = (csv_rows.without(getattr(self, name), trial_ids) for name in TABLES)
        return replace(self, trials=trials, epochs=epochs, confusion=confusion)


@dataclass(frozen=True)
class Parts:
    """Parts of a folder: sound ones, paths of damaged or changed ones, and copies under other names."""

    sound: list[Part]
    damaged: list[Path]
    copies: list[Part]


def write(
    folder: Path, group: str, tables: Mapping[str, TextTable], digests: Mapping[str, str] | None = None
) -> None:
    """Write the tables of one stack as one atomic part, with the SHA-256 of its weights and predictions.

    Raises:
        MachineError: it cannot be written, or the folder is gone.
    """
    locks.check_there(folder)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in TABLES:
            text = tables[name].written()
            # Level 1: a fifth of the time of the default, for a quarter more bytes.
            archive.writestr(zipfile.ZipInfo(f"{name}.csv"), text, zipfile.ZIP_DEFLATED, 1)
        listed = json.dumps(dict(digests or {}), sort_keys=True)
        archive.writestr(zipfile.ZipInfo(DIGESTS), listed, zipfile.ZIP_DEFLATED, 1)
    files.write(folder / "parts" / f"{group}.zip", buffer.getvalue())


_written: dict[Path, set[str]] = {}
"""Folder -> names of parts that this process knows to be written: a shared folder's listing may be old."""


def remember(folder: Path, group: str) -> None:
    """Note that a stack's part was written by this run, in whichever process."""
    _written.setdefault(folder.resolve(), set()).add(f"{group}.zip")


def paths(folder: Path) -> list[Path]:
    """List a folder's parts, in order of their names."""
    listed = set((folder / "parts").glob("*.zip"))
    known = (folder / "parts" / name for name in _written.get(folder.resolve(), ()))
    return sorted(listed | {path for path in known if path.is_file()})


def read(path: Path) -> Part | None:
    """Read a part; None if it is damaged or missing.

    Raises:
        MachineError: it cannot be read now, and may be whole.
    """
    try:
        content = files.content_of(path)
        texts = files.members(content, [*(f"{name}.csv" for name in TABLES), DIGESTS])
        trials, epochs, confusion = (_checked(name, texts[f"{name}.csv"]) for name in TABLES)
        stacks = tuple(dict.fromkeys(_groups(trials)))
        listed = files.json_value(texts.get(DIGESTS, "{}"))
        digests = {inside(name): str(digest) for name, digest in listed.items()}
    except (*files.DAMAGE, AttributeError):
        return None
    return Part(path.name, checksums.digest(content), trials, epochs, confusion, stacks, digests)


def read_all(folder: Path) -> Parts:
    """Read the parts of a folder, sorted into sound, damaged and copied ones.

    A part that checksums.json does not list was written by a run that was killed; it counts if readable.

    Raises:
        MachineError: one cannot be read now, and may be whole.
    """
    record = checksums.read(folder) or checksums.Record()
    parts = Parts([], [], [])
    for path in paths(folder):
        part = read(path)
        if part is None or record.parts.get(path.name, part.digest) != part.digest:
            parts.damaged.append(path)
        elif part.is_original:
            parts.sound.append(part)
        else:
            parts.copies.append(part)
    return parts


def current(folder: Path, sound: Sequence[Part] | None = None) -> list[Part]:
    """Select the parts that the tables are made from, out of the `sound` ones if they have been read.

    Of a part that is to be trained anew, only the trials that no other part has are left.
    """
    sound = read_all(folder).sound if sound is None else sound
    old = to_renew(folder)
    if not old:
        return list(sound)
    new = [part for part in sound if part.group not in old]
    renewed = {trial_id for part in new for trial_id in part.table("trials")["trial_id"]}
    return new + [part.without(renewed) for part in sound if part.group in old]


def rows_of(folder: Path, trial_ids: Collection[str]) -> dict[str, pd.DataFrame]:
    """Read the rows of some trials from the parts, as text; of a trial in several parts, as `each_once`."""
    import pandas as pd

    sound = each_once(read_all(folder).sound)
    merged = {
        name: csv_rows.concatenated([getattr(part, name) for part in sound], columns.of_part(name))
        for name in TABLES
    }
    tables = {name: pd.DataFrame(t.rows, columns=t.columns, dtype=str) for name, t in merged.items()}
    return {name: frame[frame["trial_id"].isin(set(trial_ids))] for name, frame in tables.items()}


def each_once(parts: Sequence[Part]) -> list[Part]:
    """Leave each trial in one of the parts that have it, with its rows in all three tables.

    It is the one in which it came to its end; without one that in which it finished, and of these that with
    most steps: a seed that was stopped since another failed may be trained again. Of equal ones it is the
    first by name.
    """
    tables = [part.table("trials") for part in parts]
    best: dict[str, tuple[tuple[bool, bool, int], int]] = {}
    for place, trials in enumerate(tables):
        rows = zip(trials["trial_id"], trials["status"], trials["steps_done"], strict=True)
        for trial_id, status, steps in rows:
            rank = status == "ok", status in FINISHED, int(steps or 0)
            if trial_id not in best or rank > best[trial_id][0]:
                best[trial_id] = rank, place
    elsewhere = [
        {trial_id for trial_id in trials["trial_id"] if best[trial_id][1] != place}
        for place, trials in enumerate(tables)
    ]
    return [part.without(ids) if ids else part for part, ids in zip(parts, elsewhere, strict=True)]


def digest_of(folder: Path, name: str, group: str = "") -> str:
    """Look up the SHA-256 with which a run wrote weights or predictions; empty if it is unknown.

    `name` is the file's in the results folder, such as weights/t0123456789ab.safetensors.
    """
    record = checksums.read(folder)
    if files.is_name(group) and (record is None or f"{group}.zip" not in record.parts):
        part = read(folder / "parts" / f"{group}.zip")
        if part is not None:
            return part.files.get(name, "")
    return record.files.get(name, "") if record else ""


def say_copies(folder: Path, copies: Iterable[Part]) -> None:
    """Note which parts are not read because of their names, and what to do with them."""
    for part in copies:
        stack = f"{part.stacks[0]}.zip" if len(part.stacks) == 1 else "b########.zip, as it was"
        there = (folder / "parts" / stack).exists()
        advice = f"{stack} is there: remove this one" if there else f"rename it to {stack}, and it is read"
        notes.warn(f"{folder / 'parts' / part.name} is a part under another name, so not read; {advice}")


def _checked(name: str, text: str) -> str:
    """Return a table's text; raise ValueError if its columns, rows or ids are not those of a part."""
    header = csv_rows.header(text)
    needed = ["trial_id", "status", "reason"] if name == "trials" else NEEDED[name]
    columns.check_columns(header, needed)
    if not text.endswith("\n") or header[0] != "trial_id":
        raise ValueError(f"{name}.csv does not hold whole rows of {', '.join(needed)}")
    if name == "trials":
        _check_trials(csv_rows.table(text))
    elif not _rows(len(header)).fullmatch(text):
        raise ValueError(f"{name}.csv has rows of other lengths than its header")
    return text


def _groups(trials: str) -> list[str]:
    """List the stacks of a part's trials; none where an older version wrote it."""
    table = csv_rows.table(trials)
    return table["group"] if "group" in table.columns else []


def check_ids(trials: TextTable) -> None:
    """Raise ValueError if a trial's id, status or stack is none."""
    ids = trials["trial_id"]
    if not all(map(files.NAME.fullmatch, ids)) or len(set(ids)) < len(ids):
        raise ValueError("a trial_id is malformed, or there twice")
    if not set(STATUSES[:4]).issuperset(trials["status"]):
        raise ValueError("a status is unknown")
    if "group" in trials and not all(map(files.is_name, set(trials["group"]))):
        raise ValueError("a group is malformed")


def _check_trials(trials: TextTable) -> None:
    """Raise ValueError if rows of trials.csv are not those of a stack."""
    check_ids(trials)
    numbers = [name for name in OUTCOME if name.endswith(("_loss", "_accuracy")) and name in trials]
    for name in numbers:
        if any(cell and not re.fullmatch(csv_rows.NUMBER, cell) for cell in trials[name]):
            raise ValueError(f"{name} is not a number everywhere")


def _rows(cells: int) -> re.Pattern[str]:
    """Compile a pattern of rows of so many unquoted cells."""
    return re.compile(rf'(?:[^,\n"]*+(?:,[^,\n"]*+){{{cells - 1}}}\n)++')


def inside(name: str) -> str:
    """Return the name of a file of a results folder; raise ValueError if it leads elsewhere."""
    if not re.fullmatch(r"(weights|predictions)/[A-Za-z0-9_-]+\.(safetensors|npz)", name):
        raise ValueError("a file outside of the folder")
    return name


def mark_old(folder: Path) -> None:
    """Have all stacks of a folder trained anew; each part counts until its replacement is written."""
    groups = sorted(path.stem for path in (folder / "parts").glob("*.zip"))
    if groups:
        _write_marks(folder, groups)
    for kept in ("checkpoints", "states"):  # of the training that is not to count any more
        for state in (folder / kept).glob("*.safetensors"):
            state.unlink(missing_ok=True)


def set_aside_finished(folder: Path, group: str) -> None:
    """Keep a stack's part as .replaced, if trials in it had finished, where the stack has failed since."""
    path = folder / "parts" / f"{group}.zip"
    part = read(path)
    if part is not None and not set(FINISHED).isdisjoint(part.table("trials")["status"]):
        path.replace(path.with_suffix(".replaced"))


def renewed(folder: Path, group: str) -> None:
    """Note that a stack which was to be trained anew has been."""
    old = to_renew(folder)
    if group in old:
        _write_marks(folder, sorted(old - {group}))


def retire(folder: Path, sound: Sequence[Part], plan: Mapping[str, Any]) -> list[Part]:
    """Set aside parts of stacks that another engine trained anew, as .replaced; return the others.

    Such a stack is not in the plan any more, all its trials are in parts of stacks that are, and it failed or
    was to be trained anew.
    """
    planned, old = {group for group, _, _ in documents.stacks_of(plan)}, to_renew(folder)
    there = {trial for part in sound if part.group in planned for trial in part.table("trials")["trial_id"]}
    left = []
    for part in sound:
        trials = part.table("trials") if part.group not in planned else None
        if trials is None or not there.issuperset(trials["trial_id"]):
            left.append(part)
        elif part.group in old or set(FINISHED).isdisjoint(trials["status"]):
            path = folder / "parts" / part.name
            path.replace(path.with_suffix(".replaced"))
            renewed(folder, part.group)
        else:
            left.append(part)
    return left


def _write_marks(folder: Path, groups: Sequence[str]) -> None:
    if groups:
        files.write(folder / RETRAIN, json.dumps({"groups": groups}, indent=1).encode())
    else:
        (folder / RETRAIN).unlink(missing_ok=True)


def to_renew(folder: Path) -> frozenset[str]:
    """List the stacks that are still to be trained anew."""
    path = folder / RETRAIN
    if not path.is_file():
        return frozenset()
    with documents.readable(path, f"{documents.MOVE}."):
        groups = files.json_table(path).get("groups")
    return frozenset(map(str, groups)) if isinstance(groups, list) else frozenset()
