"""The space of a search: parallel coordinates, slices, and a contour plot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.tri import Triangulation

from harness.plots.scales import LEAST_ERROR, kind_of, least_error, places, ticks, value_axis, values_at
from harness.plots.search import BEST, FAILED, PRUNED
from harness.plots.style import GREY, styled, subplots
from harness.text import short_number, spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

VALUES = mpl.colormaps["viridis"]
NUMBERS = mpl.colormaps["cividis"]
ABSENT = -0.09  # where a line passes an axis on which its suggestion has no value
WORST_LEFT = 0.1  # of the values: below this quantile one colour stands for all, or the best look alike
MOST_NAMED = 6  # steps of an axis that names each of its values
LONGEST = 14  # letters of a category that stands beside an axis


@dataclass(frozen=True)
class Dimension:
    """A parameter as a figure lays it out."""

    name: str  # its column
    kind: Literal["log", "linear", "category"]  # log and linear for numbers, category for names
    low: float = math.nan  # the least value, of numbers
    high: float = math.nan  # the greatest
    levels: Sequence[str] = ()  # the values of a category, as text
    step: float = 0  # between the values; 0 where all between low and high are
    least: float = LEAST_ERROR  # of accuracies, as from `least_error`

    @property
    def few(self) -> list[float]:
        """The values themselves, where they are numbers and so few that an axis can name them all."""
        if not self.step or self.high - self.low > MOST_NAMED * self.step:
            return []
        return [float(value) for value in np.arange(self.low, self.high + self.step / 2, self.step)]

    def places(self, column: pd.Series[Any]) -> NDArray[np.float64]:
        """Place values between the ends of the range, in 0..1; NaN where there is none."""
        if self.kind == "category":
            index = {level: place for place, level in enumerate(self.levels)}
            at = column.map(index).to_numpy(dtype=float)
            return np.asarray((at + 0.5) / max(len(self.levels), 1), dtype=float)
        values = column.to_numpy(dtype=float)
        low, high = self.low, self.high
        if self.kind == "log":
            values, low, high = np.log(values), math.log(low), math.log(high)
        return np.asarray(
            (values - low) / (high - low) if high > low else np.where(np.isnan(values), np.nan, 0.5)
        )


@styled
def parallel_figure(
    table: pd.DataFrame, dimensions: Sequence[Dimension], objective: str, *, maximize: bool = True
) -> Figure:
    """Draw parallel coordinates: a line for each suggestion, coloured by the objective, the best on top.

    Args:
        table: a column a dimension, value, best (boolean); complete suggestions only.
        dimensions: the parameters, in the order to show.
        objective: the value's name.
        maximize: whether more is better.
    """
    axes = [*dimensions, _of_values(table["value"], objective)]
    width = max(1.15 * len(axes) + 1.2, 6.4)
    figure, ((ax,),) = subplots(1, [1.0], (width, 4.8))
    y = np.stack([_spread(axis, table) for axis in axes], axis=1)
    y = np.where(np.isnan(y), ABSENT, y)
    order = np.argsort(table["value"].to_numpy() * (1 if maximize else -1), kind="stable")
    norm, shades = _shades(table["value"], objective, maximize=maximize)
    lines = [np.column_stack([np.arange(len(axes)), row]) for row in y[order]]
    ax.add_collection(LineCollection(lines, colors=VALUES(norm(shades[order])), linewidths=1.1, alpha=0.6))
    for row in y[table["best"].to_numpy()]:
        ax.plot(range(len(axes)), row, color="k", lw=3.4, zorder=4)
        ax.plot(range(len(axes)), row, color=BEST["mfc"], lw=2, zorder=5)
    for place, axis in enumerate(axes):
        _upright(ax, place, axis)
    if (y == ABSENT).any():
        ax.axhline(ABSENT, color=GREY, lw=0.6, ls=(0, (1, 3)), zorder=0)
        ax.text(-0.08, ABSENT, "not set", ha="right", va="center", fontsize=8, color=GREY)
    ax.set_xlim(-0.35, len(axes) - 0.4)
    ax.set_ylim(-0.14, 1.02)
    ax.set_xticks(
        range(len(axes)), [*(spaced(axis.name) for axis in dimensions), spaced(objective)], rotation=20,
        ha="left",
    )  # fmt: skip
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    figure.legend(
        handles=[Line2D([], [], color=BEST["mfc"], lw=2.4, label="best suggestion")],
        loc="outside lower center", frameon=False,
    )  # fmt: skip
    return figure


def _of_values(values: pd.Series[Any], objective: str) -> Dimension:
    """Make the objective the last axis, on a scale that tells its values apart."""
    low, high = float(values.min()), float(values.max())
    return Dimension("value", "linear", low, high, (objective,), least=least_error(values))


def _spread(axis: Dimension, table: pd.DataFrame) -> NDArray[np.float64]:
    """Place values on an axis; those of one category lie side by side in the order of their numbers."""
    if axis.name == "value":
        at = places(table["value"], kind_of(axis.levels[0], table["value"]), axis.least)
        return np.asarray((at - at.min()) / (np.ptp(at) or 1.0), dtype=float)
    positions = axis.places(table[axis.name])
    if axis.kind == "category":
        positions = positions + 0.35 / len(axis.levels) * np.linspace(-1, 1, len(positions))
    return positions


def _upright(ax: Axes, place: int, axis: Dimension) -> None:
    ax.plot([place, place], [0, 1], color="0.35", lw=1, zorder=3)
    for y, word in _marks(axis):
        ax.text(place + 0.04, y, word, fontsize=7.5, va="center", zorder=6,
                bbox={"fc": "w", "ec": "none", "alpha": 0.75, "pad": 0.6})  # fmt: skip


def _marks(axis: Dimension) -> list[tuple[float, str]]:
    if axis.kind == "category":
        many = len(axis.levels)
        return [((place + 0.5) / many, _short(level)) for place, level in enumerate(axis.levels)]
    if axis.name == "value":
        return _value_marks(axis)
    middle = math.sqrt(axis.low * axis.high) if axis.kind == "log" else (axis.low + axis.high) / 2
    values = pd.Series(axis.few or [axis.low, float(f"{middle:.2g}"), axis.high])
    return list(zip(axis.places(values).tolist(), map(short_number, values), strict=True))


def _value_marks(axis: Dimension) -> list[tuple[float, str]]:
    """Mark the objective's own scale beside the last axis: its ends, and values far enough from them."""
    kind, ends = kind_of(axis.levels[0], [axis.low, axis.high]), [axis.low, axis.high]
    within = ticks(axis.low, axis.high) if kind == "error" else MaxNLocator(5).tick_values(*ends)
    values = np.array([*ends, *(value for value in within if axis.low < value < axis.high)])
    at = places(values, kind, axis.least)
    at = (at - at[0]) / (at[1] - at[0] or 1.0)
    keep = [place for place in range(len(at)) if place < 2 or 0.05 < at[place] < 0.95]
    written = (lambda x: f"{100 * x:.4g}\u00a0%") if kind == "error" else short_number
    return [(float(at[place]), written(float(values[place]))) for place in keep]


