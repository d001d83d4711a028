"""Confusion matrices and their changes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from harness.plots.heatmaps import heatmap
from harness.plots.style import shortened, styled, subplots
from harness.text import minus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def confusion(ax: Axes, counts: pd.DataFrame, classes: Sequence[str]) -> None:
    """Draw a confusion matrix whose mistakes can be read.

    The colours span the mistakes only, up to the largest; the diagonal lies beyond them and is grey. Zero
    cells stay empty.

    Args:
        ax: where to draw.
        counts: square, true labels as rows, predictions as columns.
        classes: names in label order.
    """
    values = counts.to_numpy()
    diagonal = np.eye(len(values), dtype=bool)
    top = max(values[~diagonal].max(initial=0), 1)
    # The diagonal is pushed beyond the scale also where it is smaller than a mistake.
    shade = np.where(diagonal, top + 1, values)
    heatmap(
        ax, shade, _written(values), ends=(0, top), size=9, square=True, names=(classes, classes),
        colors=mpl.colormaps["rocket_r"].with_extremes(over="0.88"),
        bar={"label": "mistakes (samples)", "shrink": 0.8},
    )  # fmt: skip
    _name_classes(ax, classes)


def _written(values: NDArray[Any]) -> list[list[str]]:
    """Write counts into cells; means over seeds, which are broken numbers, to a tenth."""
    form = "{:.0f}" if (values == values.round()).all() else "{:.1f}"
    return [[form.format(count) if count else "" for count in row] for row in values]


def confusion_change(ax: Axes, change: pd.DataFrame, classes: Sequence[str]) -> None:
    """Draw the change of a confusion matrix, coloured by whether it is good.

    Blue is better: more on the diagonal, which is framed, or fewer off it. Red is worse. Each cell says its
    signed count; cells without a change stay empty. The colours span the changes off the diagonal, since
    those on it are sums of them; what lies beyond has the colour of the end.

    Args:
        ax: where to draw.
        change: square, signed counts, true labels as rows, predictions as columns.
        classes: names in label order.
    """
    values = change.to_numpy()
    diagonal = np.eye(len(values), dtype=bool)
    top = max(int(np.abs(values[~diagonal]).max(initial=0)), 1)
    written = [[minus(f"{value:+d}") if value else "" for value in row] for row in values]
    heatmap(
        ax, np.where(diagonal, values, -values), written, ends=(-top, top), size=9, square=True,
        names=(classes, classes), colors=mpl.colormaps["RdBu"],
        bar={"label": "worse (red)  \u2190  samples  \u2192  better (blue)", "shrink": 0.8,
             "ticks": MaxNLocator(6, integer=True), "format": lambda tick, _: f"{abs(tick):g}"},
    )  # fmt: skip
    for place in range(len(values)):
        ax.add_patch(Rectangle((place, place), 1, 1, fill=False, ec="0.15", lw=1.4, clip_on=False))
    _name_classes(ax, classes)


def _name_classes(ax: Axes, classes: Sequence[str]) -> None:
    ax.set(xlabel="predicted", ylabel="true")
    long = max(map(len, classes)) > 2
    ax.tick_params(axis="y", rotation=0)
    for label in ax.get_xticklabels():
        label.set(rotation=45 if long else 0, ha="right" if long else "center", rotation_mode="anchor")


@styled
def confusion_figure(
    matrices: Mapping[str, pd.DataFrame],
    classes: Sequence[str],
    changes: Mapping[str, pd.DataFrame] | None = None,
) -> Figure:
    """Draw confusion matrices, then changes of them, each under its title.

    Side by side where they fit a page, else below each other.
    """
    draws: list[Any] = [(confusion, *named) for named in matrices.items()]
    draws += [(confusion_change, *named) for named in (changes or {}).items()]
    side = max(3.2, 0.44 * len(classes) + 0.9)
    columns = len(draws) if len(classes) <= 14 else 1
    rows = math.ceil(len(draws) / columns)
    figure, grid = subplots(columns, [1.0] * rows, ((side + 1.2) * columns, (side + 0.3) * rows))
    flat = [ax for row in grid for ax in row]
    for ax, (draw, title, counts) in zip(flat, draws, strict=True):
        draw(ax, counts, classes)
        ax.set_title("\n".join(map(shortened, title.split("\n"))), loc="left")
    figure.draw_without_rendering()  # square cells settle in a second layout alone
    return figure
