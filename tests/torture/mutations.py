"""Mutations of a study file: of its tables, which stay TOML, of its text, which may not, and of `--set`."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import tomli_w

from torture.values import FITTING, LARGE, NAMES, NUMBERS, OTHERS, SLIPS

Tables = dict[str, Any]
Place = tuple[Any, Any]
"""A table or list, and the key or index in it."""
TABLES = ("study", "baseline", "axes", "steps", "contrasts", "tune", "search", "space", "chosen", "datasets")


def places(node: Any) -> Iterator[Place]:
    """Every place of some tables, however deep."""
    items: Any = (
        node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    )
    for key, value in list(items):
        yield node, key
        yield from places(value)


def _place(rng: random.Random, tables: Tables) -> Place:
    there = list(places(tables))
    return rng.choice(there) if there else (tables, "study")


def _key(place: Place) -> str:
    """The key that decides what fits a place; an item of an axis is the axis's setting."""
    return str(place[1])


def fitting(rng: random.Random, tables: Tables) -> None:
    """A value that could be right."""
    node, key = _place(rng, tables)
    if str(key) in FITTING:
        node[key] = rng.choice(FITTING[str(key)])
    else:
        more(rng, tables)


def more(rng: random.Random, tables: Tables) -> None:
    """A known setting more in [baseline], or an axis more."""
    key = rng.choice([key for key in FITTING if key not in {"name", "epochs", "steps"}])
    table = rng.choice(["baseline"] * 3 + ["axes", "study", "search", "space"])
    values = list(FITTING[key])
    there = tables.setdefault(table, {})
    if isinstance(there, MutableMapping):
        there[key] = values[:2] if table in {"axes", "space"} else rng.choice(values)


def wild(rng: random.Random, tables: Tables) -> None:
    """A value of any kind."""
    node, key = _place(rng, tables)
    node[key] = _wild(rng)


def _wild(rng: random.Random) -> Any:
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(NAMES)
    if kind < 0.7:
        return rng.choice(NUMBERS)
    return rng.choice(OTHERS) if kind < 0.97 else rng.choice(LARGE)


def drop(rng: random.Random, tables: Tables) -> None:
    """A key or value less."""
    node, key = _place(rng, tables)
    del node[key]


def rename(rng: random.Random, tables: Tables) -> None:
    """A key under another name: a letter wrong, another setting's, or none that could be."""
    node, key = _place(rng, tables)
    if isinstance(node, list):
        node[key] = rng.choice(NAMES)
        return
    text = str(key)
    typo = text[:-1] + rng.choice("aexz_") if len(text) > 1 else "q"
    node[rng.choice([typo, rng.choice(NAMES), rng.choice(list(FITTING)).strip()])] = node.pop(key)


def double(rng: random.Random, tables: Tables) -> None:
    """A list's item twice, or a table's value at a second place."""
    node, key = _place(rng, tables)
    if isinstance(node, list):
        node.append(node[key])
    else:
        other, where = _place(rng, tables)
        if not _within(node[key], other):
            other[where] = node[key]


def _within(node: Any, inner: Any) -> bool:
    return node is inner or any(there[key] is inner for there, key in places(node))


def swap(rng: random.Random, tables: Tables) -> None:
    """Two values in each other's place."""
    node, key = _place(rng, tables)
    other, where = _place(rng, tables)
    if not _within(node[key], other) and not _within(other[where], node):
        node[key], other[where] = other[where], node[key]


def move(rng: random.Random, tables: Tables) -> None:
    """A table under another table's name."""
    there = [key for key in tables if key in TABLES]
    if there:
        tables[rng.choice(TABLES)] = tables.pop(rng.choice(there))


def wrap(rng: random.Random, tables: Tables) -> None:
    """A value within lists or tables."""
    node, key = _place(rng, tables)
    for _ in range(rng.choice([1, 1, 2, 50])):
        node[key] = [node[key]] if rng.random() < 0.5 else {"name": node[key]}


def slip(rng: random.Random, tables: Tables) -> None:
    """What people get wrong."""
    _merge(tables, rng.choice(SLIPS))


def _merge(into: Any, tables: Mapping[str, Any]) -> None:
    for key, value in tables.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), MutableMapping):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


