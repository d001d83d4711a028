"""[contrasts]: what a study compares, said before it runs, so that the family to correct over is known.

A contrast is of two arms, or of two levels of an axis averaged over the other axes. A study that declares
none gets its design's own: in a grid each level of each axis against the baseline's, in the one-factor design
each arm against the baseline, in a ladder each step against the one before. Data sets are never pooled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import did_you_mean
from harness.settings import DEFAULTS
from harness.text import as_text

MARGIN = 0.002


class Levels(BaseModel):
    """Each level of an axis against one of them; within each combination of the axes in `within` apart."""

    model_config = ConfigDict(extra="forbid", strict=True)

    axis: str
    reference: Any = None
    within: list[str] = []


class Contrasts(BaseModel):
    """The [contrasts] table.

    `margin` is what two arms may differ by and still be called the same, as a share; `alpha` the error rate
    of the whole family. `declared` is False where the design chose the family. `changed_after`, of a results
    folder: how many trials had been trained when the family was declared anew.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    metric: Literal["test_accuracy", "val_accuracy"] = "test_accuracy"
    margin: Annotated[float, Field(gt=0, lt=1)] = MARGIN
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    declared: bool = True
    changed_after: Annotated[int, Field(ge=0)] = 0
    pairs: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    levels: list[Levels] = []

    def table(self) -> dict[str, Any]:
        """The table as study.toml has it."""
        return self.model_dump(exclude_none=True)


def problems_of_search(given: Contrasts, phase: str) -> Iterator[str]:
    """What a search cannot compare: it compares the winner with the baseline, by what did not choose."""
    if phase != "confirmed" and (given.pairs or given.levels):
        yield "[contrasts]: a search compares its winner with [baseline]; take pairs and levels out"
    if given.metric == "val_accuracy":
        yield (
            "contrasts.metric = 'val_accuracy': the winner is chosen by val, which cannot judge it; allowed: "
            "test_accuracy"
        )


def resolve(
    given: Contrasts, design: str, axes: Mapping[str, Sequence[Any]], baseline: Mapping[str, Any]
) -> Contrasts:
    """The family with what was not said filled in: references, and without any contrast the grid's own.

    The pairs of the other designs are found when arms are known (`default_pairs`).
    """
    chosen = bool(given.pairs or given.levels) and given.declared
    levels = given.levels if chosen else []
    if not chosen and design == "grid":
        levels = [Levels(axis=axis) for axis, values in axes.items() if axis != "dataset" and len(values) > 1]
    filled = [
        level.model_copy(update={"reference": _reference(level, axes.get(level.axis, []), baseline)})
        for level in levels
    ]
    return given.model_copy(
        update={"declared": chosen, "levels": filled, "pairs": given.pairs if chosen else []}
    )


def read_resolved(table: object) -> Contrasts:
    """Return the family of a study.toml, which names the reference of all levels.

    Raises:
        ValueError: the table is not valid, or lacks a reference.
    """
    family = Contrasts.model_validate(table)
    for level in family.levels:
        if level.reference is None:
            raise ValueError(f"the levels of {level.axis} have no reference")
    return family


def _reference(level: Levels, values: Sequence[Any], baseline: Mapping[str, Any]) -> str:
    if level.reference is not None:
        return as_text(level.reference)
    return reference_level(level.axis, [level_name(value) for value in values], baseline)


def reference_level(axis: str, levels: Sequence[str], baseline: Mapping[str, Any]) -> str:
    """Return the level that an axis's others are compared with by default: the baseline's, else the first.

    Args:
        axis: a setting, or the name of linked settings.
        levels: the axis's values, as trials.csv has them.
        baseline: the study's.
    """
    usual = as_text(baseline.get(axis, DEFAULTS.get(axis)))
    return usual if usual in levels else next(iter(levels), "")


def level_name(value: object) -> str:
    """A value of an axis as trials.csv writes it; linked settings go by their name."""
    return str(value["name"]) if isinstance(value, Mapping) else as_text(value)


def default_pairs(design: str, arms: Sequence[str]) -> list[list[str]]:
    """Arm and reference, in the designs that have a baseline; `arms` are those trained, in order."""
    if design == "ladder":
        return [list(pair) for pair in zip(arms[1:], arms[:-1], strict=True)]
    return [[arm, arms[0]] for arm in arms[1:]] if design == "one-factor" else []


def problems(given: Contrasts, design: str, axes: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """What is wrong with the contrasts that a study declares; pairs are checked when arms are known."""
    for i, level in enumerate(given.levels if given.declared else []):
        where = f"contrasts.levels[{i}]"
        if design != "grid":
            yield f"{where}: only for design = 'grid', this study's is {design!r}; use contrasts.pairs"
        for name in [level.axis, *level.within]:
            if name == "dataset":
                yield f"{where}: data sets are always judged apart; leave 'dataset' out"
            elif name not in axes:
                yield f"{where}: no axis {name!r} in this study; {did_you_mean(name, axes)}"
        if level.axis in level.within:
            yield f"{where}: {level.axis!r} cannot be compared within itself"
        names = [level_name(value) for value in axes.get(level.axis, [])]
        if level.reference is not None and names and as_text(level.reference) not in names:
            yield (
                f"{where}.reference = {level.reference!r} is not on the axis: "
                f"{did_you_mean(as_text(level.reference), names)} (with --set, keep it among the values)"
            )


def pair_problems(given: Contrasts, arms: Sequence[str], same: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the declared pairs, now that arms are known.

    Args:
        given: the family.
        arms: those that are trained, by name.
        same: names of arms that are trained under another arm's name.
    """
    for i, pair in enumerate(given.pairs):
        if pair[0] == pair[1]:
            yield f"contrasts.pairs[{i}]: {pair[0]!r} cannot be compared with itself"
        for name in pair:
            if name in same:
                yield f"contrasts.pairs[{i}]: {name!r} means the same as {same[name]!r}; take that name"
            elif name not in arms:
                yield f"contrasts.pairs[{i}]: no arm {name!r} in this study; {did_you_mean(name, arms)}"
