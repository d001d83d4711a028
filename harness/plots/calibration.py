"""Reliability diagrams: accuracy against confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D

from harness.plots.style import COLORS, GREY, PercentTicks, shortened, styled, subplots

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "os^D"


@styled
def reliability_figure(bins: pd.DataFrame, title: str = "") -> Figure:
    """Draw the reliability diagram of some arms, and below it the share of samples in each bin.

    Args:
        bins: arm, seed, low, high (the bin's edges), n, confidence (mean), accuracy; bins without samples
            have n 0. The arms come in their order.
        title: above the curves.
    """
    arms = list(dict.fromkeys(bins["arm"]))
    figure, ((above,), (below,)) = subplots(1, [3.4, 1.0], (6.8, 6.6 + 0.2 * len(arms)))
    above.plot([0, 1], [0, 1], color="0.55", lw=1, ls=(0, (4, 3)), zorder=1)
    for place, arm in enumerate(arms):
        here = bins[bins["arm"].eq(arm)]
        _curve(above, here, place)
        _shares(below, here, place)
    above.set(xlim=(-0.01, 1.01), ylim=(-0.02, 1.02), ylabel="right (share of the bin)", title=title)
    above.set_xticklabels([])
    below.set(xlim=(-0.01, 1.01), xlabel="confidence: probability of the predicted class", ylabel="samples")
    for axis in (above.yaxis, below.xaxis, below.yaxis):
        axis.set_major_formatter(PercentTicks())
    names = [shortened(str(arm)) for arm in arms]
    keys = [Line2D([], [], color=COLORS[i], marker=MARKERS[i], label=name) for i, name in enumerate(names)]
    keys.append(Line2D([], [], color="0.55", ls=(0, (4, 3)), lw=1, label="as right as it is sure"))
    figure.legend(handles=keys, loc="outside upper center", ncols=1, frameon=False)
    return figure


def _curve(ax: Axes, here: pd.DataFrame, place: int) -> None:
    """Draw each seed as a thin line, and all seeds as a thick one whose points grow with the samples."""
    for _, rows in here[here["n"].gt(0)].groupby("seed", sort=False):
        ax.plot(rows["confidence"], rows["accuracy"], color=COLORS[place], lw=0.7, alpha=0.45)
    pooled = _pooled(here)
    ax.plot(pooled["confidence"], pooled["accuracy"], color=COLORS[place], lw=2)
    size = 12 + 150 * (pooled["n"] / pooled["n"].sum())
    ax.scatter(pooled["confidence"], pooled["accuracy"], s=size, color=COLORS[place],
               marker=MARKERS[place], zorder=3, edgecolors="white", linewidths=0.6)  # fmt: skip


def _shares(ax: Axes, here: pd.DataFrame, place: int) -> None:
    counts = here.groupby(["low", "high"], sort=True)["n"].sum()
    edges = np.array([counts.index[0][0], *(high for _, high in counts.index)])
    ax.stairs(counts / max(counts.sum(), 1), edges, color=COLORS[place], lw=1.6)
    ax.tick_params(colors=GREY)


def _pooled(here: pd.DataFrame) -> pd.DataFrame:
    """Sum over seeds, bin by bin; leave out bins without samples."""
    sums = here.assign(confidence=here["confidence"] * here["n"], accuracy=here["accuracy"] * here["n"])
    table = sums.groupby(["low", "high"], sort=True)[["n", "confidence", "accuracy"]].sum().reset_index()
    table = table[table["n"].gt(0)]
    return table.assign(confidence=table["confidence"] / table["n"], accuracy=table["accuracy"] / table["n"])
