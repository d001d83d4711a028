"""TOML text: reads a study file's bytes, or a value of `--set`, as tables, with errors in plain words."""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import UsageError

DEPTH = 20
"""Levels of tables and lists, at most; the deepest table with a meaning has 7."""
DIGITS = "a whole number of more than 4,300 digits; allowed are those of 64 bits"
BITS = 14_000  # nearly those of the shortest number that Python's int() refuses to read
NESTED = f"brackets nested too deeply; allowed: up to {DEPTH} levels"


class NoTomlError(ValueError):
    """Raised for text that is not TOML."""


UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read(path: Path) -> dict[str, Any]:
    """Read the tables of a TOML file in UTF-8, with or without a byte order mark.

    Raises:
        UsageError: it cannot be read, or is not UTF-8 or not TOML; says where.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"study file {path} cannot be read: {error.strerror or error}") from error
    try:
        return tables(_text(content))
    except ValueError as error:
        raise UsageError(f"study file {path} {error}") from error


def _text(content: bytes) -> str:
    """Decode a file's bytes; raise ValueError with what is wrong, in words."""
    if content.startswith(UTF_16):
        raise ValueError("is UTF-16 text; allowed is UTF-8. In your editor, save it with the encoding UTF-8")
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise ValueError(
            f"is not UTF-8 text: byte {error.start} (line {line}, column {column}) is "
            f"0x{content[error.start]:02x}; "
            "it may be Latin-1. In your editor, save it with the encoding UTF-8"
        ) from error


def tables(text: str) -> dict[str, Any]:
    """Parse TOML text.

    Raises:
        NoTomlError: it is not TOML; with what is wrong, in words.
        ValueError: it holds numbers too long or brackets too deep to be read; in words.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NoTomlError(f"is not valid TOML: {error}") from error
    except ValueError as error:  # Python's own, of int()
        raise ValueError(f"has {DIGITS}") from error
    except RecursionError as error:
        raise ValueError(f"has {NESTED}") from error


def check_plain(given: object, where: str = "the study", depth: int = 0) -> None:
    """Refuse what a notebook's tables can hold but no file: keys that are not text, endless nesting ..

    Raises:
        UsageError: there is such a thing; says where.
    """
    if depth > DEPTH:
        raise UsageError(f"{where[:80]}: has {NESTED}")
    if isinstance(given, Mapping):
        for key, value in given.items():
            if not isinstance(key, str):
                raise UsageError(f"{where}: the key {key!r} is {type(key).__name__}; allowed: text")
            check_plain(value, key if depth == 0 else f"{where}.{key}", depth + 1)
    elif isinstance(given, list | tuple):
        for i, value in enumerate(given):
            check_plain(value, f"{where}[{i}]", depth + 1)
    elif isinstance(given, int) and given.bit_length() > BITS:
        raise UsageError(f"{where}: is {DIGITS}")
