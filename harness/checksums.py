"""checksums.json: the SHA-256 of what a run wrote, so that a changed digit in a results folder is noticed.

    {"tables": {"trials.csv": [digest], ...},        what may be read as it stands
     "parts": {"g01234567.zip": digest, ...},        what trials.csv, epochs.csv, confusion.csv were made from
     "files": {"weights/t0123456789ab.safetensors": digest, ...}}

A table has two digests, before and after, from the moment when it is about to be written until all that are
written with it are there: a run that is killed in between has changed nothing that was not its own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import files

FILE = "checksums.json"
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Record:
    """What a folder's checksums.json says.

    `tables` maps a table to the digests that it may have, the newest last; `parts` and `files` (weights and
    predictions) map each to the one that it has.
    """

    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether nothing is being written, nor was when a run was killed."""
        return all(len(digests) == 1 for digests in self.tables.values())

    def fits(self, name: str, content: bytes) -> bool:
        """Whether a table is what was written; line ends, which a version control system may turn, aside."""
        digests = self.tables.get(name, ())
        return digest(content) in digests or digest(content.replace(b"\r\n", b"\n")) in digests

    def before(self, contents: Mapping[str, bytes]) -> Record:
        """The record while these tables are being written."""
        both = {name: (*self.tables.get(name, ()), digest(content)) for name, content in contents.items()}
        return replace(self, tables={**self.tables, **{k: tuple(dict.fromkeys(v)) for k, v in both.items()}})

    def after(self, names: Collection[str]) -> Record:
        """The record when these tables are there; of others, a run that was killed left it open which is."""
        settled = {name: digests[-1:] for name, digests in self.tables.items() if name in names}
        return replace(self, tables={**self.tables, **settled})

    def content(self) -> bytes:
        """The file's content."""
        tables = {name: list(digests) for name, digests in self.tables.items()}
        told = {"tables": tables, "parts": dict(self.parts), "files": dict(self.files)}
        return json.dumps(told, indent=1, sort_keys=True).encode()


def digest(content: bytes) -> str:
    """The SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def read(folder: Path) -> Record | None:
    """What checksums.json says; None where there is none, or it is not as it was written.

    A folder of before there were checksums is read without them, and so is one whose file is damaged: it is
    there to notice a changed table, which the parts, where they are, make up for.
    """
    try:
        told = files.json_table(folder / FILE)
        tables = {str(name): tuple(map(_digest, listed)) for name, listed in told["tables"].items()}
        parts, others = ({str(k): _digest(v) for k, v in told[key].items()} for key in ("parts", "files"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Record(tables, parts, others) if all(tables.values()) else None


def _digest(value: object) -> str:
    """A value that is a digest; raises ValueError where it is none."""
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError("no SHA-256")
    return value
