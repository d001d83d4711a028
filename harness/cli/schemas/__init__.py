"""JSON schemas (2020-12) of what `--json` writes: one file a command, and shared.json, which they refer to.

They are the contract with programs: written by hand, and tested against real objects of every command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import UsageError, did_you_mean

FOLDER = Path(__file__).parent
SHARED = "shared.json"
GROUPS = ("cluster", "data")
REFERENCE = re.compile(rf'"{re.escape(SHARED)}#/\$defs/(\w+)"')


def commands() -> list[str]:
    """List the commands that have a schema, such as "data check"."""
    return sorted(_command(path.stem) for path in FOLDER.glob("*.json") if path.name != SHARED)


def _command(stem: str) -> str:
    """Return the command of a file's name: a group's commands have a space."""
    group, _, command = stem.partition("-")
    return f"{group} {command}" if group in GROUPS else stem


def schema(command: str) -> dict[str, Any]:
    """Return the schema of a command's object in one piece, with what it shares with others inside.

    Raises:
        UsageError: the command has none; says what is close and which have.

    >>> schema("run")["title"]
    'harness run --json'
    """
    path = FOLDER / f"{command.replace(' ', '-')}.json"
    if path.name == SHARED or not path.is_file():
        raise UsageError(f"no schema of {command!r}: {did_you_mean(command, commands())}")
    text = path.read_text(encoding="utf-8")
    shared = json.loads((FOLDER / SHARED).read_text(encoding="utf-8"))["$defs"]
    whole = json.loads(REFERENCE.sub(r'"#/$defs/\1"', text))
    for name in dict.fromkeys(_needed(text, shared)):
        whole["$defs"][name] = json.loads(REFERENCE.sub(r'"#/$defs/\1"', json.dumps(shared[name])))
    return dict(whole)


def _needed(text: str, shared: dict[str, Any], seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the shared parts that a text refers to, and those that they refer to."""
    for name in REFERENCE.findall(text):
        if name not in seen:
            yield name
            seen |= {name}
            yield from _needed(json.dumps(shared[name]), shared, seen)
