"""Networks that a search may ask for, at the ends of what is drawn: too large ones, and impossible ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from harness.axes.architectures import architectures
from harness.data.arm_settings import Settings
from harness.study.space import Choices, Drawn, Ints, Layers, Meaning, Space, SpaceEntry, Values
from harness.study.study import Study
from harness.study.trials import settings_of

MOST = 256
"""Networks that are looked at: of more, others are found out when they are asked for."""


def corners(study: Study) -> Iterator[Settings]:
    """Give the settings of a search's networks at the ends of its ranges, with the baseline's other settings.

    Of lists, all values count; of depths and widths, the widest of the deepest networks, and a deepest one
    whose neighbouring layers differ.
    """
    own = {name for entry in architectures for name in entry.component.settings}
    entries = study.space.entries
    conditions = {key for entry in entries for key in entry.when}
    chosen = [
        _at_its_ends(entry)
        for entry in entries
        if entry.sets & {*own, "architecture"} or conditions & {entry.name, *entry.sets}
    ]
    space = Space(tuple(entry for entry in chosen if entry is not None), study.space.baseline)
    for drawn in itertools.islice(space.points(), MOST):
        yield settings_of(study, space.settings(drawn))


def _at_its_ends(entry: SpaceEntry) -> SpaceEntry | None:
    """Give an entry that draws the ends alone; None of floats, which change no layer."""
    if isinstance(entry, Layers):
        means = {str(place): meaning for place, meaning in enumerate(_deepest(entry))}
        return SpaceEntry(entry.name, Choices(tuple(means)), means, entry.when)
    if isinstance(entry.values, Ints):
        low, high = _ends(entry.values)
        return replace(entry, values=Ints(low, high, step=max(1, high - low)))
    return entry if isinstance(entry.values, Choices) else None


def _deepest(entry: Layers) -> list[Meaning]:
    depth, (low, high) = _ends(entry.values)[1], _ends(entry.width)
    first: Drawn = {entry.depth: depth, f"{entry.name}.width": high}
    if entry.same or entry.double:
        return [entry.meaning(first)]
    return [{entry.name: [high] * depth}, {entry.name: [(high, low)[i % 2] for i in range(depth)]}]


def _ends(values: Values) -> tuple[int, int]:
    """Give the smallest and the largest of whole numbers."""
    if isinstance(values, Ints):
        return values.low, values.high
    numbers = [int(value) for value in values.every()]
    return min(numbers), max(numbers)
