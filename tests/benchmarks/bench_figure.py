"""The bench's figure: every side against the harness."""

from __future__ import annotations

import pandas as pd
import tables
from instructions import NATIVE
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from sides import HARNESS, TITLES

from harness.plots.style import COLORS, nothing, styled, subplots

MARKERS = "os^Dv<>pPX"
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


@styled
def figure(rows: pd.DataFrame) -> Figure:
    """Ratios of processor seconds as dots with their spread, a row a cell."""
    found = tables.summary(rows)
    found = found[found["side"].ne(HARNESS) & found["ratio"].notna()]
    held = found["instructions"].map(lambda name: "" if name == NATIVE else f", {name}")
    found = found.assign(row=found["title"] + held)
    names = list(dict.fromkeys(found["row"]))
    high = max(1.6, 0.55 * len(names) + 0.9)
    drawn, ((ax,),) = subplots(1, [high], (9.6, high + 1.2))
    _ratios(ax, found, names)
    handles, labels = ax.get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return drawn


def _ratios(ax: Axes, found: pd.DataFrame, names: list[str]) -> None:
    sides = [name for name in TITLES if name in set(found["side"])]
    if not sides:
        nothing(ax, "no other side was measured")
        return
    ax.axvline(1, color="0.4", lw=1.2, zorder=1)
    for i, side in enumerate(sides):
        own = found[found["side"].eq(side)]
        # Beside one another within a row, so that close ratios can be told apart.
        y = [names.index(name) + 0.72 * ((i + 0.5) / len(sides) - 0.5) for name in own["row"]]
        place = list(TITLES).index(side)
        color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
        ax.hlines(y, own["low"], own["high"], color=color, lw=2, zorder=2)
        ax.plot(own["ratio"], y, ls="", ms=5.5, label=TITLES[side], zorder=3, color=color, marker=marker)
    ax.set_xscale("log")
    low, high = found["low"].min(), found["high"].max()
    ax.set_xlim(min(0.8, 0.85 * low), max(2.0, 1.2 * high))
    ax.xaxis.set_major_locator(FixedLocator(list(TICKS)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_yticks(range(len(names)), [name.replace(", ", "\n") for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    for edge in range(1, len(names)):
        ax.axhline(edge - 0.5, color="0.9", lw=0.8, zorder=0)
    ax.set_xlabel("processor seconds / the harness's (right of 1: the harness is faster)")
