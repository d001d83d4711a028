"""Random streams: every draw the harness makes, by seed and purpose, from NumPy on the CPU.

All engines and devices start from the same bits because nothing is drawn anywhere else, and no
global random state is ever touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

Purpose = Literal["weights", "batches", "split", "label_noise", "dropout", "augmentation"]
# A purpose's number is part of the training semantics: never reuse or reorder them.
PURPOSES: dict[Purpose, int] = {
    "weights": 0, "batches": 1, "split": 2, "label_noise": 3, "dropout": 4, "augmentation": 5,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StepSeeds:
    """The seeds of all that is drawn step by step, where they are not one: each under its purpose."""

    batches: int
    dropout: int
    augmentation: int


StreamSeed: TypeAlias = "int | StepSeeds"
"""A seed of every purpose, or one for each."""


def stream(seed: StreamSeed, purpose: Purpose, *indices: int) -> np.random.Generator:
    """Return the generator of one purpose of a seed; `indices` (an epoch, a layer) give independent ones.

    Of StepSeeds it is the generator of the purpose's own seed.
    Source: NumPy's SeedSequence, whose spawn keys make statistically independent streams.

    >>> stream(0, "weights").random() == stream(0, "weights").random()
    True
    >>> stream(0, "weights").random() == stream(0, "batches").random()
    False
    >>> stream(StepSeeds(7, 0, 0), "batches").random() == stream(7, "batches").random()
    True
    """
    root = getattr(seed, purpose) if isinstance(seed, StepSeeds) else seed
    return np.random.default_rng(np.random.SeedSequence(root, spawn_key=(PURPOSES[purpose], *indices)))
