"""A stack in PyTorch: compatible trials train as one; those of a seed on the same batches.

Here a stack meets the run of all engines (driver.py). Steps are taken in steps.py, or in
cuda_graphs.py on a GPU; the arithmetic is in network.py and optimizer.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike

from harness.axes.metrics import metrics
from harness.data.batches import Budget, epoch_order
from harness.data.samples import TRAINED_ON, Data, Split
from harness.engines import driver
from harness.engines.augmentation import augmented
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions
from harness.engines.outcome import Evaluation, Floats, Outcome
from harness.engines.resident import steps as resident
from harness.engines.stacked import cuda_graphs
from harness.engines.stacked.network import StackedNetwork
from harness.engines.stacked.optimizer import stack_optimizers
from harness.engines.stacked.steps import Augmented, Eager, Feed, Steps
from harness.engines.states import State
from harness.engines.tensors import torch_dtype
from harness.study.trials import Trial


@torch.no_grad()
def train(
    trials: Sequence[Trial], data: Data, device: str = "cpu", dtype: DTypeLike = np.float32,
    options: EngineOptions = DEFAULT_OPTIONS,
) -> Outcome:  # fmt: skip
    """Train trials of one group as one stack, and observe them; the arguments are those of `base.Engine`.

    The trials may be of one seed or several; those of one shape are side by side, and those of one optimizer,
    activation and so on among them.
    """
    where = torch.device(device)
    with cuda_graphs.streaming(where):
        budget = Budget.of(trials[0].arm.settings, len(data.train.y))
        optimizers = stack_optimizers(trials, budget, where)
        stack = StackedNetwork(trials, data, optimizers, where, torch_dtype(dtype))
        training = StackTraining(stack, data, budget, options.metrics)
        outcome = driver.run(training, options)
        outcome.steps = training.steps.kind
        return outcome


class StackTraining:
    """A stack in training (`driver.Training`), with its data on the device."""

    def __init__(self, stack: StackedNetwork, data: Data, budget: Budget, tracked: Sequence[str]) -> None:
        self.stack, self.data, self.budget = stack, data, budget
        self.metrics = [metrics[name] for name in tracked]
        self.sampling = stack.trials[0].arm.settings.sampling
        self.parameters = np.repeat([block.parameters for block in stack.blocks], stack.sizes)
        self.notes: list[str] = []
        self.images = {split: stack.first.images(data[split]) for split in TRAINED_ON}
        self.feed = Feed.of(stack, data, self.images["train"], budget)
        self.steps = self._steps(stack)
        self.epoch = -1  # none is begun

    def _steps(self, stack: StackedNetwork) -> Steps:
        """Return the fastest steps that a stack's device has for it."""
        batches = augmented(stack.trials[0].arm.settings, self.data)
        if batches is not None:
            return Augmented(stack, self.feed, batches)
        for kind in (resident, cuda_graphs):
            found: Steps | None = kind.steps(stack, self.data, self.feed, self.notes.append)
            if found is not None:
                return found
        return Eager(stack, self.feed)

    def take_steps(self, step: int, until: int) -> Floats:
        """Take steps as `Training.take_steps`; their losses are read back once."""
        row = step % self.feed.kept
        count = until - step
        while step < until:
            if step // self.budget.steps_per_epoch != self.epoch:
                self._begin_epoch(step)
            step += self.steps.advance(step, until)
        losses: Floats = self.feed.losses[row : row + count].cpu().numpy()
        return losses

    def _begin_epoch(self, step: int) -> None:
        """Draw the order of the epoch that the step after `step` is in, for each seed."""
        self.epoch = step // self.budget.steps_per_epoch
        seeds = self.stack.seeds.seeds
        orders = [epoch_order(seed, self.epoch, self.budget, self.sampling) for seed in seeds]
        self.steps.begin(np.stack(orders), step)

    def evaluate(self, split: Split, *, keep: bool) -> Evaluation:
        """Evaluate a split; the images of test are read only for this."""
        samples = self.data[split]
        images = self.images[split] if split in self.images else self.stack.first.images(samples)
        return self.stack.evaluate(samples, images, self.metrics, keep=keep)

    def weights(self) -> list[dict[str, Floats]]:
        """Return each member's weights under torch.nn.Linear's names."""
        return self.stack.weights()

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters of each block and the state of each optimizer, as plain (k, h*D)."""
        first = self.stack.first
        values: dict[str, Any] = {}
        for i, block in enumerate(self.stack.blocks):
            values |= {f"block.{i}.first": first.weights(i), f"block.{i}.rest": block.rest}
        for i, group in enumerate(first.groups):
            for name, value in group.optimizer.state_dict().items():
                tiled = name.startswith("0.") and np.shape(value) == group.first.shape
                values[f"update.{i}.{name}"] = first.from_tiles(group.block, value) if tiled else value
        return values

    def load_state_dict(self, state: State) -> None:
        """Restore the parameters of each block and the state of each optimizer."""
        stack, first = self.stack, self.stack.first
        for i, block in enumerate(stack.blocks):
            weights = torch.from_numpy(state.values[f"block.{i}.first"])
            first.set_weights(i, weights.to(stack.device))
            block.rest.copy_(torch.from_numpy(state.values[f"block.{i}.rest"]))
        for i, group in enumerate(first.groups):
            values, to_tiles = state.under(f"update.{i}."), partial(first.to_tiles, group.block)
            group.optimizer.load_state_dict(values, [group.first, group.rest], to_tiles)
