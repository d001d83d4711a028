"""[search]: the objectives, the sampler and the pruner of a search, and the layout of suggestions.csv."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    field_validator,
)

from harness.errors import did_you_mean, quoted
from harness.settings import Seed, Seeds, limits, one_or_list, seeds_or_count
from harness.system.database_urls import HIDDEN, shown
from harness.text import joined, spaced

Sampler = Literal["random", "qmc", "tpe", "optuna", "cmaes", "gp", "nsga2"]
Direction = Literal["maximize", "minimize"]
FIRST_SUGGESTION_SEED = 2000
"""The first of the suggestions' seeds that are given as a count: apart from those that confirm and tune."""
FIRST_FINALIST_SEED = 3000
"""The first of the finalists' seeds that are given as a count: apart from all others."""
FINALISTS = 10
"""The most finalists: of more, the search itself says well enough that they are not the best."""
BOUNDS = "constraints = { parameters = 50_000 }"
UNTIL = "until = { val_accuracy = 0.9 }"
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
SAMPLED_BY = "sampler"
"""Column of suggestions.csv: who asked for it; not in folders of before."""
COLUMNS = ("number", "arm", SAMPLED_BY, "batch", "state", "reason", "evaluations", "seconds")
"""Columns of suggestions.csv before its objectives and parameters, in order."""
REFUSED = "refused"
"""Column of suggestions.csv: points before a suggestion that break a constraint, and were not trained."""
REFUSED_AFTER = "refused_after_last"
"""Entry of a run in provenance.json: such points of an Optuna study outside after its last suggestion."""
STATES = ("complete", "pruned", "failed")
"""Outcomes of a suggestion."""
IN_MEMORY = re.compile(r"sqlite[^:]*://(/?$|/:memory:|.*mode=memory)")
"""URLs of storages that keep nothing."""
SEVERAL_OBJECTIVES: tuple[Sampler, ...] = ("random", "qmc", "tpe", "optuna", "gp", "nsga2")
"""Samplers that can optimize more than one objective."""

LEARN_NOTHING: tuple[Sampler, ...] = ("random", "qmc")
"""Samplers to which results mean nothing."""

Waits = Literal["batch", "stack", "search"]
"""Who is waited for at a rung: the batch, the stack alone, or all suggestions of the search."""
WAITS: Mapping[str, Waits] = {"asha": "stack", "async-hyperband": "stack", "top-k": "search"}
"""What pruners wait for that do not wait for the batch."""

GOALS = ("objective", "direction", "until")
"""The keys that say what a search is for, which are checked together."""

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


def _bounds(given: Any) -> Any:
    """Check upper bounds of costs, by their names. Raises ValueError."""
    if not isinstance(given, Mapping):
        raise ValueError(f"a table of upper bounds, as in {BOUNDS}")  # noqa: TRY004 (pydantic's)
    wrong = []
    for name, bound in given.items():
        if name not in COSTS:
            wrong.append(f"no {quoted(name, most=60)}: {did_you_mean(str(name), COSTS)}")
        elif isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 < bound < math.inf:
            wrong.append(f"for {name} a number above 0, not {quoted(bound, most=60)}")
    if wrong:
        raise ValueError(f"upper bounds of costs, as in {BOUNDS}; {'; '.join(wrong)}")
    return {str(name): float(bound) for name, bound in given.items()}


def _goal(given: Any) -> Any:
    """Check the type of `until`; an empty table means no target. Raises ValueError."""
    if given is None or given == {}:
        return None
    if not isinstance(given, Mapping):
        raise ValueError(f"a table with a level for an objective, as in {UNTIL}")  # noqa: TRY004 (pydantic's)
    for name, level in given.items():
        if isinstance(level, bool) or not isinstance(level, int | float) or not math.isfinite(level):
            raise ValueError(f"a number for {name}, as in {UNTIL}; not {quoted(level, most=60)}")
    return {str(name): float(level) for name, level in given.items()}


