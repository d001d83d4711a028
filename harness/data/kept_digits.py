"""The digits that come with scikit-learn, kept in the cache: to import scikit-learn takes a second."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from harness.data import cache, idx
from harness.errors import MachineError, UsageError
from harness.system import files

FILES = ("images-idx3-ubyte", "labels-idx1-ubyte")
"""Names of the files in the cache, in MNIST's format."""
SHAPE = (1797, 8, 8)


def read() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the images (N, 8, 8) and labels (N,): from the cache or, where it has none, from scikit-learn.

    The caller compares their digest, and calls `renewed` where the cache has other ones. A cache that cannot
    be written costs only time.
    """
    folder = cache.cache_root() / "digits"
    try:
        pixels, labels = (idx.read(folder / name) for name in FILES)
        if (pixels.shape, labels.shape) == (SHAPE, SHAPE[:1]) and pixels.dtype == labels.dtype == np.uint8:
            return pixels, labels.astype(np.int64)
    except UsageError:  # missing, cut or damaged
        pass
    return renewed()


def renewed() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the images and labels from scikit-learn, and keep them for the next process."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    folder = cache.cache_root() / "digits"
    with suppress(MachineError):
        for name, array in zip(FILES, (pixels, labels.astype(np.uint8)), strict=True):
            files.write(folder / name, idx.pack(array))
    return pixels, labels
