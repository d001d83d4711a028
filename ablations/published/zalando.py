"""What scikit-learn's pipeline of the Fashion-MNIST benchmark does to pixels."""

import numpy as np

from harness.axes.preprocessing import preprocessings
from harness.data.preprocessing import Pixels, PixelStatistics

BLOCK = 5_000  # images whose pixels are summed at once


@preprocessings.register("standardize_each_pixel")
def standardize_each_pixel(x: Pixels, pixels: PixelStatistics) -> Pixels:
    """Each pixel less its own mean over the images of train, over its own sd; one that never varies is 0."""
    count, shape = len(pixels.train), pixels.train.shape[1:]
    total, squares = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for first in range(0, count, BLOCK):
        block = pixels.train[first : first + BLOCK].astype(np.int64)
        total += block.sum(0)
        squares += np.square(block).sum(0)
    sd = np.sqrt(count * squares - total * total) / count
    return (x - (total / count).astype(x.dtype)) / np.where(sd > 0, sd, 1).astype(x.dtype)
