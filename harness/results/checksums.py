"""checksums.json: the SHA-256 of the files that a run wrote, so that a changed digit is noticed.

    {"tables": {"trials.csv": [digest], ...},        tables that may be read
     "parts": {"g0123456789ab.zip": digest, ...},     parts that trials, epochs and confusion were made from
     "files": {"weights/t0123456789ab.safetensors": digest, ...}}

While tables are being written, each has two digests, the old and the new one: a run that is killed in between
leaves a valid folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.system import files

FILE = "checksums.json"
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Record:
    """The content of checksums.json.

    `tables` maps a table to the digests that it may have, the newest last; `parts` and `files` (weights and
    predictions) map each to its digest.
    """

    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Tell whether no table is being written, or was when a run was killed."""
        return all(len(digests) == 1 for digests in self.tables.values())

    def fits(self, name: str, content: bytes) -> bool:
        """Tell whether a table is as it was written, but for line ends, which version control may change."""
        digests = self.tables.get(name, ())
        return digest(content) in digests or digest(content.replace(b"\r\n", b"\n")) in digests

    def before(self, digests: Mapping[str, str]) -> Record:
        """Make the record for the time while tables are being written that will have these digests."""
        both = {name: (*self.tables.get(name, ()), new) for name, new in digests.items()}
        return replace(self, tables={**self.tables, **{k: tuple(dict.fromkeys(v)) for k, v in both.items()}})

    def after(self, names: Collection[str]) -> Record:
        """Make the record for when these tables have been written; others may keep two digests."""
        settled = {name: digests[-1:] for name, digests in self.tables.items() if name in names}
        return replace(self, tables={**self.tables, **settled})

    def content(self) -> bytes:
        """Serialise the record."""
        tables = {name: list(digests) for name, digests in self.tables.items()}
        # The library's own writer of indented JSON takes half a minute of a million weights.
        members = [f'"files": {_indented(self.files)}', f'"parts": {_indented(self.parts)}']
        text = json.dumps({"tables": tables}, indent=1, sort_keys=True)
        return "\n ".join(["{", ",\n ".join(members) + ",", text[2:].lstrip()]).encode()


def _indented(digests: Mapping[str, str]) -> str:
    """Write an object of texts as JSON, a line each, in order of their names."""
    text = io.StringIO()
    for name in sorted(digests):
        text.write(f",\n  {json.dumps(name)}: {json.dumps(digests[name])}")
    return f"{{{text.getvalue()[1:]}\n }}" if digests else "{}"


def digest(content: bytes) -> str:
    """Compute the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def read(folder: Path) -> Record | None:
    """Read checksums.json; None if it is missing or damaged.

    A folder that is older than checksums is read without them. So is one whose file is damaged: the file
    serves to notice a changed table, which the parts can restore.
    """
    try:
        content = files.json_table(folder / FILE)
        tables = {str(name): tuple(map(_digest, listed)) for name, listed in content["tables"].items()}
        parts, others = ({str(k): _digest(v) for k, v in content[key].items()} for key in ("parts", "files"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Record(tables, parts, others) if all(tables.values()) else None


def _digest(value: object) -> str:
    """Return a value if it is a digest; else raise ValueError."""
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError("not a SHA-256")
    return value
