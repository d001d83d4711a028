"""States: all that an engine needs to go on from a step, and whoever keeps it meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.batches import Budget
from harness.trials import Trial


@dataclass(frozen=True)
class State:
    """An engine after `step` steps: by name, NumPy arrays, and values as JSON knows them.

    What can be made again is not in it: data, batches (a stream an epoch), learning rates, settings.
    """

    step: int
    values: Mapping[str, Any]

    def under(self, prefix: str) -> dict[str, Any]:
        """The values whose names begin so, by what follows.

        >>> State(3, {"update.0.mean": 1, "update.1.mean": 2}).under("update.1.")
        {'mean': 2}
        """
        return under(self.values, prefix)


def under(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The values whose names begin so, by what follows."""
    return {name.removeprefix(prefix): v for name, v in values.items() if name.startswith(prefix)}


def select_alone(state: State, trials: Sequence[Trial], keep: Sequence[int]) -> State:
    """`select` of the engines that train one trial at a time: its state as it is.

    Raises:
        ValueError: there is another trial, or none is kept.
    """
    if len(trials) != 1 or list(keep) != [0]:
        raise ValueError(f"members {list(keep)} of {len(trials)} trials: this engine trains one, member 0")
    return state


class Checkpoints(Protocol):
    """Keeps the states of an engine while it trains. An engine asks wherever it looks up from its steps."""

    def load(self) -> State | None:
        """The state to go on from; None to train from the start."""

    def due(self, step: int, budget: Budget) -> bool:
        """Whether the state after this step is to be kept. Never the last one: it needs no going on."""

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        """Keep the state after this step; `values` are a State's, or tensors in place of arrays.

        They are views of what is being trained: they are copied before this returns.
        """


class _Never:
    """Keeps nothing."""

    def load(self) -> None:
        return None

    def due(self, step: int, budget: Budget) -> bool:  # noqa: ARG002
        return False

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        pass


NEVER = _Never()
