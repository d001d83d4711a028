"""`--set`: changes to a study file's tables before they are validated."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from harness.errors import did_you_mean, quoted
from harness.study import toml_text
from harness.study.seed_axes import PREFIX
from harness.system.database_urls import without_passwords

NAME = re.compile(r"""\s*(?:"(?:\\.|[^"\\])*"|'[^']*')\s*(?=,|$)|[^,]+""")
"""A name in a list: in quotes, or up to a comma."""
DOTTED = ("contrasts", "tune", "search", "space")
"""Tables whose keys are set as TABLE.KEY=VALUE."""
PLAIN = ("study", "baseline", "axes")
"""Tables whose keys are set as KEY=VALUE: the key tells which table is meant."""


TABLES_OF_STUDY = ("until",)
"""Tables within [study], of one key each, which is set as TABLE.KEY=VALUE."""


def apply(overrides: Sequence[str], tables: dict[str, Any], about: Container[str]) -> list[str]:
    """Apply `--set` to a study file's raw tables, which change in place, and return the problems.

    `about` are the keys of the [study] table.
    """
    problems: list[str] = []
    given: dict[str, str] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key:
            problems.append(f"--set {_shown(override)}: allowed: KEY=VALUE, or KEY=VALUE,VALUE for an axis")
            continue
        table, dot, inner = key.partition(".")
        if dot and table in PLAIN and key not in tables["axes"]:
            if problem := _misplaced(table, inner, text, tables, about):
                problems.append(f"--set {key}: {problem}")
                continue
            key = inner
        if given.setdefault(key, text) != text:
            values = (_shown(f"{key}={value}").replace(f"{key}=", "", 1) for value in (given[key], text))
            problems.append(f"--set {key} is given twice, as {' and as '.join(values)}")
            continue
        try:
            problems += _override(key, text, tables, about)
        except ValueError as error:  # a number too large or a nesting too deep
            problems.append(f"--set {_shown(override)}: {error}")
    if {"epochs", "steps"} <= set(given):
        problems.append("--set epochs and --set steps: a budget is one or the other")
    return problems


def _shown(override: str) -> str:
    """Quote an override for a message: without the password of a URL, and shortened in the middle."""
    return quoted(override, lambda text: repr(without_passwords(str(text))))


def _override(key: str, text: str, tables: dict[str, Any], about: Container[str]) -> list[str]:
    axes = tables["axes"]
    values = _texts(text, axes.get(key)) or _values(text)
    named = {axis: _named(axes[axis]) for axis in axes}
    grid = tables["study"].get("design", "grid") == "grid"
    table, dot, inner = key.partition(".")
    if dot and table in DOTTED:
        current = tables.get(table, {})
        if not isinstance(current, Mapping):
            return []  # the table's own check adds the problem
        tables[table] = _with(
            current, inner, values[0] if len(values) == 1 else values, nested=table == "search"
        )
    elif dot and table in TABLES_OF_STUDY:
        tables["study"][table] = {inner: values[0] if len(values) == 1 else values}
    elif key in about:
        tables["study"][key] = values[0] if len(values) == 1 else values
    elif named.get(key):
        chosen = _names(text, named[key])
        unknown = [name for name in chosen if name not in named[key]]
        if unknown:
            return [f"--set {key}: {did_you_mean(unknown[0], named[key])}"]
        axes[key] = [named[key][name] for name in chosen]
    elif len(values) > 1 or (key in axes and grid) or key.startswith(PREFIX):
        axes[key] = values
    else:
        linked = [axis for axis, by in named.items() if by and all(key in table for table in by.values())]
        if linked and grid:
            return [
                f"--set {key}: axis {linked[0]!r} sets {key} in every arm; choose among its values instead"
            ]
        tables["baseline"][key] = values[0]
        # A budget is in epochs or in steps: the one just given.
        tables["baseline"].pop({"epochs": "steps", "steps": "epochs"}.get(key, ""), None)
    return []


def _with(table: Mapping[str, Any], key: str, value: Any, *, nested: bool) -> dict[str, Any]:
    """Return a table with a key set; of `nested` ones, INNER.KEY is the key of a table in it."""
    inner, dot, rest = key.partition(".")
    if nested and dot and isinstance(table.get(inner, {}), Mapping):
        return {**table, inner: {**table.get(inner, {}), rest: value}}
    return {**table, key: value}


def _misplaced(table: str, key: str, text: str, tables: Mapping[str, Any], about: Container[str]) -> str:
    """Explain why `--set KEY` does not change TABLE.KEY, and what to write; empty if it does."""
    axes = tables["axes"]
    if (table == "study") != (key in about or key.partition(".")[0] in TABLES_OF_STUDY):
        return f"[{table}] has no key {key!r}; write --set {key}={text}"
    grid = tables["study"].get("design", "grid") == "grid"
    if table == "baseline" and ((key in axes and grid) or len(_values(text)) > 1):
        return f"the baseline has one value, which an axis of a grid replaces; write --set {key}={text}"
    if table == "axes" and not (key in axes and grid) and len(_values(text)) == 1:
        return f"an axis needs values, as in --set {key}={text},..; for one value write --set {key}={text}"
    return ""


def _named(values: object) -> dict[str, Mapping[str, Any]]:
    """Return the values of a linked axis by name; none of any other axis."""
    tables = [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []
    return {str(table.get("name")): table for table in tables}


def _names(text: str, known: Container[str]) -> list[str]:
    """Return the names that a text lists, plain or in quotes."""
    if text.strip() in known:  # a name may hold a comma
        return [text.strip()]
    return [_name(part[0].strip()) for part in NAME.finditer(text) if part[0].strip()]


def _texts(text: str, axis: object) -> list[Any]:
    """Return the listed values of an axis of texts, such as "1.10"; none if any is not on the axis."""
    known = [value for value in axis if isinstance(value, str)] if isinstance(axis, list) else []
    names = _names(text, known) if known else []
    return names if set(names) <= set(known) else []


def _name(text: str) -> str:
    value = read_value(text) if text[:1] in {'"', "'"} else text
    return value if isinstance(value, str) else text


def _values(text: str) -> list[Any]:
    """Read a list: `0.1` -> [0.1]; `relu,tanh` -> ["relu", "tanh"]; `[32, 32]` -> [[32, 32]]."""
    try:
        return list(_read(f"[{text}]")) or [""]
    except toml_text.NoTomlError:
        return [read_value(part.strip()) for part in text.split(",")]


def read_value(text: str) -> Any:
    """Read the value that a text gives a setting: TOML, or else the text itself."""
    try:
        return _read(text)
    except toml_text.NoTomlError:
        return text


def _read(value: str) -> Any:
    """Read a TOML value; raise NoTomlError if it is not TOML, ValueError if it is too large or too deep."""
    tables = toml_text.tables(f"value = {value}")
    if len(tables) > 1 or "\n" in value:
        raise toml_text.NoTomlError
    return tables["value"]
