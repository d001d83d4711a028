"""Parameters: what a search draws, each only where it applies given those drawn before it.

A component's setting is drawn where the component that was drawn has it: momentum only of an optimizer with
momentum. How a study file says all this is in space_tables.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from harness import plugins
from harness.checking import Settings
from harness.settings import CORE, DEFAULTS
from harness.text import as_text

COMPONENTS = ("architecture", "optimizer", "schedule", "loss", "head", "activation", "preprocessing")


@dataclass(frozen=True)
class Floats:
    """Numbers from `low` to `high`, both included; evenly in their logarithms with `log`; every `step`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True)
class Ints:
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int
    log: bool = False
    step: int = 1


@dataclass(frozen=True)
class Choices:
    """One of some values, by their names."""

    names: tuple[str, ...]


Values: TypeAlias = "Floats | Ints | Choices"
Drawn: TypeAlias = "dict[str, str | int | float]"


@dataclass(frozen=True)
class Parameter:
    """What one draw is of."""

    name: str
    values: Values


Draw: TypeAlias = "Callable[[Parameter], Any]"


@dataclass(frozen=True)
class Entry:
    """A line of [space]: values to draw, and where they apply.

    `means` is what each name of Choices sets; numbers set the setting of the entry's name. `when` maps other
    parameters or settings to the texts of the values at which this one applies.
    """

    name: str
    values: Values
    means: Mapping[str, Settings] = field(default_factory=dict)
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def parameters(self) -> list[Parameter]:
        """What it may draw."""
        return [Parameter(self.name, self.values)]

    @property
    def sets(self) -> set[str]:
        """The settings that it sets."""
        return {key for meant in self.means.values() for key in meant} or {self.name}

    def draw(self, draw: Draw) -> tuple[Drawn, Settings]:
        """Draw a value, and give what it means."""
        value = draw(Parameter(self.name, self.values))
        meant = self.means[value] if isinstance(self.values, Choices) else {self.name: value}
        return {self.name: value}, dict(meant)


@dataclass(frozen=True)
class Layers(Entry):
    """`hidden` by its depth and its widths; `values` are depths. With `same`, all layers have one width."""

    width: Values = Ints(1, 2)
    same: bool = False

    @property
    def parameters(self) -> list[Parameter]:
        """The depth, then the widths of the deepest network."""
        return [Parameter("hidden.depth", self.values), *self._widths(_highest(self.values))]

    @property
    def depths(self) -> set[str]:
        """The depths it may draw, as text."""
        return {str(depth) for depth in _numbers(self.values)}

    @property
    def largest(self) -> list[int]:
        """The deepest and widest `hidden` that it may draw."""
        return [_highest(self.width)] * _highest(self.values)

    def _widths(self, depth: int) -> list[Parameter]:
        if self.same:
            return [Parameter("hidden.width", self.width)] if depth else []
        return [Parameter(f"hidden.width.{i}", self.width) for i in range(1, depth + 1)]

    def draw(self, draw: Draw) -> tuple[Drawn, Settings]:
        """Draw a depth, and as many widths."""
        depth = int(draw(Parameter("hidden.depth", self.values)))
        told = "hidden.depth", str(depth) if isinstance(self.values, Choices) else depth
        drawn: Drawn = {told[0]: told[1]}
        drawn |= {parameter.name: draw(parameter) for parameter in self._widths(depth)}
        widths = [int(value) for name, value in drawn.items() if name != "hidden.depth"]
        return drawn, {"hidden": widths * depth if self.same else widths}


@dataclass(frozen=True)
class Space:
    """What a search may draw: its entries in the order in which they are drawn, and the study's baseline.

    `table` is [space] as the study file has it.
    """

    entries: tuple[Entry, ...]
    baseline: Settings
    table: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All that could ever be drawn."""
        return tuple(parameter for entry in self.entries for parameter in entry.parameters)

    def walk(self, draw: Draw) -> tuple[Drawn, Settings]:
        """Draw each parameter that applies, given those drawn before it.

        Args:
            draw: gives a value of a parameter: the name of a choice, or a number.

        Returns:
            What was drawn by parameter, and the settings that it means, beside the baseline's.
        """
        drawn: Drawn = {}
        settings: Settings = {}
        for entry in self.entries:
            given = {**DEFAULTS, **self.baseline, **settings}
            if _fits(entry, drawn, given):
                own, meant = entry.draw(draw)
                drawn |= own
                settings |= meant
        return drawn, settings

    def settings(self, drawn: Mapping[str, Any]) -> Settings:
        """The settings that drawn parameters mean.

        Raises:
            KeyError: a parameter that applies was not drawn, or is not one of its choices.
        """
        return self.walk(lambda parameter: drawn[parameter.name])[1]

    def points(self) -> Iterator[Drawn]:
        """All that can be drawn, of a space without floats; as they are asked for, there may be very many."""
        prefix: list[Any] = []
        left: list[Iterator[Any]] = []  # of each place of the prefix, the values that come after it
        while True:
            try:
                drawn = self.walk(_Prefix(prefix))[0]
            except _Beyond as beyond:
                prefix.append(None)
                left.append(_numbers_or_names(beyond.parameter.values))
            else:
                yield drawn
            while left and (value := next(left[-1], None)) is None:
                prefix.pop()
                left.pop()
            if not left:
                return
            prefix[-1] = value

    @property
    def finite(self) -> bool:
        """Whether it can be counted."""
        return all(not isinstance(p.values, Floats) or p.values.step for p in self.parameters)


class _Beyond(Exception):  # noqa: N818 (it says where a walk has come to; nothing is wrong)
    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter


class _Prefix:
    """Draws what is listed, and raises _Beyond after that."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.left = list(values)

    def __call__(self, parameter: Parameter) -> Any:
        if not self.left:
            raise _Beyond(parameter)
        return self.left.pop(0)


def _numbers_or_names(values: Values) -> Iterator[Any]:
    if isinstance(values, Choices):
        yield from values.names
    elif isinstance(values, Ints):
        yield from range(values.low, values.high + 1, 1 if values.log else values.step)
    else:
        assert values.step  # noqa: S101 (only a finite space is enumerated)
        count = math.floor((values.high - values.low) / values.step + 1e-9) + 1
        yield from (values.low + i * values.step for i in range(count))


def _numbers(values: Values) -> list[int]:
    return [int(value) for value in _numbers_or_names(values)]


def _highest(values: Values) -> int:
    return int(values.high) if isinstance(values, Ints) else max(_numbers(values))


def _fits(entry: Entry, drawn: Drawn, given: Mapping[str, Any]) -> bool:
    """Whether an entry is drawn, after `drawn`, where the settings are `given`."""
    for key, allowed in entry.when.items():
        if as_text(drawn.get(key, given.get(key))) not in allowed:
            return False
    return any(applies(name, given) for name in entry.sets)


def applies(name: str, given: Mapping[str, Any]) -> bool:
    """Whether a setting has an effect where the others are `given`."""
    if name in {"activation", "dropout"} and given.get("hidden") == []:
        return False
    registries = plugins.registries()
    owners = [registries[axis][str(given[axis])] for axis in COMPONENTS if axis in given]
    return name in CORE or any(name in getattr(owner, "settings", {}) for owner in owners)
