"""Figures of forecasts: the predicted against the reached end of learning curves, and their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from harness.plots.style import COLORS, GREY, PercentTicks, styled, subplots
from harness.text import spaced

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@styled
def forecast_figure(errors: pd.DataFrame, summary: pd.DataFrame, objective: str) -> Figure:
    """Draw predicted against reached ends after the first and the middle evaluation, and RMSE by evaluation.

    Args:
        errors: evaluation, predicted, reached: a row a curve and evaluation.
        summary: evaluation, rmse, unchanged_rmse.
        objective: the value's name.
    """
    figure, ((left, right),) = subplots(2, [1.0], (10.6, 4.2))
    evaluations = list(summary["evaluation"])
    shown = list(dict.fromkeys([evaluations[0], evaluations[len(evaluations) // 2]]))
    ends = [*errors["predicted"], *errors["reached"]]
    left.plot([min(ends), max(ends)], [min(ends), max(ends)], color=GREY, lw=1, ls=(0, (4, 3)), zorder=1)
    for color, marker, evaluation in zip(COLORS, "os", shown, strict=False):
        rows = errors[errors["evaluation"].eq(evaluation)]
        left.plot(rows["predicted"], rows["reached"], ls="", marker=marker, ms=4, mec="none", color=color,
                  alpha=0.7)  # fmt: skip
    left.set(xlabel=f"predicted {spaced(objective)}", ylabel=f"reached {spaced(objective)}")
    right.plot(summary["evaluation"], summary["rmse"], color=COLORS[2], marker="o", ms=4)
    right.plot(summary["evaluation"], summary["unchanged_rmse"], color=GREY, marker="x", ms=5, ls=(0, (3, 2)))
    right.set(xlabel="after evaluation", ylabel="root mean square error")
    right.set_ylim(bottom=0)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    if objective.endswith("accuracy"):
        for axis in (left.xaxis, left.yaxis, right.yaxis):
            axis.set_major_formatter(PercentTicks())
    keys = [
        Line2D([], [], ls="", marker=marker, ms=5, color=color, label=f"after evaluation {evaluation}")
        for color, marker, evaluation in zip(COLORS, "os", shown, strict=False)
    ]
    keys.append(Line2D([], [], color=COLORS[2], marker="o", ms=4, label="predicted"))
    keys.append(Line2D([], [], color=GREY, marker="x", ls=(0, (3, 2)), label="taken as the end"))
    figure.legend(handles=keys, loc="outside upper center", ncols=len(keys), frameon=False)
    return figure
