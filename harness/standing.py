"""Which of a results folder's tables stand as they are, and which are to be made anew from the parts.

What the parts hold decides, and never a file's time, which a copy changes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import checksums, csv_rows, files, notes, part_files
from harness.checksums import Record
from harness.documents import STATUSES
from harness.errors import UsageError

FINISHED = STATUSES[:3]


def tables(folder: Path, names: Sequence[str]) -> dict[str, bytes] | None:
    """The content of some tables, line ends as written; None where the parts are to be read instead.

    Args:
        folder: a results folder.
        names: files of it, such as trials.csv.

    Raises:
        UsageError: a table is not what the run wrote, or not there, and there are no parts.
        MachineError: a table or a part cannot be read now.
    """
    record, contents = _at_one_moment(folder, names)
    if record is None and (folder / checksums.FILE).exists():
        notes.warn(f"{folder / checksums.FILE} is damaged, so that a changed table is not noticed")
    changed = [name for name, content in contents.items() if not _stands(record, name, content)]
    if part_files.paths(folder) and not _written(folder, record, contents, changed):
        return None
    if changed and (record is not None or contents[changed[0]] is None):
        raise UsageError(_lost(folder / changed[0]))
    return {name: (content or b"").replace(b"\r\n", b"\n") for name, content in contents.items()}


def _written(
    folder: Path, record: Record | None, contents: Mapping[str, bytes | None], changed: Sequence[str]
) -> bool:
    """Whether the tables of a folder with parts are what the parts come to, or more; says what is amiss."""
    there = part_files.whole(folder)
    parts = there.sound
    part_files.say_copies(folder, there.copies)
    if there.damaged:
        names = " and ".join(str(path) for path in there.damaged)
        notes.warn(
            f"{names}: damaged, or changed after the run, so not read; `harness run` trains its trials again"
        )
    if record is None:
        return not changed and _has_more(contents.get("trials.csv") or b"", parts)
    if changed and record.settled:
        notes.warn(_remade(folder, changed, record.parts))
    return not changed and record.settled and all(part.name in record.parts for part in parts)


def _has_more(content: bytes, parts: Sequence[part_files.Part]) -> bool:
    """Whether a trials.csv without checksums has all trials that parts have finished, and others."""
    try:
        trials = csv_rows.read(io.StringIO(content.decode("utf-8-sig")))
        written = set(trials["trial_id"][trials["status"].isin(FINISHED)])
    except (ValueError, KeyError):
        return False
    tables = [csv_rows.read(io.StringIO(part.trials)) for part in parts]
    done = {name for table in tables for name in table["trial_id"][table["status"].isin(FINISHED)]}
    return done < written


def check(folder: Path, name: str) -> None:
    """Raise ValueError where a table that no part makes up for is not what was written."""
    record, contents = _at_one_moment(folder, [name])
    content = contents[name]
    if content is None or record is None or name not in record.tables:
        return  # not there, or of before there were checksums: its reader says what is wrong, if anything is
    if not record.fits(name, content):
        raise ValueError("it was changed by another program, or by hand, after the run that wrote it")


def _at_one_moment(folder: Path, names: Sequence[str]) -> tuple[Record | None, dict[str, bytes | None]]:
    """The record and some tables, read again where a run has written in between."""
    while True:
        record = checksums.read(folder)
        contents = {name: _bytes(folder / name) for name in names}
        if checksums.read(folder) == record:
            return record, contents


def _stands(record: Record | None, name: str, content: bytes | None) -> bool:
    return content is not None and (record is None or record.fits(name, content))


def _bytes(path: Path) -> bytes | None:
    """A file's content; None where there is no such file."""
    try:
        return files.content_of(path)
    except FileNotFoundError:
        return None


def _remade(folder: Path, changed: Sequence[str], known: Mapping[str, str]) -> str:
    """In words, that tables are read from the parts, and which of these are missing."""
    there = {path.name for path in part_files.paths(folder)}
    gone = [f"parts/{name}" for name in known if name not in there]
    lost = f" ({', '.join(gone)} missing, whose trials count as not trained)" if gone else ""
    names = " and ".join(str(folder / name) for name in changed)
    return (
        f"{names} was changed by another program, or by hand, after the run: read from parts/ instead{lost}. "
        "`harness run` writes it anew from parts/"
    )


def _lost(path: Path) -> str:
    if not path.is_file():
        return f"{path} cannot be read: it is missing. Copy the whole results folder again."
    return (
        f"{path} was changed by another program, or by hand, after the run that wrote it: its SHA-256 is not "
        f"the one in {checksums.FILE}, and there are no parts/ to read instead. Copy the whole folder again; "
        f"or, to read the file as it is now, remove {checksums.FILE}."
    )
