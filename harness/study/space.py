"""The search space: floats, ints, choices and layers, each with the conditions under which it is drawn.

[space] of a search and [tune.space] of a tuned study are written in this language; the readers of their
ranges and lists are here. A component's setting is drawn where the component is drawn: momentum only of an
optimizer with momentum.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any, TypeAlias

from harness.axes import plugins
from harness.errors import quoted
from harness.settings import CORE, DEFAULTS, Setting, Value, limits
from harness.text import as_text

COMPONENTS = (
    "architecture", "optimizer", "schedule", "loss", "head", "activation", "preprocessing", "augmentation",
)  # fmt: skip
BOUNDS = ("low", "high", "log", "step")
"""Keys of a range."""
DIGITS = 4
"""Significant digits of a float that is tuned, as a person would write it."""


@dataclass(frozen=True)
class Floats:
    """Numbers from `low` to `high`, both included; evenly in their logarithms with `log`; every `step`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def every(self) -> Iterator[str | int | float]:
        """Yield the numbers of a range with a step, upwards."""
        if self.step is None:
            raise ValueError("a range of floats without a step cannot be listed")
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return (self.low + i * self.step for i in range(count))

    def at(self, share: float) -> float:
        """Return the number at a share, 0..1, of the way from `low` to `high`."""
        if self.log:  # in decimals: C libraries differ in the last bits of a logarithm
            with localcontext(prec=40):  # the caller's may have fewer digits
                low, high = Decimal(self.low).ln(), Decimal(self.high).ln()
                value = (low + Decimal(share) * (high - low)).exp()
                return float(f"{value:.{DIGITS}g}")
        return float(f"{self.low + share * (self.high - self.low):.{DIGITS}g}")


@dataclass(frozen=True)
class Ints:
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    def every(self) -> Iterator[str | int | float]:
        """Yield the numbers, upwards."""
        return iter(range(self.low, self.high + 1, 1 if self.log else self.step))


@dataclass(frozen=True)
class Choices:
    """One of some values, by their names."""

    names: tuple[str, ...]

    def every(self) -> Iterator[str | int | float]:
        """Yield the names, in order."""
        return iter(self.names)


Values: TypeAlias = "Floats | Ints | Choices"
Drawn: TypeAlias = "dict[str, str | int | float]"
"""The value of each parameter that was drawn: the name of a choice, or a number."""
Meaning: TypeAlias = "dict[str, Value]"
"""Settings that drawn values stand for."""


@dataclass(frozen=True)
class Parameter:
    """A name and the values that it may take."""

    name: str
    values: Values

    @property
    def numeric(self) -> bool:
        """True if its values are numbers, which have an order; else they are names."""
        return not isinstance(self.values, Choices)


Draw: TypeAlias = "Callable[[Parameter], Any]"


