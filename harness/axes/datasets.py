"""Data sets: real images with their labels, in their original order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Images:
    """A data set in memory, as it came: pixels untouched, order untouched.

    Shapes: train_images (N, H, W) uint8, train_labels (N,) int64 in 0..C-1; the same for test.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


@dataclass(frozen=True)
class Facts:
    """What a plan needs to know of a data set, without reading its pixels.

    Args:
        shape: height and width of an image in pixels.
        classes: the class names, in label order.
        train, test: how many images each has.
        pixel_max: the value of a full pixel (255; 16 for digits).
        digest: SHA-256 that changes whenever an image, a label or their order does.
    """

    shape: tuple[int, int]
    classes: tuple[str, ...]
    train: int
    test: int
    pixel_max: float
    digest: str


@dataclass(frozen=True)
class Dataset:
    """A registered data set: `load` reads it, `facts` describes it without reading."""

    name: str
    load: Callable[[], Images]
    facts: Facts


datasets: Registry[Dataset] = Registry("dataset", Dataset)
