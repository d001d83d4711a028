"""A stack of modules in PyTorch: trials of one form of network train as one.

Those of a seed see the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike

from harness.axes.metrics import metrics
from harness.data.batches import Budget, epoch_order
from harness.data.samples import Data, Split
from harness.engines import driver
from harness.engines.augmentation import augmented
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions
from harness.engines.modules.memory import freed_memory_kept
from harness.engines.modules.network import ModuleStack
from harness.engines.outcome import Evaluation, Floats, Outcome
from harness.engines.stacked.optimizer import stack_optimizers
from harness.engines.states import State
from harness.engines.tensors import torch_dtype
from harness.study.trials import Trial


@torch.no_grad()
def train(
    trials: Sequence[Trial], data: Data, device: str = "cpu", dtype: DTypeLike = np.float32,
    options: EngineOptions = DEFAULT_OPTIONS,
) -> Outcome:  # fmt: skip
    """Train trials of one group as one stack, and observe them; the arguments are those of `base.Engine`.

    They share an architecture and what decides its shapes; those of one optimizer are side by side.
    """
    where = torch.device(device)
    budget = Budget.of(trials[0].arm.settings, len(data.train.y))
    with freed_memory_kept():
        stack = ModuleStack(trials, data, stack_optimizers(trials, budget, where), where, torch_dtype(dtype))
        return driver.run(ModuleTraining(stack, data, budget, options.metrics), options)


class ModuleTraining:
    """A stack of modules in training (`driver.Training`), with the train split on its device."""

    def __init__(self, stack: ModuleStack, data: Data, budget: Budget, tracked: Sequence[str]) -> None:
        self.stack, self.data, self.budget = stack, data, budget
        self.metrics = [metrics[name] for name in tracked]
        self.sampling = stack.trials[0].arm.settings.sampling
        self.parameters = np.full(len(stack.trials), stack.parameters)
        self.notes: list[str] = []
        self.x = torch.from_numpy(data.train.x).to(stack.device)
        y = torch.from_numpy(data.train.y).to(stack.device)
        self.target = torch.nn.functional.one_hot(y, len(data.classes)).to(stack.dtype)
        self.of_member = torch.tensor(stack.seeds.of_member, device=stack.device)
        self.augmented = augmented(stack.trials[0].arm.settings, data)
        self.epoch = -1  # none is begun
        self.orders = torch.empty(0)

    def take_steps(self, step: int, until: int) -> Floats:
        """Take steps as `Training.take_steps`; their losses are read back once."""
        losses = torch.stack([self._step(t) for t in range(step + 1, until + 1)])
        taken: Floats = losses.cpu().numpy()
        return taken

    def _step(self, t: int) -> torch.Tensor:
        """Take step t, which counts from 1."""
        per_epoch, size = self.budget.steps_per_epoch, self.budget.batch_size
        if (t - 1) // per_epoch != self.epoch:
            self.epoch = (t - 1) // per_epoch
            seeds = self.stack.seeds.seeds
            orders = [epoch_order(seed, self.epoch, self.budget, self.sampling) for seed in seeds]
            self.orders = torch.from_numpy(np.stack(orders)).to(self.stack.device)
        first = (t - 1) % per_epoch * size
        return self.stack.step(t, *self._batch(t, self.orders[:, first : first + size]))

    def _batch(self, t: int, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the pixels and targets of a step: (B, ..), or (K, B, ..) of several seeds."""
        if self.augmented is not None:
            return self.augmented.on_device(self.stack.seeds, t, places.cpu().numpy(), self.stack.device)
        index = places[0] if len(places) == 1 else places[self.of_member]
        return self.x[index], self.target[index]

    def evaluate(self, split: Split, *, keep: bool) -> Evaluation:
        """Evaluate a split; the images of test are read only for this."""
        return self.stack.evaluate(self.data[split], self.metrics, keep=keep)

    def weights(self) -> list[dict[str, Floats]]:
        """Return each member's values under its network's own names."""
        return self.stack.weights()

    def state_dict(self) -> dict[str, Any]:
        """Return values and the state of each optimizer, as rows (k, n)."""
        values = {f"block.0.{name}": value for name, value in self.stack.values.state_dict().items()}
        for i, optimizer in enumerate(self.stack.optimizers):
            values |= {f"update.{i}.{name}": value for name, value in optimizer.state_dict().items()}
        return values

    def load_state_dict(self, state: State) -> None:
        """Restore values and the state of each optimizer."""
        self.stack.values.load_state_dict(state.under("block.0."))
        for i, optimizer in enumerate(self.stack.optimizers):
            flat = self.stack.values.flat[optimizer.members.start : optimizer.members.stop]
            optimizer.load_state_dict(state.under(f"update.{i}."), [flat, flat], lambda rows: rows)
