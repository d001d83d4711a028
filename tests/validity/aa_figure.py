"""A/A studies as figures: the rates with their intervals, and the curves of p values and power."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aa_rates
import numpy as np
from matplotlib.lines import Line2D

from harness import stats
from harness.plots import style
from harness.text import percent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

WRONG = {
    aa_rates.FALSE_POSITIVES: "one contrast",
    aa_rates.FAMILY_WISE: "any of four (Holm)",
    aa_rates.AT_MARGIN: "called the same, a margin apart",
    aa_rates.LOOKED_AT: "looked at (harness try)",
    aa_rates.SAME_AT_MARGIN: "looked at: the same, a margin apart",
}
COVERED = {
    aa_rates.COVERAGE: "no difference, Student's t",
    aa_rates.COVERAGE_APART: "a difference, Student's t",
    aa_rates.BOOTSTRAP: "no difference, percentile bootstrap",
    aa_rates.COVERAGE_AT_ANY_LOOK: "no difference, looked at",
}


def save(folder: Path, rates: pd.DataFrame, p: NDArray[np.float64]) -> None:
    """Write rates.png and curves.png, and both as SVG; `rates` and `p` as for the two figures."""
    style.save(rates_figure(rates), folder / "rates")
    style.save(curves_figure(rates, p), folder / "curves")


@style.styled
def rates_figure(rates: pd.DataFrame) -> Figure:
    """False positives and coverage, a row a rate; `rates` as from `aa_rates.table`."""
    count = max(rates["question"].isin(asked).sum() for asked in (WRONG, COVERED))
    drawn, grid = style.subplots(2, [1], (12.0, 0.25 * count + 2.0))
    _rows(grid[0][0], rates, WRONG, aa_rates.ALPHA)
    grid[0][0].set_title("Verdicts that are wrong: 5 % at most")
    _rows(grid[0][1], rates, COVERED, aa_rates.CONFIDENCE)
    grid[0][1].set_title("Intervals that have the true difference in them: 95 %")
    return drawn


def _rows(ax: Axes, rates: pd.DataFrame, asked: Mapping[str, str], nominal: float) -> None:
    """A row a rate: its 95 % interval, and the rate as a tick across it; one colour a question."""
    rates = rates[rates["question"].isin(asked)].sort_values(
        "question", key=lambda names: names.map(list(asked).index), kind="stable"
    )
    y = np.arange(len(rates))
    colors = [style.COLORS[list(asked).index(question)] for question in rates["question"]]
    ax.axvline(nominal, color=style.GREY, lw=1, ls="--", zorder=1)
    ax.hlines(y, rates["low"], rates["high"], color=colors, lw=6, alpha=0.4, zorder=2)
    ax.scatter(rates["rate"], y, marker="|", s=120, lw=2.2, color=colors, zorder=3)
    names = [
        f"{source.split(': ', 1)[-1]}, n = {n}" for source, n in zip(rates["source"], rates["n"], strict=True)
    ]
    ax.set_yticks(y, names)
    ax.set_ylim(len(rates) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.xaxis.set_major_formatter(style.PercentTicks())
    style.beside(ax, [percent(rate) for rate in rates["rate"]])
    keys = [Line2D([], [], color=color, lw=6, alpha=0.6) for color in style.COLORS[: len(asked)]]
    ax.legend(keys, asked.values(), loc="upper center", bbox_to_anchor=(0.4, -0.07), ncols=2, frameon=False)


@style.styled
def curves_figure(rates: pd.DataFrame, p: NDArray[np.float64]) -> Figure:
    """P values of A/A studies (R,) against the uniform, and power against predicted."""
    drawn, grid = style.subplots(2, [1], (11.0, 4.4))
    _p_values(grid[0][0], p)
    _power(grid[0][1], rates[rates["question"].eq(aa_rates.POWER)])
    return drawn


def _p_values(ax: Axes, p: NDArray[np.float64]) -> None:
    """Their share below each level: the diagonal, where a test keeps what it promises."""
    # Dvoretzky-Kiefer-Wolfowitz: of 100 such curves of uniform p values, 95 stay inside of it.
    band = np.sqrt(np.log(2 / (1 - aa_rates.CONFIDENCE)) / (2 * len(p)))
    ax.fill_between([0, 1], [-band, 1 - band], [band, 1 + band], color=style.GREY, alpha=0.18, lw=0)
    ax.plot([0, 1], [0, 1], color=style.GREY, lw=1, ls="--", label="uniform, with a 95 % band")
    share = np.arange(1, len(p) + 1) / len(p)
    ax.step(np.sort(p), share, where="post", color=style.VAL, lw=1.8, label="measured")
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="p", ylabel="studies with p this small")
    ax.set_title(f"p of {len(p):,} trained A/A studies (CE twice, n = 5)")
    ax.yaxis.set_major_formatter(style.PercentTicks())
    ax.legend(loc="lower right", frameon=False)


def _power(ax: Axes, rates: pd.DataFrame) -> None:
    """Measured power, with intervals, on the predicted curves."""
    shift = np.linspace(0, 1.05 * rates["shift"].max(), 200)
    marks = dict(zip(dict.fromkeys(rates["source"]), "os^", strict=False))
    handles = [
        Line2D([], [], color=style.GREY, ls="", marker=mark, mfc=style.GREY if mark == "o" else "white",
               label=source)
        for source, mark in marks.items()
    ]  # fmt: skip
    for color, n in zip(style.COLORS, sorted(set(rates["n"])), strict=False):
        predicted = stats.power(n, shift, 1.0, aa_rates.ALPHA)
        handles += ax.plot(shift, predicted, color=color, lw=1.5, label=f"n = {n}, predicted")
        for source, one in rates[rates["n"].eq(n)].groupby("source", sort=False):
            errors = [one["rate"] - one["low"], one["high"] - one["rate"]]
            mark = marks[str(source)]
            fill = color if mark == "o" else "white"
            ax.errorbar(
                one["shift"], one["rate"], errors, fmt=mark, ms=5, lw=1.2, color=color, mfc=fill, zorder=3
            )
    ax.set(ylim=(0, 1.03), xlim=(0, shift[-1]), xlabel="true difference, in SDs of the paired differences")
    ax.set_title("Studies that find it: measured (points) and predicted (lines)")
    ax.yaxis.set_major_formatter(style.PercentTicks())
    ax.legend(handles=handles, loc="lower right", framealpha=0.9)
