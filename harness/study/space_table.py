"""[space]: the space of a search, read and checked.

    lr = { low = 1e-4, high = 1.0, log = true }       floats, or ints where the setting is one; step = ..
    optimizer = ["sgd", "adam"]                        one of a list
    output = [{ name = "MSE", loss = "mse", head = "softmax" }, ..]       linked settings under a name
    hidden = { depth = { low = 1, high = 3 }, width = { low = 16, high = 256, log = true } }
    channels = { depth = [2, 3], width = [16, 32], double = true }        16-32, 32-64, 16-32-64, 32-64-128
    dropout = { low = 0.0, high = 0.5, when = { optimizer = ["adam"] } }   only where another has these values
    weight_decay = { values = [0.0, 1e-4], when = { .. } }                 a list, under a condition

Of head and loss, where both are free, pairs are drawn that fit: one parameter.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from harness.axes import plugins
from harness.axes.architectures import architectures
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.errors import did_you_mean, quoted
from harness.settings import CORE, DEFAULTS, Setting
from harness.settings.schema import TAKEN
from harness.study.checker import Checker, GivenSettings
from harness.study.searches import COLUMNS, COSTS, REFUSED
from harness.study.space import (
    BOUNDS,
    COMPONENTS,
    LAYERED,
    Choices,
    Floats,
    Ints,
    Layers,
    Space,
    SpaceEntry,
    are_several,
    read_entry,
    read_list,
)
from harness.study.tuning_space import SAME_FOR_ALL
from harness.text import as_text

FIXED = tuple(name for name in SAME_FOR_ALL if name not in {"epochs", "steps"})
"""GivenSettings that no search varies: suggestions could not be compared."""
LEAVING_OUT = ("readout", *LAYERED)
"""Settings beside components by which others have an effect or none, in the order in which they are drawn."""
PAIR = "head, loss"
"""The parameter of heads and losses that fit, where both are free."""


def read(table: Mapping[str, Any], baseline: GivenSettings, checker: Checker) -> Space:
    """Check the [space] of a study file and return it; the checker gets the problems."""
    problems = checker.problems
    registries = plugins.registries()
    # Unknown components of the baseline are among the problems already.
    baseline = {k: v for k, v in baseline.items() if k not in COMPONENTS or v in registries[k]}
    entries = [entry for name, given in table.items() if (entry := _entry(name, given, checker))]
    entries = _paired(entries, baseline, table, problems)
    entries.sort(key=_turn)
    space = Space(tuple(entries), baseline, table)
    if not table:
        problems.append("[space]: missing; which settings is the search to vary?")
    problems += _contradictions(space)
    return space


def _turn(entry: SpaceEntry) -> int:
    """Give an entry its turn: components come first, for their settings; then what leaves others out."""
    if entry.sets & {*COMPONENTS} - {"activation"}:
        return 1 if entry.when else 0
    if entry.sets & {*LEAVING_OUT}:
        return 2 + min(LEAVING_OUT.index(name) for name in entry.sets if name in LEAVING_OUT)
    return 9 if entry.name not in entry.sets or entry.name == "activation" else 10


def _entry(name: str, given: object, checker: Checker) -> SpaceEntry | None:
    where, problems = f"space.{name}", checker.problems
    if _is_linked(given):
        return _linked(name, given, checker)
    if name in FIXED:
        problems.append(f"{where}: is the same for all suggestions, or they could not be compared")
        return None
    if isinstance(given, Mapping) and (name in checker.known or _is_linked(given.get("values"))):
        return _conditional(name, dict(given), checker)
    if name not in checker.known:
        checker.value(where, name, given)  # adds the problem, with the settings there are
        return None
    return read_entry(where, given, checker.known[name], checker.value, problems)


def _conditional(name: str, table: dict[str, Any], checker: Checker) -> SpaceEntry | None:
    """Check an entry that is a table, perhaps with a condition."""
    where, problems = f"space.{name}", checker.problems
    when = _when(where, table.pop("when", {}), problems)
    if "values" in table:
        values = table.pop("values")
        problems += [f"{where}.{key}: unknown key beside values; allowed: when" for key in table]
        listed = values if isinstance(values, list) else [values]
        if _is_linked(listed):
            entry = _linked(name, listed, checker)
        else:
            entry = read_list(where, name, listed, checker.value, problems)
    elif name == "hidden" or (name in LAYERED and {"depth", "width"} & set(table)):
        entry = _layers(name, table, problems)
    else:
        entry = read_entry(where, table, checker.known[name], checker.value, problems, (*BOUNDS, "when"))
    return replace(entry, when=when) if entry else None


def _is_linked(given: object) -> bool:
    """Tell whether a list holds linked settings, each a table."""
    return isinstance(given, list) and any(isinstance(value, Mapping) for value in given)


def _when(where: str, given: object, problems: list[str]) -> dict[str, tuple[str, ...]]:
    if not isinstance(given, Mapping):
        problems.append(f"{where}.when = {quoted(given)}: allowed: a table such as {{ optimizer = ['sgd'] }}")
        return {}
    return {
        key: tuple(as_text(value) for value in (values if isinstance(values, list) else [values]))
        for key, values in given.items()
    }


def _linked(name: str, given: object, checker: Checker) -> SpaceEntry | None:
    where, problems = f"space.{name}", checker.problems
    if name in {*checker.known, *TAKEN, *COLUMNS, *COSTS, REFUSED}:
        taken = "setting" if name in checker.known else "column of the results"
        problems.append(f"{where}: linked settings need a name of their own; {name!r} is a {taken}")
    before = len(problems)
    tables = checker.named(where, given)
    problems += [
        f"{where}: {key} is the same for all suggestions, or they could not be compared"
        for key in sorted({key for table in tables for key in table} & {*FIXED})
    ]
    names = [str(table["name"]) for table in tables]
    if len(problems) > before or not are_several(where, names, problems):
        return None
    means = [{key: value for key, value in table.items() if key != "name"} for table in tables]
    return SpaceEntry(name, Choices(tuple(names)), dict(zip(names, means, strict=True)))


def _layers(name: str, table: dict[str, Any], problems: list[str]) -> SpaceEntry | None:
    same, double = table.get("same", False), table.get("double", False)
    keys, switches = {"depth", "width"}, isinstance(same, bool) and isinstance(double, bool)
    if not keys <= set(table) <= {*keys, "same", "double"} or not switches or (same and double):
        problems.append(
            f"space.{name} = {quoted(table)}: allowed: a list of lists of widths, or "
            "{ depth = .., width = .. }, each a list or { low = .., high = .. }, and same = true for one "
            "width in all layers, or double = true for twice the width from layer to layer"
        )
        return None
    depth, width = (_counts(f"{name}.{key}", table[key], problems) for key in ("depth", "width"))
    return Layers(name, depth, width=width, same=same, double=double) if depth and width else None


def _counts(name: str, given: object, problems: list[str]) -> Ints | Choices | None:
    """Check numbers of layers or of units: a range, a list, or one number."""
    where, setting = f"space.{name}", Setting(name, None)
    checker = Checker({name: setting}, problems)
    listed = given if isinstance(given, list) else [given]
    if len(listed) == 1 and not isinstance(given, Mapping):
        number = checker.value(where, name, listed[0])
        return Ints(number, number) if isinstance(number, int) else None
    entry = read_entry(where, given, setting, checker.value, problems)
    return entry.values if entry and not isinstance(entry.values, Floats) else None


def _paired(
    entries: list[SpaceEntry], baseline: GivenSettings, table: Mapping[str, Any], problems: list[str]
) -> list[SpaceEntry]:
    """Join a free head and a free loss into pairs that fit; add what fits nothing to the problems."""
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
        problems += [
            f"space.{axis}: {name!r} fits no {other} of {', '.join(sides[1 - place])}; take it out, or see "
            "match = 'ignore'"
            for name in alone
            if axis in by_name
        ]
    if head is None or loss is None or len(fitting) < 2:
        return entries
    if head.when != loss.when:
        problems.append(
            "space.head and space.loss are drawn as pairs that fit; give both the same `when`, or none"
        )
    means: dict[str, GivenSettings] = {f"{h} + {s}": {"head": h, "loss": s} for h, s in fitting}
    pair = SpaceEntry(PAIR, Choices(tuple(means)), means, head.when)
    return [pair, *(entry for entry in entries if entry not in (head, loss))]


def _contradictions(space: Space) -> Iterator[str]:
    """Yield the contradictions between entries, and the entries that never apply."""
    owner: dict[str, str] = {}
    for entry in space.entries:
        for key in sorted(entry.sets):
            if key in owner:
                yield f"space.{entry.name} and space.{owner[key]} both set {key}"
            owner[key] = entry.name
    if "epochs" in owner and "steps" in {*owner, *space.baseline}:
        yield "space.epochs and steps: a budget is one or the other"
    yield from _misfits(space)
    yield from _never(space)


def _misfits(space: Space) -> Iterator[str]:
    """Yield the heads and losses that linked settings combine and that do not fit."""
    given: dict[str, Any] = {**DEFAULTS, **space.baseline}
    deciding = [entry for entry in space.entries if entry.sets & {"head", "loss"}]
    if given["match"] == "ignore" or all(entry.name in {"head", "loss", PAIR} for entry in deciding):
        return  # pairs were made to fit
    for combination in itertools.product(*(entry.means.items() for entry in deciding)):
        settings = given | {key: value for _, means in combination for key, value in means.items()}
        head, loss = heads[str(settings["head"])], losses[str(settings["loss"])]
        if loss.form(head.kind) is None:
            named = " with ".join(
                f"space.{entry.name} {name!r}" for entry, (name, _) in zip(deciding, combination, strict=True)
            )
            yield (
                f"{named}: loss {loss.name!r} takes {' or '.join(loss.forms)}; head {head.name!r} gives "
                f"{head.kind}; link those that fit, or see match = 'ignore'"
            )


OF_LAYERS = frozenset({"activation", "dropout", "norm", "skip"})
"""Settings of an mlp that mean nothing without hidden layers."""
Possible: TypeAlias = "dict[str, set[str]]"
"""The values that settings and parameters can have, as text; empty for numbers from a range."""


def _never(space: Space) -> Iterator[str]:
    """Yield the entries that never apply: no component has them, or their `when` cannot come true."""
    possible: Possible = {}
    given = {**DEFAULTS, **space.baseline}
    for place, entry in enumerate(space.entries, start=1):
        later = {name for other in space.entries[place:] for name in (other.name, *other.sets)}
        problems = list(_condition_problems(entry, possible, given, later - {*possible}))
        yield from problems
        if not problems and not any(_has_effect(name, entry, possible, given) for name in entry.sets):
            yield f"space.{entry.name}: {_no_effect(entry, possible, given)}"
        for key in entry.sets:
            drawn = {as_text(settings[key]) for settings in entry.means.values() if key in settings}
            fixed = entry.when or not all(key in settings for settings in entry.means.values())
            possible[key] = drawn | ({as_text(given[key])} if fixed and key in given else set())
        if isinstance(entry.values, Choices):
            possible[entry.name] = {*entry.values.names}
        if isinstance(entry, Layers):
            possible[entry.depth] = entry.depths


def _condition_problems(
    entry: SpaceEntry, possible: Possible, given: Mapping[str, Any], later: set[str]
) -> Iterator[str]:
    """Yield what is wrong with an entry's `when`."""
    where = f"space.{entry.name}.when"
    for key, allowed in entry.when.items():
        values = possible.get(key, {as_text(given[key])} if key in given else set())
        unknown = [value for value in allowed if key in COMPONENTS and value not in plugins.registries()[key]]
        if key in {entry.name, *entry.sets}:
            yield f"{where}: {key} cannot depend on itself"
        elif key in later:
            yield (
                f"{where}: {key} is drawn after {entry.name}: components come first, then readout, hidden, "
                "channels, activation and linked settings, then the others as they stand; reverse the "
                "condition or link the two"
            )
        elif key not in possible and key not in given:
            yield f"{where}.{key}: unknown; {did_you_mean(key, {*possible, *given})}"
        elif not allowed:
            yield f"{where}: {key} = [] can never be true; allowed: {', '.join(sorted(values))}"
        elif not values:
            yield f"{where}: {key} is a number from a range; a condition needs one that is drawn from a list"
        elif unknown:
            names = [component.name for component in plugins.registries()[key]]
            yield f"{where}: unknown {key} {quoted(unknown[0])}; {did_you_mean(unknown[0], names)}"
        elif not values & set(allowed):
            yield f"{where}: {key} is never {' or '.join(allowed)}; it is {', '.join(sorted(values))}"


