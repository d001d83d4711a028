"""Colour data sets of real digits, made anew at each call: what a pixel should be is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.datasets import Dataset, datasets
from harness.data.images import Images

TINTS = np.array([[1, 0.25, 0.5], [0.25, 1, 0.5], [0.5, 0.25, 1], [1, 1, 0.25], [0.5, 0.75, 0.25]])
"""Red, green and blue of a digit's ink: of image i tint i modulo five, so that colours say no label."""
NAMES = tuple("0123456789")


def tinted(grey: NDArray[np.uint8], full: int = 255) -> NDArray[Any]:
    """Give digits (N, 8, 8), 0..16, ink of a colour on black: (N, 8, 8, 3), 0..full."""
    tints = TINTS[np.arange(len(grey)) % len(TINTS)][:, None, None]
    pixels = (grey[..., None] / 16 * tints * full).round()
    return np.asarray(pixels, np.uint8 if full <= 255 else np.uint16)


def in_two_channels(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give (N, 8, 8, 2): a digit in the first channel, and the one after it in the second."""
    return np.stack([grey, np.roll(grey, -1, axis=0)], axis=-1)


def data_set(name: str, form: Any = tinted, pixel_max: float = 255) -> Dataset:
    """Make a data set of the images that `form` makes of the digits."""

    def read() -> Images:
        grey = datasets["digits"].load()
        train, test = form(grey.train_images), form(grey.test_images)
        return Images(train, grey.train_labels, test, grey.test_labels)

    return Dataset(name, read, NAMES, pixel_max)


def register(name: str = "tinted", full: int = 255) -> Dataset:
    """Register tinted digits for one test, of 8 or of 16 bits."""

    def read() -> Images:
        """Digits in ink of five colours on black."""
        grey = datasets["digits"].load()
        train, test = tinted(grey.train_images, full), tinted(grey.test_images, full)
        return Images(train, grey.train_labels, test, grey.test_labels)

    datasets.register(name, classes=NAMES, pixel_max=full)(read)
    return datasets[name]


def deep(name: str) -> Dataset:
    """Make the data set of tinted digits of 16 bits."""
    return data_set(name, lambda grey: tinted(grey, 65535), 65535)
