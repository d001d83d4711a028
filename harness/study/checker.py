"""Checker: checks each setting of a study file against its limits and the components there are."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from harness.axes import plugins
from harness.axes.architectures import architectures
from harness.axes.augmentations import augmentations
from harness.axes.losses import losses
from harness.axes.optimizers import optimizers
from harness.axes.schedules import schedules
from harness.errors import UsageError, did_you_mean, quoted
from harness.settings import CONTROL_WORDS, CORE, NON_SETTING_KEYS, Setting, Value, control_character
from harness.settings.schema import TAKEN
from harness.study import tuning_space

GivenSettings: TypeAlias = "dict[str, Value]"
"""Settings as a study file gives them, checked; `trials.resolve` makes an arm's settings of them."""
SEED_HINT = (
    "no setting; `seeds` in [study] gives trials their seeds, start_seed, order_seed and so on fix one "
    "source of randomness for all trials, and seed.start = 8 under [axes] varies one alone"
)


def known_settings() -> dict[str, Setting]:
    """List every setting there is: the harness's own, then those that components declare."""
    known = dict(CORE)
    for registry in (architectures, losses, optimizers, schedules, augmentations):
        for entry in registry:
            for name, setting in entry.component.settings.items():
                if known.get(name, setting).default is None or name not in known:
                    known[name] = setting
    return known


def allowed(name: str, value: object, known: Mapping[str, Setting] = CORE) -> Value:
    """Check the value of one setting that a person gives in Python; return it in canonical form.

    Raises:
        UsageError: it is not allowed; says what is.
    """
    try:
        return known[name].check(value)
    except ValueError as error:
        raise UsageError(f"{name} = {value!r}: allowed: {error}") from error


def _json(value: object) -> str:
    """Write a value nearly as TOML does."""
    return quoted(value, functools.partial(json.dumps, default=str))


@dataclass
class Checker:
    """Checks tables against the settings there are; what is wrong is added to `problems`.

    `datasets` are the names of the study's own data sets.
    """

    known: Mapping[str, Setting]
    problems: list[str]
    datasets: Collection[str] = ()
    spaces: dict[str, tuning_space.TuningSpace] = field(default_factory=dict)

    def table(self, where: str, table: object) -> GivenSettings:
        """Check a table of settings; return it in canonical form."""
        if not isinstance(table, Mapping):
            self.problems.append(f"{where} = {quoted(table)}: allowed: a table of settings")
            return {}
        return {key: self.value(f"{where}.{key}", key, value) for key, value in table.items()}

    def value(self, where: str, key: str, value: object) -> Value:
        """Check a setting's value; return it in canonical form, "" where it is wrong."""
        if key not in self.known:
            self.problems.append(f"{where}: {self._unknown(key)}")
            return ""
        try:
            checked = self.known[key].check(value)
        except ValueError as error:
            self.problems.append(f"{where} = {_json(value)}: allowed: {error}")
            return ""
        names = self._names(key)
        if names and checked not in names:
            self.problems.append(
                f"{where} = {_json(value)}: unknown {key}; {did_you_mean(str(value), names)}"
            )
        return checked

    def _unknown(self, key: str) -> str:
        """Say what is to be set instead of a setting that there is not."""
        return SEED_HINT if key == "seed" else f"unknown setting; {did_you_mean(key, self.known)}"

    def _names(self, key: str) -> list[str]:
        """List the components that a setting may name; none where it names no component."""
        registry = plugins.registries().get(key, ())
        return [*(entry.name for entry in registry), *(self.datasets if key == "dataset" else ())]

    def axis(self, axis: str, values: object) -> list[Any]:
        """Check the values of an axis: a setting's, or linked settings under names."""
        if not isinstance(values, list):
            self.problems.append(f"axes.{axis} = {quoted(values)}: allowed: a list of values")
            return []
        if not values:
            self.problems.append(f"axes.{axis} = []: an axis needs at least one value, or take it out")
        self.name("an axis", axis)
        if any(isinstance(value, Mapping) for value in values):
            if axis in {*self.known, *TAKEN}:
                taken = "setting" if axis in self.known else "column of the results"
                self.problems.append(f"axes.{axis}: linked settings need a name that is not a {taken}'s own")
            return list(self.named(f"axes.{axis}", values))
        if axis not in self.known:
            self.problems.append(f"axes.{axis}: {self._unknown(axis)}")
            return []
        before = len(self.problems)
        checked = [self.value(f"axes.{axis}", axis, value) for value in values]
        if len(self.problems) == before and len({json.dumps(value) for value in checked}) < len(checked):
            self.problems.append(f"axes.{axis}: a value is listed twice")
        return checked

    def named(self, where: str, tables: object) -> list[Mapping[str, Any]]:
        """Check linked settings or a ladder's steps: tables with a name."""
        checked: list[Mapping[str, Any]] = []
        for i, table in enumerate(tables if isinstance(tables, list) else [tables]):
            name = table.get("name") if isinstance(table, Mapping) else None
            if not isinstance(table, Mapping) or not isinstance(name, str) or not name.strip():
                self.problems.append(
                    f"{where}[{i}] = {quoted(table)}: allowed: a table with a name and settings"
                )
                continue
            self.name(f"{where}[{i}].name", name)
            settings = {key: value for key, value in table.items() if key not in NON_SETTING_KEYS}
            if name in {other["name"] for other in checked}:
                self.problems.append(f"{where}[{i}]: the name {name!r} is there twice")
            checked.append({"name": name, **self.table(f"{where}[{i}]", settings)})
            if "tune" in table:
                self.space(tuning_space.place(where.removeprefix("axes."), name), table["tune"])
                checked[-1] = {**checked[-1], "tune": table["tune"]}
        return checked

    def name(self, where: str, name: str) -> None:
        """Check a name that becomes a cell of CSVs and a word on the screen."""
        if control_character(name):
            self.problems.append(f"{where} = {json.dumps(name)}: allowed: a name without {CONTROL_WORDS}")

    def space(self, place: str, given: object) -> None:
        """Check a space of settings to tune, and keep it in `spaces` under its place."""
        self.spaces[place] = tuning_space.read(place, given, self.known, self.value, self.problems)
