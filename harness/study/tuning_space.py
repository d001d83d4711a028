"""[tune]: the settings that every arm may tune, from which values, and how many it may try.

Every arm gets the same number of tries, each with the same tuning seeds, and is chosen by val accuracy alone
(Choi et al. 2019; Bouthillier et al. 2021). An arm may have a space of its own: linked settings may hold a
table `tune`. With `blocks`, each block of seeds makes a choice of its own (`harness.study.seed_blocks`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import quoted
from harness.settings import Seeds, Setting, Value, limits, seeds_or_count
from harness.settings.schema import STREAM_SEEDS
from harness.study import seed_blocks
from harness.study.space import CheckValue, Choices, Floats, Ints, Meaning, SpaceEntry, read_entry
from harness.text import as_text

FIRST_TUNING_SEED = 1000
"""The first of the tuning seeds that are given as a count: apart from a study's own 0, 1, 2 .."""
SAME_FOR_ALL = (
    "dataset", "val_fraction", "val_split", "split_seed", "label_noise", "label_noise_seed", "match",
    "epochs", "steps", "eval_every", *STREAM_SEEDS,
)  # fmt: skip
"""Settings that no arm tunes: the data, the length of the training, when it is evaluated, and seeds."""
ALL = "tune.space"
"""The place of the space that all arms have."""

TuningSpace: TypeAlias = "dict[str, SpaceEntry]"
"""A space without conditions, by the names of its settings."""


class Tune(BaseModel):
    """The [tune] table. `budget` is how many settings an arm tries; a space of lists tries all of them.

    `blocks` divides the tuning seeds and the study's seeds, in their order, into as many blocks: each chooses
    by its own tuning seeds, and trains what it chose with its own seeds of the study. With `halving`, a block
    trains the better half of its settings with further seeds, instead of all of them.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    seeds: Annotated[Seeds, seeds_or_count("tuning", FIRST_TUNING_SEED)] = [
        FIRST_TUNING_SEED, FIRST_TUNING_SEED + 1
    ]  # fmt: skip
    budget: Annotated[int, Field(ge=2), limits.at_most(limits.BUDGET, "settings of one arm")] | None = None
    blocks: Annotated[int, Field(ge=1), limits.at_most(limits.SEEDS, "blocks of seeds")] | None = None
    halving: bool = False
    space: dict[str, Any] = {}

    def table(self) -> dict[str, Any]:
        """Give the table as study.toml has it, without keys that were not given and change nothing."""
        table = self.model_dump(exclude_none=True)
        if not self.halving:
            del table["halving"]
        return table


def read(
    where: str, table: object, known: Mapping[str, Setting], check: CheckValue, problems: list[str]
) -> TuningSpace:
    """Check a space as a study file has it and return its entries; one that is wrong has no values."""
    if not isinstance(table, Mapping):
        problems.append(
            f"{where} = {quoted(table)}: allowed: a table of settings, each a list or low and high"
        )
        return {}
    return {
        name: _entry(f"{where}.{name}", name, given, known, check, problems) or SpaceEntry(name, Choices(()))
        for name, given in table.items()
    }


def _entry(
    where: str, name: str, given: object, known: Mapping[str, Setting], check: CheckValue, problems: list[str]
) -> SpaceEntry | None:
    if name in SAME_FOR_ALL:
        problems.append(f"{where}: cannot be tuned: it is the same for all arms")
    elif name not in known:
        check(where, name, given)  # adds the problem, with the settings there are
    else:
        entry = read_entry(where, given, known[name], check, problems, ("low", "high", "log"))
        if entry is None or not isinstance(entry.values, Ints):
            return entry
        problems.append(f"{where} = {quoted(given)}: allowed for whole numbers: a list of values")
    return None


def place(axis: str, name: str) -> str:
    """Return the place of a linked value's own space; a step's axis is "steps"."""
    return f"{axis}.{name}.tune"


def problems(
    tune: Tune,
    spaces: Mapping[str, TuningSpace],
    seeds: Sequence[int],
    baseline: Mapping[str, Any],
    axes: Mapping[str, Sequence[Any]],
) -> Iterator[str]:
    """Yield what is wrong with the spaces of a study, by their places, each value by itself aside."""
    yield from seed_blocks.problems(tune.blocks, seeds, tune.seeds, halving=tune.halving)
    both = sorted(set(tune.seeds) & set(seeds))
    if both:
        yield (
            f"tune.seeds: {both} are seeds of the study too; a choice is judged with fresh seeds, so list "
            "others, or give a count"
        )
    if baseline.get("val_fraction") == 0 or 0 in axes.get("val_fraction", []):
        yield "tune: val_fraction = 0 leaves no validation split to choose by"
    shared = spaces.get(ALL, {})
    # Only linked values may leave the learning rate to spaces of their own.
    own_lr = any("lr" in space for name, space in spaces.items() if name != ALL)
    sizes = set()
    for name, additions in spaces.items():
        space = {**shared, **additions}
        if "lr" not in space and not (name == ALL and own_lr):
            yield f"{name}: lr is missing; every arm tunes the learning rate at least"
        for key in sorted(set(space) & set(axes)):
            yield f"{name}.{key}: {key} is an axis of this study; tune it or vary it"
        if space and size(space) != 0:  # an entry without values is wrong, which was said
            yield from _budget_problems(name, size(space), tune.budget)
            sizes.add(size(space) or tune.budget)
    if len(sizes) > 1 and tune.budget is None:
        counts = " or ".join(str(count) for count in sorted(filter(None, sizes)))
        yield f"tune: an arm would try {counts} settings; every arm gets the same budget"


def _budget_problems(name: str, held: int | None, budget: int | None) -> Iterator[str]:
    """Yield the disagreement of a budget with a space that holds so many settings (None: has a range)."""
    if held is None and budget is None:
        yield "tune.budget: missing; how many settings may each arm try?"
    elif held is not None and budget is not None and held != budget:
        yield f"{name} lists {held} settings, tune.budget is {budget}: all arms try as many"


def size(space: TuningSpace) -> int | None:
    """Return how many settings a space of lists holds; None if it has a range."""
    if any(isinstance(entry.values, Floats) for entry in space.values()):
        return None
    return math.prod(len(entry.means) for entry in space.values())


def points(space: TuningSpace, budget: int) -> list[Meaning]:
    """Return the settings that an arm tries: the grid of all lists, or one range evenly with both ends.

    Several settings with a range among them are tried at points of a scrambled Halton sequence, the same for
    all arms of one space (Bousquet et al. 2017, "Critical hyper-parameters: no random, no cry").

    >>> points({"lr": SpaceEntry("lr", Floats(0.01, 1.0, log=True))}, 3)
    [{'lr': 0.01}, {'lr': 0.1}, {'lr': 1.0}]
    """
    entries = list(space.values())
    if size(space) is not None:
        return [_joined(settings) for settings in itertools.product(*(e.means.values() for e in entries))]
    if len(entries) == 1:
        return [entries[0].at(i / (budget - 1)) for i in range(budget)]
    from scipy.stats import qmc

    shares = qmc.Halton(len(entries), rng=0).random(budget)
    return [_joined(map(SpaceEntry.at, entries, row)) for row in shares.tolist()]


def _joined(settings: Iterable[Meaning]) -> Meaning:
    return {name: value for part in settings for name, value in part.items()}


def words(point: Mapping[str, Value]) -> str:
    """Put a point into words: "lr=0.1"."""
    return ", ".join(f"{name}={as_text(value)}" for name, value in point.items())
