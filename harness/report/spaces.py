"""The [space] of a search as its results folder has it: parameters, their conditions and edges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.parameters import Choices, Floats, Ints, Parameter
from harness.plots import Dimension
from harness.text import as_word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.parameters import Values

EDGE = 0.025
"""Of a range, at each end: what counts as its edge. One value in twenty lies there by chance."""


def parameters(space: Mapping[str, Any], suggested: pd.DataFrame) -> tuple[Parameter, ...]:
    """The parameters of a search, from its [space] table and the columns of suggestions.csv.

    Read without the registries, so that a search of third-party components is reported on without them. What
    the table does not name (head and loss that are drawn as a pair) is known by what was suggested.

    Args:
        space: the table.
        suggested: a column a parameter.
    """
    return tuple(Parameter(str(name), _values(space, str(name), suggested[name])) for name in suggested)


def _values(space: Mapping[str, Any], name: str, column: pd.Series[Any]) -> Values:
    told = table(space, name)
    if isinstance(told, dict) and "values" in told:
        told = told["values"]
    if isinstance(told, list):
        names = [str(each["name"]) if isinstance(each, dict) else as_word(each) for each in told]
        return Choices(tuple(dict.fromkeys(names)))
    if isinstance(told, dict) and {"low", "high"} <= set(told):
        low, high, step, log = told["low"], told["high"], told.get("step"), bool(told.get("log", False))
        if isinstance(low, int) and isinstance(high, int) and _whole(column):
            return Ints(low, high, log, int(step or 1))
        return Floats(float(low), float(high), log, None if step is None else float(step))
    if isinstance(told, int) and not isinstance(told, bool):  # the one width of all layers
        return Ints(told, told)
    if pd.api.types.is_numeric_dtype(column) and column.notna().any():
        return Floats(float(column.min()), float(column.max()))
    return Choices(tuple(dict.fromkeys(column.dropna().map(as_word))))


def table(space: Mapping[str, Any], name: str) -> Any:
    """What a space says of a parameter, of hidden.width.2 that of hidden.width; None if nothing."""
    if name in space:
        return space[name]
    found: Any = space
    for part in name.split("."):
        if isinstance(found, dict) and not (part.isdigit() and part not in found):
            found = found.get(part)
    return None if found is space else found


def when(space: Mapping[str, Any], parameter: Parameter) -> str:
    """The condition that a space declares of a parameter, in words; empty where it declares none."""
    told = space.get(parameter.name, space.get(parameter.name.split(".")[0]))
    conditions = told.get("when", {}) if isinstance(told, dict) else {}
    return " and ".join(
        f"{name} is {' or '.join(map(as_word, allowed if isinstance(allowed, list) else [allowed]))}"
        for name, allowed in conditions.items()
    )


def _whole(column: pd.Series[Any]) -> bool:
    known = pd.to_numeric(column, errors="coerce").dropna()
    return bool(np.equal(np.mod(known, 1), 0).all())


def names_of(parameter: Parameter) -> tuple[str, ...]:
    """The names that a parameter takes; empty where it takes numbers."""
    return parameter.values.names if isinstance(parameter.values, Choices) else ()


def dimension(parameter: Parameter) -> Dimension:
    """A parameter as figures lay it out."""
    values = parameter.values
    if isinstance(values, Choices):
        return Dimension(parameter.name, "category", levels=values.names)
    ends, step = (float(values.low), float(values.high)), float(values.step or 0)
    return Dimension(parameter.name, "log" if values.log else "linear", *ends, step=step)


def edge(parameter: Parameter, value: Any) -> str:
    """At which end of its range a value lies, "low" or "high"; empty for one inside, and for names."""
    values = parameter.values
    if isinstance(values, Choices) or pd.isna(value) or values.low >= values.high:
        return ""
    low, high, at = (math.log(x) if values.log else float(x) for x in (values.low, values.high, value))
    share = (at - low) / (high - low)
    return "low" if share <= EDGE else "high" if share >= 1 - EDGE else ""


def drawn(parameter: Parameter) -> str:
    """How a parameter's values are drawn, in words."""
    values = parameter.values
    if isinstance(values, Choices):
        return f"one of {', '.join(values.names)}"
    step = "" if values.step is None or values.step == 1 else f", in steps of {values.step:g}"
    whole = "whole numbers, " if isinstance(values, Ints) else ""
    return f"{whole}{'log' if values.log else 'evenly'}{step}"