def _short(level: str) -> str:
    return level if len(level) <= LONGEST else f"{level[: LONGEST - 1]}\u2026"


def _shades(
    values: pd.Series[Any], objective: str, *, maximize: bool
) -> tuple[Normalize, NDArray[np.float64]]:
    """Return colours' places, the better the lighter; the worst tenth shares the darkest."""
    at = places(values, kind_of(objective, values), least_error(values)) * (1 if maximize else -1)
    low, high = np.nanquantile(at, WORST_LEFT), np.nanmax(at)
    return Normalize(low, high if high > low else low + 1, clip=True), at


@styled
def slices_figure(
    table: pd.DataFrame, dimensions: Sequence[Dimension], objective: str, columns: int = 4
) -> Figure:
    """Draw the objective against each parameter by itself, coloured by the suggestions' numbers.

    Args:
        table: a column a dimension, number, state, value, best (boolean).
        dimensions: the parameters, a panel each.
        objective: the value's name.
        columns: panels a row.
    """
    columns = min(columns, len(dimensions))
    rows = math.ceil(len(dimensions) / columns)
    figure, grid = subplots(columns, [1.0] * rows, (max(2.7 * columns + 1.1, 6.0), 2.5 * rows + 0.5))
    flat = [ax for row in grid for ax in row]
    for ax in flat[len(dimensions) :]:
        ax.set_axis_off()
    numbers = Normalize(table["number"].min(), max(table["number"].max(), 1))
    for place, (ax, axis) in enumerate(zip(flat, dimensions, strict=False)):
        _slice(ax, table, axis, numbers)
        value_axis(ax, "y", objective, table["value"])
        if place % columns:
            ax.set_ylabel("")
    bar = figure.colorbar(ScalarMappable(numbers, NUMBERS), ax=flat, fraction=0.03, pad=0.015)
    bar.set_label("suggestion")
    bar.locator = MaxNLocator(integer=True)
    bar.outline.set_visible(False)
    keys = [Line2D([], [], **BEST, label="best")]
    there = set(table["state"])
    keys += [Line2D([], [], **PRUNED, label="pruned: the value at its end")] if "pruned" in there else []
    keys += [Line2D([], [], **FAILED, label="failed: no value")] if "failed" in there else []
    figure.legend(handles=keys, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _slice(ax: Axes, table: pd.DataFrame, axis: Dimension, numbers: Normalize) -> None:
    here = table[table[axis.name].notna()]
    x = here[axis.name].to_numpy()
    if axis.kind == "category":
        x = np.array([axis.levels.index(level) for level in here[axis.name]], dtype=float)
        x += 0.28 * np.linspace(-1, 1, len(here))
    here = here.assign(_x=x)
    pruned, done = here[here["state"].eq("pruned")], here[here["state"].eq("complete")]
    failed, best = here[here["state"].eq("failed")], here[here["best"]]
    ax.plot(pruned["_x"], pruned["value"], **PRUNED)
    ax.scatter(done["_x"], done["value"], c=done["number"], cmap=NUMBERS, norm=numbers, s=18, lw=0, zorder=3)
    if len(failed):
        ax.plot(failed["_x"], np.full(len(failed), 0.03), transform=ax.get_xaxis_transform(), **FAILED)
    ax.plot(best["_x"], best["value"], **BEST, zorder=6)
    _across(ax, axis, "x")


def _across(ax: Axes, axis: Dimension, which: Literal["x", "y"]) -> None:
    """Lay an axis out over a parameter's whole range, also where nothing was suggested."""
    direction = ax.xaxis if which == "x" else ax.yaxis
    limits = ax.set_xlim if which == "x" else ax.set_ylim
    direction.set_label_text(spaced(axis.name))
    if axis.kind == "category":
        levels = [_short(level) for level in axis.levels]
        crowded = which == "x" and sum(map(len, levels)) > 22
        direction.set_ticks(range(len(levels)), levels)
        if crowded:
            ax.tick_params(axis="x", labelrotation=25)
        limits(-0.5, len(levels) - 0.5)
        return
    low, high = axis.low, axis.high
    if axis.kind == "log":
        (ax.set_xscale if which == "x" else ax.set_yscale)("log")
        room = (high / low) ** 0.04
        limits(low / room, high * room)
        few = high / low < 30
        direction.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if few else LogLocator(numticks=6))
        direction.set_minor_locator(NullLocator())
        direction.set_minor_formatter(NullFormatter())
    else:
        room = 0.04 * (high - low or 1.0)
        limits(low - room, high + room)
        direction.set_major_locator(
            FixedLocator(axis.few) if axis.few else MaxNLocator(5, integer=axis.step >= 1)
        )
    direction.set_major_formatter(lambda value, _: short_number(value))


