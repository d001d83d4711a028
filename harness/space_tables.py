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

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from harness import plugins
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.checking import Checker, Settings
from harness.errors import did_you_mean, quoted
from harness.parameters import COMPONENTS, Choices, Entry, Floats, Ints, Layers, Space, Values
from harness.searches import COLUMNS, COSTS
from harness.settings import CORE, DEFAULTS, TAKEN, Setting
from harness.spaces import FIXED as SAME_FOR_ALL
from harness.text import as_text

FIXED = tuple(name for name in SAME_FOR_ALL if name not in {"epochs", "steps"})
"""Settings that no search varies: what is measured would not be the same thing."""
BOUNDS = ("low", "high", "log", "step")
PAIR = "head, loss"
"""The parameter of heads and losses that fit, where both are free."""


def read(table: Mapping[str, Any], baseline: Settings, checker: Checker) -> Space:
    """The space of a study file; what is wrong with it is told to the checker."""
    told = checker.problems
    entries: list[Entry] = []
    registries = plugins.registries()
    # What it names that is not there has been told.
    baseline = {k: v for k, v in baseline.items() if k not in COMPONENTS or v in registries[k]}
    for name, given in table.items():
        found = _entry(name, given, checker)
        if found is not None:
            entries.append(found)
    entries = _paired(entries, baseline, table, told)
    entries.sort(key=_turn)
    space = Space(tuple(entries), baseline, table)
    if not table:
        told.append("[space]: missing; which settings is the search to vary?")
    told += _contradictions(space)
    return space


def _turn(entry: Entry) -> int:
    """Components come first, for their settings; `hidden` before `activation`, which it may leave out."""
    if entry.sets & {*COMPONENTS} - {"activation"}:
        return 1 if entry.when else 0
    if entry.name == "hidden":
        return 2
    return 3 if entry.name not in entry.sets or entry.name == "activation" else 4


