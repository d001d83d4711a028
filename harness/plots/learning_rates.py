"""Accuracy against the learning rate, a line for each arm."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator

from harness.plots.scales import LEAST_ERROR, error, share, ticks
from harness.plots.style import COLORS, GREY, PercentTicks, styled, subplots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from harness.plots.style import Color

MARKERS = "os^Dv<>pPX"
CHOSEN: dict[str, Any] = {"ls": "", "mfc": "none", "ms": 11, "mew": 1.8}
BROKEN: dict[str, Any] = {"ls": "", "marker": "x", "ms": 6, "mew": 1.8, "clip_on": False}


@styled
def rates_figure(table: pd.DataFrame, columns: int = 3, bars: str = "interval") -> Figure:
    """Draw small multiples of accuracy against lr, all on the same axes.

    A setting whose seeds did not all finish has no point, since survivors flatter: it is a cross at the
    bottom. The chosen lr of a line is ringed, with a square where it is the lowest or highest tried.

    Args:
        table: panel, line, lr, mean, low, high (shares; NaN where there is no number), unfinished, chosen,
            edge (booleans), joined (boolean: whether the line's points are joined).
        columns: panels a row.
        bars: what lies between low and high, for the legend.
    """
    panels = list(dict.fromkeys(table["panel"]))
    sets = [list(dict.fromkeys(table.loc[table["panel"].eq(panel), "line"])) for panel in panels]
    lines = list(dict.fromkeys(table["line"]))
    shared = len(lines) <= len(COLORS)
    keys = _keys(table, lines if shared else [], bars)
    columns = min(columns, len(panels))
    width, rows = max(1.2 + 3.3 * columns, 6.4), math.ceil(len(panels) / columns)
    longest = max(len(str(key.get_label())) for key in keys) + 6
    abreast = max(1, min(len(keys), int(width * 11) // longest))
    legend = 0.22 * math.ceil(len(keys) / abreast) + 0.2
    figure, grid = subplots(columns, [1.0] * rows, (width, (2.9 if shared else 3.3) * rows + legend))
    flat = [ax for row in grid for ax in row]
    for ax in flat[len(panels) :]:
        ax.set_axis_off()
    for place, (ax, panel) in enumerate(zip(flat, panels, strict=False)):
        here = table[table["panel"].eq(panel)]
        ax.set_title(textwrap.fill(str(panel), 40), loc="left")
        _scale(ax, table)
        _lines(ax, here, _looks(lines if shared else sets[place]))
        if not shared:
            ax.legend(handles=_named(sets[place]), loc="best", fontsize=8, framealpha=0.7)
        if here["mean"].isna().all():
            ax.text(0.5, 0.5, "no lr finished every seed", ha="center", color=GREY, transform=ax.transAxes)
        if place % columns == 0:
            ax.set_ylabel("val accuracy")
        if place + columns >= len(panels):
            ax.set_xlabel("lr")
    figure.legend(handles=keys, loc="outside upper center", ncols=abreast, frameon=False)
    return figure


def _looks(lines: Sequence[str]) -> dict[str, tuple[Color, str]]:
    return {line: (COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]) for i, line in enumerate(lines)}


def _named(lines: Sequence[str]) -> list[Line2D]:
    return [
        Line2D([], [], color=color, marker=marker, ms=4.5, lw=1.4, label=line)
        for line, (color, marker) in _looks(lines).items()
    ]


def _lines(ax: Axes, here: pd.DataFrame, looks: Mapping[str, tuple[Color, str]]) -> None:
    lines = [line for line in looks if here["line"].eq(line).any()]
    shifts = _shifts(here["lr"].unique(), len(lines))
    for line, shift in zip(lines, shifts, strict=True):
        color, marker = looks[line]
        rows = here[here["line"].eq(line)].sort_values("lr")
        x = rows["lr"].to_numpy() * shift
        done = rows["mean"].notna().to_numpy()
        ax.vlines(x, rows["low"].clip(0, 1 - LEAST_ERROR), rows["high"].clip(0, 1 - LEAST_ERROR),
                  color=color, lw=3, alpha=0.35)  # fmt: skip
        style = "-" if rows["joined"].all() else ""
        ax.plot(x[done], rows["mean"][done], ls=style, marker=marker, ms=4.5, lw=1.4, color=color)
        for edge, shape in ((False, "o"), (True, "s")):
            at = rows["chosen"].to_numpy() & (rows["edge"].to_numpy() == edge) & done
            ax.plot(x[at], rows["mean"][at], **CHOSEN, marker=shape, mec=color)
        broken = rows["unfinished"].to_numpy()
        # Crosses of several lines at one lr lie above each other, and all can be counted.
        bottom = np.full(broken.sum(), 0.03 + 0.045 * lines.index(line) * (len(lines) < 12))
        if broken.any():  # nothing at all would be laid out as a mark at the page's corner
            ax.plot(x[broken], bottom, **BROKEN, color=color, transform=ax.get_xaxis_transform())


def _shifts(rates: NDArray[np.float64], lines: int) -> NDArray[np.float64]:
    """Compute factors that set the points of lines at one lr side by side, a fifth of the way to the next."""
    steps = np.diff(np.log10(np.sort(rates)))
    room = 0.2 * float(steps.min(initial=0.5))
    return np.asarray(10 ** np.linspace(-room / 2, room / 2, lines)) if lines > 1 else np.ones(1)


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Choose the ends of the axis of accuracies; an interval of two wild seeds may reach beyond it."""
    means = table["mean"].dropna().to_numpy(dtype=float)
    if not means.size:
        return 0.0, 1.0
    low, high = float(means.min()), min(float(means.max()), 1 - LEAST_ERROR)
    ends = table[["low", "high"]].to_numpy(dtype=float)
    least, most = np.nanmin(ends, initial=low), np.nanmax(ends, initial=high)
    return max(float(least), low - 0.5 * (1 - low), 0.0), min(float(most), 1 - (1 - high) / 1.5)


def _scale(ax: Axes, table: pd.DataFrame) -> None:
    """Lay lr out on a log axis, and accuracy on an axis that is logarithmic in the error."""
    low, high = _limits(table)
    ax.set_yscale("function", functions=(error, share))
    ends = error(np.array([low, high]))
    room = 0.08 * (float(np.ptp(ends)) or 0.1)
    below = 0.045 * table["line"].nunique() * float(np.ptp(ends)) * bool(table["unfinished"].any())
    ax.set_ylim(max(float(share(ends[0] - room - below)), -1.0), float(share(ends[1] + room)))
    ax.yaxis.set_major_locator(FixedLocator(ticks(low, high)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(PercentTicks())
    ax.set_xscale("log")
    rates = table["lr"]
    room = max(math.log10(rates.max() / rates.min()) * 0.06, 0.1)
    ax.set_xlim(rates.min() / 10**room, rates.max() * 10**room)
    steps = np.diff(np.log10(np.sort(rates.unique())))
    few = len(steps) < 6 and steps.min(initial=np.inf) > 0.1 * steps.sum()
    ax.xaxis.set_major_locator(FixedLocator(sorted(rates.unique())) if few else LogLocator(numticks=5))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_minor_locator(NullLocator())


def _keys(table: pd.DataFrame, lines: Sequence[str], bars: str) -> list[Line2D]:
    keys = _named(lines)
    if (table["chosen"] & ~table["edge"]).any():
        keys.append(Line2D([], [], **CHOSEN, marker="o", mec=GREY, label="chosen"))
    if (table["chosen"] & table["edge"]).any():
        keys.append(Line2D([], [], **CHOSEN, marker="s", mec=GREY, label="chosen, at an edge"))
    if table["unfinished"].any():
        keys.append(Line2D([], [], **BROKEN, color=GREY, label="diverged or failed"))
    if table["low"].notna().any():
        keys.append(Line2D([], [], color=GREY, lw=3, alpha=0.5, label=bars))
    return keys
