"""Augmentations: training images are changed at random at every step, and evaluations see them as they are.

A function maps a batch to a batch: `f(x, target, rng, *, settings) -> (x, target)`. x (B, C, H, W) are pixels
as the data set has them, 0..max in floats, before the preprocessing: there an empty pixel is 0, whatever
the preprocessing makes of it. target (B, classes) are the labels as distributions, one-hot before
`label_smoothing`. Both are copies, which may be changed. All that is random comes from `rng`, a
numpy.random.Generator of the trial's seed and the step; so all arms of a seed, in every engine and stack, see
the same images. Keyword-only parameters are settings.

The strength of an augmentation only scales what is drawn: arms of another strength move or turn an image in
the same direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from harness.errors import ComponentError
from harness.registry import Registry
from harness.settings import Setting, check_declared, declared
from harness.system.process_state import called, shape_in_words

Array = NDArray[np.floating[Any]]
Batch = tuple[Array, Array]
NONE = "none"
TRIES = 10
"""Rectangles that are drawn for an image, until one is smaller than it."""
LONGEST = 3.3
"""The sides of an erased rectangle, as long one to the other at most."""


@dataclass(frozen=True)
class Augmentation:
    """A registered augmentation: apply(x, target, rng, **settings) -> (x, target), of the same shapes."""

    name: str
    apply: Callable[..., Batch]

    def __post_init__(self) -> None:
        check_declared(self.apply)

    @property
    def settings(self) -> dict[str, Setting]:
        """The settings this augmentation declares."""
        return declared(self.apply)


augmentations: Registry[Augmentation] = Registry("augmentation", Augmentation)


def augmented_batch(what: str, apply: Callable[..., Any], x: Array, target: Array, rng: Generator) -> Batch:
    """Call a person's own augmentation; raise ComponentError where it gives no batch of the same shapes.

    The types stay: numbers of another type are converted.
    """
    shapes, dtype = (x.shape, target.shape), x.dtype
    note = f" (called with {shapes[0]}, {shapes[1]} and a Generator)"
    result = called(what, apply, x, target, rng, note=note)
    if not isinstance(result, tuple) or len(result) != 2:
        raise ComponentError(f"{what} gives {type(result).__name__}; allowed: two arrays, (x, target)")
    for given, shape, means in zip(result, shapes, ("x", "target"), strict=True):
        if np.shape(given) != shape:
            raise ComponentError(
                f"{what} gives {means} as {shape_in_words(np.asarray(given))}; allowed: shape {shape}"
            )
        if not np.isfinite(given).all():
            raise ComponentError(f"{what} gives numbers in {means} that are not finite")
    return np.asarray(result[0], dtype), np.asarray(result[1], dtype)


@augmentations.register(NONE)
def none(x: Array, target: Array, rng: Generator) -> Batch:  # noqa: ARG001 (the functions' common signature)
    """The images as they are."""
    return x, target


@augmentations.register("shift")
def shift(x: Array, target: Array, rng: Generator, *, shift_pixels: int = 2) -> Batch:
    """Moves each image by up to shift_pixels, up or down and left or right; what comes in is empty.

    All whole numbers of pixels from -shift_pixels to shift_pixels are equally likely.
    """
    moves = np.floor(rng.random((2, len(x))) * (2 * shift_pixels + 1)).astype(np.int64) - shift_pixels
    return shifted(x, *moves), target


def shifted(x: Array, down: NDArray[np.int64], right: NDArray[np.int64]) -> Array:
    """Move images (B, C, H, W) by so many pixels (B,) down and right; empty pixels come in.

    >>> shifted(np.array([[[[1.0, 2.0, 3.0]]]]), np.array([0]), np.array([1])).tolist()
    [[[[0.0, 1.0, 2.0]]]]
    """
    count, channels, height, width = x.shape
    v = min(height, int(np.abs(down).max(initial=0)))
    h = min(width, int(np.abs(right).max(initial=0)))
    padded = np.zeros((count, channels, height + 2 * v, width + 2 * h), x.dtype)
    padded[:, :, v : v + height, h : h + width] = x
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), (2, 3))
    moved: Array = windows[np.arange(count), :, v - down.clip(-v, v), h - right.clip(-h, h)]
    return moved


@augmentations.register("flip")
def flip(x: Array, target: Array, rng: Generator, *, flip_probability: float = 0.5) -> Batch:
    """Mirrors an image, left to right, with probability flip_probability."""
    mirrored = rng.random(len(x)) < flip_probability
    x[mirrored] = x[mirrored, :, :, ::-1]
    return x, target


@augmentations.register("rotate")
def rotate(x: Array, target: Array, rng: Generator, *, rotate_degrees: float = 10.0) -> Batch:
    """Turns each image about its centre by up to rotate_degrees, either way; what comes in is empty.

    All angles are equally likely; pixels are interpolated from the four around them (bilinear).
    """
    return rotated(x, (2 * rng.random(len(x)) - 1) * rotate_degrees), target


def rotated(x: Array, degrees: NDArray[np.float64]) -> Array:
    """Turn images (B, C, H, W) counterclockwise about their centre, by so many degrees (B,); bilinear."""
    count, channels, height, width = x.shape
    angle = np.deg2rad(degrees)[:, None, None]
    sin, cos = np.sin(angle), np.cos(angle)
    down = np.arange(height)[:, None] - (height - 1) / 2
    right = np.arange(width) - (width - 1) / 2
    # The place of each pixel before the turn, in images with a frame of empty pixels.
    row = (cos * down + (height + 1) / 2).astype(x.dtype) + (sin * right).astype(x.dtype)
    column = (cos * right + (width + 1) / 2).astype(x.dtype) - (sin * down).astype(x.dtype)
    top, lower = _cell(row, height)
    left, later = _cell(column, width)
    framed = np.zeros((count, channels, height + 2, width + 2), x.dtype)
    framed[:, :, 1:-1, 1:-1] = x
    flat, stride = framed.reshape(-1), width + 2
    first = stride * (height + 2) * np.arange(count * channels).reshape(count, channels, 1, 1)
    place = first + (stride * top + left)[:, None]

    def row_from(start: int) -> Array:
        return _between(flat[start:].take(place), flat[start + 1 :].take(place), later[:, None])

    return _between(row_from(0), row_from(stride), lower[:, None])


def _cell(place: Array, size: int) -> tuple[NDArray[np.int64], Array]:
    """Cut places in a side with its frame into the pixel before and the share of the way to the next one.

    What lies beyond the frame is on the frame; `place` is overwritten.
    """
    np.clip(place, 0, size + 1, out=place)
    before = np.minimum(place.astype(np.int64), size)
    place -= before
    return before, place


def _between(one: Array, other: Array, share: Array) -> Array:
    """Interpolate, overwriting `other`: one + share * (other - one)."""
    other -= one
    other *= share
    other += one
    return other


@augmentations.register("erase")
def erase(
    x: Array, target: Array, rng: Generator, *,
    erase_probability: float = 0.5, erase_share: tuple[float, float] = (0.02, 0.33),
) -> Batch:  # fmt: skip
    """Empties a rectangle of an image with probability erase_probability: random erasing.

    The rectangle has a share of the image's pixels within `erase_share`, and sides of a ratio of 10 : 33 to
    33 : 10, whose logarithm is uniform.

    Source: Zhong, Zheng, Kang, Li and Yang 2020, "Random Erasing Data Augmentation"; the ratio, and what is
    erased being empty, as in torchvision.transforms.RandomErasing.
    """
    height, width = x.shape[2:]
    chosen = rng.random(len(x)) < erase_probability
    least, most = erase_share
    u, v = rng.random((2, TRIES, len(x)))
    area, ratio = (least + u * (most - least)) * height * width, LONGEST ** (2 * v - 1)
    sides = np.rint(np.sqrt([area * ratio, area / ratio])).astype(np.int64)  # (2, tries, B)
    fits = (sides < np.array([height, width])[:, None, None]).all(0)
    drawn = sides[:, fits.argmax(0), np.arange(len(x))] * (chosen & fits.any(0))
    first = np.floor(rng.random((2, len(x))) * (np.array([[height], [width]]) - drawn + 1)).astype(np.int64)
    rows, columns = (
        (np.arange(n) >= start[:, None]) & (np.arange(n) < (start + side)[:, None])
        for n, start, side in zip((height, width), first, drawn, strict=True)
    )
    x *= ~(rows[:, None, :, None] & columns[:, None, None, :])
    return x, target


@augmentations.register("mixup")
def mixup(x: Array, target: Array, rng: Generator, *, mixup_alpha: float = 1.0) -> Batch:
    """Mixes each image, and its target, with another of the batch: w of one and 1 - w of the other.

    The weight w is drawn from Beta(mixup_alpha, mixup_alpha), once a batch, as in the authors' code.

    Source: Zhang, Cisse, Dauphin and Lopez-Paz 2018, "mixup: Beyond Empirical Risk Minimization".
    """
    other, weight = rng.permutation(len(x)), float(rng.beta(mixup_alpha, mixup_alpha))
    return mixed(x, other, weight), mixed(target, other, weight)


def mixed(values: Array, other: NDArray[np.int64], weight: float) -> Array:
    """Mix rows: weight * values + (1 - weight) * values[other].

    >>> mixed(np.array([[0.0], [4.0]]), np.array([1, 0]), 0.75).tolist()
    [[1.0], [3.0]]
    """
    together: Array = values * weight + values[other] * (1 - weight)
    return together


@augmentations.register("pixel_dropout")
def pixel_dropout(x: Array, target: Array, rng: Generator, *, pixel_dropout_share: float = 0.2) -> Batch:
    """Empties each pixel with probability pixel_dropout_share, and divides those that stay by its complement.

    On grey images with the preprocessing `unit` it is dropout of the inputs. All channels of a pixel go
    together.

    Source: Srivastava et al. 2014, "Dropout", whose networks leave out 20 % of the inputs.
    """
    count, _, height, width = x.shape
    stays = rng.random((count, 1, height, width), dtype=np.float32) >= np.float32(pixel_dropout_share)
    x *= stays
    x /= 1 - pixel_dropout_share
    return x, target
