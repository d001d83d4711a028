"""The inverse of a space: the values that a point would have drawn, from the settings that it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.study.space import Choices, Drawn, Floats, Ints, Layers, Parameter, Space, SpaceEntry, Values
from harness.text import as_text


def drawn_from(space: Space, settings: Mapping[str, Any]) -> Drawn | None:
    """Return the values that stand for an arm's settings in a space; None where it holds no such point.

    Only settings that the space draws are looked at. Whether the others are the baseline's can be told from
    the settings that the values stand for in turn.
    """
    values: dict[str, Any] = {}
    for entry in space.entries:
        values |= _of_entry(entry, settings)

    def value_of(parameter: Parameter) -> Any:
        value = values[parameter.name]
        if not _holds(parameter.values, value):
            raise KeyError(parameter.name)
        return value

    try:
        return space.walk(value_of)[0]
    except KeyError:
        return None


def _of_entry(entry: SpaceEntry, settings: Mapping[str, Any]) -> Drawn:
    """Return the values of an entry's parameters, as far as settings tell."""
    if isinstance(entry, Layers):
        return dict(_of_layers(entry, settings.get(entry.name)))
    if not entry.means:
        return {entry.name: settings[entry.name]} if entry.name in settings else {}
    for name, meaning in entry.means.items():
        if all(
            key in settings and as_text(settings[key]) == as_text(value) for key, value in meaning.items()
        ):
            return {entry.name: name}
    return {}


def _of_layers(entry: Layers, widths: object) -> Iterator[tuple[str, Any]]:
    if not isinstance(widths, list):
        return
    yield entry.depth, str(len(widths)) if isinstance(entry.values, Choices) else len(widths)
    numbers = widths[:1] if entry.same or entry.double else widths
    for parameter, width in zip(entry.widths(len(widths)), numbers, strict=False):
        yield parameter.name, str(width) if isinstance(entry.width, Choices) else width


def _holds(values: Values, value: Any) -> bool:
    """Tell whether a value can be drawn."""
    if isinstance(values, Choices):
        return value in values.names
    number = isinstance(value, int if isinstance(values, Ints) else int | float)
    if not number or isinstance(value, bool) or not values.low <= value <= values.high:
        return False
    if not values.step or values.log:
        return True
    steps = (value - values.low) / values.step
    return bool(abs(steps - round(steps)) <= (1e-9 if isinstance(values, Floats) else 0))
