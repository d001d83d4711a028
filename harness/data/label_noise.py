"""Label noise: train labels replaced by wrong ones, so that a study can see which choices bear it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def flip(
    labels: NDArray[np.int64], share: float, classes: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Replace round(share * N) of the labels by another class, each of the others equally likely.

    What is drawn does not depend on the share: more noise flips the same samples, to the same classes, and
    others besides. So shares are compared on noise that is paired.

    Args:
        labels: (N,) classes in 0..classes - 1; left as they are.
        share: of the labels that become wrong, 0 <= share < 1.
        classes: how many there are; with one, no label can be wrong.
        rng: the noise's own random stream.

    Source: symmetric label noise as in Zhang and Sabuncu 2018, without the draws that give the true class.

    >>> flip(np.array([0, 1, 2, 3]), 0.5, 10, np.random.default_rng(0)).tolist()
    [3, 1, 3, 3]
    """
    if classes < 2:
        return labels.copy()
    order = rng.permutation(len(labels))
    wrong = (labels + rng.integers(1, classes, len(labels))) % classes
    flipped = order[: round(share * len(labels))]
    noisy = labels.copy()
    noisy[flipped] = wrong[flipped]
    return noisy