def _entry(name: str, given: object, checker: Checker) -> Entry | None:
    where, told = f"space.{name}", checker.problems
    if isinstance(given, list) and any(isinstance(value, Mapping) for value in given):
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
            f"{where} = {quoted(given)}: allowed: a list of at least two values, or {{ low = .., high = .. }}"
        )
        return None
    table = dict(given)
    when = _when(where, table.pop("when", {}), told)
    if "values" in table:
        values = table.pop("values")
        told += [f"{where}.{key}: unknown key beside values; allowed: when" for key in table]
        listed = values if isinstance(values, list) else [values]
        linked = any(isinstance(value, Mapping) for value in listed)
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
        told.append(f"{where}.when = {quoted(given)}: allowed: a table such as {{ optimizer = ['sgd'] }}")
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
    if name in {*checker.known, *TAKEN, *COLUMNS, *COSTS}:
        taken = "setting" if name in checker.known else "column of the results"
        told.append(f"{where}: linked settings need a name that is no {taken}'s own")
    before = len(told)
    tables = checker.named(where, list(given))
    told += [
        f"{where}: {key} is the same for all suggestions, or they could not be compared"
        for key in sorted({key for table in tables for key in table} & {*FIXED})
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
        one = f"its one value {quoted(names[0])}" if names else "no value"
        told.append(f"{where}: {one} leaves nothing to choose; put it into [baseline], or list several")
    return len(set(names)) == len(names) > 1


def _layers(table: dict[str, Any], when: Mapping[str, Any], checker: Checker) -> Entry | None:
    where, told = "space.hidden", checker.problems
    same = table.get("same", False)
    if not {"depth", "width"} <= set(table) <= {"depth", "width", "same"} or not isinstance(same, bool):
        told.append(
            f"{where} = {quoted(table)}: allowed: a list of lists of widths, or "
            "{ depth = .., width = .. }, each a list or { low = .., high = .. }, and same = true for one "
            "width in all layers"
        )
        return None
    depth = _whole(f"{where}.depth", table["depth"], 0, told)
    width = _whole(f"{where}.width", table["width"], 1, told)
    if depth is None or width is None:
        return None
    return Layers("hidden", depth, when=when, width=width, same=same)


def _whole(where: str, given: object, least: int, told: list[str]) -> Ints | Choices | None:
    """Numbers of layers or of units."""
    setting = Setting("hidden.width" if least else "hidden.depth", None)
    if isinstance(given, Mapping):
        found = _range(where, dict(given), setting, told)
        return found if isinstance(found, Ints) else None
    values: list[Any] = given if isinstance(given, list) else [given]
    for value in values:
        try:
            setting.check(value)
        except ValueError as error:
            told.append(f"{where} = {quoted(value)}: allowed: {error}")
            return None
    names = tuple(as_text(value) for value in values)
    if len(names) == 1:
        return Ints(values[0], values[0])
    return Choices(names) if _several(where, names, told) else None


def _bounds(where: str, name: str, table: dict[str, Any], checker: Checker) -> Values | None:
    setting = checker.known[name]
    if isinstance(setting.default, str | bool | list) or name in {"hidden", "eval_every", "sampling"}:
        checker.problems.append(f"{where} = {quoted(table)}: it has no order; allowed: a list of values")
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
        told.append(f"{where} = {quoted(table)}: allowed: {error}")
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
        return f"log = {quoted(log)}: allowed: true or false"
    if low >= high:
        return f"low = {low:g} must lie below high = {high:g}"
    if log and low <= 0:
        return f"low = {low:g}: with log = true it must be above 0"
    if step is None:
        return ""
    if log:
        return "step and log = true: allowed is one of them"
    whole = isinstance(low, int)
    number = isinstance(step, int if whole else int | float) and not isinstance(step, bool)
    if not number or not 0 < step < math.inf:
        return f"step = {quoted(step)}: allowed: a {'whole ' if whole else ''}number above 0"
    if step > high - low:
        return f"step = {quoted(step)} goes beyond high = {high:g} at once"
    count = (high - low) / step
    if abs(count - round(count)) > 1e-6:
        below, above = (f"{low + step * whole:g}" for whole in (math.floor(count), math.ceil(count)))
        return f"steps of {step:g} from low = {low:g} miss high = {high:g}; allowed: {below} or {above}"
    return ""


def _paired(
    entries: list[Entry], baseline: Settings, table: Mapping[str, Any], told: list[str]
) -> list[Entry]:
    """Entries in which a free head and a free loss are pairs that fit; what does not fit at all is told."""
    given = {**DEFAULTS, **baseline}
    by_name = {entry.name: entry for entry in entries}
    head, loss = by_name.get("head"), by_name.get("loss")
    unread = {"head", "loss"} & set(table) - set(by_name)
    elsewhere = any(entry.sets & {"head", "loss"} for entry in entries if entry not in (head, loss))
    if given["match"] == "ignore" or unread or elsewhere or (head is None and loss is None):
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
    if head.when != loss.when:
        told.append(
            "space.head and space.loss are drawn as pairs that fit; give both the same `when`, or none"
        )
    means: dict[str, Settings] = {f"{h} + {s}": {"head": h, "loss": s} for h, s in fitting}
    pair = Entry(PAIR, Choices(tuple(means)), means, head.when)
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
    yield from _misfits(space)
    yield from _never(space)


def _misfits(space: Space) -> Iterator[str]:
    """Heads and losses that linked settings bring together, and that do not fit."""
    given: dict[str, Any] = {**DEFAULTS, **space.baseline}
    deciding = [entry for entry in space.entries if entry.sets & {"head", "loss"}]
    if given["match"] == "ignore" or all(entry.name in {"head", "loss", PAIR} for entry in deciding):
        return  # pairs were made to fit
    for drawn in itertools.product(*(entry.means.items() for entry in deciding)):
        meant = given | {key: value for _, settings in drawn for key, value in settings.items()}
        head, loss = heads[str(meant["head"])], losses[str(meant["loss"])]
        if loss.form(head.kind) is None:
            named = " with ".join(
                f"space.{e.name} {name!r}" for e, (name, _) in zip(deciding, drawn, strict=True)
            )
            yield (
                f"{named}: loss {loss.name!r} takes {' or '.join(loss.forms)}; head {head.name!r} gives "
                f"{head.kind}; link those that fit, or see match = 'ignore'"
            )


Possible: TypeAlias = "dict[str, set[str]]"
"""What settings and parameters can be, as text; nothing of numbers from a range."""


def _never(space: Space) -> Iterator[str]:
    """Entries that apply nowhere: no component of the space has them, or `when` cannot come true."""
    possible: Possible = {}
    given = {**DEFAULTS, **space.baseline}
    left = list(space.entries)
    while left:
        entry, later = left.pop(0), {name for other in left for name in (other.name, *other.sets)}
        told = list(_unmet(entry, possible, given, later - {*possible}))
        yield from told
        if not told and not any(_somewhere(name, entry, possible, given) for name in entry.sets):
            yield f"space.{entry.name}: {_nowhere(entry)}"
        for key in entry.sets:
            drawn = {as_text(meant[key]) for meant in entry.means.values() if key in meant}
            fixed = entry.when or not all(key in meant for meant in entry.means.values())
            possible[key] = drawn | ({as_text(given[key])} if fixed and key in given else set())
        if isinstance(entry.values, Choices):
            possible[entry.name] = {*entry.values.names}
        if isinstance(entry, Layers):
            possible["hidden.depth"] = entry.depths


def _unmet(entry: Entry, possible: Possible, given: Mapping[str, Any], later: set[str]) -> Iterator[str]:
    """What is wrong with an entry's `when`."""
    where = f"space.{entry.name}.when"
    for key, allowed in entry.when.items():
        there = possible.get(key, {as_text(given[key])} if key in given else set())
        unknown = [value for value in allowed if key in COMPONENTS and value not in plugins.registries()[key]]
        if key in {entry.name, *entry.sets}:
            yield f"{where}: {key} cannot depend on itself"
        elif key in later:
            yield (
                f"{where}: {key} is drawn after {entry.name}: components come first, then hidden, activation "
                "and linked settings, then the others as they stand; turn the condition round or link the two"
            )
        elif key not in possible and key not in given:
            yield f"{where}.{key}: unknown; {did_you_mean(key, {*possible, *given})}"
        elif not allowed:
            yield f"{where}: {key} = [] is never so; allowed: {', '.join(sorted(there))}"
        elif not there:
            yield f"{where}: {key} is a number from a range; a condition needs one that is drawn from a list"
        elif unknown:
            names = [component.name for component in plugins.registries()[key]]
            yield f"{where}: unknown {key} {quoted(unknown[0])}; {did_you_mean(unknown[0], names)}"
        elif not there & set(allowed):
            yield f"{where}: {key} is never {' or '.join(allowed)}; it is {', '.join(sorted(there))}"


def _somewhere(name: str, entry: Entry, possible: Possible, given: Mapping[str, Any]) -> bool:
    """Whether a setting of an entry has an effect somewhere, where the entry's `when` is true."""
    if name in {"activation", "dropout"} and possible.get("hidden", {as_text(given.get("hidden"))}) == {"[]"}:
        return False
    registries = plugins.registries()
    for axis in COMPONENTS:
        there = possible.get(axis, {str(given[axis])})
        for component in there & {*entry.when.get(axis, there)}:
            if name in getattr(registries[axis][component], "settings", {}):
                return True
    return name in CORE


def _nowhere(entry: Entry) -> str:
    """Why an entry has no effect."""
    having = [
        f"{axis} {found.name!r}"
        for axis in COMPONENTS
        for found in plugins.registries()[axis]
        if entry.sets & {*getattr(found.component, "settings", {})}
    ]
    if entry.sets & {"activation", "dropout"}:
        return "a network without hidden layers (hidden = []) has none"
    where = " where its `when` is true" if entry.when else ""
    return f"nothing in this search has it{where}; {', '.join(having)} would"