def _has_effect(name: str, entry: SpaceEntry, possible: Possible, given: Mapping[str, Any]) -> bool:
    """Tell whether a setting of an entry has an effect with any components, given the entry's `when`."""
    without = possible.get("hidden", {as_text(given.get("hidden"))}) == {"[]"}
    networks = possible.get("architecture", {str(given["architecture"])})
    if name in OF_LAYERS and without and networks == {"mlp"}:
        return False
    if name == "hidden" and all(_without_hidden(network, possible, given) for network in networks):
        return False
    registries = plugins.registries()
    for axis in COMPONENTS:
        components = possible.get(axis, {str(given[axis])})
        for component in components & {*entry.when.get(axis, components)}:
            if name in getattr(registries[axis][component], "settings", {}):
                return True
    return name in CORE


def _without_hidden(network: str, possible: Possible, given: Mapping[str, Any]) -> bool:
    """Tell whether an architecture has hidden layers with none of the readouts that it may have."""
    architecture = architectures[network]
    own = architecture.settings.get("readout")
    readouts = possible.get("readout", {str(given.get("readout", own.default if own else ""))})
    return all(
        "hidden" in architecture.without_effect({"hidden": [1], "readout": readout}) for readout in readouts
    )


def _no_effect(entry: SpaceEntry, possible: Possible, given: Mapping[str, Any]) -> str:
    """Explain why an entry has no effect."""
    having = [
        f"{axis} {registered.name!r}"
        for axis in COMPONENTS
        for registered in plugins.registries()[axis]
        if entry.sets & {*getattr(registered.component, "settings", {})}
    ]
    networks = possible.get("architecture", {str(given["architecture"])})
    if entry.sets & OF_LAYERS and networks == {"mlp"}:
        return "a network without hidden layers (hidden = []) has none"
    where = " where its `when` is true" if entry.when else ""
    return f"nothing in this search has it{where}; {', '.join(having)} would"
