"""A picture of a file, PNG or JPEG, as it stands there: grey or colour, of 8 or 16 bits a channel.

Nothing is guessed: what would lose something (transparency, half of the bits) is refused, with a
way to convert it.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.data import remedies

if TYPE_CHECKING:
    from PIL import Image

    from harness.data.images import RawPixels

MOST_PIXELS = (
    1 << 24
)  # of an image, 4096 x 4096: every pixel is a network's input, so a larger one is a mistake
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L")  # Pillow's names for grey of 16 bits

HALVED_MODES = ("RGB", "RGBA", "LA")  # those that Pillow gives of 8 and of 16 bits a channel, in 8 bits


def decode(path: Path, formats: Sequence[str]) -> RawPixels:
    """Decode one picture, turned upright by its EXIF orientation: (H, W) of grey, (H, W, 3) of colour.

    A palette gives the colours that it names. Alpha that is full everywhere is dropped, and nothing with it.

    Args:
        path: the file.
        formats: the formats that it may have, by Pillow's names.

    Raises:
        OSError, SyntaxError: Pillow finds it damaged or cut.
        ValueError: it is transparent, of a mode that is not read, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with _strict(Image.DecompressionBombWarning), Image.open(path, formats=tuple(formats)) as image:
            if fault := size_fault(image.height, image.width):
                raise ValueError(fault)
            if (pictures := int(getattr(image, "n_frames", 1))) > 1:
                raise ValueError(f"is an animation of {pictures} pictures; allowed: 1. Save each by itself")
            return _pixels(image, path)
    except UnidentifiedImageError:
        raise ValueError(
            f"is not a {' or '.join(formats)}, or its beginning is damaged; copy it again"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(_bomb_fault(path)) from None


def _pixels(image: Image.Image, path: Path) -> RawPixels:
    """Give the pixels of an opened picture in one of the modes that are read."""
    from PIL import ImageOps

    if image.format == "PNG" and image.mode in HALVED_MODES and _bits(path) == 16:
        raise ValueError(f"is a PNG of mode {image.mode} {remedies.DEEP_COLOUR}")
    if image.mode in DEEP_MODES:
        if "transparency" in image.info:
            raise ValueError(f"is a PNG of mode {image.mode} {remedies.png()}")
        return np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] != 255:
        raise ValueError(f"is a PNG of mode {image.mode} {remedies.png()}")
    mode = {"1": "L", "LA": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB"}.get(image.mode, image.mode)
    if mode not in {"L", "RGB"}:
        raise ValueError(
            f"is a {image.format} of mode {image.mode}; allowed: grey or RGB: image.convert('RGB').save(path)"
        )
    upright = ImageOps.exif_transpose(image)  # as every viewer shows it
    return np.asarray(upright if upright.mode == mode else upright.convert(mode), np.uint8)


@contextmanager
def _strict(error: type[Warning]) -> Iterator[None]:
    """Turn Pillow's warnings (damaged EXIF, a broken animation, a bomb) into errors, and silence the rest."""
    with warnings.catch_warnings(action="ignore"):
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", error)
        yield


def size_fault(height: int, width: int) -> str:
    """Return the reason not to read an image of this size, or ""."""
    if height * width <= MOST_PIXELS:
        return ""
    return (
        f"is {height} x {width} pixels; allowed: up to {MOST_PIXELS:,} pixels an image (each is an "
        "input of the network). Make the images smaller"
    )


def _bomb_fault(path: Path) -> str:
    """Say the size of a picture that Pillow itself finds too large; a PNG's first chunk has it."""
    head = _head(path)
    if head[:4] != b"\x89PNG":
        return f"is too large; allowed: up to {MOST_PIXELS:,} pixels an image. Make the images smaller"
    width, height = struct.unpack(">II", head[16:24])
    return size_fault(height, width)


def _bits(path: Path) -> int:
    """Read the bits a channel from a PNG's first chunk."""
    return int(_head(path)[24])


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(32)
