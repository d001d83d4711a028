"""Confusion matrices, and what a change did to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import seaborn as sns

from harness.plots.style import styled, subplots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    top = max(int(values[~diagonal].max(initial=0)), 1)
    # The diagonal is pushed beyond the scale also where it is smaller than a mistake.
    shade = np.where(diagonal, top + 1, values)
    sns.heatmap(
        shade, vmin=0, vmax=top, cmap=mpl.colormaps["rocket_r"].with_extremes(over="0.88"), square=True,
        annot=np.where(values > 0, values.astype(str), ""), fmt="", annot_kws={"size": 9}, linewidths=0.5,
        xticklabels=list(classes), yticklabels=list(classes), ax=ax,
        cbar_kws={"label": "mistakes (samples)", "shrink": 0.8},
    )  # fmt: skip
    ax.set(xlabel="predicted", ylabel="true")
    long = max(map(len, classes)) > 2
    ax.tick_params(axis="y", rotation=0)
    for label in ax.get_xticklabels():
        label.set(rotation=45 if long else 0, ha="right" if long else "center", rotation_mode="anchor")


@styled
def confusion_figure(matrices: Mapping[str, pd.DataFrame], classes: Sequence[str]) -> Figure:
    """Confusion matrices under their titles; side by side where they fit a page, else below each other."""
    side = max(3.2, 0.44 * len(classes) + 0.9)
    columns = len(matrices) if len(classes) <= 14 else 1
    rows = math.ceil(len(matrices) / columns)
    figure, grid = subplots(columns, [1.0] * rows, ((side + 1.2) * columns, (side + 0.3) * rows))
    flat = [ax for row in grid for ax in row]
    for ax, (title, counts) in zip(flat, matrices.items(), strict=True):
        confusion(ax, counts, classes)
        ax.set_title(title, loc="left")
    return figure
