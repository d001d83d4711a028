"""Remedies: how to convert images to the forms that are read, in words and code to paste.

Each is tried out by `tests/faults/test_own_images.py`: images fixed as a message says are accepted and show
the same picture. docs/own-images.md has the same advice as loops over whole folders.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.data.images import SHAPES, channels_come_first

if TYPE_CHECKING:
    import numpy as np

DEEP = 257
"""65535 / 255: what takes a 16-bit pixel to the 8-bit pixel of the same brightness."""
LUMA = "[0.299, 0.587, 0.114]"
"""Rec. ITU-R BT.601-7, the weights of red, green and blue that Pillow's convert("L") has too."""


UPRIGHT = "image = ImageOps.exif_transpose(image); "
"""Saved anew, a picture loses what it says of how the camera was held."""


def png(mode: str, *, transparent: bool) -> str:
    """Say what a PNG of this Pillow mode is, and how it becomes 8-bit grey: "(..); allowed: .., then code".

    Images that are not of 16 bits get the same code, because a person fixes a folder, not a file: some may be
    transparent, and transparent pixels would become black.
    """
    if mode.startswith("I"):
        return (
            f"(16 bits a pixel); allowed: 8-bit grey. Divide by {DEEP}, all images alike (convert('L') alone "
            f"would cut pixels to 255): {UPRIGHT}"
            f"grey = Image.fromarray((np.asarray(image) / {DEEP}).round().astype(np.uint8))"
        )
    kind = "transparent" if transparent else "a colour's number a pixel" if mode == "P" else "colour"
    return (
        f"({kind}); allowed: 8-bit grey. Paste it on a background first (convert('L') alone would drop "
        f"what is drawn in transparency): {UPRIGHT}ground = Image.new('RGBA', image.size, 'white'); "
        "ground.alpha_composite(image.convert('RGBA')); grey = ground.convert('L')"
    )


def pixels(dtype: np.dtype[Any], shape: tuple[int, ...], name: str = "image") -> str:
    """Say how to turn an array into a uint8 grey image (height, width); the code calls the array `name`."""
    taken = _grey(shape, name)
    if taken is None:
        return "save one grey image a file"
    code, mixed = taken
    way = "take it to grey: " if mixed else "save it as "
    return way + _eight_bits(dtype, code, name, mixed=mixed)


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
        return f"{name} = {code}" if code != name else "give at least one image"
    return "save it as " + _eight_bits(dtype, code, name, mixed=False)


def _eight_bits(dtype: np.dtype[Any], code: str, name: str, *, mixed: bool) -> str:
    """Return code that turns the grey values of this type, which `code` computes, into bytes."""
    rounded = f"{code}.round().astype(np.uint8)" if mixed else f"{code}.astype(np.uint8)"
    if dtype.kind == "f":
        return (
            f"{name} = ({code} * 255).round().astype(np.uint8) if white is 1.0, "
            f"{name} = {code}.round().astype(np.uint8) if it is 255"
        )
    if dtype.kind == "b":
        return f"{name} = ({code} * 255.0).round().astype(np.uint8)"
    if dtype == "uint8":
        return f"{name} = {rounded if mixed else code}"
    if dtype.kind == "u" and dtype.itemsize == 2:
        return f"{name} = ({code} / {DEEP}).round().astype(np.uint8)"
    if dtype.kind in "iu":
        return f"{name} = {rounded} if its values are 0 to 255"
    return f"{name} of numbers: uint8, 0 black and 255 white"


def _sides(values: int) -> str:
    """Write height and width of an image that was saved as so many values in a row: of a square, numbers."""
    side = math.isqrt(values)
    return f"{side}, {side}" if side * side == values else "height, width"


def _grey(shape: tuple[int, ...], name: str) -> tuple[str, bool] | None:
    """Return code that turns an array of this shape into grey, and whether it gives fractions."""
    if len(shape) == 2:
        return name, False
    if len(shape) == 1:
        return f"{name}.reshape({_sides(shape[0])})", False
    if len(shape) != 3:
        return None
    if shape[-1] in {1, 2}:
        return f"{name}[..., 0]", False
    if shape[0] in {1, 2}:
        return f"{name}[0]", False
    if shape[-1] in {3, 4}:
        return f"({name}[..., :3] @ {LUMA})", True
    if shape[0] in {3, 4}:
        return f"(np.moveaxis({name}, 0, -1)[..., :3] @ {LUMA})", True
    return None


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