class Pruning(BaseModel):
    """The pruner, which stops suggestions early. Evaluations are epochs if `eval_every` is one epoch.

    `halving` and `hyperband` keep the best of `reduction` at each rung, the first at evaluation `first`, the
    next ones `reduction` times later each. `asha` and `async-hyperband` judge a stack as soon as it arrives
    at a rung, against all that have reported there so far. `top-k` keeps the best `keep` of the whole search
    at evaluation `first`. `extrapolation` stops, from evaluation `first` on, what will not become the best
    with probability `confidence`, but never one suggestion in `control`. The others never prune the first
    `startup` suggestions, nor any in its first `warmup` evaluations; `percentile` keeps so many percent,
    `patient` waits `patience` evaluations.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Literal[
        "none", "median", "percentile", "patient", "halving", "hyperband", "asha", "async-hyperband", "top-k",
        "extrapolation",
    ] = "none"  # fmt: skip
    reduction: Annotated[int, Field(ge=2), Evaluations] = 3
    first: Annotated[int, Field(ge=1), Evaluations] = 1
    keep: Annotated[int, Field(ge=1), limits.at_most(limits.SUGGESTIONS, "suggestions of a search")] = 3
    confidence: Annotated[FiniteFloat, Field(ge=0.5, le=0.999)] = 0.95
    control: Annotated[int, Field(ge=2), limits.at_most(limits.SUGGESTIONS, "suggestions of a search")] = 10
    percentile: Annotated[FiniteFloat, Field(gt=0, lt=100)] = 25.0
    startup: Annotated[int, Field(ge=0), limits.at_most(limits.SUGGESTIONS, "suggestions of a search")] = 10
    warmup: Annotated[int, Field(ge=0), Evaluations] = 1
    patience: Annotated[int, Field(ge=1), Evaluations] = 2

    @property
    def waits_for(self) -> Waits:
        """The suggestions that one waits for at a rung before it is judged."""
        return WAITS.get(self.name, "batch")


class Search(BaseModel):
    """The [search] table. A sampler draws `suggestions` in batches, whose members train together.

    The search asks for no more once a complete suggestion reaches all levels of `until`. Its best `finalists`
    are trained anew with `finalist_seeds`, by which the winner is chosen; 1: the search's best is the winner.
    `constraints` are upper bounds of costs, `warm_start` the results folder of an earlier search.

    `own` is written by harness.StackedStudy: the sampler and the pruner of the Optuna study that asked.
    """

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
    constraints: Annotated[dict[str, float], BeforeValidator(_bounds)] = {}
    warm_start: str = ""
    until: Annotated[dict[str, float] | None, BeforeValidator(_goal)] = None
    finalists: Annotated[
        int, Field(ge=1), limits.at_most(FINALISTS, "each is trained anew with every finalist seed")
    ] = 3
    finalist_seeds: Annotated[Seeds, seeds_or_count("a finalist", FIRST_FINALIST_SEED)] = [
        *range(FIRST_FINALIST_SEED, FIRST_FINALIST_SEED + 5)
    ]
    own: str = ""

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
    def asked_by(self) -> str:
        """The sampler, or the study outside, that asked for the suggestions, in words."""
        return f"an Optuna study outside ({self.own})" if self.own else f"the sampler {self.sampler}"

    @property
    def objectives(self) -> list[Objective]:
        """The objectives, in the order in which the study file lists them."""
        pairs = zip(self.objective, self.directions, strict=True)
        return [Objective(name, direction == "maximize") for name, direction in pairs]

    @property
    def ranking(self) -> list[Objective]:
        """The objectives that decide which suggestion is the best, those on validation first."""
        return sorted(self.objectives, key=lambda objective: not objective.is_val)

    def is_reached(self, values: Mapping[str, float]) -> bool:
        """Tell whether objectives reach all levels of `until`; False without one, and for a missing value."""
        levels, signs = self.until or {}, {one.name: 1 if one.maximize else -1 for one in self.objectives}
        return bool(levels) and all(
            signs[name] * values[name] >= signs[name] * level for name, level in levels.items()
        )

    @property
    def goal(self) -> str:
        """The target in words, such as "val accuracy of at least 90 %"; empty without one."""
        levels, told = self.until or {}, []
        for one in self.objectives:
            if one.name in levels:
                level = levels[one.name]
                number = f"{100 * level:.6g}\u00a0%" if one.is_accuracy else f"{level:,.6g}"
                told.append(f"{spaced(one.name)} of at {'least' if one.maximize else 'most'} {number}")
        return joined(told)


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
    yield from _goal_problems(search)
    yield from _finalist_problems(search, seeds)
    both = sorted(set(search.seeds) & set(seeds))
    if both:
        yield f"search.seeds: {both} are seeds of the study too; the winner is confirmed with fresh seeds"


def problems_beside(table: Mapping[str, Any], tracked: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the objective and the target where other keys of [search] are wrong."""
    try:
        search = Search.model_validate({key: table[key] for key in GOALS if key in table})
    except ValidationError:  # told already
        return
    yield from _objective_problems(search, tracked)
    yield from _direction_problems(search)
    yield from _goal_problems(search)


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


def _goal_problems(search: Search) -> Iterator[str]:
    """Yield the levels of `until` that no suggestion can reach, or that are on no objective."""
    for name, level in (search.until or {}).items():
        if name not in search.objective:
            known = did_you_mean(name, search.objective)
            yield f"search.until: {name!r} is no objective of this search; {known}"
        elif name.endswith("accuracy") and not 0 < level <= 1:
            share = f": {level:g}\u00a0% is {level / 100:g}" if 1 < level <= 100 else ""
            yield (
                f"search.until = {{ {name} = {level:g} }}: allowed: a share above 0 and up to 1{share}; no "
                "suggestion reaches more"
            )


def _finalist_problems(search: Search, seeds: Sequence[int]) -> Iterator[str]:
    """Yield the finalists' seeds that had a part in the search, or are to confirm its winner."""
    if search.finalists == 1:
        return
    for others, why in (
        (search.seeds, "search.seeds, by which finalists are chosen"),
        (seeds, "study.seeds, with which the winner is confirmed"),
    ):
        both = sorted(set(search.finalist_seeds) & set(others))
        if both:
            yield (
                f"search.finalist_seeds: {both} are seeds of {why}; take others, or set search.finalists = 1 "
                "to confirm the search's best itself"
            )


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
        yield f"search.pruner = {search.pruner.name!r}: allowed with two objectives: 'none'"
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
    given = {k: value for k, value in search.model_dump(exclude_none=True).items() if value not in ({}, "")}
    return given | {"direction": search.directions, "storage": shown(search.storage)}
