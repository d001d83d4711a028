"""[tune]: the settings that every arm may tune, from which values, and how many it may try.

Every arm gets the same number of tries, each with the same tuning seeds, and is chosen by val accuracy alone
(Choi et al. 2019; Bouthillier et al. 2021). An arm may have a space of its own: linked settings may hold a
table `tune`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    field_validator,
    model_validator,
)

from harness import limits
from harness.errors import quoted
from harness.settings import Seed, Setting, Value, listed_seeds, no_seed_twice
from harness.text import as_text

FIRST_SEED = 1000
"""Where tuning seeds begin that are given as a count: apart from a study's own 0, 1, 2 .."""
FIXED = (
    "dataset", "val_fraction", "val_split", "split_seed", "label_noise", "label_noise_seed", "match",
    "epochs", "steps", "eval_every",
)  # fmt: skip
"""Settings that no arm tunes: the data, and how long and how it is looked at, are the same for all."""
ALL = "tune.space"
"""The place of the space that all arms have."""
DIGITS = 4  # of a value tried: as a person would write it


class Range(BaseModel):
    """Numbers from `low` to `high`, evenly, or with `log` evenly in their logarithms."""

    model_config = ConfigDict(extra="forbid", strict=True)

    low: FiniteFloat
    high: FiniteFloat
    log: bool = False

    @model_validator(mode="after")
    def _right_way_round(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low:g} must lie below high = {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low:g}: with log = true it must be above 0")
        return self

    def at(self, share: float) -> float:
        """The value at a share of the way, 0..1."""
        if self.log:
            value = math.exp(math.log(self.low) + share * math.log(self.high / self.low))
        else:
            value = self.low + share * (self.high - self.low)
        return float(f"{value:.{DIGITS}g}")


Space: TypeAlias = "dict[str, list[Any] | Range]"


