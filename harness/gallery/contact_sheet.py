"""Contact sheets: images in rows, each below lines of text, on one page measured in inches.

A page is one matplotlib Axes, so that a hundred images are laid out at once, at exact places.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import MachineError
from harness.gallery.drawing import draw_image, drawn_size
from harness.plots import new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.data.images import RawPixels

LINE = 0.155
"""Height of a line of text above an image, in inches."""
PITCH, SIDE = 1.75, 1.3
"""Distance from image to image on a sheet, and the side of an image, in inches."""


@dataclass(frozen=True)
class Tile:
    """An image (H, W) or (H, W, C) with lines of text above, each with its colour."""

    image: RawPixels
    lines: Sequence[tuple[str, Any]]


def page(width: float, height: float, title: str) -> tuple[Figure, Axes, float]:
    """Make a figure, axes over all of it in inches from the top left, and the y below the title."""
    lines = textwrap.wrap(title, int(width * 13))
    top = 0.12 + 0.17 * len(lines)
    figure = new_figure((width, height + top + 0.08))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height + top + 0.08, 0))
    ax.set_axis_off()
    write(ax, 0.1, 0.08, "\n".join(lines), fontsize=10, va="top")
    return figure, ax, top


def write(ax: Axes, x: float, y: float, words: str, **style: Any) -> None:
    """Write text on a page literally, without math."""
    ax.text(x, y, words, parse_math=False, **{"fontsize": 8, **style})


def place(ax: Axes, tile: Tile, x: float, y: float, side: float, pixel_max: float) -> None:
    """Draw a tile: its centred lines from y down, then the image within a square of `side` inches."""
    limits = ax.get_xlim(), ax.get_ylim()
    for i, (words, color) in enumerate(tile.lines):
        write(ax, x + side / 2, y + LINE * (i + 0.8), words, color=color, ha="center", va="baseline")
    y += LINE * len(tile.lines) + 0.05
    size = drawn_size(tile.image)
    height, width = (side * n / max(size) for n in size)
    left, top = x + (side - width) / 2, y + (side - height) / 2
    # Without interpolation a hundred images stay a small file.
    draw_image(
        ax, tile.image, pixel_max, interpolation="none", aspect="auto",
        extent=(left, left + width, top + height, top),
    )  # fmt: skip
    ax.set(xlim=limits[0], ylim=limits[1])  # which imshow changes


def sheet(tiles: Sequence[Tile], columns: int, title: str, pixel_max: float) -> Figure:
    """Draw tiles in rows of `columns`."""
    high = SIDE + LINE * max((len(tile.lines) for tile in tiles), default=0) + 0.15
    rows = math.ceil(len(tiles) / columns)
    figure, ax, top = page(PITCH * columns + 0.1, high * rows, title)
    for i, tile in enumerate(tiles):
        x, y = PITCH * (i % columns) + (PITCH - SIDE) / 2 + 0.05, top + high * (i // columns)
        place(ax, tile, x, y, SIDE, pixel_max)
    return figure


def save_into(figure: Figure, folder: Path, stem: str) -> Path:
    """Save a figure as PNG and SVG into a folder, which is created; return the PNG.

    Raises:
        MachineError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return save(figure, folder / stem)[0]
    except OSError as error:
        raise MachineError(
            f"{folder} cannot be written: {error.strerror or error}; choose another folder with --out"
        ) from error
