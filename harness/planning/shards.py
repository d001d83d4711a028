"""Shards: shares of a study's trials that machines train apart, without anything between them.

The shares follow from the study and their count alone: whoever deals anew, on any machine, gets the same.
All arms of a seed on one data set stay together where that leaves the shares even, so that they are paired
within a machine; a study that tunes is dealt by arms, whose tries and choices belong together.
"""

from __future__ import annotations

import heapq
import itertools
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness.check.network_stacking import form
from harness.errors import UsageError, quoted
from harness.planning.cost import trial_seconds
from harness.planning.grouping import SAME_IN_A_GROUP
from harness.settings.schema import OF_ARM
from harness.study.study import Study
from harness.study.trials import Arm, Trial, arms, trial_of
from harness.study.trials import trials as drawn

EVEN = 1.05
"""How much more than its even share a shard may have, so that seeds stay whole."""
MOST = 1_000_000  # shards
WRITTEN = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
TUNED_PHASES = ("fixed", "tuning", "tuned")
DECIDING_COST = ("dataset", "val_fraction", "batch_size", "epochs", "steps", "eval_every", "optimizer")
"""The settings that decide a trial's cost, beside its form."""
Block: TypeAlias = "list[int]"
"""Places of trials that should stay together."""


@dataclass(frozen=True)
class Shard:
    """One of `count` shares, `number` from 1 on.

    >>> shard = Shard.of("3/16")
    >>> shard, str(shard), shard.suffix
    (Shard(number=3, count=16), 'shard 3 of 16', '-shard-3-of-16')
    """

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> Shard:
        """Read "3/16".

        Raises:
            UsageError: the text has another form, or there is no such shard.
        """
        found = WRITTEN.fullmatch(str(text))
        if found is None:
            raise UsageError(
                f"--shard {quoted(text)}: allowed: NUMBER/COUNT, such as 3/16 for the third of sixteen shards"
            )
        number, count = map(int, found.groups())
        if not 1 <= count <= MOST:
            raise UsageError(f"--shard {text}: {count} shards; allowed: 1 to {MOST:,}")
        if not 1 <= number <= count:
            raise UsageError(
                f"--shard {text}: there is no shard {number}; allowed: 1/{count} to {count}/{count}"
            )
        return cls(number, count)

    def __str__(self) -> str:
        return f"shard {self.number} of {self.count}"

    @property
    def suffix(self) -> str:
        """The end of the name of its results folder."""
        return f"-shard-{self.number}-of-{self.count}"


def dealt(study: Study, trials: Sequence[Trial], count: int) -> dict[str, int]:
    """Deal all trials of a study's phase to shards: trial_id -> the number of its shard, from 1 on.

    A try that several arms share, while a study tunes, is the first one's here; `members` gives it to each.
    """
    if tunes(study):
        owners = _owners(study, count)
        return {trial.trial_id: owners[_owner(trial.arm)] for trial in trials}
    return dict(zip((trial.trial_id for trial in trials), _by_seed(trials, count), strict=True))


def members(study: Study, trials: Sequence[Trial], shard: Shard) -> list[Trial]:
    """List those of a phase's trials that a shard trains, in their order."""
    if tunes(study) and study.about.phase == "tuning":
        owners = _owners(study, shard.count)
        own = [arm for arm in arms(study) if owners.get(_owner(arm)) == shard.number]
        wanted = {trial_of(study, arm, seed).trial_id for arm in own for seed in study.seeds}
        return [trial for trial in trials if trial.trial_id in wanted]
    numbers = dealt(study, trials, shard.count)
    return [trial for trial in trials if numbers[trial.trial_id] == shard.number]


def pairings(study: Study, trials: Sequence[Trial], count: int) -> tuple[int, int]:
    """Count the seeds on a data set whose trials lie in several shards, and all of them."""
    numbers, places = dealt(study, trials, count), dict[tuple[str, int], set[int]]()
    for trial in trials:
        places.setdefault(_pairing(trial), set()).add(numbers[trial.trial_id])
    return sum(len(found) > 1 for found in places.values()), len(places)


def tunes(study: Study) -> bool:
    """Tell whether a study is dealt by arms, because each of them tunes its settings."""
    return study.tune is not None and study.about.phase in TUNED_PHASES


