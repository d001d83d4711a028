"""[search]: the objectives, the sampler and the pruner of a search, and the layout of suggestions.csv."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

from harness.errors import did_you_mean
from harness.settings import Seed, Seeds, limits, one_or_list, seeds_or_count
from harness.system.database_urls import HIDDEN, shown

Sampler = Literal["random", "qmc", "tpe", "cmaes", "gp", "nsga2"]
Direction = Literal["maximize", "minimize"]
FIRST_SUGGESTION_SEED = 2000
"""The first of the suggestions' seeds that are given as a count: apart from those that confirm and tune."""
DIRECTIONS: Mapping[str, Direction] = {
    "val_accuracy": "maximize", "val_top3": "maximize", "val_true_probability": "maximize",
    "val_loss": "minimize", "val_nll": "minimize", "val_brier": "minimize",
    "parameters": "minimize", "training_flops": "minimize", "flops": "minimize", "latency": "minimize",
}  # fmt: skip
"""The direction of each of the harness's own objectives."""
COSTS = ("parameters", "training_flops", "flops", "latency")
"""Objectives that settings decide, without validation: `flops` of a forward pass of one image, `latency` in
microseconds of one image. Each may have an upper bound in [search.constraints]."""
SUGGESTIONS = "suggestions.csv"
"""A row a suggestion, in the results folder of a search."""
COLUMNS = ("number", "arm", "batch", "state", "reason", "evaluations", "seconds")
"""Columns of suggestions.csv before its objectives and parameters, in order."""
REFUSED = "refused"
"""Column of suggestions.csv: points before a suggestion that break a constraint, and were not trained."""
STATES = ("complete", "pruned", "failed")
"""Outcomes of a suggestion."""
OPTIONAL = ("constraints",)
"""Keys that study.toml has only where they are given."""
IN_MEMORY = re.compile(r"sqlite[^:]*://(/?$|/:memory:|.*mode=memory)")
"""URLs of storages that keep nothing."""
SEVERAL_OBJECTIVES: tuple[Sampler, ...] = ("random", "qmc", "tpe", "gp", "nsga2")
"""Samplers that can optimize more than one objective."""

Evaluations = limits.at_most(limits.EVALUATIONS, "no suggestion gets more evaluations")


@dataclass(frozen=True)
class Objective:
    """A number that a search maximizes or minimizes. `name` is its column in suggestions.csv."""

    name: str
    maximize: bool

    @property
    def is_accuracy(self) -> bool:
        """True if it is shown in % and in points."""
        return self.name.endswith("accuracy")

    @property
    def is_val(self) -> bool:
        """True if it is measured on validation; else it is a cost."""
        return self.name.startswith("val_")


