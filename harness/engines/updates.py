"""Updates: the optimizers of a stack, each over its slice of members."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.axes.optimizers import Count, Optimizer, State, optimizers
from harness.batches import Budget
from harness.engines.rates import learning_rates
from harness.engines.states import under
from harness.trials import Trial


@dataclass(frozen=True)
class Slice:
    """Members first..last-1 of the stack, which share a component."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many members."""
        return self.last - self.first

    @property
    def members(self) -> slice:
        """For indexing along K."""
        return slice(self.first, self.last)


def slices(keys: Sequence[Any]) -> Iterator[tuple[Slice, Any]]:
    """Runs of equal keys."""
    first = 0
    for key, run in itertools.groupby(keys):
        last = first + len(list(run))
        yield Slice(first, last), key
        first = last


def shape(trial: Trial) -> str:
    """What members of a block have in common."""
    return str(trial.arm.settings.hidden)


def rule(trial: Trial) -> tuple[str, ...]:
    """How a trial is updated, but for the numbers."""
    optimizer = optimizers[trial.arm.settings.optimizer]
    return (optimizer.name, *optimizer.switches(trial.arm.settings))


def update_key(trial: Trial) -> tuple[str, ...]:
    """What members of a slice that is updated as one have in common."""
    return (shape(trial), *rule(trial))


def exact(device: torch.device) -> torch.dtype:
    """The type that settings and sums are kept in: float64, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def restored(array: NDArray[Any], like: Tensor) -> Tensor:
    """A tensor of a checkpoint, laid out as the parameter it belongs to; of another shape, on the CPU."""
    tensor = torch.from_numpy(array)
    # Memory of torch's own, so that kernels find it aligned as they did before.
    return (
        torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
        if tensor.shape == like.shape
        else tensor.clone()
    )


def restored_value(value: Any, like: Tensor) -> Any:
    """What an optimizer kept of a parameter: a tensor beside it; a plain number as it is."""
    return restored(value, like).to(like.device) if isinstance(value, np.ndarray) else value


def select(values: Mapping[str, Any], keys: Sequence[Any], keep: Sequence[int]) -> dict[str, Any]:
    """Of what a stack holds by slices of equal keys, that of the members `keep`, by slices of theirs.

    Args:
        values: by "slice.name"; an array (k, n) is a row a member, anything else is the same for all.
        keys: of each member.
        keep: places in `keys`, ascending.
    """
    kept: list[dict[str, Any]] = [{} for _ in keys]
    for i, (part, _) in enumerate(slices(keys)):
        for name, value in under(values, f"{i}.").items():
            for row, k in enumerate(range(part.first, part.last)):
                kept[k][name] = value[row : row + 1] if np.ndim(value) == 2 else value
    selected = {}
    for i, (part, _) in enumerate(slices([keys[k] for k in keep])):
        members = [kept[k] for k in keep[part.members]]
        for name, value in members[0].items():
            rows = [member[name] for member in members]
            selected[f"{i}.{name}"] = np.concatenate(rows) if np.ndim(value) == 2 else value
    return selected


class Updates:
    """The optimizer of one slice: its settings, its state, and one update of its parameters."""

    def __init__(self, part: Slice, trials: Sequence[Trial], budget: Budget, device: torch.device) -> None:
        self.part, self.rule = part, rule(trials[0])
        self.optimizer: Optimizer = optimizers[trials[0].arm.settings.optimizer]
        self.states: list[State] = [{}, {}]  # of layer one's weights, and of the rest
        self.settings = {
            name: self._setting([trial.arm.settings[name] for trial in trials], device)
            for name in self.optimizer.settings
            if name != "lr"
        }
        rates = learning_rates(trials, budget)
        self.agree = bool((rates == rates[:, :1]).all())
        self.rates = torch.from_numpy(rates).to(device, exact(device))
        self.rate_list: list[float] = rates[:, 0].tolist() if self.agree else []
        self.steady = bool((rates == rates[0]).all())
        self.folds = self.optimizer.linear and not any(t.arm.settings["weight_decay"] for t in trials)

    @staticmethod
    def _setting(values: list[Any], device: torch.device) -> Any:
        if all(value == values[0] for value in values):
            return tuple(values[0]) if isinstance(values[0], list) else values[0]
        table = torch.tensor(values, dtype=exact(device), device=device)
        return table[:, None] if table.ndim == 1 else tuple(column[:, None] for column in table.T)

    def rate(self, t: Count) -> float | Tensor:
        """The learning rate of step t, from 1: a float, or (k, 1)."""
        if not isinstance(t, int):
            return self._replayed_rate(t)
        return self.rate_list[t - 1] if self.agree else self.rates[t - 1, :, None]

    def _replayed_rate(self, t: Tensor) -> float | Tensor:
        """The rate of a step whose number is known on the device alone: read there, unless all are alike."""
        if self.steady:
            return self.rate(1)
        rates = self.rates[:, :1] if self.agree else self.rates
        return rates.index_select(0, t.long().sub_(1).view(1)).T

    def apply(self, t: Count, params: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
        """Update parameters (k, n) in place."""
        for param, grad, state in zip(params, grads, self.states[-len(params) :], strict=True):
            self.optimizer.update(param, grad, state, t, lr=self.rate(t), **self.settings)

    def values(self) -> dict[str, Tensor]:
        """What the optimizer keeps between steps, by the parameters' place and the state's name."""
        return {f"{i}.{name}": value for i, state in enumerate(self.states) for name, value in state.items()}

    def go_on(
        self, values: Mapping[str, Any], params: Sequence[Tensor], laid: Callable[[Tensor], Tensor]
    ) -> None:
        """Keep what `values` gave, for layer one's parameters and the rest, (k, n).

        `laid` lays out what was kept beside each of layer one's weights (k, h*D) as these are.
        """
        for name, value in values.items():
            place, _, kept = name.partition(".")
            if place == "0" and np.ndim(value) == 2:
                value = laid(torch.from_numpy(value)).numpy()  # noqa: PLW2901
            self.states[int(place)][kept] = restored_value(value, params[int(place)])


def updates_of(trials: Sequence[Trial], budget: Budget, device: torch.device) -> list[Updates]:
    """The optimizers of a stack's trials, in their order."""
    parts = slices([update_key(trial) for trial in trials])
    return [Updates(part, trials[part.members], budget, device) for part, _ in parts]