@dataclass(frozen=True)
class SpaceEntry:
    """A line of a space: values to draw, and the conditions under which they are drawn.

    `means` is what each name of Choices sets; numbers set the setting of the entry's name. `when` maps other
    parameters or settings to the texts of the values at which this entry is drawn.
    """

    name: str
    values: Values
    means: Mapping[str, Meaning] = field(default_factory=dict)
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters that it may draw."""
        return [Parameter(self.name, self.values)]

    @property
    def sets(self) -> set[str]:
        """The settings that it sets."""
        return {key for settings in self.means.values() for key in settings} or {self.name}

    def draw(self, draw: Draw) -> Drawn:
        """Draw its parameters."""
        return {self.name: draw(Parameter(self.name, self.values))}

    def every(self) -> Iterator[Drawn]:
        """Yield all that can be drawn, unless floats are among it."""
        return ({self.name: value} for value in self.values.every())

    def meaning(self, drawn: Drawn) -> Meaning:
        """Return the settings that its drawn parameters stand for."""
        value = drawn[self.name]
        return dict(self.means[str(value)]) if isinstance(self.values, Choices) else {self.name: value}

    def at(self, share: float) -> Meaning:
        """Return the settings at a share of its floats (0..1) or of its other values (below 1)."""
        if isinstance(self.values, Floats):
            return {self.name: self.values.at(share)}
        values = list(self.values.every())
        return self.meaning({self.name: values[int(share * len(values))]})


NO_RANGE = ("hidden", "eval_every", "sampling")
"""Settings whose values have no order, whatever their defaults are."""
ALSO_ONE_NUMBER = ("channels",)
"""Settings that are a list in one architecture and a whole number in another."""
LAYERED = ("hidden", "channels")
"""Settings that are a list, a number a layer, so that a space draws them by depth and widths."""


@dataclass(frozen=True)
class Layers(SpaceEntry):
    """A setting of LAYERED by its depth and its widths; `values` are depths.

    With `same`, all layers have one width; with `double`, each has twice the width of the one before, and the
    width that is drawn is the first one's.
    """

    width: Values = Ints(1, 2)
    same: bool = False
    double: bool = False

    @property
    def depth(self) -> str:
        """The name of the depth: hidden.depth."""
        return f"{self.name}.depth"

    @property
    def parameters(self) -> list[Parameter]:
        """The depth, then the widths of the deepest network."""
        return [Parameter(self.depth, self.values), *self.widths(_highest(self.values))]

    @property
    def depths(self) -> set[str]:
        """The depths it may draw, as text."""
        return {str(depth) for depth in self.values.every()}

    def widths(self, depth: int) -> list[Parameter]:
        """Return the widths of a network of a depth: one of all layers, or each layer's."""
        if self.same or self.double:
            return [Parameter(f"{self.name}.width", self.width)] if depth else []
        return [Parameter(f"{self.name}.width.{i}", self.width) for i in range(1, depth + 1)]

    def draw(self, draw: Draw) -> Drawn:
        """Draw a depth, and as many widths."""
        depth = int(draw(Parameter(self.depth, self.values)))
        drawn: Drawn = {self.depth: str(depth) if isinstance(self.values, Choices) else depth}
        return drawn | {parameter.name: draw(parameter) for parameter in self.widths(depth)}

    def every(self) -> Iterator[Drawn]:
        """Yield all depths, each with all widths."""
        widths = tuple(self.width.every())
        for depth in self.values.every():
            names = [parameter.name for parameter in self.widths(int(depth))]
            for combination in itertools.product(widths, repeat=len(names)):
                yield {self.depth: depth, **dict(zip(names, combination, strict=True))}

    def meaning(self, drawn: Drawn) -> Meaning:
        """Return the setting."""
        widths = [int(value) for name, value in drawn.items() if name != self.depth]
        depth = int(drawn[self.depth])
        if self.double:
            return {self.name: _doubled(widths[0], depth) if widths else []}
        return {self.name: widths * depth if self.same else widths}


def _doubled(first: int, depth: int) -> list[int]:
    """Double a width from layer to layer.

    >>> _doubled(16, 3)
    [16, 32, 64]
    """
    return [first * 2**i for i in range(depth)]


