"""A figure of the variance between seeds: the standard deviation of each source of randomness alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D

from harness.plots.style import COLORS, styled, subplots

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LANE = 0.17  # inches of an arm's row within those of a source
SPREAD = 0.8  # of a source's height that its arms take


@styled
def sources_figure(table: pd.DataFrame) -> Figure:
    """Draw standard deviations with 95 % intervals, a panel a data set, a row a source, a colour an arm.

    Args:
        table: dataset, label (the arm; empty where there is one), source (words), sd, sd_low, sd_high
            (shares; NaN where there is none), in the order of the rows.
    """
    datasets, labels, sources = (
        list(dict.fromkeys(table[name])) for name in ("dataset", "label", "source")
    )  # fmt: skip
    height = max(0.4, LANE * (len(labels) + 1)) * len(sources) + 0.6
    figure, grid = subplots(1, [1.0] * len(datasets), (9.2, height * len(datasets) + 0.8))
    colors = {label: COLORS[i % len(COLORS)] for i, label in enumerate(labels)}
    for (ax,), dataset in zip(grid, datasets, strict=True):
        part = table[table["dataset"].eq(dataset)]
        for i, label in enumerate(labels):
            rows = part[part["label"].eq(label)]
            places = np.array([sources.index(source) for source in rows["source"]], dtype=float)
            y = places + SPREAD * ((i + 1) / (len(labels) + 1) - 0.5)
            sd, low, high = (100 * rows[name].to_numpy(dtype=float) for name in ("sd", "sd_low", "sd_high"))
            ax.hlines(y, low, high, color=colors[label], lw=2)
            ax.plot(sd, y, "o", ms=6, color=colors[label])
        ax.set_yticks(np.arange(len(sources)), sources)
        ax.set(ylim=(len(sources) - 0.5, -0.5))
        ax.set_xlim(left=0)
        ax.set_title(dataset, loc="left")
        ax.grid(visible=False, axis="y")
    grid[-1][0].set_xlabel("standard deviation of test accuracy, points")
    if len(labels) > 1:
        handles = [Line2D([], [], color=colors[label], marker="o", lw=2, label=label) for label in labels]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(labels), 3), frameon=False)
    return figure
