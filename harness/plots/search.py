"""Figures of a search: history, expected best by budget, importance, the Pareto front, learning curves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from harness.plots.scales import value_axis
from harness.plots.style import COLORS, GREY, PercentTicks, beside, styled, subplots
from harness.text import spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED = COLORS[0], COLORS[1], COLORS[2], COLORS[3]
COMPLETE: dict[str, Any] = {"ls": "", "marker": "o", "ms": 4, "mec": "none", "color": BLUE, "alpha": 0.75}
PRUNED: dict[str, Any] = {"ls": "", "marker": "o", "ms": 4, "mfc": "none", "mec": GREY, "alpha": 0.55}
FAILED: dict[str, Any] = {"ls": "", "marker": "x", "ms": 6, "mew": 1.6, "color": RED, "clip_on": False}
BEST: dict[str, Any] = {"ls": "", "marker": "*", "ms": 14, "mfc": ORANGE, "mec": "k", "mew": 0.7}
STEP: dict[str, Any] = {"color": ORANGE, "lw": 1.8}


@styled
def history_figure(table: pd.DataFrame, objective: str) -> Figure:
    """Draw the objective against the suggestions' numbers, and the best so far against wall seconds.

    Args:
        table: number, state, value (NaN of a failed one), so_far (the best of the complete ones up to here),
            seconds, best (boolean); in the order of the numbers.
        objective: the value's name.
    """
    figure, ((left, right),) = subplots(2, [1.0], (10.6, 3.9))
    known = table["value"].dropna()
    for ax, x in ((left, "number"), (right, "seconds")):
        states(ax, table, x)
        ax.plot(table[x], table["so_far"], drawstyle="steps-post", **STEP)
        best = table[table["best"]]
        ax.plot(best[x], best["value"], **BEST, zorder=6)
        value_axis(ax, "y", objective, known)
    left.set_xlabel("suggestion")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xlabel("seconds of search until it was told")
    right.set_ylabel("")
    keys = [Line2D([], [], **look, label=label) for look, label in ((STEP, "best so far"), (BEST, "best"))]
    _legend(figure, [*_state_keys(table), *keys])
    return figure


def states(ax: Axes, table: pd.DataFrame, x: str, least: float = 0.025) -> None:
    """Mark suggestions (`x`, value, state) by their state; failed ones at the bottom."""
    for state, look in (("pruned", PRUNED), ("complete", COMPLETE)):
        rows = table[table["state"].eq(state)]
        ax.plot(rows[x], rows["value"], **look)
    failed = table[table["state"].eq("failed") & table[x].notna()]
    if len(failed):
        ax.plot(failed[x], np.full(len(failed), least), transform=ax.get_xaxis_transform(), **FAILED)


@styled
def budget_figure(curve: pd.DataFrame, so_far: pd.DataFrame, objective: str) -> Figure:
    """Draw the expected best of a random search against its budget, and the best so far of this one.

    Args:
        curve: budget, expected, low, high; dashed beyond half of the largest budget.
        so_far: number (from 1), so_far.
        objective: the value's name.
    """
    figure, ((ax,),) = subplots(1, [1.0], (7.6, 4.0))
    half = curve["budget"].max() / 2
    solid, rest = curve[curve["budget"].le(half)], curve[curve["budget"].ge(half)]
    ax.fill_between(solid["budget"], solid["low"], solid["high"], color=BLUE, alpha=0.18, lw=0)
    ax.plot(solid["budget"], solid["expected"], color=BLUE, lw=2)
    ax.plot(rest["budget"], rest["expected"], color=BLUE, lw=1.4, ls=(0, (3, 2)))
    ax.plot(so_far["number"], so_far["so_far"], drawstyle="steps-post", **STEP)
    shown = [*curve["expected"], *solid["low"], *solid["high"], *so_far["so_far"]]
    value_axis(ax, "y", objective, shown)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_xlabel("suggestions spent")
    keys = [
        Line2D([], [], color=BLUE, lw=2, label="expected best"),
        Line2D([], [], color=BLUE, lw=8, alpha=0.25, label="80 % of the searches of that size"),
        Line2D([], [], **STEP, label="this search, in its order"),
    ]
    _legend(figure, keys)
    return figure


@styled
def importance_figure(table: pd.DataFrame) -> Figure:
    """Draw each parameter's share of importance, an evaluator a colour, with its spread over resamples.

    Args:
        table: parameter, evaluator, importance, low, high (shares; NaN where it was not judged); parameters
            in the order to show.
    """
    parameters = list(dict.fromkeys(table["parameter"]))
    evaluators = list(dict.fromkeys(table["evaluator"]))
    figure, ((ax,),) = subplots(1, [1.0], (8.0, 0.42 * len(parameters) + 1.3))
    for place, evaluator in enumerate(evaluators):
        rows = table[table["evaluator"].eq(evaluator) & table["importance"].notna()]
        y = [parameters.index(name) + 0.3 * (place - (len(evaluators) - 1) / 2) for name in rows["parameter"]]
        color = COLORS[place]
        ax.hlines(y, rows["low"], rows["high"], color=color, lw=4, alpha=0.35)
        ax.plot(rows["importance"], y, ls="", marker="os"[place % 2], ms=6, color=color)
    ax.set_yticks(range(len(parameters)), parameters)
    ax.set_ylim(len(parameters) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(PercentTicks())
    ax.set_xlabel("share of the importance of all parameters judged")
    _legend(figure, [
        Line2D([], [], ls="", marker="os"[place % 2], ms=6, color=COLORS[place], label=evaluator)
        for place, evaluator in enumerate(evaluators)
    ])  # fmt: skip
    return figure


@styled
def front_figure(table: pd.DataFrame, names: Sequence[str], maximize: Sequence[bool]) -> Figure:
    """Draw two objectives against each other: the front as a step line, dominated suggestions faint.

    Args:
        table: `names` (two columns), number, front and best (booleans).
        names: the objectives, the first upright.
        maximize: for each, whether more is better.
    """
    upright, across = names
    figure, ((ax,),) = subplots(1, [1.0], (7.6, 4.6))
    front = table[table["front"]].sort_values([across, upright])
    beaten = table[~table["front"]]
    ax.plot(beaten[across], beaten[upright], ls="", marker="o", ms=4, color=GREY, alpha=0.35, mec="none")
    # Towards the worse side of the objective across, a point's other value can always be had.
    style = "steps-pre" if maximize[1] else "steps-post"
    ax.plot(front[across], front[upright], drawstyle=style, color=BLUE, lw=1.6)
    ax.plot(front[across], front[upright], ls="", marker="o", ms=6, color=BLUE)
    best = table[table["best"]]
    ax.plot(best[across], best[upright], **BEST, zorder=6)
    value_axis(ax, "y", upright, table[upright])
    value_axis(ax, "x", across, table[across])
    _legend(figure, [
        Line2D([], [], color=BLUE, marker="o", ms=6, label="front"),
        Line2D([], [], ls="", marker="o", ms=4, color=GREY, alpha=0.5, label="beaten"),
        Line2D([], [], **BEST, label=f"best {spaced(upright)}"),
    ])  # fmt: skip
    return figure


@styled
def hypervolume_figure(table: pd.DataFrame) -> Figure:
    """Draw the hypervolume of a search's front against the suggestions' numbers, and against wall seconds.

    Args:
        table: number, seconds, hypervolume, in the order of the numbers.
    """
    figure, ((left, right),) = subplots(2, [1.0], (10.6, 3.4))
    for ax, x in ((left, "number"), (right, "seconds")):
        ax.plot(table[x], table["hypervolume"], drawstyle="steps-post", color=BLUE, lw=1.8)
        ax.set_ylim(bottom=0)
    left.set_ylabel("hypervolume")
    left.set_xlabel("suggestion")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xlabel("seconds of search until it was told")
    return figure


@styled
def finalists_figure(table: pd.DataFrame, objective: str) -> Figure:
    """Draw finalists with their intervals, the number of each in the search, and how often it would win.

    Args:
        table: arm, searched, mean, low, high (NaN: no interval), wins (NaN: not known); the best first.
        objective: the value's name.
    """
    figure, ((ax,),) = subplots(1, [1.0], (8.2, 0.42 * len(table) + 1.5))
    places = np.arange(len(table))
    ax.hlines(places, table["low"], table["high"], color=BLUE, lw=4, alpha=0.35)
    ax.plot(table["mean"], places, ls="", marker="o", ms=6, color=BLUE)
    ax.plot(table["searched"], places, ls="", marker="o", ms=6, mfc="none", mec=ORANGE, mew=1.4)
    ax.set_yticks(places, list(table["arm"]))
    ax.set_ylim(len(table) - 0.5, -0.5)
    value_axis(ax, "x", objective, pd.concat([table[name] for name in ("searched", "mean", "low", "high")]))
    beside(ax, ["" if math.isnan(share) else f"{100 * share:.0f} %" for share in table["wins"]])
    _legend(figure, [
        Line2D([], [], ls="", marker="o", ms=6, color=BLUE, label="with the finalists' seeds"),
        Line2D([], [], ls="", marker="o", ms=6, mfc="none", mec=ORANGE, mew=1.4, label="in the search"),
    ])  # fmt: skip
    return figure


@styled
def pruning_figure(curves: pd.DataFrame, rungs: pd.DataFrame, objective: str) -> Figure:
    """Draw learning curves of the best suggestions and of pruned ones, with the epochs of pruning.

    Args:
        curves: number, label, pruned (boolean), epoch, value.
        rungs: epoch, pruned (how many suggestions had their last evaluation there).
        objective: the value's name.
    """
    figure, ((ax,),) = subplots(1, [1.0], (8.2, 4.6))
    cut = curves[curves["pruned"]]
    lines = [curve[["epoch", "value"]].to_numpy() for _, curve in cut.groupby("number", sort=False)]
    ax.add_collection(LineCollection(lines, colors=GREY, linewidths=0.8, alpha=0.4))
    ends = cut.groupby("number", sort=False).tail(1)
    ax.plot(ends["epoch"], ends["value"], ls="", marker="x", ms=4, color=GREY, alpha=0.6)
    keys = []
    for place, (label, curve) in enumerate(curves[~curves["pruned"]].groupby("label", sort=False)):
        color = COLORS[place % len(COLORS)]
        ax.plot(curve["epoch"], curve["value"], color=color, lw=1.9, marker="o", ms=3)
        keys.append(Line2D([], [], color=color, lw=2, label=str(label)))
    if len(cut):
        keys.append(Line2D([], [], color=GREY, lw=1, marker="x", ms=4, label="pruned"))
    value_axis(ax, "y", objective, curves["value"])
    first, last = curves["epoch"].min(), curves["epoch"].max()
    ax.set_xlim(first - 0.02 * (last or 1), (last or 1) * 1.02)
    for row in rungs.to_dict("records"):
        ax.axvline(row["epoch"], color=GREY, lw=0.8, ls=(0, (1, 2)), zorder=0)
        ax.text(row["epoch"], 1.01, f"{row['pruned']}", ha="center", va="bottom", fontsize=9, color=GREY,
                transform=ax.get_xaxis_transform())  # fmt: skip
    if curves["epoch"].mod(1).eq(0).all():
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    _legend(figure, keys)
    return figure


def _state_keys(table: pd.DataFrame) -> list[Line2D]:
    looks = {"complete": COMPLETE, "pruned": PRUNED, "failed": FAILED}
    there = table["state"].value_counts()
    return [
        Line2D([], [], **look, label=f"{state} ({there[state]})")
        for state, look in looks.items()
        if state in there
    ]


def _legend(figure: Figure, keys: Sequence[Line2D]) -> None:
    figure.legend(
        handles=list(keys), loc="outside upper center", ncols=math.ceil(len(keys) / math.ceil(len(keys) / 5)),
        frameon=False,
    )  # fmt: skip