@styled
def contour_figure(
    table: pd.DataFrame, across: Dimension, upright: Dimension, objective: str, *, maximize: bool = True
) -> Figure:
    """Draw the objective over two parameters: linear between the points, and nothing outside of their hull.

    Args:
        table: both columns, value, best (boolean); complete suggestions only, both values known.
        across: the parameter from left to right, numeric.
        upright: the other.
        objective: the value's name.
        maximize: whether more is better.
    """
    figure, ((ax,),) = subplots(1, [1.0], (7.4, 5.0))
    norm, shades = _shades(table["value"], objective, maximize=maximize)
    x, y = table[across.name].to_numpy(dtype=float), table[upright.name].to_numpy(dtype=float)
    merged = table.assign(_at=shades).groupby([across.name, upright.name], sort=True)["_at"].mean()
    corners = merged.index.to_frame()
    flat = [axis.places(corners[axis.name]) for axis in (across, upright)]
    triangles = _triangles(*flat)
    if triangles is not None:
        # Triangles are found where both axes are as long as they look, and drawn at the values themselves.
        drawn = Triangulation(corners[across.name], corners[upright.name], triangles)
        levels = np.linspace(norm.vmin or 0.0, norm.vmax or 1.0, 11)
        # The worst are drawn in the darkest colour, not left out.
        held = np.clip(merged.to_numpy(), norm.vmin, norm.vmax)
        ax.tricontourf(drawn, held, levels=levels, cmap=VALUES, norm=norm, alpha=0.75)
    ax.scatter(x, y, c=shades, cmap=VALUES, norm=norm, s=26, edgecolors="w", linewidths=0.7, zorder=3)
    best = table[table["best"]]
    ax.plot(best[across.name], best[upright.name], **BEST, zorder=6)
    _across(ax, across, "x")
    _across(ax, upright, "y")
    bar = figure.colorbar(ScalarMappable(norm, VALUES), ax=ax, fraction=0.05, pad=0.02)
    ticks = np.linspace(norm.vmin or 0.0, norm.vmax or 1.0, 5)
    bar.set_ticks(list(ticks), labels=_back(ticks, table["value"], objective, maximize=maximize))
    bar.set_label(spaced(objective))
    bar.outline.set_visible(False)
    if len(best):
        key = Line2D([], [], **BEST, label="best")
        figure.legend(handles=[key], loc="outside upper center", frameon=False)
    return figure


def _triangles(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int32] | None:
    """Return the Delaunay triangles between points; None if these lie on one line."""
    if len(x) < 3:
        return None
    try:
        return Triangulation(x, y).triangles
    except (RuntimeError, ValueError):
        return None


def _back(at: NDArray[np.float64], values: pd.Series[Any], objective: str, *, maximize: bool) -> list[str]:
    kind, signed = kind_of(objective, values), at * (1 if maximize else -1)
    restored = values_at(signed, kind, least_error(values)).tolist()
    return [f"{100 * value:.3g}\u00a0%" if kind == "error" else short_number(value) for value in restored]
