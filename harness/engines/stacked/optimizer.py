"""The optimizers of a stack, each of the members that are updated as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.axes.optimizers import Count, Optimizer, State, optimizers
from harness.data.batches import Budget
from harness.engines.base import learning_rates, steps_before
from harness.engines.members import as_slice, runs, update_key, update_rule
from harness.engines.states import numbered
from harness.engines.tensors import restored_value, widest_dtype
from harness.study.trials import Trial


class StackOptimizer:
    """The optimizer of some members of a stack: its settings, its state, and one update of its parameters."""

    def __init__(self, members: range, trials: Sequence[Trial], budget: Budget, device: torch.device) -> None:
        self.members, self.rule = members, update_rule(trials[0])
        self.optimizer: Optimizer = optimizers[trials[0].arm.settings.optimizer]
        self.states: list[State] = [{}, {}]  # of layer one's weights, and of the rest
        self.settings = {
            name: self._setting([trial.arm.settings[name] for trial in trials], device)
            for name in self.optimizer.settings
            if name != "lr"
        }
        rates = learning_rates(trials, budget)
        self.shared = bool((rates == rates[:, :1]).all())
        self.rates = torch.from_numpy(rates).to(device, widest_dtype(device))
        self.shared_rates: list[float] = rates[:, 0].tolist() if self.shared else []
        self.constant = bool((rates == rates[0]).all())
        self.before = steps_before(trials[0])
        self.folds = self.optimizer.linear and not any(t.arm.settings["weight_decay"] for t in trials)

    @staticmethod
    def _setting(values: list[Any], device: torch.device) -> Any:
        """Return a setting of all members: one value, or a tensor (k, 1) where they differ."""
        if all(value == values[0] for value in values):
            return tuple(values[0]) if isinstance(values[0], list) else values[0]
        table = torch.tensor(values, dtype=widest_dtype(device), device=device)
        return table[:, None] if table.ndim == 1 else tuple(column[:, None] for column in table.T)

    def rate(self, t: Count) -> float | Tensor:
        """Return the learning rate of step t, from 1: a float, or (k, 1)."""
        if isinstance(t, int):
            return self.shared_rates[t - 1] if self.shared else self.rates[t - 1, :, None]
        if self.constant:
            return self.rate(1)
        # Only the device knows the number of a step that is replayed, so its rate is read there.
        rates = self.rates[:, :1] if self.shared else self.rates
        return rates.index_select(0, t.long().sub_(1).view(1)).T

    def apply(self, t: Count, params: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
        """Update parameters (k, n) in place: layer one's and the rest, or the rest alone."""
        counted = t - self.before if self.before else t
        for param, grad, state in zip(params, grads, self.states[-len(params) :], strict=True):
            self.optimizer.update(param, grad, state, counted, lr=self.rate(t), **self.settings)

    def slots(self, place: int, names: Sequence[str], like: Tensor) -> list[Tensor]:
        """Return states of layer one's weights (0) or the rest (1), made of zeros at first use."""
        state = self.states[place]
        for name in names:
            if name not in state:
                state[name] = torch.zeros_like(like)
        return [state[name] for name in names]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the optimizer's state, by the parameters' place (0, 1) and the state's name."""
        return numbered(self.states)

    def load_state_dict(
        self, values: Mapping[str, Any], params: Sequence[Tensor], to_tiles: Callable[[Tensor], Tensor]
    ) -> None:
        """Restore what `state_dict` gave, for layer one's parameters and the rest, (k, n).

        `to_tiles` lays out a state of layer one's weights (k, h*D) as these are.
        """
        for key, value in values.items():
            place, _, name = key.partition(".")
            if place == "0" and np.ndim(value) == 2:
                value = to_tiles(torch.from_numpy(value)).numpy()  # noqa: PLW2901
            self.states[int(place)][name] = restored_value(value, params[int(place)])


def stack_optimizers(trials: Sequence[Trial], budget: Budget, device: torch.device) -> list[StackOptimizer]:
    """Return the optimizers of a stack's trials, in their order."""
    keys = [update_key(trial) for trial in trials]
    return [StackOptimizer(run, trials[as_slice(run)], budget, device) for run, _ in runs(keys)]
