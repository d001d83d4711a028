"""Figures of what is inside a network: the activity of its layers, and the weights of the first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from harness.plots.figures import new_figure
from harness.plots.style import COLORS, GREY, PercentTicks, styled
from harness.text import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

DEAD, SATURATED = COLORS[3], COLORS[9]
ACROSS = 8
"""Filters in a row."""
LONGEST = 24  # letters of a layer's name


@styled
def activations_figure(table: pd.DataFrame, title: str = "") -> Figure:
    """Draw the activity of layers by depth, the first on top: shares of dead and saturated; mean and sd.

    Args:
        table: a row a layer: depth, layer, units, dead, saturated, mean, sd.
        title: above both panels.
    """
    lines = 1 + title.count("\n") if title else 0
    figure = new_figure((6.8, 1.2 + 0.4 * len(table) + 0.2 * lines), "constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.25, 1], gridspec_kw={"wspace": 0.08})
    shares_panel(left, table)
    values_panel(right, table)
    _entitle(figure, title)
    return figure


def _entitle(figure: Figure, title: str) -> None:
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, parse_math=False)


def shares_panel(ax: Axes, table: pd.DataFrame) -> None:
    """Draw two bars a layer: the share of units that are dead, and of values that are saturated."""
    depth = table["depth"].to_numpy()
    for offset, name, color in ((-0.19, "dead", DEAD), (0.19, "saturated", SATURATED)):
        label = {"dead": "dead units", "saturated": "saturated values"}[name]
        ax.barh(depth + offset, table[name], height=0.36, color=color, label=label)
    ax.set(xlim=(0, 1), ylim=(len(table) + 0.6, 0.4), xlabel="share", ylabel="layer")
    ax.set_yticks(depth, [_named(row) for _, row in table.iterrows()])
    ax.xaxis.set_major_formatter(PercentTicks())
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.grid(visible=False, axis="y")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0.2,
              handlelength=1.2, columnspacing=1)  # fmt: skip


def values_panel(ax: Axes, table: pd.DataFrame) -> None:
    """Draw each layer's mean activation, with a bar of one standard deviation to either side."""
    depth = table["depth"].to_numpy()
    ax.errorbar(table["mean"], depth, xerr=table["sd"], fmt="o", color=COLORS[0], ms=4, lw=1.4, capsize=2)
    ax.axvline(0, color=GREY, lw=1, ls=(0, (3, 2)))
    ax.set(xlabel="activation: mean \u00b1 sd")
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.grid(visible=False, axis="y")


def _named(row: pd.Series[Any]) -> str:
    """Name a layer by its depth and the end of its module's name, or its units, if that is a number."""
    name = str(row["layer"])
    if name.isdecimal():
        name = count(row["units"], "unit")
    if len(name) > LONGEST:
        name = f"\u2026{name[1 - LONGEST :]}"
    return f"{row['depth']}  {name}"


@styled
def filters_figure(values: NDArray[np.floating[Any]], title: str = "", names: Sequence[str] = ()) -> Figure:
    """Draw weights (units, C, h, w) as images, all on one scale, which is symmetric about 0.

    Those of one channel are blue below 0 and red above; of three channels, red, green and blue are lighter
    than grey where a weight is positive; of others the mean over the channels is drawn.

    Args:
        values: the weights.
        title: above all.
        names: one a unit, above its image; their numbers by default.
    """
    rows = math.ceil(len(values) / ACROSS)
    scaled = values.shape[1] != 3
    lines = 1 + title.count("\n") if title else 0
    figure = new_figure((6.4, 0.9 * rows + 0.6 * scaled + 0.2 * lines), "constrained")
    panels = figure.subplots(rows, ACROSS, squeeze=False).ravel()
    top = float(np.abs(values).max(initial=0)) or 1.0
    drawn = None
    for place, ax in enumerate(panels):
        ax.set_axis_off()
        if place < len(values):
            drawn = _filter(ax, values[place], top)
            ax.set_title(names[place] if names else str(place), fontsize=7, pad=2, color=GREY)
    if scaled and drawn is not None:
        bar = figure.colorbar(drawn, ax=list(panels), location="bottom", aspect=50, shrink=0.6, pad=0.02)
        bar.set_label("weight")
        bar.ax.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
    _entitle(figure, title)
    return figure


def _filter(ax: Axes, weight: NDArray[np.floating[Any]], top: float) -> Any:
    """Draw one unit's weights (C, h, w)."""
    if len(weight) == 3:
        return ax.imshow(np.clip(0.5 + weight.transpose(1, 2, 0) / (2 * top), 0, 1), interpolation="nearest")
    return ax.imshow(weight.mean(0), cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest")
