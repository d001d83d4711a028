"""Steps of a stack: what it reads and writes at each of them, and how they are taken one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data.batches import Budget
from harness.data.samples import Data, Samples
from harness.engines.augmentation import AugmentedTrain
from harness.engines.base import LOOK_EVERY
from harness.engines.stacked.first_layer import ImageSource
from harness.engines.stacked.network import StackedNetwork


@dataclass(frozen=True)
class Feed:
    """The input and output of a stack's steps.

    They read the train split, its images and one-hot target (N, C), and write `losses` (T, K): those of step
    t's batch go into row (t - 1) % T.
    """

    samples: Samples
    images: ImageSource[Any]
    target: Tensor
    budget: Budget
    losses: Tensor

    @property
    def kept(self) -> int:
        """Return the number of steps whose losses are kept, T."""
        return len(self.losses)

    @classmethod
    def of(cls, stack: StackedNetwork, data: Data, images: ImageSource[Any], budget: Budget) -> Feed:
        """Return the feed of a stack, on its device."""
        y = torch.from_numpy(data.train.y).to(stack.device)
        target = torch.nn.functional.one_hot(y, len(data.classes)).to(stack.dtype)
        losses = torch.zeros(LOOK_EVERY, len(stack.trials), dtype=stack.dtype, device=stack.device)
        return cls(data.train, images, target, budget, losses)


class Steps(Protocol):
    """Takes a stack's steps, epoch by epoch; `kind` names the way, on which float bits may depend."""

    kind: str

    def begin(self, orders: NDArray[np.int64], step: int) -> None:
        """Prepare for an epoch, or the rest of it, after so many steps of the run.

        `orders` (S, n) are its images as each seed sees them; consecutive slices are its batches.
        """

    def advance(self, step: int, until: int) -> int:
        """Take the step after `step`, or several within the epoch and up to `until`; return how many."""


class Augmented:
    """Steps on augmented batches, which NumPy makes at each of them, one a seed; else as `Eager`."""

    kind = "eager"

    def __init__(self, stack: StackedNetwork, feed: Feed, batches: AugmentedTrain) -> None:
        self.stack, self.feed, self.batches = stack, feed, batches
        self.size, self.per_epoch = feed.budget.batch_size, feed.budget.steps_per_epoch

    def begin(self, orders: NDArray[np.int64], step: int) -> None:  # noqa: ARG002 (the protocol's signature)
        """Begin as `Steps.begin`."""
        self.orders = orders

    def advance(self, step: int, until: int) -> int:  # noqa: ARG002 (the protocol's signature)
        """Take one step."""
        first = step % self.per_epoch * self.size
        places = self.orders[:, first : first + self.size]
        x, target = self.batches.on_device(self.stack.seeds, step + 1, places, self.stack.device)
        self.feed.losses[step % self.feed.kept] = self.stack.step(step + 1, x, target)
        return 1


class Eager:
    """Steps as PyTorch dispatches them, operation by operation."""

    kind = "eager"

    def __init__(self, stack: StackedNetwork, feed: Feed) -> None:
        self.stack, self.feed = stack, feed
        self.of_member = torch.tensor(stack.seeds.of_member, device=stack.device)
        self.kept, self.size = feed.kept, feed.budget.batch_size
        self.per_epoch = feed.budget.steps_per_epoch

    def begin(self, orders: NDArray[np.int64], step: int) -> None:  # noqa: ARG002 (the protocol's signature)
        """Begin as `Steps.begin`."""
        self.orders = torch.from_numpy(orders).to(self.stack.device)

    def advance(self, step: int, until: int) -> int:  # noqa: ARG002 (the protocol's signature)
        """Take one step."""
        first, feed = step % self.per_epoch * self.size, self.feed
        index = self.orders[:, first : first + self.size]
        samples = index[0] if len(index) == 1 else index[self.of_member]
        batch = feed.images.at(index)
        feed.losses[step % self.kept] = self.stack.step(step + 1, batch, feed.target[samples])
        return 1
