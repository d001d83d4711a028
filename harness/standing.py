"""Which of a results folder's tables stand as they are, and which are to be made anew from the parts.

What the parts hold decides, and never a file's time, which a copy changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import checksums, part_files
from harness.checksums import Record
from harness.documents import say
from harness.errors import UsageError


def tables(folder: Path, names: Sequence[str]) -> dict[str, bytes] | None:
    """The content of some tables, line ends as written; None where the parts are to be read instead.

    Args:
        folder: a results folder.
        names: files of it, such as trials.csv.

    Raises:
        UsageError: a table is not what the run wrote, or not there, and there are no parts.
        OSError: a table cannot be read.
    """
    record, contents = _at_one_moment(folder, names)
    parts = part_files.paths(folder)
    if record is None and (folder / checksums.FILE).exists():
        say(f"{folder / checksums.FILE} is damaged, so that a changed table is not noticed")
    changed = [name for name, content in contents.items() if not _stands(record, name, content)]
    if parts and (record is None or changed or not record.settled or _newer(parts, record.parts)):
        if changed and record is not None and record.settled:
            say(_remade(folder, changed, record.parts))
        return None
    if changed and (record is not None or contents[changed[0]] is None):
        raise UsageError(_lost(folder / changed[0]))
    return {name: (content or b"").replace(b"\r\n", b"\n") for name, content in contents.items()}


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
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _newer(parts: Sequence[Path], known: Mapping[str, str]) -> bool:
    """Whether a whole part is there that the tables were not made from."""
    other = (path for path in parts if checksums.digest(path.read_bytes()) != known.get(path.name))
    return any(part_files.read(path) is not None for path in other)


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
