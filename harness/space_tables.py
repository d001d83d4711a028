"""[space]: what a search may draw, read and checked.

    lr = { low = 1e-4, high = 1.0, log = true }       floats, or ints where the setting is one; step = ..
    optimizer = ["sgd", "adam"]                        one of a list
    output = [{ name = "MSE", loss = "mse", head = "softmax" }, ..]       linked settings under a name
    hidden = { depth = { low = 1, high = 3 }, width = { low = 16, high = 256, log = true } }
    dropout = { low = 0.0, high = 0.5, when = { optimizer = ["adam"] } }   only where another has these values
    weight_decay = { values = [0.0, 1e-4], when = { .. } }                 a list, under a condition

Of head and loss, where both are free, pairs are drawn that fit: one parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness import plugins
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.checking import Checker, Settings
from harness.parameters import COMPONENTS, Choices, Entry, Floats, Ints, Layers, Space, Values
from harness.settings import CORE, DEFAULTS, TAKEN, Setting, as_text
from harness.spaces import FIXED as SAME_FOR_ALL

FIXED = tuple(name for name in SAME_FOR_ALL if name not in {"epochs", "steps"})
"""Settings that no search varies: what is measured would not be the same thing."""
BOUNDS = ("low", "high", "log", "step")
PAIR = "head, loss"
"""The parameter of heads and losses that fit, where both are free."""


def read(table: Mapping[str, Any], baseline: Settings, checker: Checker) -> Space:
    """The space of a study file; what is wrong with it is told to the checker."""
    told = checker.problems
    entries: list[Entry] = []
    for name, given in table.items():
        found = _entry(name, given, checker)
        if found is not None:
            entries.append(found)
    entries = _paired(entries, baseline, told)
    entries.sort(key=_turn)
    space = Space(tuple(entries), baseline, table)
    if not table:
        told.append("[space]: missing; which settings is the search to vary?")
    told += _contradictions(space)
    return space


def _turn(entry: Entry) -> int:
    """Components are drawn before `hidden`, and that before numbers which may depend on them."""
    if entry.sets & {*COMPONENTS}:
        return 1 if entry.when else 0
    return 2 if entry.name == "hidden" or entry.means else 3


def _entry(name: str, given: object, checker: Checker) -> Entry | None:
    where, told = f"space.{name}", checker.problems
    if isinstance(given, list) and given and all(isinstance(value, Mapping) for value in given):
        return _linked(name, given, {}, checker)
    if name in FIXED:
        told.append(f"{where}: is the same for all suggestions, or they could not be compared")
        return None
    if name not in checker.known and not (isinstance(given, Mapping) and _is_linked(given)):
        checker.value(where, name, given)  # tells what there is
        return None
    if isinstance(given, list):
        return _choices(name, given, {}, checker)
    if not isinstance(given, Mapping):
        told.append(
            f"{where} = {given!r}: allowed: a list of at least two values, or {{ low = .., high = .. }}"
        )
        return None
    table = dict(given)
    when = _when(where, table.pop("when", {}), told)
    if "values" in table:
        values = table.pop("values")
        told += [f"{where}.{key}: unknown key beside values; allowed: when" for key in table]
        listed = values if isinstance(values, list) else [values]
        linked = all(isinstance(value, Mapping) for value in listed)
        return (_linked if linked else _choices)(name, listed, when, checker)
    if name == "hidden":
        return _layers(table, when, checker)
    found = _bounds(where, name, table, checker)
    return Entry(name, found, when=when) if found else None


def _is_linked(given: Mapping[str, Any]) -> bool:
    values = given.get("values")
    return isinstance(values, list) and any(isinstance(value, Mapping) for value in values)


def _when(where: str, given: object, told: list[str]) -> dict[str, tuple[str, ...]]:
    if not isinstance(given, Mapping):
        told.append(f"{where}.when = {given!r}: allowed: a table such as {{ optimizer = ['sgd'] }}")
        return {}
    return {
        key: tuple(as_text(value) for value in (values if isinstance(values, list) else [values]))
        for key, values in given.items()
    }


def _choices(name: str, given: Sequence[Any], when: Mapping[str, Any], checker: Checker) -> Entry | None:
    where, before = f"space.{name}", len(checker.problems)
    values = [checker.value(where, name, value) for value in given]
    if len(checker.problems) > before:
        return None
    names = tuple(as_text(value) for value in values)
    if not _several(where, names, checker.problems):
        return None
    return Entry(name, Choices(names), {as_text(value): {name: value} for value in values}, when)


def _linked(name: str, given: Sequence[Any], when: Mapping[str, Any], checker: Checker) -> Entry | None:
    where, told = f"space.{name}", checker.problems
    if name in {*checker.known, *TAKEN}:
        taken = "setting" if name in checker.known else "column of the results"
        told.append(f"{where}: linked settings need a name that is no {taken}'s own")
    before = len(told)
    tables = checker.named(where, list(given))
    told += [
        f"{where}: {key} is the same for all suggestions, or they could not be compared"
        for key in {key for table in tables for key in table} & {*FIXED}
    ]
    names = tuple(str(table["name"]) for table in tables)
    if len(told) > before or not _several(where, names, told):
        return None
    means = {
        str(table["name"]): {key: value for key, value in table.items() if key != "name"} for table in tables
    }
    return Entry(name, Choices(names), means, when)


def _several(where: str, names: Sequence[str], told: list[str]) -> bool:
    if len(set(names)) < len(names):
        told.append(f"{where}: a value is listed twice")
    elif len(names) < 2:
        one = f"its one value {names[0]!r}" if names else "no value"
        told.append(f"{where}: {one} leaves nothing to choose; put it into [baseline], or list several")
    return len(set(names)) == len(names) > 1


def _layers(table: dict[str, Any], when: Mapping[str, Any], checker: Checker) -> Entry | None:
    where, told = "space.hidden", checker.problems
    same = table.pop("same", False)
    if set(table) != {"depth", "width"} or not isinstance(same, bool):
        told.append(
            f"{where} = {table!r}: allowed: a list of lists of widths, or {{ depth = .., width = .. }}, each "
            "a list or { low = .., high = .. }, and same = true for one width in all layers"
        )
        return None
    depth = _whole(f"{where}.depth", table["depth"], 0, told)
    width = _whole(f"{where}.width", table["width"], 1, told)
    if depth is None or width is None:
        return None
    return Layers("hidden", depth, when=when, width=width, same=same)


def _whole(where: str, given: object, least: int, told: list[str]) -> Ints | Choices | None:
    """Numbers of layers or of units."""
    setting = Setting("steps" if least else "split_seed", None)  # whole numbers from 1, or from 0
    if isinstance(given, Mapping):
        found = _range(where, dict(given), setting, told)
        return found if isinstance(found, Ints) else None
    values: list[Any] = given if isinstance(given, list) else [given]
    for value in values:
        try:
            setting.check(value)
        except ValueError as error:
            told.append(f"{where} = {value!r}: allowed: {error}")
            return None
    names = tuple(as_text(value) for value in values)
    if len(names) == 1:
        return Ints(values[0], values[0])
    return Choices(names) if _several(where, names, told) else None


def _bounds(where: str, name: str, table: dict[str, Any], checker: Checker) -> Values | None:
    setting = checker.known[name]
    if isinstance(setting.default, str | bool | list) or name in {"hidden", "eval_every", "sampling"}:
        checker.problems.append(f"{where} = {table!r}: it has no order; allowed: a list of values")
        return None
    return _range(where, table, setting, checker.problems)


def _range(where: str, table: dict[str, Any], setting: Setting, told: list[str]) -> Values | None:
    unknown = set(table) - {*BOUNDS}
    missing = {"low", "high"} - set(table)
    if unknown or missing:
        told += [f"{where}.{key}: unknown key; allowed: {', '.join(BOUNDS)}, when" for key in sorted(unknown)]
        told += [f"{where}.{key}: missing" for key in sorted(missing)]
        return None
    try:
        low, high = (setting.check(table[key]) for key in ("low", "high"))
    except ValueError as error:
        told.append(f"{where} = {table!r}: allowed: {error}")
        return None
    wrong = _wrong_bounds(low, high, table)
    if wrong:
        told.append(f"{where}: {wrong}")
        return None
    log, step = bool(table.get("log", False)), table.get("step")
    if isinstance(low, int):
        return Ints(low, int(high), log, 1 if step is None else int(step))  # type: ignore[arg-type]
    return Floats(float(low), float(high), log, None if step is None else float(step))  # type: ignore[arg-type]


def _wrong_bounds(low: Any, high: Any, table: Mapping[str, Any]) -> str:
    log, step = table.get("log", False), table.get("step")
    if not isinstance(log, bool):
        return f"log = {log!r}: allowed: true or false"
    if low >= high:
        return f"low = {low:g} must lie below high = {high:g}"
    if log and low <= 0:
        return f"low = {low:g}: with log = true it must be above 0"
    if step is None:
        return ""
    if log:
        return "step and log = true: allowed is one of them"
    whole = isinstance(low, int)
    if isinstance(step, bool) or not isinstance(step, int if whole else int | float) or step <= 0:
        return f"step = {step!r}: allowed: a {'whole ' if whole else ''}number above 0"
    if step > high - low:
        return f"step = {step:g} goes beyond high = {high:g} at once"
    return ""


def _paired(entries: list[Entry], baseline: Settings, told: list[str]) -> list[Entry]:
    """Entries in which a free head and a free loss are pairs that fit; what does not fit at all is told."""
    given = {**DEFAULTS, **baseline}
    by_name = {entry.name: entry for entry in entries}
    head, loss = by_name.get("head"), by_name.get("loss")
    if given["match"] == "ignore" or (head is None and loss is None):
        return entries
    sides = [
        list(entry.values.names) if entry and isinstance(entry.values, Choices) else [str(given[axis])]
        for axis, entry in (("head", head), ("loss", loss))
    ]
    fitting = [(h, s) for h in sides[0] for s in sides[1] if losses[s].form(heads[h].kind) is not None]
    for axis, place in (("head", 0), ("loss", 1)):
        alone = [name for name in sides[place] if name not in {pair[place] for pair in fitting}]
        other = "loss" if axis == "head" else "head"
        told += [
            f"space.{axis}: {name!r} fits no {other} of {', '.join(sides[1 - place])}; take it out, or see "
            "match = 'ignore'"
            for name in alone
            if axis in by_name
        ]
    if head is None or loss is None or len(fitting) < 2:
        return entries
    means: dict[str, Settings] = {f"{h} + {s}": {"head": h, "loss": s} for h, s in fitting}
    pair = Entry(PAIR, Choices(tuple(means)), means, {**head.when, **loss.when})
    return [pair, *(entry for entry in entries if entry not in (head, loss))]


def _contradictions(space: Space) -> Iterator[str]:
    """What entries say against each other, and those that never apply."""
    owner: dict[str, str] = {}
    for entry in space.entries:
        for key in sorted(entry.sets):
            if key in owner:
                yield f"space.{entry.name} and space.{owner[key]} both set {key}"
            owner[key] = entry.name
    for one, other in (("epochs", "steps"), ("steps", "epochs")):
        if one in owner and other in {*owner, *space.baseline} and (one == "epochs" or other in owner):
            yield f"space.{one} and {other}: a budget is one or the other"
            break
    yield from _never(space)


def _never(space: Space) -> Iterator[str]:
    """Entries that apply nowhere: no component of the space has them, or `when` cannot come true."""
    possible: dict[str, set[str]] = {}
    given = {**DEFAULTS, **space.baseline}
    for entry in space.entries:
        for key, allowed in entry.when.items():
            there = possible.get(key, {as_text(given[key])} if key in given else set())
            if not there:
                yield f"space.{entry.name}.when: {key!r} is nothing that is drawn before it"
            elif not there & set(allowed):
                yield (
                    f"space.{entry.name}.when: {key} is never {' or '.join(allowed)}; it is "
                    f"{', '.join(sorted(there))}"
                )
        for key in entry.sets:
            drawn = {as_text(meant[key]) for meant in entry.means.values() if key in meant}
            possible[key] = drawn | ({as_text(given[key])} if entry.when and key in given else set())
        if isinstance(entry.values, Choices):
            possible[entry.name] = {*entry.values.names}
        if not entry.means and entry.name != "hidden" and not _somewhere(entry.name, possible, given):
            having = ", ".join(_having(entry.name))
            yield f"space.{entry.name}: nothing in this search has it; {having} would"


def _somewhere(name: str, possible: Mapping[str, set[str]], given: Mapping[str, Any]) -> bool:
    registries = plugins.registries()
    for axis in COMPONENTS:
        for component in possible.get(axis, {str(given[axis])}):
            if name in getattr(registries[axis][component], "settings", {}):
                return True
    return name in CORE


def _having(name: str) -> list[str]:
    return [
        f"{axis} {entry.name!r}"
        for axis in COMPONENTS
        for entry in plugins.registries()[axis]
        if name in getattr(entry.component, "settings", {})
    ]
