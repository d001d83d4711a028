"""Batches: the training images of every step, the same in every arm of a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.data.arm_settings import Settings
from harness.rng import StreamSeed, stream


@dataclass(frozen=True)
class Budget:
    """The steps of a trial on n images, and those after which it is evaluated.

    A trial that continues another takes the steps after `first`, where that one's end.

    The last batch of a pass may be short (n not a multiple of the batch size); with replacement every
    batch is full, and a pass is as many steps as it takes to draw n images.
    """

    n: int
    batch_size: int
    steps: int
    eval_steps: tuple[int, ...]
    first: int = 0

    @classmethod
    def of(cls, settings: Settings, n: int) -> Budget:
        """Return the budget of a trial's settings on n training images."""
        own, every = extent(settings, n)
        first = settings.parent_steps
        steps = first + own
        return cls(n, settings.batch_size, steps, (*range(first, steps, every), steps), first)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass over the training images."""
        return math.ceil(self.n / self.batch_size)

    @property
    def epochs(self) -> int:
        """Passes begun."""
        return math.ceil(self.steps / self.steps_per_epoch)

    def epoch_of(self, step: int) -> float:
        """Return the passes completed after so many steps."""
        return step / self.steps_per_epoch


def extent(settings: Settings, n: int) -> tuple[int, int]:
    """Return a trial's own steps on n training images, and the steps between its evaluations."""
    per_epoch = math.ceil(n / settings.batch_size)
    steps = settings.steps if settings.steps is not None else (settings.epochs or 0) * per_epoch
    count, unit = settings.eval_every.split()
    return steps, int(count) * (per_epoch if unit.startswith("epoch") else 1)


def epoch_order(seed: StreamSeed, epoch: int, budget: Budget, sampling: str) -> NDArray[np.int64]:
    """Return the order of the images in one pass; consecutive slices of batch_size are its batches.

    Every epoch has its own random stream, so that training can resume at any epoch.
    """
    rng = stream(seed, "batches", epoch)
    if sampling == "sequential":
        return np.arange(budget.n)
    if sampling == "replacement":
        return rng.integers(0, budget.n, budget.steps_per_epoch * budget.batch_size)
    return rng.permutation(budget.n)
