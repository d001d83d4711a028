"""The style of all figures, and their shared parts: fonts, colours, empty panels, words beside rows."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import seaborn as sns
from matplotlib.ticker import FixedLocator, Formatter

from harness.plots import fonts
from harness.plots.figures import new_figure
from harness.plots.svg import compact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")
Color: TypeAlias = "tuple[float, float, float]"

COLORS = sns.color_palette("colorblind")
VAL, TEST = COLORS[0], COLORS[1]
GREY, SEED = "0.4", "0.15"
STYLE: dict[Any, Any] = {
    **sns.axes_style("whitegrid"),
    "font.family": "sans-serif",
    "font.sans-serif": [fonts.HOUSE],
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 10),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9),
    # Names are a person's own words: "$" is a dollar, and no mathematics.
    "text.parse_math": False,
    "grid.color": "0.9",
    # Text stays text (searchable, small); ids depend on the content alone: same numbers, same bytes.
    "svg.fonttype": "none",
    "svg.hashsalt": "ablation-harness",
}


LONGEST_NAME = 80
"""Letters of a name that a figure shows."""
FEWEST_DIGITS, MOST_DIGITS = 4, 9
"""Digits of a tick in percent."""


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Draw in the house's style, which holds only while `draw` runs."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with mpl.rc_context(STYLE), fonts.named():  # what is drawn here only to be measured needs no letters
            return draw(*args, **kwargs)

    return wrapper


def _shorten_names(figure: Figure) -> None:
    """Take the middle out of names at an axis or in a legend that would leave no room for what is drawn."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if isinstance(axis.get_major_locator(), FixedLocator):
                names = [tick.get_text() for tick in axis.get_ticklabels()]
                if any(len(name) > LONGEST_NAME for name in names):
                    axis.set_ticklabels([shortened(name) for name in names])
    legends = [*figure.legends, *filter(None, (ax.get_legend() for ax in figure.axes))]
    for text in (text for legend in legends for text in legend.get_texts()):
        text.set_text(shortened(text.get_text()))


def shortened(name: str) -> str:
    """Return a name without its middle if it is longer than LONGEST_NAME: its ends tell arms apart.

    >>> shortened("a" * 50 + "b" * 50) == "a" * 39 + "\u2026" + "b" * 40, shortened("relu")
    (True, 'relu')
    """
    if len(name) <= LONGEST_NAME:
        return name
    half = LONGEST_NAME // 2
    return f"{name[: half - 1]}\u2026{name[-half:]}"


@styled
def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write `stem`.png and `stem`.svg, without a date, so that the same results give the same bytes."""
    _shorten_names(figure)
    drawn = io.StringIO()
    png, svg = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
    with fonts.readable(figure):
        figure.savefig(png, dpi=144, metadata={"Software": None})
    if figure.get_layout_engine() is not None:
        figure.set_layout_engine("none")  # laid out once: for a figure of many panels that is half the time
    with fonts.named():
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    svg.write_text(compact(drawn.getvalue()), encoding="utf-8", newline="\n")
    return png, svg


class PercentTicks(Formatter):
    """Ticks in percent: four digits, or as many as tell the ticks of an axis apart."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Write a share that stands alone, with matplotlib's signature."""
        del pos
        return _ticks([x], FEWEST_DIGITS)[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Write all ticks of an axis."""
        for digits in range(FEWEST_DIGITS, MOST_DIGITS):
            written = _ticks(values, digits)
            if len(set(written)) == len(set(values)):
                return written
        return _ticks(values, MOST_DIGITS)


def _ticks(shares: Sequence[float], digits: int) -> list[str]:
    return [f"{100 * share:.{digits}g}\u00a0%" for share in shares]


def subplots(
    columns: int, heights: Sequence[float], size: tuple[float, float]
) -> tuple[Figure, list[list[Axes]]]:
    """Give an empty figure and its rows of axes; `heights` relative, one a row, `size` in inches."""
    figure = new_figure(size, "constrained")
    grid = figure.subplots(len(heights), columns, squeeze=False, height_ratios=list(heights))
    return figure, [list(row) for row in grid]


def beside(ax: Axes, words: Sequence[str]) -> None:
    """Write a word at the right of each row."""
    for y, word in enumerate(words):
        ax.text(1.015, y, word, transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=GREY)


def fit(ax: Axes, *values: npt.NDArray[np.float64]) -> None:
    """Make the x axis span all `values`: intervals as well as points."""
    finite = np.concatenate([np.ravel(value).astype(float) for value in values])
    finite = finite[np.isfinite(finite)]
    if finite.size:
        room = 0.04 * (np.ptp(finite) or 0.01)
        ax.set_xlim(finite.min() - room, finite.max() + room)


def nothing(ax: Axes, words: str) -> None:
    """Write in the place of an empty panel why it is empty."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, words, ha="center", va="center", color=GREY, transform=ax.transAxes)
