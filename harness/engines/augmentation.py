"""Augmented batches: the images and targets of a training step, the same in every engine.

The raw images of a batch are changed, then preprocessed: an empty pixel is 0 before any preprocessing, also
before one that standardises each image by itself, and a preprocessing sees images as it sees those of val.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.axes.augmentations import NONE, Array, Batch, augmentations
from harness.data.arm_settings import Settings
from harness.data.samples import Data
from harness.errors import ComponentError
from harness.rng import stream
from harness.study.trials import Trial
from harness.system.process_state import called, shape_in_words


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

    def batch(self, seed: int, step: int, places: NDArray[np.int64]) -> Batch:
        """Return the pixels (B, D) and the target (B, classes) of a seed's step, which counts from 1.

        `places` (B,) are the batch's images in the train split.

        Raises:
            ComponentError: a person's own augmentation raises, or gives no such batch.
        """
        x, target = self._images(places), self.one_hot[self.data.train.y[places]]
        rng = stream(seed, "augmentation", step)
        if self.own:
            x, target = checked(self.name, self.apply, x, target, rng)
        else:
            x, target = self.apply(x, target, rng)
        if self.source is None:
            return np.ascontiguousarray(x).reshape(len(x), -1), target
        return self.source.preprocessed(x), target

    def _images(self, places: NDArray[np.int64]) -> Array:
        """Return the images (B, C, H, W) as they came; of a split that is an array, its pixels."""
        if self.source is not None:
            return self.source.raw("train", places)
        pixels: NDArray[Any] = self.data.train.x[places]
        return pixels.reshape(len(places), *self.data.shape)


def checked(name: str, apply: functools.partial[Any], x: Array, target: Array, rng: Any) -> Batch:
    """Call a person's own augmentation; raise ComponentError where it gives no batch of the same shapes."""
    what, shapes, dtype = f"augmentation {name!r}", (x.shape, target.shape), x.dtype
    note = f" (called with {shapes[0]}, {shapes[1]} and a Generator)"
    result = called(what, apply, x, target, rng, note=note)
    if not isinstance(result, tuple) or len(result) != 2:
        raise ComponentError(f"{what} gives {type(result).__name__}; allowed: two arrays, (x, target)")
    for given, shape, means in zip(result, shapes, ("x", "target"), strict=True):
        if np.shape(given) != shape:
            raise ComponentError(
                f"{what} gives {means} as {shape_in_words(np.asarray(given))}; allowed: shape {shape}, as it was"
            )
        if not np.isfinite(given).all():
            raise ComponentError(f"{what} gives numbers in {means} that are not finite")
    return np.asarray(result[0], dtype), np.asarray(result[1], dtype)


def augments_none(trials: Iterable[Trial]) -> bool:
    """Tell whether trials that share their batches train on images as they are."""
    return all(trial.arm.settings.augmentation == NONE for trial in trials)


def augmented(settings: Settings, data: Data) -> AugmentedTrain | None:
    """Return the augmented batches of trials with these settings; None where images stay as they are."""
    return None if settings.augmentation == NONE else AugmentedTrain(settings, data)
