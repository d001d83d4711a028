"""Tables as coloured cells, with a text in each: what seaborn's heatmap draws, without drawing the figure.

seaborn 0.13.2 draws the whole figure for each heatmap, to see whether its tick labels overlap, so that a
figure of many takes their square; the labels here are turned by whoever draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from seaborn.utils import relative_luminance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from numpy.typing import NDArray

LIGHT = 0.408
"""The luminance from which on a cell's text is dark, as in seaborn."""


def heatmap(  # noqa: PLR0913 (the cells, their colours and their words)
    ax: Axes, values: NDArray[Any], written: Sequence[Sequence[str]], *, ends: tuple[float, float],
    colors: Colormap, names: tuple[Sequence[str], Sequence[str]], size: float, bar: Mapping[str, Any],
    square: bool = False,
) -> None:  # fmt: skip
    """Draw a table as coloured cells, its first row on top.

    Args:
        ax: where to draw.
        values: (rows, columns); NaN has the colour map's colour of bad values.
        written: the text of each cell.
        ends: the values at the ends of the colours.
        colors: the colours.
        names: of the rows and of the columns, at their axes.
        size: of the texts, in points.
        bar: keywords of the colour bar.
        square: cells are as wide as high.
    """
    rows, columns = values.shape
    cells = np.ma.masked_invalid(values)
    mesh = ax.pcolormesh(cells, vmin=ends[0], vmax=ends[1], cmap=colors, linewidth=0.5, edgecolor="white")
    ax.set(
        xlim=(0, columns), ylim=(rows, 0), xticks=np.arange(columns) + 0.5, yticks=np.arange(rows) + 0.5,
        xticklabels=list(names[1]), yticklabels=list(names[0]),
    )  # fmt: skip
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    if square:
        ax.set_aspect("equal")
    figure = ax.get_figure()
    if figure is not None:
        figure.colorbar(mesh, ax=ax, **bar).outline.set_linewidth(0)
    shades = mesh.to_rgba(cells)
    for (row, column), _ in np.ndenumerate(values):
        light = relative_luminance(shades[row, column]) > LIGHT
        ax.text(
            column + 0.5, row + 0.5, written[row][column], ha="center", va="center", fontsize=size,
            color="0.15" if light else "w",
        )  # fmt: skip