class Tune(BaseModel):
    """The [tune] table. `budget` is how many settings an arm tries; a space of lists tries all of them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    seeds: Annotated[list[Seed], Field(min_length=1)] = [FIRST_SEED, FIRST_SEED + 1]
    budget: Annotated[int, Field(ge=2), limits.at_most(limits.BUDGET, "settings of one arm")] | None = None
    space: dict[str, Any] = {}

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: object) -> object:
        return listed_seeds(value, "tuning", FIRST_SEED)

    @field_validator("seeds")
    @classmethod
    def _no_seed_twice(cls, value: list[int]) -> list[int]:
        return no_seed_twice(value)


def check(where: str, given: object, known: Mapping[str, Setting]) -> tuple[Space, list[str]]:
    """A space as a study file has it, validated, and what is wrong with it."""
    if not isinstance(given, Mapping):
        return {}, [f"{where} = {quoted(given)}: allowed: a table of settings, each a list or low and high"]
    space: Space = {}
    told: list[str] = []
    for name, values in given.items():
        if name in FIXED or name not in known:
            why = "the same for all arms" if name in FIXED else "no setting"
            told.append(f"{where}.{name}: cannot be tuned: it is {why}")
        elif isinstance(values, Mapping):
            _range(f"{where}.{name}", values, known[name], space, told)
        elif isinstance(values, list) and len(values) > 1:
            _list(f"{where}.{name}", values, known[name], space, told)
        else:
            told.append(
                f"{where}.{name} = {quoted(values)}: allowed: a list of at least two values, or "
                "{ low = .., high = .., log = true }"
            )
    return space, told


def _range(where: str, given: Mapping[str, Any], setting: Setting, space: Space, told: list[str]) -> None:
    try:
        found = Range.model_validate(given)
        for end in (found.low, found.high):
            setting.check(end)
    except ValidationError as error:
        told += [f"{where}: {problem['msg'].removeprefix('Value error, ')}" for problem in error.errors()]
    except ValueError as error:
        told.append(f"{where} = {quoted(dict(given))}: allowed: {error}")
    else:
        space[setting.name] = found


def _list(where: str, given: Sequence[Any], setting: Setting, space: Space, told: list[str]) -> None:
    values = []
    for value in given:
        try:
            values.append(setting.check(value))
        except ValueError as error:
            told.append(f"{where} = {quoted(value)}: allowed: {error}")
    if len({as_text(value) for value in values}) < len(values):
        told.append(f"{where}: a value is listed twice")
    space[setting.name] = values


def place(axis: str, name: str) -> str:
    """Where a linked value's own space stands; a step's axis is "steps"."""
    return f"{axis}.{name}.tune"


def problems(
    tune: Tune,
    found: Mapping[str, Space],
    seeds: Sequence[int],
    baseline: Mapping[str, Any],
    axes: Mapping[str, Sequence[Any]],
) -> Iterator[str]:
    """What is wrong with what arms may tune, beside each value by itself.

    Args:
        tune: the [tune] table.
        found: each space by its place.
        seeds: the study's.
        baseline: the study's.
        axes: the study's.
    """
    both = sorted(set(tune.seeds) & set(seeds))
    if both:
        yield (
            f"tune.seeds: {both} are seeds of the study too; a choice is judged with fresh seeds, so list "
            "others, or give a count"
        )
    if baseline.get("val_fraction") == 0 or 0 in axes.get("val_fraction", []):
        yield "tune: val_fraction = 0 leaves no validation split to choose by"
    shared = found.get(ALL, {})
    wholes = {name: {**shared, **space} for name, space in found.items()}
    # Only linked values may leave the learning rate to spaces of their own.
    own = any("lr" in space for name, space in found.items() if name != ALL)
    for name, whole in wholes.items():
        if "lr" not in whole and not (name == ALL and own):
            yield f"{name}: lr is missing; every arm tunes the learning rate at least"
        for key in sorted(set(whole) & set(axes)):
            yield f"{name}.{key}: {key} is an axis of this study; tune it or vary it"
        if whole and size(whole) is None and tune.budget is None:
            yield "tune.budget: missing; how many settings may each arm try?"
        elif whole and size(whole) not in {None, tune.budget, *([size(whole)] if not tune.budget else [])}:
            yield f"{name} lists {size(whole)} settings, tune.budget is {tune.budget}: all arms try as many"
    sizes = {size(whole) or tune.budget for whole in wholes.values() if whole}
    if len(sizes) > 1 and tune.budget is None:
        told = " or ".join(str(count) for count in sorted(filter(None, sizes)))
        yield f"tune: an arm would try {told} settings; every arm gets the same budget"


def size(space: Space) -> int | None:
    """How many settings a space of lists holds; None where a range is among them."""
    if any(isinstance(values, Range) for values in space.values()):
        return None
    return math.prod(len(values) for values in space.values() if isinstance(values, list))


def points(space: Space, budget: int) -> list[dict[str, Value]]:
    """The settings that an arm tries: a grid of lists whole, one range evenly, both ends among them.

    Several settings with a range among them are tried at points of a scrambled Halton sequence, the same for
    all arms of one space (Bousquet et al. 2017, "Critical hyper-parameters: no random, no cry").

    >>> points({"lr": Range(low=0.01, high=1.0, log=True)}, 3)
    [{'lr': 0.01}, {'lr': 0.1}, {'lr': 1.0}]
    """
    if size(space) is not None:
        product = itertools.product(*space.values())
        return [dict(zip(space, values, strict=True)) for values in product]
    if len(space) == 1:
        ((name, values),) = space.items()
        return [{name: values.at(i / (budget - 1))} for i in range(budget)]  # type: ignore[union-attr]
    from scipy.stats import qmc

    shares = qmc.Halton(len(space), rng=0).random(budget)
    return [dict(_point(space, row)) for row in shares.tolist()]


def _point(space: Space, shares: Sequence[float]) -> Iterator[tuple[str, Value]]:
    for (name, values), share in zip(space.items(), shares, strict=True):
        yield name, values.at(share) if isinstance(values, Range) else values[int(share * len(values))]


def words(point: Mapping[str, Value]) -> str:
    """A point in words: "lr=0.1"."""
    return ", ".join(f"{name}={as_text(value)}" for name, value in point.items())
