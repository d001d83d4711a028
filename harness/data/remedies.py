"""Remedies: how to convert images to ones that are read, in words and code to paste.

Each is tried out by `tests/faults/test_own_images.py`: images fixed as a message says are accepted and show
the same picture. docs/own-images.md has the same advice as loops over whole folders.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.data.images import CHANNELS, SHAPES, channels_come_first

if TYPE_CHECKING:
    import numpy as np

DEEP = 257
"""65535 / 255: what takes a 16-bit pixel to the 8-bit pixel of the same brightness."""
DEEP_COLOUR = (
    "with 16 bits a channel, of which the decoder keeps 8; allowed: 16-bit grey, 8-bit grey or 8-bit colour. "
    "Save it with 8 bits a channel, or the arrays (uint16) as .npy files"
)
"""The fault of a PNG whose bits would be lost, and the way out."""


def png() -> str:
    """Say that a picture is transparent, and how it becomes colour: "(..); allowed: .., then code".

    All images get the same code, because a person fixes a folder, not a file; transparent pixels would become
    black.
    """
    return (
        "(transparent); allowed: grey or colour without transparency. Paste it on a background first "
        "(convert('RGB') alone would drop what is drawn in transparency; 'L' for 'RGB' makes grey): image = "
        "ImageOps.exif_transpose(image); ground = Image.new('RGBA', image.size, 'white'); "
        "ground.alpha_composite(image.convert('RGBA')); plain = ground.convert('RGB')"
    )


def pixels(dtype: np.dtype[Any], shape: tuple[int, ...], name: str = "image") -> str:
    """Say how to turn an array into one image (height, width), or with channels behind.

    The code calls the array `name`.
    """
    if len(shape) == 1:
        return "save it as " + _eight_bits(dtype, f"{name}.reshape({_sides(shape[0])})", name)
    if channels_come_first((1, *shape)):
        return "save it as " + _eight_bits(dtype, f"np.moveaxis({name}, 0, -1)", name)
    if 0 in shape or len(shape) not in {2, 3} or (len(shape) == 3 and shape[2] > CHANNELS):
        return "save one image a file"
    return "save it as " + _eight_bits(dtype, name, name)


def stacked_pixels(dtype: np.dtype[Any], shape: tuple[int, ...], name: str = "images") -> str:
    """Say how to turn an array into uint8 images (N, height, width), or with channels behind.

    The code calls the array `name`.
    """
    if len(shape) == 2:
        code = f"{name}.reshape(-1, {_sides(shape[1])})"
    elif channels_come_first(shape):
        code = f"np.moveaxis({name}, 1, -1)"
    elif len(shape) in {3, 4}:
        code = name
    else:
        return f"give one array of shape {SHAPES}"
    if dtype.name in {"uint8", "uint16"}:
        behind = "put the channels behind: " if channels_come_first(shape) else ""
        return f"{behind}{name} = {code}" if code != name else "give at least one image"
    return "save it as " + _eight_bits(dtype, code, name)


def _eight_bits(dtype: np.dtype[Any], code: str, name: str) -> str:
    """Return code that turns the values of this type, which `code` lays out, into bytes."""
    if dtype.kind == "f":
        return (
            f"{name} = ({code} * 255).round().astype(np.uint8) if white is 1.0, "
            f"{name} = {code}.round().astype(np.uint8) if it is 255"
        )
    if dtype.kind == "b":
        return f"{name} = ({code} * 255.0).round().astype(np.uint8)"
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return f"{name} = {code}"
    if dtype.kind in "iu":
        return f"{name} = {code}.astype(np.uint8) if its values are 0 to 255"
    return f"{name} of numbers: uint8, 0 black and 255 white"


def _sides(values: int) -> str:
    """Write height and width of an image that was saved as so many values in a row: of a square, numbers."""
    side = math.isqrt(values)
    return f"{side}, {side}" if side * side == values else "height, width"


def labels(dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """Say how to turn an array into labels (N,) of whole numbers."""
    if 0 in shape or not shape:
        return "save a number for each image"
    if dtype.kind in "USO":
        return (
            "number the classes: names, labels = np.unique(labels.astype(str), return_inverse=True), and "
            "classes = names.tolist() for the study's table"
        )
    if dtype.kind not in "iufb":
        return "number the classes from 0"
    flat = "labels.reshape(-1)" if math.prod(shape) == shape[0] else "labels.argmax(1)"
    if len(shape) > 2 and math.prod(shape) != shape[0]:
        return "save one number for each image"
    if len(shape) == 2 and math.prod(shape) != shape[0]:
        return f"of a column for each class (one-hot): labels = {flat}"
    integers = "" if dtype.kind in "iu" else ".astype(np.int64)"
    return f"labels = {'labels' if len(shape) == 1 else flat}{integers}"
