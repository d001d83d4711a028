"""Figures of this folder's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.plots import style

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

APART = 0.12  # between the lines of a panel, in places of the x axis


@style.styled
def advantages_figure(table: pd.DataFrame, margin: float) -> Figure:
    """Draw differences from a reference with 95 % intervals: a panel a noise level, a colour an output.

    Args:
        table: label_noise (text), budget, output, difference, difference_low, difference_high (shares; NaN of
            the reference, which is not drawn).
        margin: the difference, as a share, within which arms are called the same: a band.
    """
    shown = table[table["difference"].notna()]
    levels, budgets, outputs = (
        list(dict.fromkeys(shown[name])) for name in ("label_noise", "budget", "output")
    )
    figure, (axes,) = style.subplots(len(levels), [1], (3.6 * len(levels), 3.8))
    for ax, level in zip(axes, levels, strict=True):
        ax.axhspan(-100 * margin, 100 * margin, color=style.GREY, alpha=0.15, lw=0)
        ax.axhline(0, color=style.GREY, lw=1)
        for place, output in enumerate(outputs):
            rows = shown[shown["label_noise"].eq(level) & shown["output"].eq(output)].set_index("budget")
            numbers = rows.reindex(budgets)[["difference", "difference_low", "difference_high"]]
            _points(ax, 100 * numbers.to_numpy(dtype=float), place, len(outputs), output)
        ax.set_xticks(np.arange(len(budgets)), [budget.replace(" with ", "\nwith ") for budget in budgets])
        ax.set_title(f"{100 * float(level):g}\u00a0% of labels wrong", loc="left")
        ax.set_xlim(-0.5, len(budgets) - 0.5)
        ax.grid(visible=False, axis="x")
    ends = np.array([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(ends.min(), ends.max())
    axes[0].set_ylabel("points from cross-entropy")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def _points(ax: Axes, numbers: NDArray[np.float64], place: int, places: int, label: str) -> None:
    """Draw means with their intervals, (N, 3), as the `place`-th of `places` lines."""
    x = np.arange(len(numbers)) + APART * (place - (places - 1) / 2)
    color = style.COLORS[place % len(style.COLORS)]
    ax.vlines(x, numbers[:, 1], numbers[:, 2], color=color, lw=2)
    ax.plot(x, numbers[:, 0], "o", ms=6, color=color, label=label, clip_on=False, zorder=3)


@style.styled
def orders_figure(rates: pd.DataFrame, sizes: Sequence[str]) -> Figure:
    """Draw the share of pairs in the wrong order by the size of the true difference: a panel a study.

    Args:
        rates: study, protocol, size (one of `sizes`), wrong, low, high (shares; low and high NaN where there
            is no interval).
        sizes: words for the sizes, the smallest first.
    """
    studies = list(dict.fromkeys(rates["study"]))
    figure, (axes,) = style.subplots(len(studies), [1], (6.2 * len(studies), 4.6))
    for ax, study in zip(axes, studies, strict=True):
        here = rates[rates["study"].eq(study)]
        protocols = list(dict.fromkeys(here["protocol"]))
        for place, protocol in enumerate(protocols):
            rows = here[here["protocol"].eq(protocol)].set_index("size").reindex(list(sizes))
            numbers = rows[["wrong", "low", "high"]].to_numpy(dtype=float)
            _points(ax, numbers, place, len(protocols), protocol)
        ax.set_xticks(np.arange(len(sizes)), list(sizes))
        ax.set(xlabel="true difference, points", title=study)
        ax.set_xlim(-0.5, len(sizes) - 0.5)
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter(style.PercentTicks())
        ax.grid(visible=False, axis="x")
        ax.legend(loc="upper right", frameon=False)
    axes[0].set_ylabel("pairs in the wrong order")
    return figure
