"""A forest plot: a row for each contrast, its interval beside the margin, its verdict in words."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from harness.plots.style import COLORS, fit, styled, subplots
from harness.stats.verdicts import IDENTICAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

POINTS = "points"
MOST_ROWS = 40  # contrasts of one figure: more and it is taller than two screens
WIDEST = 46  # characters of a row's words in one line
ROW, WRAPPED, TWICE, HEADING = 1.0, 1.55, 1.75, 1.35  # heights, in rows of one line
INCHES = 0.25  # of a row of one line
LOG_BEYOND = 40.0  # margins in the widest difference, beyond which a linear axis would hide the margin
LINEAR = 5.0  # margins up to which such an axis is linear
LANES = {"fixed": -0.36, "tuned": 0.36}  # how far from its row's middle each is drawn
DECIMALS = np.array([1.0, 2.0, 5.0])


@dataclass(frozen=True)
class _Style:
    """The style of a verdict: its colour, a darker one for words, and a marker for the colour-blind."""

    color: Any
    words: Any
    marker: str


LOOKS = {
    "better": _Style(COLORS[0], "#005a8e", ">"),
    "worse": _Style(COLORS[3], "#a84300", "<"),
    IDENTICAL: _Style(COLORS[2], "#00694d", "D"),
    "same within margin": _Style(COLORS[2], "#00694d", "s"),
}
OPEN = _Style("0.45", "0.35", "o")


@styled
def forest_figure(table: pd.DataFrame, margin: float, xlabel: str, unit: str = POINTS) -> Figure:
    """Draw contrasts with 95 % intervals, the margin as a band around 0, the verdicts at the right.

    Args:
        table: heading (rows that belong together follow each other), label (the contrast in words),
            difference, low, high (shares; NaN where there is none), verdict, words (at the row's right),
            series: empty, or `fixed` and `tuned` for two rows of a contrast that share a line.
        margin: within it two arms count as the same; a share; 0 if nobody has said.
        xlabel: what the difference is, in words.
        unit: of differences as they are drawn: points, of shares; any other unit is the table's own.
    """
    times = 100 if unit == POINTS else 1
    shown = table.assign(**(table[["difference", "low", "high"]] * times))
    twice = bool(shown["series"].ne("").any())
    rows, height = _places(shown, twice=twice)
    figure, ((ax,),) = subplots(1, [1.0], (10.4, INCHES * height + 1.15))
    if margin > 0:
        ax.axvspan(-times * margin, times * margin, color="0.92", lw=0, zorder=0)
    ax.axvline(0, color="0.45", lw=1, zorder=1)
    for row in shown.to_dict("records"):
        _contrast(ax, row, rows[row["heading"], row["label"]] + LANES.get(row["series"], 0.0))
    _name_rows(ax, rows, height)
    _scale(ax, table, margin, unit)
    ax.set_xlabel(xlabel)
    size = f"{times * margin:g} {unit}".strip() if margin > 0 else ""
    keys = list(_keys(set(shown["verdict"]), size, twice=twice))
    figure.legend(handles=keys, loc="outside upper center", ncols=min(len(keys), 5), frameon=False)
    return figure


def _places(table: pd.DataFrame, *, twice: bool) -> tuple[dict[tuple[str, str], float], float]:
    """Place each heading (its label empty) and contrast, in rows from the top, and give their height."""
    places: dict[tuple[str, str], float] = {}
    top = 0.0
    for heading, label in table[["heading", "label"]].itertuples(index=False, name=None):
        for key in ((heading, ""), (heading, label)):
            if key in places or key == ("", ""):
                continue
            tall = WRAPPED if len(_wrapped(key[1])) > 1 else ROW
            size = (TWICE if twice else tall) if key[1] else HEADING
            places[key] = top + size / 2
            top += size
    return places, top


def _contrast(ax: Axes, row: Mapping[Any, Any], y: float) -> None:
    look = LOOKS.get(row["verdict"], OPEN)
    hollow = row["series"] == "fixed"
    ax.hlines(y, row["low"], row["high"], color=look.color, lw=1.6 if hollow else 2.6, zorder=2)
    ax.plot(
        row["difference"], y, look.marker, ms=7, mec=look.color, mew=1.4, zorder=3,
        mfc="white" if hollow else look.color,
    )  # fmt: skip
    ax.text(
        1.015, y, row["words"], transform=ax.get_yaxis_transform(), va="center", color=look.words,
        fontsize=8.5 if row["series"] else 9,
    )  # fmt: skip


def _name_rows(ax: Axes, rows: Mapping[tuple[str, str], float], height: float) -> None:
    ax.set_ylim(height, 0)
    ax.grid(visible=False, axis="y")
    named = [("\n".join(_wrapped(label)), y) for (_, label), y in rows.items() if label]
    ax.set_yticks([y for _, y in named], [words for words, _ in named])
    at: dict[str, Any] = {"transform": ax.get_yaxis_transform()}
    for heading, y in ((heading, y) for (heading, label), y in rows.items() if not label):
        # Inside the panel, whose row is empty there, it has room that the words at the left have not.
        ax.text(0.008, y, heading, **at, va="center", fontsize=9, fontweight="bold", zorder=4)
        if y > HEADING:
            ax.hlines(y - HEADING / 2, 0, 1, **at, color="0.85", lw=0.8, zorder=0)


def _wrapped(words: str) -> Sequence[str]:
    return textwrap.wrap(words, WIDEST, max_lines=2, placeholder=" \u2026")


def _least(largest: float, unit: str) -> float:
    """Return the least half width of the axis: 0.05 points, of another unit a part of what is drawn."""
    return 0.0005 if unit == POINTS else max(largest / 20, 1e-12)


def _values(table: pd.DataFrame) -> NDArray[np.float64]:
    return table[["difference", "low", "high"]].to_numpy(dtype=float)


def _half_width(table: pd.DataFrame, margin: float, unit: str) -> tuple[float, float]:
    """Return the margin, or the least that an axis shows in its place; and the largest of all values."""
    values = _values(table)
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    return max(margin, _least(largest, unit)), largest


def forest_bend(table: pd.DataFrame, margin: float, unit: str = POINTS) -> float | None:
    """Return the difference from which on `forest_figure` has a logarithmic axis, which its caption must say.

    None: the axis is linear throughout, as one would not hide the margin.
    """
    least, largest = _half_width(table, margin, unit)
    return LINEAR * least if largest > LOG_BEYOND * least else None


def _scale(ax: Axes, table: pd.DataFrame, margin: float, unit: str) -> None:
    """Span all intervals and the margin; logarithmic beyond a part where one would hide the other."""
    times = 100 if unit == POINTS else 1
    values, bend = times * _values(table), forest_bend(table, margin, unit)
    least, largest = (times * size for size in _half_width(table, margin, unit))
    band = 1.15 * least * np.array([-1.0, 1.0])
    if bend is None:
        fit(ax, values, band)
        ax.xaxis.set_major_locator(MaxNLocator(7))
        return
    linear = times * bend
    ax.set_xscale("symlog", linthresh=linear, linscale=1.2)
    decades = np.ravel(10.0 ** np.arange(-2, 3)[:, None] * DECIMALS)
    decades = decades[decades >= 0.99 * linear][:: 1 if largest < 20 * linear else 2]
    ticks = np.concatenate([-decades[::-1], [0.0], decades])
    low, high = (min(np.nanmin(values), band[0]), max(np.nanmax(values), band[1]))
    low, high = 1.3 * low, 1.3 * high
    ax.set_xlim(low, high)
    ax.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\u2212"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())


def _keys(verdicts: set[str], margin: str, *, twice: bool) -> Iterator[Line2D | Patch]:
    for verdict, look in LOOKS.items():
        if verdict in verdicts:
            yield _marker(look, verdict)
    if verdicts - set(LOOKS):
        yield _marker(OPEN, "no verdict")
    if twice:
        yield Line2D([], [], ls="", marker="o", ms=7, mec="0.2", mfc="white", label="fixed setting")
        yield Line2D([], [], ls="", marker="o", ms=7, mec="0.2", mfc="0.2", label="tuned")
    if margin:
        yield Patch(color="0.9", label=f"margin of \u00b1{margin}")


def _marker(look: _Style, label: str) -> Line2D:
    return Line2D([], [], color=look.color, lw=2, marker=look.marker, ms=7, label=label)