def layers_of(table: Mapping[str, Any], drawn: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the lists that a depth and one width stand for, by the names of [space], which is `table`.

    Lists whose widths are all drawn are left out, as are those that do not apply to what was drawn.

    >>> layers_of({"channels": {"double": True}}, {"channels.depth": 2, "channels.width": 8})
    {'channels': [8, 16]}
    """
    lists: dict[str, list[int]] = {}
    for name in LAYERED:
        given = table.get(name)
        if not isinstance(given, Mapping) or not (given.get("same") or given.get("double")):
            continue
        depth, width = (_whole(drawn.get(f"{name}.{key}")) for key in ("depth", "width"))
        if depth == 0:
            lists[name] = []
        elif depth and width and depth <= limits.LAYERS:
            lists[name] = _doubled(width, depth) if given.get("double") else [width] * depth
    return lists


def _whole(value: Any) -> int | None:
    """Return a number of layers or units, which a table that is damaged may have as anything."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _highest(values: Values) -> int:
    return int(values.high) if isinstance(values, Ints) else max(map(int, values.every()))


@dataclass(frozen=True)
class Space:
    """The space of a search: its entries in the order in which they are drawn, and the study's baseline.

    `table` is [space] as the study file has it.
    """

    entries: tuple[SpaceEntry, ...]
    baseline: Meaning
    table: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters that could ever be drawn."""
        return tuple(parameter for entry in self.entries for parameter in entry.parameters)

    def walk(self, draw: Draw) -> tuple[Drawn, Meaning]:
        """Draw each parameter that applies, given those drawn before it.

        Returns:
            The drawn value of each parameter, and the settings that they stand for, without the baseline's.
        """
        drawn: Drawn = {}
        settings: Meaning = {}
        for entry in self.entries:
            if self._applies(entry, drawn, settings):
                values = entry.draw(draw)
                drawn |= values
                settings |= entry.meaning(values)
        return drawn, settings

    def settings(self, drawn: Mapping[str, Any]) -> Meaning:
        """Return the settings that drawn parameters stand for.

        Raises:
            KeyError: a parameter that applies was not drawn, or is not one of its choices.
        """
        return self.walk(lambda parameter: drawn[parameter.name])[1]

    def points(self) -> Iterator[Drawn]:
        """Yield all that can be drawn, lazily and the last entry fastest, of a space without floats."""
        return self._points(self.entries, {}, {})

    def _points(self, entries: Sequence[SpaceEntry], drawn: Drawn, settings: Meaning) -> Iterator[Drawn]:
        if not entries:
            yield drawn
        elif self._applies(entries[0], drawn, settings):
            for values in entries[0].every():
                yield from self._points(entries[1:], drawn | values, settings | entries[0].meaning(values))
        else:
            yield from self._points(entries[1:], drawn, settings)

    def _applies(self, entry: SpaceEntry, drawn: Drawn, settings: Meaning) -> bool:
        """Tell whether an entry is drawn after `drawn`, which stands for these settings."""
        given = {**DEFAULTS, **self.baseline, **settings}
        for key, allowed in entry.when.items():
            if as_text(drawn.get(key, given.get(key))) not in allowed:
                return False
        return any(applies(name, given) for name in entry.sets)

    @property
    def finite(self) -> bool:
        """True if its points can be counted."""
        return all(not isinstance(p.values, Floats) or p.values.step for p in self.parameters)


def applies(name: str, given: Mapping[str, Any]) -> bool:
    """Tell whether a setting has an effect where the others are `given`."""
    registries = plugins.registries()
    if name in registries["architecture"][str(given["architecture"])].without_effect(given):
        return False
    owners = [registries[axis][str(given[axis])] for axis in COMPONENTS if axis in given]
    return name in CORE or any(name in getattr(owner, "settings", {}) for owner in owners)


CheckValue: TypeAlias = "Callable[[str, str, object], Value]"
"""Checks the value of a setting: where it stands, the setting's name, the value. `Checker.value`."""


def range_of(table: Mapping[str, Any], *, integers: bool) -> Floats | Ints:
    """Return the range that a table of checked bounds stands for, of whole numbers or of floats."""
    log, step = bool(table.get("log", False)), table.get("step")
    if integers:
        return Ints(int(table["low"]), int(table["high"]), log, int(step or 1))
    return Floats(float(table["low"]), float(table["high"]), log, None if step is None else float(step))


def read_entry(
    where: str,
    given: object,
    setting: Setting,
    check: CheckValue,
    problems: list[str],
    keys: Sequence[str] = BOUNDS,
) -> SpaceEntry | None:
    """Check the list or the range of a setting; None, and a problem added, if it is wrong.

    `where` is the entry's place, for messages; `keys` are those that the table of a range may have.
    """
    if isinstance(given, list):
        return read_list(where, setting.name, given, check, problems)
    if isinstance(given, Mapping):
        values = read_range(where, given, setting, problems, keys)
        return SpaceEntry(setting.name, values) if values else None
    problems.append(
        f"{where} = {quoted(given)}: allowed: a list of at least two values, or {{ low = .., high = .. }}"
    )
    return None


def read_range(
    where: str, table: Mapping[str, Any], setting: Setting, problems: list[str], keys: Sequence[str] = BOUNDS
) -> Floats | Ints | None:
    """Check the bounds of a setting and return their range; None, and a problem added, if they are wrong."""
    listed = isinstance(setting.default, list) and setting.name not in ALSO_ONE_NUMBER
    if listed or isinstance(setting.default, str | bool) or setting.name in NO_RANGE:
        problems.append(f"{where} = {quoted(dict(table))}: it has no order; allowed: a list of values")
        return None
    unknown, missing = set(table) - {*keys}, {"low", "high"} - set(table)
    if unknown or missing:
        problems += [f"{where}.{key}: unknown key; allowed: {', '.join(keys)}" for key in sorted(unknown)]
        problems += [f"{where}.{key}: missing" for key in sorted(missing)]
        return None
    try:
        ends: dict[str, Any] = {key: setting.check(table[key]) for key in ("low", "high")}
    except ValueError as error:
        problems.append(f"{where} = {quoted(dict(table))}: allowed: {error}")
        return None
    bounds = {**table, **ends}
    if problem := _bounds_problem(bounds):
        problems.append(f"{where}: {problem}")
        return None
    return range_of(bounds, integers=isinstance(bounds["low"], int))


def _bounds_problem(table: Mapping[str, Any]) -> str:
    low, high, log, step = table["low"], table["high"], table.get("log", False), table.get("step")
    if not isinstance(log, bool):
        return f"log = {quoted(log)}: allowed: true or false"
    if low >= high:
        return f"low = {low:g} must lie below high = {high:g}"
    if log and low <= 0:
        return f"low = {low:g}: with log = true it must be above 0"
    if step is None:
        return ""
    return "step and log = true: allowed is one of them" if log else _step_problem(low, high, step)


def _step_problem(low: Any, high: Any, step: Any) -> str:
    integers = isinstance(low, int)
    number = isinstance(step, int if integers else int | float) and not isinstance(step, bool)
    if not number or not 0 < step < math.inf:
        return f"step = {quoted(step)}: allowed: a {'whole ' if integers else ''}number above 0"
    if step > high - low:
        return f"step = {quoted(step)} goes beyond high = {high:g} at once"
    count = (high - low) / step
    if abs(count - round(count)) > 1e-6:
        below, above = (f"{low + step * steps:g}" for steps in (math.floor(count), math.ceil(count)))
        return f"steps of {step:g} from low = {low:g} miss high = {high:g}; allowed: {below} or {above}"
    return ""


def read_list(
    where: str, name: str, values: Sequence[Any], check: CheckValue, problems: list[str]
) -> SpaceEntry | None:
    """Check the values that a setting may take; None, and a problem added, if they are wrong."""
    before = len(problems)
    checked = [check(where, name, value) for value in values]
    means: dict[str, Meaning] = {as_text(value): {name: value} for value in checked}
    if len(problems) > before or not are_several(where, list(map(as_text, checked)), problems):
        return None
    return SpaceEntry(name, Choices(tuple(means)), means)


def are_several(where: str, names: Sequence[str], problems: list[str]) -> bool:
    """Tell whether the names leave a choice; add a problem if not."""
    if len(set(names)) < len(names):
        problems.append(f"{where}: a value is listed twice")
    elif len(names) < 2:
        value = f"its one value {quoted(names[0])}" if names else "no value"
        problems.append(f"{where}: {value} leaves nothing to choose; put it into [baseline], or list several")
    return len(set(names)) == len(names) > 1
