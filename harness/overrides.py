"""What `--set` changes in a study file's tables, before they are validated."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from harness import toml_text
from harness.errors import did_you_mean, quoted

DOTTED = ("contrasts", "tune", "search", "space")
"""Tables whose keys are set as TABLE.KEY=VALUE."""


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
            problems.append(f"--set {quoted(override)}: allowed: KEY=VALUE, or KEY=VALUE,VALUE for an axis")
            continue
        if given.setdefault(key, text) != text:
            problems.append(f"--set {key} is given twice, as {quoted(given[key])} and as {quoted(text)}")
            continue
        try:
            values = _values(text)
        except ValueError as error:
            problems.append(f"--set {key} = {quoted(text)}: {error}")
            continue
        problems += _override(key, values, tables, about)
    if {"epochs", "steps"} <= set(given):
        problems.append("--set epochs and --set steps: a budget is one or the other")
    return problems


def _override(key: str, values: list[Any], tables: dict[str, Any], about: Container[str]) -> list[str]:
    axes: dict[str, Any] = tables["axes"]
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
        unknown = [str(value) for value in values if str(value) not in named[key]]
        if unknown:
            return [f"--set {key}: {did_you_mean(unknown[0], named[key])}"]
        axes[key] = [named[key][str(value)] for value in values]
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


def _named(values: object) -> dict[str, Mapping[str, Any]]:
    """The values of a linked axis by name; of any other, none."""
    tables = [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []
    return {str(table.get("name")): table for table in tables}


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
