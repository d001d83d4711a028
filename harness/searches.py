"""[search]: what a search looks for, who suggests, who stops early, and where its suggestions are kept."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

from harness import limits
from harness.errors import did_you_mean
from harness.settings import Seed, listed_seeds, no_seed_twice
from harness.urls import HIDDEN, shown

Sampler = Literal["random", "qmc", "tpe", "cmaes", "gp", "nsga2"]
Direction = Literal["maximize", "minimize"]
FIRST_SUGGESTION_SEED = 2000
"""Where the seeds of suggestions begin that are given as a count: apart from those that confirm and tune."""
DIRECTIONS: Mapping[str, Direction] = {
    "val_accuracy": "maximize", "val_top3": "maximize", "val_true_probability": "maximize",
    "val_loss": "minimize", "val_nll": "minimize", "val_brier": "minimize",
    "parameters": "minimize", "training_flops": "minimize",
}  # fmt: skip
"""What is sought of the harness's own objectives."""
COSTS = ("parameters", "training_flops")
"""Objectives that are known of the settings, without validation."""
COLUMNS = ("number", "arm", "batch", "state", "reason", "evaluations", "seconds")
"""What suggestions.csv says of a suggestion, beside its objectives and parameters."""
IN_MEMORY = re.compile(r"sqlite[^:]*://(/?$|/:memory:|.*mode=memory)")
"""Storages that would keep nothing."""
SEVERAL_OBJECTIVES: tuple[Sampler, ...] = ("random", "qmc", "tpe", "gp", "nsga2")
"""The samplers that can look for more than one thing at once."""


Evaluations = limits.at_most(limits.EVALUATIONS, "no suggestion gets more evaluations")


class Pruning(BaseModel):
    """Who stops suggestions early, and when; evaluations are epochs, if `eval_every` is one epoch.

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
    """The [search] table. `suggestions` are asked for in batches, whose members train together."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sampler: Sampler = "tpe"
    pruner: Pruning = Pruning()
    suggestions: Annotated[
        int, Field(ge=1), limits.at_most(limits.SUGGESTIONS, "its storage and sampler hold all of them")
    ] = 100
    batch: Annotated[
        int, Field(ge=1), limits.at_most(limits.TOGETHER, "all are asked for before one is trained")
    ] = 32
    seeds: Annotated[list[Seed], Field(min_length=1)] = [FIRST_SUGGESTION_SEED]
    objective: Annotated[list[str], Field(min_length=1, max_length=2)] = ["val_accuracy"]
    direction: list[Direction] = []
    diverged: Literal["fail"] | FiniteFloat = "fail"
    seed: Seed = 0
    storage: str = "sqlite"

    @field_validator("pruner", mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("objective", "direction", mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("pruner", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
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

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: object) -> object:
        return listed_seeds(value, "a suggestion", FIRST_SUGGESTION_SEED)

    @field_validator("seeds")
    @classmethod
    def _no_seed_twice(cls, value: list[int]) -> list[int]:
        return no_seed_twice(value)

    @property
    def directions(self) -> list[Direction]:
        """Whether each objective is to be as high or as low as possible; known once `problems` has none."""
        return self.direction or [DIRECTIONS.get(name, "maximize") for name in self.objective]


def problems(search: Search, seeds: Sequence[int], tracked: Sequence[str]) -> Iterator[str]:
    """What is wrong with a search, beside each value by itself.

    Args:
        search: the [search] table.
        seeds: the study's, which confirm.
        tracked: the metrics that the study tracks.
    """
    known = ["val_accuracy", "val_loss", *(f"val_{name}" for name in tracked), *COSTS]
    for name in search.objective:
        if name.startswith("test_"):
            yield f"search.objective = {name!r}: nothing is chosen by test; allowed: val_{name[5:]}"
        elif name not in known:
            hint = " (a metric must be in study.metrics)" if name.startswith("val_") else ""
            yield f"search.objective: unknown {name!r}; {did_you_mean(name, known)}{hint}"
        elif name not in DIRECTIONS and not search.direction:
            yield f"search.direction: missing; is {name} to be maximized or minimized?"
    if all(name in COSTS for name in search.objective):
        yield f"search.objective = {search.objective}: nothing in it says how well a network does"
    if len(set(search.objective)) < len(search.objective):
        yield f"search.objective = {search.objective}: an objective is listed twice"
    for name, way in zip(search.objective, search.direction, strict=False):
        if DIRECTIONS.get(name, way) != way:
            yield f"search.direction = {way!r}: allowed for {name}: {DIRECTIONS[name]}; or take it out"
    if search.direction and len(search.direction) != len(search.objective):
        yield f"search.direction = {search.direction}: allowed: one for each of {search.objective}"
    if len(search.objective) > 1 and search.sampler not in SEVERAL_OBJECTIVES:
        told = ", ".join(SEVERAL_OBJECTIVES)
        yield f"search.sampler = {search.sampler!r} looks for one objective; allowed for two: {told}"
    if len(search.objective) > 1 and search.pruner.name != "none":
        yield f"search.pruner = {search.pruner.name!r}: allowed with two objectives: none"
    if len(search.objective) > 1 and search.diverged != "fail":
        yield "search.diverged: with two objectives a diverged suggestion has failed; allowed: 'fail'"
    yield from _worst(search)
    if search.sampler == "nsga2" and len(search.objective) == 1:
        yield "search.sampler = 'nsga2' needs two objectives, such as ['val_accuracy', 'parameters']"
    both = sorted(set(search.seeds) & set(seeds))
    if both:
        yield f"search.seeds: {both} are seeds of the study too; what is found is confirmed with fresh seeds"


def _worst(search: Search) -> Iterator[str]:
    """A declared worst value that is none: accuracies and the like end at 1, losses at 0."""
    if search.diverged == "fail" or len(search.objective) > 1 or search.objective[0] not in DIRECTIONS:
        return
    highest = DIRECTIONS[search.objective[0]] == "maximize"
    if search.diverged >= 1 if highest else search.diverged <= 0:
        yield (
            f"search.diverged = {search.diverged:g}: nothing has a better {search.objective[0]}; allowed: "
            "'fail', or a value as bad as it gets"
        )


def table(search: Search) -> dict[str, Any]:
    """The table as study.toml has it, everything resolved; a storage's password is not written down."""
    return search.model_dump() | {"direction": search.directions, "storage": shown(search.storage)}
