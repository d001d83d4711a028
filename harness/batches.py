"""Batches: which training images every step sees, the same in every arm of a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.arm_settings import Settings
from harness.streams import stream


@dataclass(frozen=True)
class Budget:
    """How long a trial trains on n images, and after which steps it is evaluated.

    The last batch of a pass may be short (n not a multiple of the batch size); with replacement every
    batch is full, and a pass is as many steps as it takes to draw n images.
    """

    n: int
    batch_size: int
    steps: int
    eval_steps: tuple[int, ...]

    @classmethod
    def of(cls, settings: Settings, n: int) -> Budget:
        """The budget of a trial's settings on n training images."""
        steps, every = extent(settings, n)
        return cls(n, settings.batch_size, steps, (*range(0, steps, every), steps))

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass over the training images."""
        return math.ceil(self.n / self.batch_size)

    @property
    def epochs(self) -> int:
        """Passes begun."""
        return math.ceil(self.steps / self.steps_per_epoch)

    def epoch_of(self, step: int) -> float:
        """Passes completed after so many steps."""
        return step / self.steps_per_epoch


def extent(settings: Settings, n: int) -> tuple[int, int]:
    """The steps of a trial on n training images, and after how many of them it is evaluated each time."""
    per_epoch = math.ceil(n / settings.batch_size)
    steps = settings.steps if settings.steps is not None else (settings.epochs or 0) * per_epoch
    count, unit = settings.eval_every.split()
    return steps, int(count) * (per_epoch if unit.startswith("epoch") else 1)


def epoch_order(seed: int, epoch: int, budget: Budget, sampling: str) -> NDArray[np.int64]:
    """The images of one pass in the order they are seen; consecutive slices of batch_size are its batches.

    Every epoch has a stream of its own, so that training can go on from any epoch.
    """
    rng = stream(seed, "batches", epoch)
    if sampling == "sequential":
        return np.arange(budget.n)
    if sampling == "replacement":
        return rng.integers(0, budget.n, budget.steps_per_epoch * budget.batch_size)
    return rng.permutation(budget.n)
