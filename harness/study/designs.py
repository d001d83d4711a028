"""Designs: the combinations of settings that a grid, a one-factor study or a ladder means."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.settings import NON_SETTING_KEYS
from harness.settings.schema import FIXED_SEED
from harness.study.checker import GivenSettings
from harness.study.seed_axes import NONE
from harness.text import as_text

Design = Literal["grid", "one-factor", "ladder", "search"]


@dataclass(frozen=True)
class Combination:
    """An arm as its design gives it: a name, settings, and (axis, name) of each linked value or step."""

    name: str
    settings: GivenSettings
    linked: Sequence[tuple[str, str]] = ()


def combinations(
    design: Design,
    baseline: GivenSettings,
    axes: Mapping[str, Sequence[Any]],
    steps: Sequence[Mapping[str, Any]],
) -> Iterator[Combination]:
    """Give the arms of a design, in its order, duplicates included; of a search, its baseline alone."""
    if design == "ladder":
        yield from _ladder(baseline, steps)
    elif design == "one-factor":
        yield Combination("baseline", dict(baseline))
        for axis, values in axes.items():
            for value in values:
                yield _combine(baseline, [(axis, value)])
    else:
        choices = [[(axis, value) for value in values] for axis, values in axes.items()]
        for combination in itertools.product(*choices):
            yield _combine(baseline, combination)


def _ladder(baseline: GivenSettings, steps: Sequence[Mapping[str, Any]]) -> Iterator[Combination]:
    yield Combination("baseline", dict(baseline))
    settings, names = dict(baseline), []
    for step in steps:
        settings |= _settings(step)
        names.append(("steps", str(step["name"])))
        yield Combination(step["name"], dict(settings), list(names))


def _combine(baseline: GivenSettings, values: Sequence[tuple[str, Any]]) -> Combination:
    settings, names, linked = dict(baseline), [], []
    for axis, value in values:
        if isinstance(value, Mapping):
            settings |= _settings(value)
            linked.append((axis, str(value["name"])))
            if (axis, value["name"]) != (FIXED_SEED, NONE):
                names.append(value["name"])
        else:
            settings[axis] = value
            names.append(f"{axis}={as_text(value)}")
    return Combination(", ".join(names) or "baseline", settings, linked)


def _settings(table: Mapping[str, Any]) -> GivenSettings:
    """Give the settings of a linked value or a step, without its name and its space to tune."""
    return {key: value for key, value in table.items() if key not in NON_SETTING_KEYS}
