"""The images of a data set in memory, grey or with channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    RawPixels: TypeAlias = NDArray[np.unsignedinteger[Any]]
    """Pixels as they are stored: uint8, or uint16 of images with up to 16 bits."""

SHAPES = "(N, height, width), or (N, height, width, channels)"
"""The shapes that images may have, in words."""
CHANNELS = 4
"""Channels of a picture, at most: red, green, blue and alpha."""
LONG = 4
"""No picture's side is more times as long as the other."""


@dataclass(frozen=True)
class Images:
    """A data set in memory, with its original pixels and order.

    Shapes: train_images (N, H, W) of grey images, or (N, H, W, C) of images with channels (red, green, blue),
    uint8 or uint16, train_labels (N,) int64 in 0..classes-1; the same for test. One channel, (N, H, W, 1), is
    grey: `Dataset.load` gives it as (N, H, W). Names are those of the images' files, N of them or none: an
    image without a name is called by its index. Classes are
    the class names that the files themselves say, if any, in label order; `said` has sentences on what was
    corrected or joined in reading them.
    """

    train_images: RawPixels
    train_labels: NDArray[np.int64]
    test_images: RawPixels
    test_labels: NDArray[np.int64]
    train_names: tuple[str, ...] = ()
    test_names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


def tidied(images: Images) -> Images:
    """Give the same images in the one form that the harness has of them: a single channel is grey."""
    train, test = _tidy(images.train_images), _tidy(images.test_images)
    if train is images.train_images and test is images.test_images:
        return images
    return replace(images, train_images=train, test_images=test)


def _tidy(pixels: RawPixels) -> RawPixels:
    pixels = pixels[..., 0] if pixels.ndim == 4 and pixels.shape[3] == 1 else pixels
    return pixels if pixels.dtype.isnative else pixels.astype(pixels.dtype.newbyteorder("="))


def planes(images: NDArray[Any]) -> NDArray[Any]:
    """View images as a network sees them: (N, H, W) as they are, (N, H, W, C) as (N, C, H, W)."""
    return images.transpose(0, 3, 1, 2) if images.ndim == 4 else images


def as_pictures(images: NDArray[Any]) -> NDArray[Any]:
    """View a person's own images as pages draw them: (N, C, H, W), as PyTorch has them, as (N, H, W, C).

    One channel, in front or behind, is grey: (N, H, W). Other shapes stay as they are.
    """
    if channels_come_first(images.shape):
        images = images.transpose(0, 2, 3, 1)
    return images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images


def channels_come_first(shape: tuple[int, ...]) -> bool:
    """Tell whether images of this shape, with four axes, look like (N, C, H, W), as PyTorch has them.

    A few lines of a few pixels with many channels, or one long line of them, do not.
    """
    if len(shape) != 4:
        return False
    _, channels, height, width = shape
    return channels <= CHANNELS < width and channels < height <= LONG * width


def channels_first(shape: Sequence[int]) -> tuple[int, int, int]:
    """Give (C, H, W) of an image's shape as it came, (H, W) or (H, W, C)."""
    height, width, *channels = shape
    return (channels[0] if channels else 1), height, width


def size_in_words(shape: Sequence[int]) -> str:
    """Say how large an image of a shape (H, W) or (H, W, C) is: "32 x 32 pixels in 3 channels"."""
    height, width, *channels = shape
    return f"{height} x {width} pixels" + "".join(f" in {count} channels" for count in channels)
