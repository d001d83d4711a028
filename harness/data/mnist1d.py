"""MNIST-1D: ten short curves, padded, scaled, moved and made noisy, as rows of 40 values.

Source: Greydanus, "Scaling down deep learning", arXiv:2011.14439 (2020), whose construction this follows,
written anew from its description. The ten curves are this module's own: no number is of the paper's data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.data.images import Images

CURVES = np.array([
    (0.0, 0.5, 0.8, 0.95, 1.0, 1.0, 1.0, 1.0, 0.95, 0.8, 0.5, 0.0),
    (0.4, 0.8, 1.0, 0.6, 0.55, 0.55, 0.55, 0.55, 0.55, 0.55, 0.55, 0.55),
    (0.4, 0.8, 1.0, 0.95, 0.7, 0.4, 0.0, -0.4, -0.7, -0.2, 0.4, 1.0),
    (0.3, 0.8, 1.0, 0.8, 0.4, 0.2, 0.4, 0.8, 1.0, 0.95, 0.7, 0.2),
    (0.0, -0.3, -0.6, -0.9, -1.0, 0.2, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8),
    (1.0, 0.6, -0.3, -0.4, -0.3, 0.3, 0.8, 1.0, 0.95, 0.7, 0.2, -0.3),
    (0.6, 0.1, -0.4, -0.8, -1.0, -1.0, -0.5, 0.3, 0.6, 0.4, 0.0, -0.5),
    (-0.8, 0.0, 0.8, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0, -0.2, -0.35, -0.5),
    (0.0, 0.6, 0.8, 0.4, -0.2, -0.7, -0.7, -0.2, 0.5, 0.9, 0.7, 0.0),
    (0.5, 0.9, 0.9, 0.3, -0.3, -0.5, -0.1, 0.7, 0.9, 0.9, 0.9, 0.9),
])  # fmt: skip
"""A curve of 12 values for each class: the pen's way to the right while it draws the digit downwards."""
CLASSES = tuple("0123456789")
TRAIN, TEST, LENGTH = 4000, 1000, 40
PADDING = (36, 60)
"""The fewest and the most zeros that follow a curve."""
SCALE, MOVE, CORRELATED, SHEAR, NOISE = 0.4, 48, 0.25, 0.75, 0.02
"""The share by which a curve is higher or lower at most; the places that it moves at most, round the end;
the standard deviation of noise before it is made smooth; the largest slope, over the whole length; and the
standard deviation of the noise of each value."""
SMOOTH = 2.0
"""Standard deviation, in places, of the Gaussian that makes noise smooth."""
HIGHEST = 2.5
"""Value of a full pixel; minus it is 0. Hardly any value is beyond."""


def draw(seed: int = 0) -> Images:
    """Draw 4,000 train and 1,000 test rows (N, 1, 40), as many of each class, mixed, test by other draws.

    Values -2.5 to 2.5 are rounded to pixels of 0 to 255, in steps of 0.02, the noise of each value.
    """
    return Images(*_part(seed, 0, TRAIN), *_part(seed, 1, TEST))


def _part(seed: int, part: int, n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(part,)))
    labels = rng.permutation(np.arange(n) % len(CURVES))
    values = np.stack([_row(CURVES[label], rng) for label in labels])
    pixels = ((values + HIGHEST) / (2 * HIGHEST) * 255).round().clip(0, 255).astype(np.uint8)
    return pixels[:, None, :], labels


def _row(curve: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Distort a curve into a row of LENGTH values."""
    length = len(curve) + int(rng.integers(*PADDING, endpoint=True))
    row = np.zeros(length)
    row[: len(curve)] = curve * (1 + rng.uniform(-SCALE, SCALE))
    row = np.roll(row, rng.integers(0, MOVE, endpoint=True))
    row += CORRELATED * _smooth_noise(length, rng)
    row += rng.uniform(-SHEAR, SHEAR) * np.linspace(-0.5, 0.5, length)
    places = np.linspace(0, length - 1, LENGTH)
    return np.interp(places, np.arange(length), row) + rng.normal(0, NOISE, LENGTH)


def _smooth_noise(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw noise whose neighbours are alike: values of standard deviation 1, smoothed."""
    reach = int(4 * SMOOTH)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SMOOTH) ** 2)
    weights /= weights.sum()
    return np.convolve(rng.normal(size=length + 2 * reach), weights, "valid")
