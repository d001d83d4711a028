"""The [space] of a search as its results folder has it: parameters, their conditions and edges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.plots import Dimension
from harness.study.contrasts import level_name
from harness.study.space import Choices, Floats, Ints, Parameter, range_of
from harness.text import as_word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.study.space import Values

EDGE = 0.025
"""The share of a range, at each end, that counts as its edge. One value in twenty lies there by chance."""


def parameters(space: Mapping[str, Any], suggested: pd.DataFrame) -> tuple[Parameter, ...]:
    """Return the parameters of a search, from its [space] table and the columns of suggestions.csv.

    The registries are not asked, so that a search of third-party components is reported on without them. A
    parameter that the table does not name (head and loss that are drawn as a pair) gets the values that were
    suggested.
    """
    return tuple(Parameter(str(name), _values(space, str(name), suggested[name])) for name in suggested)


def _values(space: Mapping[str, Any], name: str, column: pd.Series[Any]) -> Values:
    entry = _entry(space, name)
    if isinstance(entry, dict) and "values" in entry:
        entry = entry["values"]
    if isinstance(entry, list):
        return Choices(tuple(dict.fromkeys(map(level_name, entry))))
    if isinstance(entry, dict) and {"low", "high"} <= set(entry):
        integers = isinstance(entry["low"], int) and isinstance(entry["high"], int) and _is_whole(column)
        return range_of(entry, integers=integers)
    if isinstance(entry, int) and not isinstance(entry, bool):  # the one width of all layers
        return Ints(entry, entry)
    if pd.api.types.is_numeric_dtype(column) and column.notna().any():
        return Floats(float(column.min()), float(column.max()))
    return Choices(tuple(dict.fromkeys(column.dropna().map(as_word))))


def _entry(space: Mapping[str, Any], name: str) -> Any:
    """Return the entry of a parameter, for hidden.width.2 that of hidden.width; None without one."""
    if name in space:
        return space[name]
    entry: Any = space
    for part in name.split("."):
        if isinstance(entry, dict) and not (part.isdigit() and part not in entry):
            entry = entry.get(part)
    return None if entry is space else entry


def when(space: Mapping[str, Any], parameter: Parameter) -> str:
    """Put the condition of a parameter into words; empty without one."""
    entry = space.get(parameter.name, space.get(parameter.name.split(".")[0]))
    conditions = entry.get("when", {}) if isinstance(entry, dict) else {}
    return " and ".join(
        f"{name} is {' or '.join(map(as_word, allowed if isinstance(allowed, list) else [allowed]))}"
        for name, allowed in conditions.items()
    )


def _is_whole(column: pd.Series[Any]) -> bool:
    numbers = pd.to_numeric(column, errors="coerce").dropna()
    return bool(np.equal(np.mod(numbers, 1), 0).all())


def dimension(parameter: Parameter) -> Dimension:
    """Return the axis of a parameter in figures."""
    values = parameter.values
    if isinstance(values, Choices):
        return Dimension(parameter.name, "category", levels=values.names)
    ends, step = (float(values.low), float(values.high)), float(values.step or 0)
    return Dimension(parameter.name, "log" if values.log else "linear", *ends, step=step)


def edge(parameter: Parameter, value: Any) -> str:
    """Return the end of its range at which a value lies, "low" or "high"; empty if inside, or a name."""
    values = parameter.values
    if isinstance(values, Choices) or pd.isna(value) or values.low >= values.high:
        return ""
    low, high, position = (math.log(x) if values.log else float(x) for x in (values.low, values.high, value))
    share = (position - low) / (high - low)
    return "low" if share <= EDGE else "high" if share >= 1 - EDGE else ""


def distribution(parameter: Parameter) -> str:
    """Put into words how the values of a parameter are drawn."""
    values = parameter.values
    if isinstance(values, Choices):
        return f"one of {', '.join(values.names)}"
    step = "" if values.step is None or values.step == 1 else f", in steps of {values.step:g}"
    whole = "whole numbers, " if isinstance(values, Ints) else ""
    return f"{whole}{'log' if values.log else 'evenly'}{step}"
