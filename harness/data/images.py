"""The images of a data set in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Images:
    """A data set in memory, with its original pixels and order.

    Shapes: train_images (N, H, W) uint8, train_labels (N,) int64 in 0..C-1; the same for test. Names are
    those of the images' files, N of them or none: an image without a name is called by its index. Classes are
    the class names that the files themselves say, if any, in label order; `said` has sentences on what was
    corrected or joined in reading them.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    train_names: tuple[str, ...] = ()
    test_names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
