"""Survival curves: the share of seeds that have reached a target, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from harness.plots.style import COLORS, GREY, PercentTicks, shortened, styled, subplots

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
"""Styles of lines, in turn: curves of steps lie on each other, and colours alone are not for everybody."""


@styled
def survival_figure(curves: pd.DataFrame, horizon: float, xlabel: str) -> Figure:
    """Draw each arm's share of seeds that have reached the target, as a curve of steps.

    Args:
        curves: label, time, share, as from `stats.survival_curves`; labels come in their order.
        horizon: the time up to which all arms can be compared, marked where curves go beyond it.
        xlabel: the unit of time, in words.
    """
    labels = list(dict.fromkeys(curves["label"]))
    figure, ((ax,),) = subplots(1, [1.0], (6.8, 3.6 + 0.22 * len(labels)))
    for place, label in enumerate(labels):
        here = curves[curves["label"].eq(label)]
        words = shortened(str(label))
        ax.step(
            here["time"], here["share"], where="post", label=words, color=COLORS[place % len(COLORS)],
            ls=DASHES[place % len(DASHES)], lw=2,
        )  # fmt: skip
    last = float(curves["time"].max())
    if last > horizon:
        ax.axvline(horizon, color=GREY, lw=1, ls=":")
    ax.set(xlim=(0, last * 1.02 or 1), ylim=(-0.03, 1.03), xlabel=xlabel, ylabel="seeds that reached it")
    ax.yaxis.set_major_formatter(PercentTicks())
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=last >= 8))
    figure.legend(loc="outside upper center", ncols=1, frameon=False)
    return figure
