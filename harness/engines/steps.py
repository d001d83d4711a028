"""Steps: what a stack reads and writes at each of its steps, and how these are taken, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.batches import Budget
from harness.data import Data
from harness.engines.layer_one import Images
from harness.engines.stack import Stack

LOSSES_KEPT = 64  # batch losses gathered before they are looked at: one look costs as much as a step


@dataclass(frozen=True)
class Feed:
    """What a stack's steps read, the train split's images and one-hot target (N, C), and what they write.

    That is `losses` (T, K): those of step t's batch go into row (t - 1) % T.
    """

    images: Images
    target: Tensor
    budget: Budget
    losses: Tensor

    @property
    def kept(self) -> int:
        """Steps whose losses are kept, T."""
        return len(self.losses)

    @classmethod
    def of(cls, stack: Stack, data: Data, images: Images, budget: Budget) -> Feed:
        """That of a stack, on its device."""
        y = torch.from_numpy(data.train.y).to(stack.device)
        target = torch.nn.functional.one_hot(y, len(data.classes)).to(stack.dtype)
        losses = torch.zeros(LOSSES_KEPT, len(stack.trials), dtype=stack.dtype, device=stack.device)
        return cls(images, target, budget, losses)


class Steps(Protocol):
    """Takes a stack's steps."""

    def epoch(self, orders: NDArray[np.int64], taken: int) -> Iterator[None]:
        """Take the rest of an epoch's steps, one whenever the next value is asked for.

        Args:
            orders: the images (S, n) in the order each seed sees them; consecutive slices are its batches.
            taken: steps of the run that were taken before.
        """


class Eager:
    """Steps as PyTorch dispatches them, operation by operation."""

    def __init__(self, stack: Stack, feed: Feed) -> None:
        self.stack, self.feed = stack, feed

    def epoch(self, orders: NDArray[np.int64], taken: int) -> Iterator[None]:
        """As `Steps.epoch`."""
        stack, feed, size, kept = self.stack, self.feed, self.feed.budget.batch_size, self.feed.kept
        order = torch.from_numpy(orders).to(stack.device)
        own = order[0] if len(stack.seeds) == 1 else order[stack.rows]
        done = taken % feed.budget.steps_per_epoch
        batches = zip(order.split(size, -1)[done:], own.split(size, -1)[done:], strict=True)
        for step, (index, mine) in enumerate(batches, taken):
            feed.losses[step % kept] = stack.step(step + 1, feed.images.at(index), feed.target[mine])
            yield
