"""A function of one number, and its derivative."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.plots.style import COLORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

ROOM = 0.06  # of the height, above and below


def function(ax: Axes, table: pd.DataFrame, name: str = "f") -> None:
    """Draw a function and its derivative, which is dashed; values that are not finite are left out.

    Args:
        ax: where to draw.
        table: x, value, derivative; of NaN alone, no derivative is drawn.
        name: the function's own, for the legend.
    """
    ax.axhline(0, color="0.55", lw=0.8, zorder=1)
    if table["x"].min() < 0 < table["x"].max():
        ax.axvline(0, color="0.55", lw=0.8, zorder=1)
    shown = table.replace([np.inf, -np.inf], np.nan)
    ax.plot(shown["x"], shown["value"], color=COLORS[0], lw=2, label=name)
    if shown["derivative"].notna().any():
        ax.plot(shown["x"], shown["derivative"], color=COLORS[1], lw=1.8, ls=(0, (4, 2)), label="derivative")
    ax.set(xlabel="x", xlim=(table["x"].min(), table["x"].max()))
    ax.legend(frameon=False)