def _owners(study: Study, count: int) -> dict[str, int]:
    """Deal the arms of a study that tunes, as it stands, by name; they are the same in all its phases."""
    seconds: dict[str, int] = {}
    cost = _cost_of()
    for trial in drawn(study.in_phase("fixed"))[0]:
        seconds[trial.arm.name] = seconds.get(trial.arm.name, 0) + cost(trial.arm)
    places, _ = _whole(list(seconds.values()), count, float("inf"))
    return dict(zip(seconds, places, strict=True))


def _owner(arm: Arm) -> str:
    """Name the arm that an arm's tries are for; any other arm is its own."""
    return arm.labels.get(OF_ARM, arm.name)


def _pairing(trial: Trial) -> tuple[str, int]:
    return trial.arm.settings.dataset, trial.seed


def _by_seed(trials: Sequence[Trial], count: int) -> list[int]:
    """Deal trials, a seed's on one data set together where that is even enough; gives a number each."""
    cost, blocks = _cost_of(), dict[tuple[str, int], Block]()
    costs = [cost(trial.arm) for trial in trials]
    for place, trial in enumerate(trials):
        blocks.setdefault(_pairing(trial), []).append(place)
    numbers = [0] * len(trials)
    sums = [sum(costs[place] for place in block) for block in blocks.values()]
    placed, loads = _whole(sums, count, EVEN * sum(sums) / count)
    left: list[int] = []
    key = _sorted_by()
    for number, block in zip(placed, blocks.values(), strict=True):
        if number:
            for place in block:
                numbers[place] = number
        else:
            left += sorted(block, key=lambda place: key(trials[place].arm))
    _fill(numbers, left, costs, loads)
    return numbers


def _whole(costs: Sequence[int], count: int, limit: float) -> tuple[list[int], list[int]]:
    """Deal blocks, the longest first, each to the shard that has least; 0 where it would have over `limit`.

    Gives the shard's number of each block, and the sum of each shard.
    """
    free = [(0, number) for number in range(1, count + 1)]
    placed = [0] * len(costs)
    for place in sorted(range(len(costs)), key=lambda place: -costs[place]):
        load, number = free[0]
        if load + costs[place] <= limit:
            placed[place] = number
            heapq.heapreplace(free, (load + costs[place], number))
    loads = [load for load, _ in sorted(free, key=lambda shard: shard[1])]
    return placed, loads


def _fill(numbers: list[int], left: Sequence[int], costs: Sequence[int], loads: Sequence[int]) -> None:
    """Deal the trials at the places `left` in their order, so that all shards end up equally full.

    Each goes to the shard in whose room its middle falls.
    """
    level = _level(loads, sum(costs[place] for place in left))
    ends = list(itertools.accumulate(max(0.0, level - load) for load in loads))
    before = 0
    for place in left:
        middle = before + costs[place] / 2
        numbers[place] = min(bisect_right(ends, middle), len(loads) - 1) + 1
        before += costs[place]


def _level(loads: Sequence[int], more: int) -> float:
    """Give the level to which shards are filled by so much more, as water fills them."""
    ordered, level = sorted(loads), 0.0
    below = 0
    for many, load in enumerate(ordered, 1):
        below += load
        level = (below + more) / many
        if many == len(ordered) or level <= ordered[many]:
            break
    return level


def _cost_of() -> Callable[[Arm], int]:
    """Give a function that estimates an arm's nanoseconds a trial, once for all arms of one size."""
    of_size: dict[tuple[Any, ...], int] = {}

    def cost(arm: Arm) -> int:
        settings = arm.settings
        size = (form(settings), *(settings.get(name) for name in DECIDING_COST))
        if size not in of_size:
            of_size[size] = max(1, round(1e9 * trial_seconds(settings)))
        return of_size[size]

    return _once(cost)


def _sorted_by() -> Callable[[Arm], tuple[str, ...]]:
    """Give a sort key that puts the arms that may share a stack side by side."""
    return _once(lambda arm: (form(arm.settings), *(str(arm.settings.get(n)) for n in SAME_IN_A_GROUP)))


def _once(function: Callable[[Arm], Any]) -> Callable[[Arm], Any]:
    """Call a function once an arm, which lives as long as its trials."""
    known: dict[int, Any] = {}

    def known_or_called(arm: Arm) -> Any:
        if id(arm) not in known:
            known[id(arm)] = function(arm)
        return known[id(arm)]

    return known_or_called
