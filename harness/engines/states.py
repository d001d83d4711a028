"""The state that an engine resumes from, and the protocol of its keeper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from harness.data.batches import Budget
from harness.study.trials import Trial


@dataclass(frozen=True)
class State:
    """An engine after `step` steps: by name, NumPy arrays, and values as JSON knows them.

    What can be made again is not in it: data, batches (a stream an epoch), learning rates, settings.
    """

    step: int
    values: Mapping[str, Any]

    def under(self, prefix: str) -> dict[str, Any]:
        """Return the values whose names begin with a prefix, by the rest of the name.

        >>> State(3, {"update.0.mean": 1, "update.1.mean": 2}).under("update.1.")
        {'mean': 2}
        """
        named = self.values.items()
        return {name.removeprefix(prefix): value for name, value in named if name.startswith(prefix)}


def copied(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the values of a state; tensors, whose memory may be that of what is being trained, into arrays."""
    plain = {name: array_of(value) for name, value in values.items()}
    return {name: v.copy() if isinstance(v, np.ndarray) else v for name, v in plain.items()}


def array_of(value: Any) -> Any:
    """Return a tensor as an array, on whatever device it is, and anything else as it is."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def numbered(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the states of numbered parameters as one dict.

    >>> numbered([{"mean": 1}, {"mean": 2}])
    {'0.mean': 1, '1.mean': 2}
    """
    return {f"{i}.{name}": value for i, state in enumerate(states) for name, value in state.items()}


def select_alone(state: State, trials: Sequence[Trial], keep: Sequence[int]) -> State:
    """Return the state unchanged, of the only trial, which is kept: `select` where no trials are stacked."""
    if len(trials) != 1 or list(keep) != [0]:
        raise ValueError(f"members {list(keep)} of {len(trials)} trials: this engine trains one, member 0")
    return state


def join_alone(
    states: Sequence[State], trials: Sequence[Sequence[Trial]], order: Sequence[int] = ()
) -> State:
    """Return the only state unchanged: `join` where no trials are stacked."""
    if len(states) != 1 or [len(members) for members in trials] != [1]:
        raise ValueError(
            f"{len(states)} states of {len(trials)} stacks: this engine trains one trial at a time"
        )
    return select_alone(states[0], trials[0], list(order) or [0])


def same_step(states: Sequence[State]) -> int:
    """Return the step that all states are after; raise ValueError if there are several."""
    steps = {state.step for state in states}
    if len(steps) != 1:
        raise ValueError(f"states after steps {sorted(steps)}: only those of one step can be joined")
    return steps.pop()


class Checkpoints(Protocol):
    """Keeper of an engine's states while it trains. An engine asks at every look."""

    def load(self) -> State | None:
        """Return the state to resume from; None to train from the start."""

    def due(self, step: int, budget: Budget) -> bool:
        """Return whether to save the state after this step; never asked after the last one."""

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        """Save the state after this step; `values` are a State's, or tensors in place of arrays.

        They are views of what is being trained: they are copied before this returns.
        """


class _Never:
    def load(self) -> None:
        return None

    def due(self, step: int, budget: Budget) -> bool:  # noqa: ARG002
        return False

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        pass


NEVER = _Never()
"""Checkpoints that are never due."""
