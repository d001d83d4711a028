"""Members of a stack: which of them share a seed, a shape or an update rule."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from harness.axes.optimizers import optimizers
from harness.check import network_stacking
from harness.engines.states import State
from harness.rng import StreamSeed
from harness.study.trials import Trial

Key = TypeVar("Key")


@dataclass(frozen=True)
class SeedIndex:
    """The distinct seeds (S,) of K members, and the place of each member's seed among them, (K,)."""

    seeds: tuple[StreamSeed, ...]
    of_member: tuple[int, ...]

    @classmethod
    def of(cls, seeds: Iterable[StreamSeed]) -> SeedIndex:
        """Index the seeds (K,) of members.

        >>> SeedIndex.of([7, 3, 7])
        SeedIndex(seeds=(7, 3), of_member=(0, 1, 0))
        """
        every = tuple(seeds)
        distinct = tuple(dict.fromkeys(every))
        return cls(distinct, tuple(map(distinct.index, every)))


def runs(keys: Sequence[Key]) -> Iterator[tuple[range, Key]]:
    """Yield the runs of equal keys: their places, and the key.

    >>> list(runs("aab"))
    [(range(0, 2), 'a'), (range(2, 3), 'b')]
    """
    start = 0
    for key, run in itertools.groupby(keys):
        stop = start + len(list(run))
        yield range(start, stop), key
        start = stop


def as_slice(members: range, start: int = 0) -> slice:
    """Return members as a slice of what begins with member `start`."""
    return slice(members.start - start, members.stop - start)


def shape(trial: Trial) -> str:
    """Return what members of a block have in common."""
    return network_stacking.form(trial.arm.settings)


def update_rule(trial: Trial) -> tuple[str, ...]:
    """Return a trial's optimizer, its switches, and the settings that are 0, without other numbers."""
    settings = trial.arm.settings
    optimizer = optimizers[settings.optimizer]
    return (optimizer.name, *optimizer.switches(settings), *optimizer.zeros(settings))


def update_key(trial: Trial) -> tuple[str, ...]:
    """Return what members that are updated as one have in common."""
    return (shape(trial), *update_rule(trial))


def by_member(values: Mapping[str, Any], keys: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the state of each of K members, from a state by runs of equal `keys` (K,).

    `values` are by "run.name": an array (k, n) has a row a member, anything else is the same for all.
    """
    states: list[dict[str, Any]] = [{} for _ in keys]
    for i, (members, _) in enumerate(runs(keys)):
        for name, value in State(0, values).under(f"{i}.").items():
            for row, k in enumerate(members):
                states[k][name] = value[row : row + 1] if np.ndim(value) == 2 else value
    return states


def by_runs(states: Sequence[Mapping[str, Any]], keys: Sequence[Any]) -> dict[str, Any]:
    """Return the states of K members by runs of equal `keys` (K,): the inverse of `by_member`.

    Raises:
        ValueError: members of a run have not the same names, or differ in what is the same for all of a run.
    """
    values = {}
    for i, (members, key) in enumerate(runs(keys)):
        first, *others = (states[k] for k in members)
        for name, value in first.items():
            if any(other.keys() != first.keys() for other in others):
                raise ValueError(f"states of {key}: {sorted(first)} of one member are not those of another")
            if np.ndim(value) == 2:
                values[f"{i}.{name}"] = np.concatenate([value, *(other[name] for other in others)])
            elif any(not np.array_equal(value, other[name]) for other in others):
                raise ValueError(f"states of {key}: members that are updated as one differ in {name!r}")
            else:
                values[f"{i}.{name}"] = value
    return values