class Pruning(BaseModel):
    """The pruner, which stops suggestions early. Evaluations are epochs if `eval_every` is one epoch.

    `halving` and `hyperband` keep the best of `reduction` at each rung, the first at evaluation `first`, the
    next ones `reduction` times later each. The others never prune the first `startup` suggestions, nor any
    in its first `warmup` evaluations; `percentile` keeps so many percent, `patient` waits `patience`
    evaluations.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Literal["none", "median", "percentile", "patient", "halving", "hyperband"] = "none"
    reduction: Annotated[int, Field(ge=2), Evaluations] = 3
    first: Annotated[int, Field(ge=1), Evaluations] = 1
    percentile: Annotated[FiniteFloat, Field(gt=0, lt=100)] = 25.0
    startup: Annotated[int, Field(ge=0), limits.at_most(limits.SUGGESTIONS, "suggestions of a search")] = 10
    warmup: Annotated[int, Field(ge=0), Evaluations] = 1
    patience: Annotated[int, Field(ge=1), Evaluations] = 2


class Search(BaseModel):
    """The [search] table. A sampler draws `suggestions` in batches, whose members train together."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sampler: Sampler = "tpe"
    pruner: Pruning = Pruning()
    suggestions: Annotated[
        int, Field(ge=1), limits.at_most(limits.SUGGESTIONS, "its storage and sampler hold all of them")
    ] = 100
    batch: Annotated[
        int, Field(ge=1), limits.at_most(limits.TOGETHER, "all are asked for before one is trained")
    ] = 32
    seeds: Annotated[Seeds, seeds_or_count("a suggestion", FIRST_SUGGESTION_SEED)] = [FIRST_SUGGESTION_SEED]
    objective: Annotated[list[str], Field(min_length=1, max_length=2), one_or_list] = ["val_accuracy"]
    direction: Annotated[list[Direction], one_or_list] = []
    diverged: Literal["fail"] | FiniteFloat = "fail"
    seed: Seed = 0
    storage: str = "sqlite"
    constraints: dict[str, float] = {}

    @field_validator("pruner", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and "name" not in value:
            raise ValueError("a name, or a table with a name, such as { name = 'hyperband', reduction = 3 }")
        return value

    @field_validator("objective", mode="before")
    @classmethod
    def _one_or_two(cls, value: object) -> object:
        if isinstance(value, list) and not 1 <= len(value) <= 2:
            raise ValueError("one objective, or two")
        return value

    @field_validator("diverged", mode="before")
    @classmethod
    def _worst(cls, value: object) -> object:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if value != "fail" and not number:
            raise ValueError("'fail', or a number that a suggestion counts as that diverged")
        return value

    @field_validator("storage")
    @classmethod
    def _lasting(cls, value: str) -> str:
        if IN_MEMORY.match(value):
            raise ValueError("one that lasts: sqlite (a file in the results folder) or sqlite:///path/to.db")
        if "://" not in value and value not in {"sqlite", "journal", HIDDEN}:
            raise ValueError(
                "sqlite, journal, or an SQLAlchemy URL such as postgresql+psycopg://user@host/database"
            )
        return value

    @field_validator("constraints", mode="before")
    @classmethod
    def _bounds(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise ValueError("a table of upper bounds, such as { parameters = 50_000 }")  # noqa: TRY004 (pydantic's)
        for name, bound in value.items():
            if name not in COSTS:
                raise ValueError(f"upper bounds of costs; {name!r} is none: {did_you_mean(str(name), COSTS)}")
            number = isinstance(bound, int | float) and not isinstance(bound, bool)
            if not number or not 0 < bound < math.inf:
                raise ValueError(f"for {name} an upper bound above 0, not {bound!r}")
        return {str(name): float(bound) for name, bound in value.items()}

    @property
    def costs(self) -> list[str]:
        """The costs that settings decide: of objectives, and of constraints that are none."""
        objectives = [name for name in self.objective if name in COSTS]
        return [*objectives, *(name for name in self.constraints if name not in objectives)]

    @property
    def columns(self) -> list[str]:
        """The columns of suggestions.csv before the parameters, in order."""
        bounded = [name for name in self.constraints if name not in self.objective]
        return [*COLUMNS, *([REFUSED] if self.constraints else []), *self.objective, *bounded]

    @property
    def directions(self) -> list[Direction]:
        """The direction of each objective; known once `problems` has none."""
        return self.direction or [DIRECTIONS.get(name, "maximize") for name in self.objective]

    @property
    def objectives(self) -> list[Objective]:
        """The objectives, in the order in which the study file lists them."""
        pairs = zip(self.objective, self.directions, strict=True)
        return [Objective(name, direction == "maximize") for name, direction in pairs]

    @property
    def ranking(self) -> list[Objective]:
        """The objectives that decide which suggestion is the best, those on validation first."""
        return sorted(self.objectives, key=lambda objective: not objective.is_val)


def problems(search: Search, seeds: Sequence[int], tracked: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with a search, each value by itself aside; the study's `seeds` confirm it."""
    yield from _objective_problems(search, tracked)
    yield from _direction_problems(search)
    if len(search.objective) > 1:
        yield from _problems_of_several(search)
    else:
        yield from _worst_value_problems(search)
    if search.sampler == "nsga2" and len(search.objective) == 1:
        yield "search.sampler = 'nsga2' needs two objectives, such as ['val_accuracy', 'parameters']"
    both = sorted(set(search.seeds) & set(seeds))
    if both:
        yield f"search.seeds: {both} are seeds of the study too; the winner is confirmed with fresh seeds"


def _objective_problems(search: Search, tracked: Sequence[str]) -> Iterator[str]:
    known = ["val_accuracy", "val_loss", *(f"val_{name}" for name in tracked), *COSTS]
    for name in search.objective:
        if name.startswith("test_"):
            yield f"search.objective = {name!r}: test chooses nothing; allowed: val_{name[5:]}"
        elif name not in known:
            hint = " (a metric must be in study.metrics)" if name.startswith("val_") else ""
            yield f"search.objective: unknown {name!r}; {did_you_mean(name, known)}{hint}"
        elif name not in DIRECTIONS and not search.direction:
            yield f"search.direction: missing; is {name} to be maximized or minimized?"
    if all(name in COSTS for name in search.objective):
        yield f"search.objective = {search.objective}: costs alone do not say how well a network does"
    if len(set(search.objective)) < len(search.objective):
        yield f"search.objective = {search.objective}: an objective is listed twice"


def _direction_problems(search: Search) -> Iterator[str]:
    for name, direction in zip(search.objective, search.direction, strict=False):
        if DIRECTIONS.get(name, direction) != direction:
            yield f"search.direction = {direction!r}: allowed for {name}: {DIRECTIONS[name]}; or take it out"
    if search.direction and len(search.direction) != len(search.objective):
        yield f"search.direction = {search.direction}: allowed: one for each of {search.objective}"


def _problems_of_several(search: Search) -> Iterator[str]:
    """Yield what does not go with two objectives."""
    if search.sampler not in SEVERAL_OBJECTIVES:
        allowed = ", ".join(SEVERAL_OBJECTIVES)
        yield f"search.sampler = {search.sampler!r} optimizes one objective; allowed for two: {allowed}"
    if search.pruner.name != "none":
        yield f"search.pruner = {search.pruner.name!r}: allowed with two objectives: none"
    if search.diverged != "fail":
        yield "search.diverged: with two objectives a diverged suggestion fails; allowed: 'fail'"


def _worst_value_problems(search: Search) -> Iterator[str]:
    """Yield that a declared worst value is the best there is: accuracies end at 1, losses at 0."""
    if search.diverged == "fail" or search.objective[0] not in DIRECTIONS:
        return
    maximize = DIRECTIONS[search.objective[0]] == "maximize"
    if search.diverged >= 1 if maximize else search.diverged <= 0:
        yield (
            f"search.diverged = {search.diverged:g}: no suggestion has a better {search.objective[0]}; "
            "allowed: 'fail', or a value as bad as it gets"
        )


def table(search: Search) -> dict[str, Any]:
    """Return the table as study.toml has it, everything resolved, without a storage's password."""
    given = {key: value for key, value in search.model_dump().items() if key not in OPTIONAL or value}
    return given | {"direction": search.directions, "storage": shown(search.storage)}
