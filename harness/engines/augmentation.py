"""Augmented batches: the images and targets of a training step, the same in every engine.

The raw images of a batch are changed, then preprocessed: an empty pixel is 0 before any preprocessing, also
before one that standardises each image by itself, and a preprocessing sees images as it sees those of val.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.axes.augmentations import NONE, Array, Batch, augmentations, augmented_batch
from harness.data.arm_settings import Settings
from harness.data.samples import Data
from harness.engines.members import SeedIndex
from harness.rng import StreamSeed, stream
from harness.study.trials import Trial
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


class AugmentedTrain:
    """The train split under an augmentation, step by step.

    What is drawn depends on the seed and the step alone: all members of a seed share a batch, and a training
    that resumes goes on with the same images.
    """

    def __init__(self, settings: Settings, data: Data) -> None:
        """Prepare the batches of trials with these settings of an augmentation."""
        entry = augmentations.entry(settings.augmentation)
        given = {name: settings[name] for name in entry.component.settings}
        self.name, self.own = entry.name, entry.third_party
        self.apply = functools.partial(entry.component.apply, **given)
        self.data = data
        train = data.train
        self.source = train.pixels[0] if isinstance(train.pixels, tuple) else None
        self.one_hot = np.eye(len(data.classes), dtype=train.dtype)

    def batch(self, seed: StreamSeed, step: int, places: NDArray[np.int64]) -> Batch:
        """Return the pixels (B, D) and the target (B, classes) of a seed's step, which counts from 1.

        `places` (B,) are the batch's images in the train split.

        Raises:
            ComponentError: a person's own augmentation raises, or gives no such batch.
        """
        x, target = self._images(places), self.one_hot[self.data.train.y[places]]
        rng = stream(seed, "augmentation", step)
        if self.own:
            x, target = augmented_batch(f"augmentation {self.name!r}", self.apply, x, target, rng)
        else:
            x, target = self.apply(x, target, rng)
        if self.source is None:
            return np.ascontiguousarray(x).reshape(len(x), -1), target
        return self.source.preprocessed(x), target

    def on_device(
        self, seeds: SeedIndex, step: int, places: NDArray[np.int64], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Return a step's pixels and target of a stack: (B, D) and (B, C), or (K, B, D) and (K, B, C).

        `places` (S, B) are each seed's images in the train split; members of one seed share a batch.
        """
        each = [self.batch(seed, step, row) for seed, row in zip(seeds.seeds, places, strict=True)]
        x, target = (torch.from_numpy(np.stack(values)).to(device) for values in zip(*each, strict=True))
        if len(each) == 1:
            return x[0], target[0]
        of_member = torch.tensor(seeds.of_member, device=device)
        return x[of_member], target[of_member]

    def _images(self, places: NDArray[np.int64]) -> Array:
        """Return the images (B, C, H, W) as they came; of a split that is an array, its pixels."""
        if self.source is not None:
            return self.source.raw("train", places)
        pixels: NDArray[Any] = self.data.train.x[places]
        return pixels.reshape(len(places), *self.data.shape)


def augments_none(trials: Iterable[Trial]) -> bool:
    """Tell whether trials that share their batches train on images as they are."""
    return all(trial.arm.settings.augmentation == NONE for trial in trials)


def augmented(settings: Settings, data: Data) -> AugmentedTrain | None:
    """Return the augmented batches of trials with these settings; None where images stay as they are."""
    return None if settings.augmentation == NONE else AugmentedTrain(settings, data)
