"""`--json`: one JSON object on the standard output, and nothing else there; notes go to stderr."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

json_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object in place of words (schemas: docs/programs.md)."
)


def show(command: str, **content: object) -> None:
    """Write the one JSON object of a command: "command", then what it found."""
    click.echo(json.dumps({"command": command, **plain(content)}, allow_nan=False))


def plain(value: Any) -> Any:
    """Return a value in JSON's own types: NaN and infinity become null, paths and other objects text."""
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()  # a number of NumPy's
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, Path):
        return [plain(one) for one in value]
    if hasattr(value, "to_dict"):
        return plain(value.to_dict("records"))
    return str(value)
