"""Sheets: images in rows, each under some lines of text, on one page measured in inches.

A page is one matplotlib Axes, so that a hundred images are laid out at once, and where they are told to be.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

LINE = 0.155  # inches, of a line of text above an image
WIDE, SIDE = 1.75, 1.3  # inches from image to image on a sheet, and of an image


@dataclass(frozen=True)
class Tile:
    """An image (H, W) with lines of text above, each with its colour."""

    image: NDArray[np.uint8]
    lines: Sequence[tuple[str, Any]]


def page(width: float, height: float, title: str) -> tuple[Figure, Axes, float]:
    """A figure and axes over all of it, in inches from its top left; and where below the title to begin."""
    lines = textwrap.wrap(title, int(width * 13))
    top = 0.12 + 0.17 * len(lines)
    figure = Figure(figsize=(width, height + top + 0.08))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height + top + 0.08, 0))
    ax.set_axis_off()
    write(ax, 0.1, 0.08, "\n".join(lines), fontsize=10, va="top")
    return figure, ax, top


def write(ax: Axes, x: float, y: float, words: str, **how: Any) -> None:
    """Write words on a page, as they are."""
    ax.text(x, y, words, parse_math=False, **{"fontsize": 8, **how})


def place(ax: Axes, tile: Tile, x: float, y: float, side: float, pixel_max: float) -> None:
    """Draw a tile: its lines, centred, from y down, below them the image within a square of `side` inches."""
    for i, (words, color) in enumerate(tile.lines):
        write(ax, x + side / 2, y + LINE * (i + 0.8), words, color=color, ha="center", va="baseline")
    y += LINE * len(tile.lines) + 0.05
    height, width = (side * n / max(tile.image.shape) for n in tile.image.shape)
    left, top = x + (side - width) / 2, y + (side - height) / 2
    # As stored, a pixel a pixel: a hundred images stay a small file.
    ax.imshow(
        tile.image, cmap="gray", vmin=0, vmax=pixel_max, interpolation="none", aspect="auto",
        extent=(left, left + width, top + height, top),
    )  # fmt: skip
    ax.set(xlim=(0, ax.figure.get_figwidth()), ylim=(ax.figure.get_figheight(), 0))  # type: ignore[union-attr]


def sheet(tiles: Sequence[Tile], columns: int, title: str, pixel_max: float) -> Figure:
    """Tiles in rows of `columns`."""
    wide, side = WIDE, SIDE
    high = side + LINE * max((len(tile.lines) for tile in tiles), default=0) + 0.15
    rows = math.ceil(len(tiles) / columns)
    figure, ax, top = page(wide * columns + 0.1, high * rows, title)
    for i, tile in enumerate(tiles):
        x, y = wide * (i % columns) + (wide - side) / 2 + 0.05, top + high * (i // columns)
        place(ax, tile, x, y, side, pixel_max)
    return figure