OF_TABLES: Mapping[str, tuple[Callable[[random.Random, Tables], None], float]] = {
    "fitting": (fitting, 4), "more": (more, 2), "wild": (wild, 3), "drop": (drop, 1), "rename": (rename, 1),
    "double": (double, 1), "swap": (swap, 1), "move": (move, 0.3), "wrap": (wrap, 0.5), "slip": (slip, 3),
}  # fmt: skip
"""Name -> a mutation of tables and how often it is drawn."""


def _line(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.randrange(4)
    if how == 0:
        del lines[i]
    elif how == 1:
        lines.insert(j, lines[i])
    elif how == 2:
        lines[i] = lines[i][: rng.randrange(len(lines[i]) + 1)]
    else:
        lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


def _byte(rng: random.Random, data: bytes) -> bytes:
    i = rng.randrange(len(data) + 1)
    return data[:i] + bytes([rng.randrange(256)]) + data[i + rng.randrange(2) :]


def _sign(rng: random.Random, data: bytes) -> bytes:
    i = rng.randrange(len(data) + 1)
    sign = rng.choice(
        [b"[", b"]", b"{", b"}", b'"', b"'", b"'''", b"=", b",", b"#", b".", b"\n", b"\\", b"_"]
    )
    return data[:i] + sign + data[i:]


def _digits(rng: random.Random, data: bytes) -> bytes:
    """A number's digits again and again: 30, or more than Python turns into an integer."""
    places = [i for i, byte in enumerate(data) if 48 <= byte < 58]
    i = rng.choice(places) if places else 0
    return data[:i] + data[i : i + 1] * rng.choice([30, 400, 5000]) + data[i:]


OF_TEXT: Mapping[str, Callable[[random.Random, bytes], bytes]] = {
    "line": _line,
    "byte": _byte,
    "sign": _sign,
    "digits": _digits,
    "cut": lambda rng, data: data[: rng.randrange(len(data) + 1)],
    "nested": lambda rng, data: data.replace(b"[", b"[" * rng.choice([2, 100, 2000]), 1),
    "crlf": lambda _rng, data: data.replace(b"\n", b"\r\n"),
    "cr": lambda _rng, data: data.replace(b"\n", b"\r"),
    "bom": lambda _rng, data: b"\xef\xbb\xbf" + data,
    "utf-16": lambda _rng, data: data.decode(errors="replace").encode("utf-16"),
    "twice": lambda _rng, data: data + b"\n" + data,
    "empty": lambda _rng, _data: b"",
}
SETS = ("fitting", "wild", "list", "odd")


def override(rng: random.Random) -> str:
    """One `--set`: mostly a key and a value, now and then neither."""
    key = rng.choice(
        [*FITTING, "search.suggestions", "tune.budget", "space.lr", "contrasts.margin", "output"]
    )
    how = rng.choice(SETS)
    if how == "fitting":
        return f"{key.strip()}={_text(rng.choice(FITTING.get(key, [1, 'softmax + CE'])))}"
    if how == "list":
        return f"{key}={','.join(_text(value) for value in FITTING.get(key, [1, 2]))}"
    if how == "wild":
        return f"{key}={_text(_wild(rng))}"
    return rng.choice(
        [key, "=", f"={key}", f"{key}=", f"baseline.{key}=1", f"{key}=[", f"{key}=,,", f"{key}==1"]
    )


def _text(value: Any) -> str:
    """A value as TOML has it, or bare."""
    if isinstance(value, str):
        return value
    return tomli_w.dumps({"v": value}).partition("=")[2].strip() or str(value)


def names(rng: random.Random) -> Sequence[tuple[str, int]]:
    """What a file's mutations are, each with a seed of its own, so that any of them can be left out."""
    kinds = list(OF_TABLES)
    weights = [OF_TABLES[kind][1] for kind in kinds]
    gentle = rng.random() < 0.45
    chosen = (
        ["fitting"] * rng.randrange(1, 4) if gentle else rng.choices(kinds, weights, k=rng.randrange(1, 5))
    )
    if not gentle and rng.random() < 0.4:
        chosen += [f"text {name}" for name in rng.choices(list(OF_TEXT), k=rng.randrange(1, 3))]
    if rng.random() < 0.3:
        chosen += ["--set"] * rng.randrange(1, 4)
    return [(name, rng.randrange(2**32)) for name in chosen]
