"""Figures of a factorial: the share of variance of each term, and the interaction of two axes."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

from harness.plots.heatmaps import heatmap
from harness.plots.style import COLORS, GREY, PercentTicks, styled, subplots
from harness.text import minus, p_value, percent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = {"axis": COLORS[0], "interaction": COLORS[4], "seed": COLORS[1], "rest": (0.6, 0.6, 0.6)}


@dataclass(frozen=True)
class Cells:
    """Two axes' combinations on one data set: levels of `rows` down, of `columns` across."""

    title: str  # which data set, or more
    rows: str  # the first axis
    columns: str  # the second axis
    mean: pd.DataFrame  # cell means, shares; NaN where there is none
    effect: pd.DataFrame  # how far each lies from what the two axes do by themselves, shares


@styled
def variance_figure(table: pd.DataFrame) -> Figure:
    """Draw the share of variance of each term, a panel a data set; share and p at the right of each bar.

    Args:
        table: dataset, term (words), kind (axis, interaction, seed or rest), share (NaN where
            nothing varies), p (NaN where there is none), in the order of the rows.
    """
    datasets = list(dict.fromkeys(table["dataset"]))
    parts = [table[table["dataset"].eq(dataset)] for dataset in datasets]
    heights = [len(part) + 1.6 for part in parts]
    figure, grid = subplots(1, heights, (9.2, 0.27 * sum(heights) + 0.6))
    most = float(np.nanmax(table["share"], initial=0.01))
    for (ax,), dataset, part in zip(grid, datasets, parts, strict=True):
        shares = part["share"].fillna(0).to_numpy()
        y = np.arange(float(len(part)))
        ax.barh(y, shares, color=[KINDS[kind] for kind in part["kind"]], height=0.7)
        for place, share, p in zip(y, shares, part["p"], strict=True):
            words = "" if math.isnan(p) else f"   p {p_value(p)}"
            ax.text(share + 0.012 * most, place, percent(share) + words, va="center", fontsize=9, color=GREY)
        ax.set_yticks(y, list(part["term"]))
        ax.set(ylim=(len(part) - 0.5, -0.5), xlim=(0, 1.28 * most))
        ax.set_title(dataset, loc="left")
        ax.grid(visible=False, axis="y")
        ax.xaxis.set_major_formatter(PercentTicks())
        ax.set_xticks([tick for tick in ax.get_xticks() if tick <= 1])
    grid[-1][0].set_xlabel("share of the variance of val accuracy")
    return figure


@styled
def interaction_figure(cells: Cells) -> Figure:
    """Draw means of two axes' combinations as numbers, their deviation from additivity as colour."""
    shape = cells.mean.shape
    longest = max(len(str(level)) for level in cells.mean.index)
    wide = max(0.085 * max(len(str(level)) for level in cells.mean.columns), 0.95)
    width = min(1.9 + 0.07 * longest + wide * shape[1], 13)
    turned = 0.95 * shape[1] * 1.02 < wide * shape[1] or width == 13
    figure, ((ax,),) = subplots(1, [1.0], (max(width, 5.2), 1.5 + 0.45 * shape[0] + 0.5 * turned))
    _heat(ax, cells, size=9 if shape[1] <= 8 else 7.5)
    ax.set_title(cells.title, loc="left")
    return figure


def _heat(ax: Axes, cells: Cells, size: float) -> None:
    effect = cells.effect * 100
    most = max(float(np.nanmax(np.abs(effect.to_numpy()), initial=0.0)), 0.05)
    words = [
        [
            "" if math.isnan(mean) else f"{percent(mean)}\n{minus(f'{by:+.2f}')}"
            for mean, by in zip(*row, strict=True)
        ]
        for row in zip(cells.mean.to_numpy(), effect.to_numpy(), strict=True)
    ]
    heatmap(
        ax, effect.to_numpy(), words, ends=(-most, most), size=size,
        colors=mpl.colormaps["RdBu"].with_extremes(bad="0.92"),
        names=(
            list(map(str, cells.mean.index)),
            [textwrap.fill(str(level), 13) for level in cells.mean.columns],
        ),
        bar={"label": "from additive (points)", "shrink": 0.9,
             "format": lambda points, _: minus(f"{points:+.3g}")},
    )  # fmt: skip
    ax.set(xlabel=cells.columns, ylabel=cells.rows)
    ax.tick_params(axis="y", rotation=0)
    ax.tick_params(axis="x", rotation=0)
