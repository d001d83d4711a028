"""[contrasts]: the comparisons of a study, declared before it runs, so that the family to correct is known.

A contrast is of two arms, or of two levels of an axis averaged over the other axes. A study without
contrasts gets those of its design: in a grid each level of each axis against the baseline's, in the
one-factor design each arm against the baseline, in a ladder each step against the one before. Data sets are
never pooled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import did_you_mean
from harness.settings import DEFAULTS
from harness.settings.schema import FIXED_SEED
from harness.text import as_text

MARGIN = 0.002
"""Difference in accuracy, as a share, within which two arms are called the same by default."""


class Levels(BaseModel):
    """Contrasts of an axis's levels with one of them, for each combination of the axes in `within` apart."""

    model_config = ConfigDict(extra="forbid", strict=True)

    axis: str
    reference: Any = None
    within: list[str] = []


class Contrasts(BaseModel):
    """The [contrasts] table.

    `margin` is the difference within which two arms are called the same, as a share; `alpha` the error rate
    of the whole family. `pairs` are names of an arm and its reference. `declared` is False if the design
    chose the family. `looks` are numbers of seeds at which the study is looked at, to stop once every
    contrast is decided; none: it is judged once. `spending` says how alpha is spent over them
    (`harness.stats.group_sequential`). `changed_after`, of a results folder: how many trials had been trained
    when the family was declared anew; `target_after`: when the target was given, or changed, to which times
    are compared.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    metric: Literal["test_accuracy", "val_accuracy"] = "test_accuracy"
    margin: Annotated[float, Field(gt=0, lt=1)] = MARGIN
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    declared: bool = True
    changed_after: Annotated[int, Field(ge=0)] = 0
    target_after: Annotated[int, Field(ge=0)] = 0
    looks: list[int] = []
    spending: Literal["obrien-fleming", "pocock"] = "obrien-fleming"
    pairs: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    levels: list[Levels] = []

    def table(self) -> dict[str, Any]:
        """Return the table as study.toml has it."""
        unsaid = set() if self.target_after else {"target_after"}
        unsaid |= set() if self.looks else {"looks", "spending"}
        return self.model_dump(exclude_none=True, exclude=unsaid)


def problems_of_looks(contrasts: Contrasts, seeds: Sequence[int]) -> Iterator[str]:
    """Yield what is wrong with the looks at a study that has these seeds."""
    from harness.stats import group_sequential  # with SciPy, which other studies need not wait for

    looks = contrasts.looks
    if wrong := group_sequential.problem(looks):
        yield f"contrasts.looks = {looks}: {wrong}"
    elif looks[-1] != len(seeds):
        yield (
            f"contrasts.looks = {looks}: the last look is at {looks[-1]} seeds, the study has {len(seeds)}; "
            f"give it seeds = {looks[-1]}, or end the looks at {len(seeds)}"
        )


def problems_of_search(contrasts: Contrasts, phase: str) -> Iterator[str]:
    """Yield the contrasts that a search cannot have: it compares the winner with the baseline, on test."""
    if phase != "confirmed" and (contrasts.pairs or contrasts.levels):
        yield "[contrasts]: a search compares its winner with [baseline]; take pairs and levels out"
    if contrasts.metric == "val_accuracy":
        yield (
            "contrasts.metric = 'val_accuracy': the winner is chosen by val, which cannot judge it; allowed: "
            "test_accuracy"
        )


def resolve(
    contrasts: Contrasts, design: str, axes: Mapping[str, Sequence[Any]], baseline: Mapping[str, Any]
) -> Contrasts:
    """Fill in the references, and the default contrasts of a grid that declares none.

    The default pairs of the other designs need the arms (`default_pairs`).
    """
    declared = bool(contrasts.pairs or contrasts.levels) and contrasts.declared
    levels = contrasts.levels if declared else []
    if not declared and design == "grid":
        apart = {"dataset", FIXED_SEED}
        levels = [Levels(axis=axis) for axis, values in axes.items() if axis not in apart and len(values) > 1]
    filled = [
        level.model_copy(update={"reference": _reference(level, axes.get(level.axis, []), baseline)})
        for level in levels
    ]
    pairs = contrasts.pairs if declared else []
    return contrasts.model_copy(update={"declared": declared, "levels": filled, "pairs": pairs})


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
    """Return the level that an axis's others are compared with by default: the baseline's, else the first."""
    usual = as_text(baseline.get(axis, DEFAULTS.get(axis)))
    return usual if usual in levels else next(iter(levels), "")


def level_name(value: object) -> str:
    """Return a value of an axis as trials.csv writes it; linked settings by their name."""
    return str(value["name"]) if isinstance(value, Mapping) else as_text(value)


def default_pairs(design: str, arms: Sequence[str]) -> list[list[str]]:
    """Return arm and reference of each contrast of the trained `arms`, in a ladder or one-factor design."""
    if design == "ladder":
        return [list(pair) for pair in zip(arms[1:], arms[:-1], strict=True)]
    return [[arm, arms[0]] for arm in arms[1:]] if design == "one-factor" else []


def problems(contrasts: Contrasts, design: str, axes: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Yield what is wrong with the declared levels; pairs are checked when arms are known."""
    for i, level in enumerate(contrasts.levels if contrasts.declared else []):
        where = f"contrasts.levels[{i}]"
        if design != "grid":
            yield f"{where}: only for design = 'grid', this study's is {design!r}; use contrasts.pairs"
        for name in [level.axis, *level.within]:
            if name == "dataset":
                yield f"{where}: each data set is judged by itself; leave 'dataset' out"
            elif name == FIXED_SEED:
                yield f"{where}: arms that differ in a fixed seed are no contrast; leave {name!r} out"
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


def pair_problems(contrasts: Contrasts, arms: Sequence[str], same: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the declared pairs, now that arms are known.

    `same` maps an arm that is trained under another arm's name to that name.
    """
    for i, pair in enumerate(contrasts.pairs):
        if pair[0] == pair[1]:
            yield f"contrasts.pairs[{i}]: {pair[0]!r} cannot be compared with itself"
        for name in pair:
            if name in same:
                yield f"contrasts.pairs[{i}]: {name!r} means the same as {same[name]!r}; take that name"
            elif name not in arms:
                yield f"contrasts.pairs[{i}]: no arm {name!r} in this study; {did_you_mean(name, arms)}"
