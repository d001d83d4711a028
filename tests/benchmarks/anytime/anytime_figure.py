"""The figure of a campaign: the best val accuracy so far by wall seconds, and the time to come near it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray
from standings import OURS, median

from harness.plots.style import COLORS, PercentTicks, styled, subplots

POINTS = 200
"""Seconds at which the lines are drawn."""
SHOWN = 0.06
"""How far below the best the axis begins."""


@styled
def figure(
    cells: pd.DataFrame, found: Mapping[tuple[str, int], pd.DataFrame], reached: pd.DataFrame,
    titles: Mapping[str, str], best: float, near: float,
) -> Figure:  # fmt: skip
    """Draw a campaign: left, medians over repeats within their intervals; right, the time of every repeat.

    Args:
        cells: method, repeat, minutes; a row a cell.
        found: the improvements of each cell.
        reached: method, repeat, seconds (NaN: never), end.
        titles: of each method, in the order of the legend.
        best: the best val accuracy that any method reached.
        near: the accuracy whose times are on the right.
    """
    drawn, ((left, right),) = subplots(2, [1.0], (11.0, 4.6))
    end = 60 * float(cells["minutes"].max())
    seconds = np.geomspace(min(5.0, end / 10), end, POINTS)
    for i, name in enumerate(titles):
        own = [curve for (method, _), curve in found.items() if method == name]
        _line(left, own, seconds, titles[name], i, front=name == OURS)
        _times(right, reached[reached["method"].eq(name)], i)
    left.axhline(near, color="0.4", lw=0.9, ls="--")
    left.set(xscale="log", xlabel="seconds since its start", ylabel="best val accuracy so far")
    left.set_ylim(best - SHOWN, best + SHOWN / 20)
    left.yaxis.set_major_formatter(PercentTicks())
    right.set(xscale="log", xlabel=f"seconds to {100 * near:.2f} % (triangle: not within its time)")
    right.set_yticks(range(len(titles)), list(titles.values()))
    right.set_ylim(len(titles) - 0.5, -0.5)
    for ax in (left, right):
        ax.set_xlim(seconds[0], 1.1 * end)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    return drawn


def _line(
    ax: Axes, own: list[pd.DataFrame], seconds: NDArray[np.float64], title: str, place: int, *, front: bool
) -> None:
    """Draw a method's median, and the interval of it."""
    values = np.array([_at(curve, seconds) for curve in own])
    middle, low, high = np.array([median(list(column)) for column in values.T]).T
    color = COLORS[place % len(COLORS)]
    shown = np.isfinite(middle)
    known = shown & np.isfinite(low)
    ax.fill_between(seconds[known], low[known], high[known], color=color, alpha=0.12, lw=0)
    ax.plot(seconds[shown], middle[shown], color=color, lw=2.6 if front else 1.5, label=title)


def _at(curve: pd.DataFrame, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best accuracy of a cell at each of some seconds; minus infinity before the first."""
    places = np.searchsorted(curve["seconds"].to_numpy(), seconds, side="right")
    return np.concatenate([[-math.inf], curve["val_accuracy"].to_numpy()])[places]


def _times(ax: Axes, own: pd.DataFrame, place: int) -> None:
    """Draw a method's times: a dot a repeat, a triangle at the end of one that never came near."""
    color = COLORS[place % len(COLORS)]
    never = own["seconds"].isna()
    y = place + 0.5 * (np.arange(len(own)) / max(len(own) - 1, 1) - 0.5)
    ax.plot(own.loc[~never, "seconds"], y[~never], ls="", marker="o", ms=5, color=color)
    ax.plot(own.loc[never, "end"], y[never], ls="", marker=">", ms=6, mfc="none", color=color)
    middle = median(list(own["seconds"].fillna(math.inf)))[0]
    if math.isfinite(middle):
        ax.plot([middle] * 2, [place - 0.35, place + 0.35], color=color, lw=2)
