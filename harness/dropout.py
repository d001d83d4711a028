"""Dropout: which units every step leaves out, the same in every arm of a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.streams import stream


def uniforms(seed: int, layer: int, step: int, width: int, batch: int) -> NDArray[np.float32]:
    """Uniform numbers in [0, 1) for one hidden layer at one step, (width, batch): units stay where >= p.

    They depend on no p and on no stack, so arms of one seed are paired in what they leave out, and a larger p
    leaves out the same units and others besides. They are drawn row by row: a narrower layer's are the first
    rows of a wider one's. Always float32, also where a check trains in float64.

    Args:
        seed: the trial's.
        layer: from 0, the first hidden layer.
        step: from 1, as engines count.
        width: of the layer.
        batch: samples in this step's batch.
    """
    return stream(seed, "dropout", layer, step).random((width, batch), dtype=np.float32)
