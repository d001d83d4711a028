"""What `--set` changes in a study file's tables, before they are validated."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from harness import toml_text
from harness.errors import did_you_mean, quoted
from harness.urls import without_passwords

NAME = re.compile(r"""\s*(?:"(?:\\.|[^"\\])*"|'[^']*')\s*(?=,|$)|[^,]+""")  # quoted, or up to a comma
DOTTED = ("contrasts", "tune", "search", "space")
"""Tables whose keys are set as TABLE.KEY=VALUE."""
PLAIN = ("study", "baseline", "axes")
"""Tables whose keys are set as KEY=VALUE: which is meant is known by the key."""


def apply(overrides: Sequence[str], tables: dict[str, Any], about: Container[str]) -> list[str]:
    """Change raw tables as `--set` asks; gives what is wrong.

    Args:
        overrides: "key=value" texts.
        tables: a study file's, changed in place.
        about: the keys of the [study] table.
    """
    problems: list[str] = []
    given: dict[str, str] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key:
            problems.append(f"--set {_said(override)}: allowed: KEY=VALUE, or KEY=VALUE,VALUE for an axis")
            continue
        table, dot, inner = key.partition(".")
        if dot and table in PLAIN and key not in tables["axes"]:
            if told := _misplaced(table, inner, text, tables, about):
                problems.append(f"--set {key}: {told}")
                continue
            key = inner
        if given.setdefault(key, text) != text:
            values = (_said(f"{key}={value}").replace(f"{key}=", "", 1) for value in (given[key], text))
            problems.append(f"--set {key} is given twice, as {' and as '.join(values)}")
            continue
        try:
            problems += _override(key, text, tables, about)
        except ValueError as error:  # a number or a nesting that nobody could read
            problems.append(f"--set {_said(override)}: {error}")
    if {"epochs", "steps"} <= set(given):
        problems.append("--set epochs and --set steps: a budget is one or the other")
    return problems


def _said(override: str) -> str:
    """An override as a message repeats it: no password of a URL, and a long one by its two ends."""
    return quoted(override, lambda text: repr(without_passwords(str(text))))


def _override(key: str, text: str, tables: dict[str, Any], about: Container[str]) -> list[str]:
    axes = tables["axes"]
    values = _texts(text, axes.get(key)) or _values(text)
    named = {axis: _named(axes[axis]) for axis in axes}
    grid = tables["study"].get("design", "grid") == "grid"
    table, dot, inner = key.partition(".")
    if dot and table in DOTTED:
        there = tables.get(table, {})
        if not isinstance(there, Mapping):
            return []  # which its own check tells
        tables[table] = {**there, inner: values[0] if len(values) == 1 else values}
    elif key in about:
        tables["study"][key] = values[0] if len(values) == 1 else values
    elif named.get(key):
        chosen = _names(text, named[key])
        unknown = [name for name in chosen if name not in named[key]]
        if unknown:
            return [f"--set {key}: {did_you_mean(unknown[0], named[key])}"]
        axes[key] = [named[key][name] for name in chosen]
    elif len(values) > 1 or (key in axes and grid):
        axes[key] = values
    else:
        linked = [axis for axis, by in named.items() if by and all(key in table for table in by.values())]
        if linked and grid:
            return [
                f"--set {key}: axis {linked[0]!r} sets {key} in every arm; choose among its values instead"
            ]
        tables["baseline"][key] = values[0]
        # A budget is one or the other: the one just asked for.
        tables["baseline"].pop({"epochs": "steps", "steps": "epochs"}.get(key, ""), None)
    return []


def _misplaced(table: str, key: str, text: str, tables: Mapping[str, Any], about: Container[str]) -> str:
    """Why TABLE.KEY is not meant by `--set KEY`, and what to write; empty where it is."""
    axes = tables["axes"]
    if (table == "study") != (key in about):
        return f"[{table}] has no key {key!r}; write --set {key}={text}"
    grid = tables["study"].get("design", "grid") == "grid"
    if table == "baseline" and ((key in axes and grid) or len(_values(text)) > 1):
        return f"the baseline has one value, which an axis of a grid replaces; write --set {key}={text}"
    if table == "axes" and not (key in axes and grid) and len(_values(text)) == 1:
        return f"an axis needs values, as in --set {key}={text},..; for one value write --set {key}={text}"
    return ""


def _named(values: object) -> dict[str, Mapping[str, Any]]:
    """The values of a linked axis by name; of any other, none."""
    tables = [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []
    return {str(table.get("name")): table for table in tables}


def _names(text: str, known: Container[str]) -> list[str]:
    """The names that a text lists: as they are written, whatever they look like, or in quotes."""
    if text.strip() in known:  # a name may hold a comma
        return [text.strip()]
    return [_name(part[0].strip()) for part in NAME.finditer(text) if part[0].strip()]


def _texts(text: str, axis: object) -> list[Any]:
    """The texts of an axis of texts, such as "1.10", that are asked for; none where others are meant."""
    known = [value for value in axis if isinstance(value, str)] if isinstance(axis, list) else []
    asked = _names(text, known) if known else []
    return asked if set(asked) <= set(known) else []


def _name(text: str) -> str:
    value = _value(text) if text[:1] in {'"', "'"} else text
    return value if isinstance(value, str) else text


def _values(text: str) -> list[Any]:
    """`0.1` -> [0.1]; `relu,tanh` -> ["relu", "tanh"]; `[32, 32]` -> [[32, 32]]."""
    try:
        return list(_read(f"[{text}]")) or [""]
    except toml_text.NoTomlError:
        return [_value(part.strip()) for part in text.split(",")]


def _value(text: str) -> Any:
    try:
        return _read(text)
    except toml_text.NoTomlError:
        return text


def _read(value: str) -> Any:
    """A TOML value; raises NoTomlError where it is none, ValueError where nobody could read it."""
    found = toml_text.tables(f"value = {value}")
    if len(found) > 1 or "\n" in value:
        raise toml_text.NoTomlError
    return found["value"]
