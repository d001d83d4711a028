"""Damage to one file, as disks, copies, editors and other programs do it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Damage = Callable[[random.Random, Path, Sequence[Path]], None]
"""Given a generator, the file, and the files of its folder."""


def _flip(rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 1, 8])):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def _truncate(rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    size = path.stat().st_size
    os.truncate(path, rng.choice([size // 2, max(0, size - 1), rng.randrange(size + 1)]))


def _empty(_rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    os.truncate(path, 0)


def _delete(_rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    path.unlink()


def _folder(rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    path.unlink()
    path.mkdir()
    if rng.random() < 0.5:
        (path / "x").write_bytes(b"x")


def _garbage(rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    path.write_bytes(rng.randbytes(rng.choice([1, 100, 5000])))


def _zeros(_rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    """All zeros, of the same length: what some file systems leave after a power cut."""
    path.write_bytes(bytes(path.stat().st_size))


def _json(rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    path.write_text(rng.choice(["[]", "{}", "null", "1", '"x"', "[[1], {}]", '{"schema": 1}', "[" * 2000]))


def _other(rng: random.Random, path: Path, others: Sequence[Path]) -> None:
    path.write_bytes(rng.choice(others).read_bytes())


def _swap(rng: random.Random, path: Path, others: Sequence[Path]) -> None:
    other = rng.choice(others)
    data = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)


def _duplicate(rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    name = rng.choice(
        [f"{path.stem} (1){path.suffix}", f"a{path.name}", f"{path.name}~", f".tmp-{path.name}"]
    )
    shutil.copy(path, path.with_name(name))


def _touch(rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    moment = rng.choice([0, 1e9, 4e9])
    os.utime(path, (moment, moment))


def _crlf(_rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def _bom(_rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def _digit(rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    """One digit is another one."""
    data = bytearray(path.read_bytes())
    places = [i for i, byte in enumerate(data) if 48 <= byte < 58]
    if places:
        i = rng.choice(places)
        data[i] = 48 + (data[i] - 48 + rng.randrange(1, 10)) % 10
    path.write_bytes(data)


def _lines(rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    """A line less, twice, elsewhere, or the first without a word."""
    lines = path.read_bytes().split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.randrange(4)
    if how == 0:
        del lines[i]
    elif how == 1:
        lines.insert(i, lines[i])
    elif how == 2:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        lines[0] = lines[0].partition(rng.choice([b",", b'"', b" "]))[2]
    path.write_bytes(b"\n".join(lines))


def _spreadsheet(rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    """As a spreadsheet saves it: other separators, or commas in numbers."""
    data = path.read_bytes()
    path.write_bytes(data.replace(b",", b";").replace(b".", rng.choice([b".", b","])))


def _types(rng: random.Random, path: Path, others: Sequence[Path]) -> None:
    """A value of JSON is of another type, or a key is gone; of what is no JSON, some bytes change."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        _flip(rng, path, others)
        return
    there = list(_places(content))
    if there:
        node, key = rng.choice(there)
        if rng.random() < 0.3:
            del node[key]
        else:
            node[key] = rng.choice([None, 0, -1, 1e400, "", "../../x", [], {}, [[]], True, "x" * 1000])
    path.write_text(json.dumps(content))


def _places(node: Any) -> list[tuple[Any, Any]]:
    items = (
        list(node.items())
        if isinstance(node, dict)
        else list(enumerate(node))
        if isinstance(node, list)
        else []
    )
    return [(node, key) for key, _ in items] + [place for _, value in items for place in _places(value)]


def _link(rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    """A link to nothing, or to itself."""
    path.unlink()
    path.symlink_to(rng.choice([path.name, "nothing-there"]))


def _leftover(rng: random.Random, path: Path, _others: Sequence[Path]) -> None:
    """What a killed process may have left beside it."""
    beside = path.with_name(rng.choice([".tmp-x", ".lock", "x.damaged", path.stem + ".damaged"]))
    if not beside.exists():
        beside.mkdir() if rng.random() < 0.5 else beside.write_bytes(b"x")


DAMAGES: Mapping[str, Damage] = {
    "flip": _flip, "truncate": _truncate, "empty": _empty, "delete": _delete, "folder": _folder,
    "garbage": _garbage, "zeros": _zeros, "json": _json, "other": _other, "swap": _swap,
    "duplicate": _duplicate, "touch": _touch, "crlf": _crlf, "bom": _bom, "digit": _digit, "lines": _lines,
    "spreadsheet": _spreadsheet, "types": _types, "link": _link, "leftover": _leftover,
}  # fmt: skip


def files(folder: Path) -> list[Path]:
    """The files of a folder and of those in it, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def strike(rng: random.Random, folder: Path) -> tuple[str, str]:
    """Damage one file of a folder; gives the damage's name and the file's, relative to the folder.

    Kinds of file are drawn first, so that many files of one kind do not leave the others whole.
    """
    there = files(folder)
    kinds = sorted({(str(path.parent), path.suffix) for path in there})
    if not kinds:
        return "nothing", "nothing"
    parent, suffix = rng.choice(kinds)
    path = rng.choice([path for path in there if (str(path.parent), path.suffix) == (parent, suffix)])
    name = rng.choice(list(DAMAGES))
    DAMAGES[name](rng, path, there)
    return name, str(path.relative_to(folder))
