"""Steps: what a stack reads and writes at each of its steps, and how these are taken, one after the other."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.batches import Budget
from harness.data import Data, Samples
from harness.engines.layer_one import Images
from harness.engines.stack import Stack

LOSSES_KEPT = 64  # batch losses gathered before they are looked at: one look costs as much as a step


@dataclass(frozen=True)
class Feed:
    """What a stack's steps read, the train split, its images and one-hot target (N, C), and what they write.

    That is `losses` (T, K): those of step t's batch go into row (t - 1) % T.
    """

    samples: Samples
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
        return cls(data.train, images, target, budget, losses)


class Steps(Protocol):
    """Takes a stack's steps, epoch by epoch."""

    def begin(self, orders: NDArray[np.int64], step: int) -> None:
        """Begin an epoch, or go on within it, after so many steps of the run.

        `orders` (S, n) are its images as each seed sees them; consecutive slices are its batches.
        """

    def advance(self, step: int) -> int:
        """Take the step after so many, or a stretch of them up to the next look; gives how many."""


def eager(stack: Stack, feed: Feed) -> Steps:
    """Steps wherever nothing is recorded."""
    return Eager(stack, feed) if stack.stretches is None else Stretched(stack, feed)


class Eager:
    """Steps as PyTorch dispatches them, operation by operation."""

    def __init__(self, stack: Stack, feed: Feed) -> None:
        self.stack, self.feed = stack, feed
        self.kept, self.size = feed.kept, feed.budget.batch_size
        self.per_epoch = feed.budget.steps_per_epoch

    def begin(self, orders: NDArray[np.int64], step: int) -> None:  # noqa: ARG002 (the protocol's signature)
        """As `Steps.begin`."""
        self.orders = torch.from_numpy(orders).to(self.stack.device)

    def advance(self, step: int) -> int:
        """As `Steps.advance`: one."""
        first, feed = step % self.per_epoch * self.size, self.feed
        index = self.orders[:, first : first + self.size]
        own = index[0] if len(index) == 1 else index[self.stack.rows]
        seen = feed.images.at(index)
        feed.losses[step % self.kept] = self.stack.step(step + 1, seen, feed.target[own])
        return 1


class Stretched(Eager):
    """Steps in the kernels, many at a time."""

    def advance(self, step: int) -> int:
        """As `Steps.advance`."""
        stretches, feed, size, kept = self.stack.stretches, self.feed, self.size, step % self.kept
        assert stretches is not None  # noqa: S101 (`eager` has asked)
        first, evaluated = step % self.per_epoch * size, feed.budget.eval_steps
        due = evaluated[bisect_right(evaluated, step)]
        whole = (self.orders.shape[1] - first) // size
        count = min(stretches.most(size), max(whole, 1), due - step, self.kept - kept)
        index = self.orders[:, first : first + count * size].reshape(len(self.orders), count, -1)
        stretches.take(step + 1, feed.samples, index, feed.losses[kept : kept + count])
        return count
