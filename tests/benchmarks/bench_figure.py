"""The benchmark's figure: every peer against the harness, and what a trial costs by how many there are."""

from __future__ import annotations

import pandas as pd
import ratios
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator
from peers import HARNESS, PEERS

from harness.plots.style import COLORS, nothing, styled, subplots

MARKERS = "os^Dv<>pPX"
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


@styled
def figure(rounds: pd.DataFrame) -> Figure:
    """Ratios as dots with their spread, a row a cell; below it milliseconds a trial against trials."""
    found = ratios.summary(rounds)
    found = found[found["peer"].ne(HARNESS)]
    cells = list(dict.fromkeys(found["cell"]))
    high = max(1.6, 0.55 * len(cells) + 0.9)
    drawn, ((above,), (below,)) = subplots(1, [high, 3.2], (9.6, high + 4.2))
    _ratios(above, found, cells)
    _costs(below, ratios.costs(rounds))
    handles, labels = above.get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return drawn


def _look(peer: str) -> dict[str, object]:
    if peer == HARNESS:
        return {"color": "0.1", "marker": "o"}
    place = list(PEERS).index(peer)
    return {"color": COLORS[place % len(COLORS)], "marker": MARKERS[place % len(MARKERS)]}


def _ratios(ax: Axes, found: pd.DataFrame, cells: list[str]) -> None:
    peers = [name for name in PEERS if name in set(found["peer"])]
    ax.axvline(1, color="0.4", lw=1.2, zorder=1)
    for i, peer in enumerate(peers):
        own = found[found["peer"].eq(peer)]
        # Beside one another within a row, so that close ratios can be told apart.
        y = [cells.index(cell) + 0.72 * ((i + 0.5) / len(peers) - 0.5) for cell in own["cell"]]
        look = _look(peer)
        ax.hlines(y, own["low"], own["high"], color=look["color"], lw=2, zorder=2)
        ax.plot(own["ratio"], y, ls="", ms=5.5, label=PEERS[peer].title, zorder=3, **look)  # type: ignore[arg-type]
    ax.set_xscale("log")
    low, high = (found["low"].min(), found["high"].max()) if len(found) else (1, 1)
    ax.set_xlim(min(0.8, 0.85 * low), max(2.0, 1.2 * high))
    ax.xaxis.set_major_locator(FixedLocator(list(TICKS)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_yticks(range(len(cells)), [cell.replace(", ", "\n") for cell in cells])
    ax.set_ylim(len(cells) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    for edge in range(1, len(cells)):
        ax.axhline(edge - 0.5, color="0.9", lw=0.8, zorder=0)
    ax.set_xlabel("peer's time / harness's time (right of 1: the harness is faster)")


def _costs(ax: Axes, found: pd.DataFrame) -> None:
    if found.empty:
        nothing(ax, "cost by number of trials: not measured")
        return
    for peer, own in found.groupby("peer", sort=False):
        ax.plot(
            own["trials"], own["milliseconds_per_trial"], ms=5.5, lw=1.6, label=PEERS[str(peer)].title,
            **_look(str(peer)),  # type: ignore[arg-type]
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if axis is ax.yaxis else (1.0, 3.0)))
        axis.set_major_formatter(lambda value, _: f"{value:,g}")
        axis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("trials of one epoch on digits, in one run")
    ax.set_ylabel("milliseconds a trial")
    told = "the harness starts its workers inside the clock; others start, and JAX compiles, before it"
    ax.set_title(told, loc="left", fontsize=9)
    ax.legend(frameon=False)
