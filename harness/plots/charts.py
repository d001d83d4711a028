"""Charts of a study: rows of points and intervals, and learning curves."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from harness.plots.scales import kind_of, trained_ends
from harness.plots.style import (
    COLORS,
    GREY,
    SEED,
    TEST,
    VAL,
    PercentTicks,
    beside,
    fit,
    nothing,
    styled,
    subplots,
)
from harness.text import percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.plots.style import Color

MAX_LINES = 10  # colours of the palette: more curves in one panel could not be told apart
NAMES = {"level": "label", "effect": "difference"}


@dataclass(frozen=True)
class Panel:
    """One panel of learning curves."""

    title: str  # what the panel shows
    ylabel: str  # `accuracy` (a share, shown in %) or words for one kind of loss
    table: pd.DataFrame  # epoch, split, seed, value and the column that colours the lines


def dots(ax: Axes, table: pd.DataFrame, seeds: pd.DataFrame, labels: Sequence[str]) -> None:
    """Draw a row for each label: the interval as a bar, the mean as a tick across it, each seed as a point.

    Args:
        ax: where to draw; the first label comes on top.
        table: label, mean, low, high; low and high NaN where there is no interval.
        seeds: label, value.
        labels: the rows, also those without any number.
    """
    rows = table.set_index("label").reindex(list(labels))
    y = np.arange(len(rows))
    ax.hlines(y, rows["low"], rows["high"], color=VAL, lw=6, alpha=0.35, zorder=2)
    ax.plot(rows["mean"], y, "|", color=VAL, ms=13, mew=2.5, zorder=3)
    sns.stripplot(
        data=seeds, x="value", y="label", order=list(labels), orient="h", jitter=False, size=4.5,
        color=SEED, alpha=0.75, ax=ax, zorder=4,
    )  # fmt: skip
    ax.set(xlabel="", ylabel="", ylim=(len(rows) - 0.5, -0.5))
    ax.set_yticks(y, list(labels))
    ax.grid(visible=False, axis="y")
    ax.xaxis.set_major_locator(MaxNLocator(6))
    fit(ax, rows[["mean", "low", "high"]].to_numpy(), seeds["value"].to_numpy())


def curves(ax: Axes, table: pd.DataFrame, hue: str, colors: Mapping[str, Color]) -> None:
    """Draw learning curves: each seed a thin line, their mean a thick one, val solid, train dashed.

    Args:
        ax: where to draw.
        table: `hue` (as text), split, epoch, seed, value (one kind of loss at most).
        hue: the column that colours the lines; may be `split`.
        colors: level of `hue` -> colour.
    """
    by = list(dict.fromkeys([hue, "split"]))
    if len(table["seed"].unique()) > 1:
        _lines(ax, table, [*by, "seed"], (hue, colors), {"lw": 0.8, "alpha": 0.45})
    mean = table.groupby([*by, "epoch"], sort=False, observed=True)["value"].mean().reset_index()
    _lines(ax, mean, by, (hue, colors), {"lw": 2})
    ax.set(xlabel="epoch", ylabel="")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _lines(
    ax: Axes, table: pd.DataFrame, by: Sequence[str], colored: tuple[str, Mapping[str, Color]],
    look: Mapping[str, Any],
) -> None:  # fmt: skip
    """Draw a line for each group of a table (epoch, value), by hand: seaborn takes four times as long."""
    hue, colors = colored
    for key, line in table.sort_values("epoch", kind="stable").groupby(list(by), sort=False, observed=True):
        levels = key if isinstance(key, tuple) else (key,)
        group = {column: str(level) for column, level in zip(by, levels, strict=True)}
        style: Any = (0, (3, 2)) if group["split"] == "train" else "-"
        ax.plot(line["epoch"], line["value"], color=colors[group[hue]], ls=style, **look)


@styled
def effects_figure(effects: pd.DataFrame, seeds: pd.DataFrame) -> Figure:
    """Draw main effects: a row of panels an axis, a column a data set, one scale a column.

    Args:
        effects: as from `stats.main_effects`; the level's mean is written at the right.
        seeds: as from `stats.seed_effects`.
    """
    axes, datasets = (list(dict.fromkeys(effects[column])) for column in ("axis", "dataset"))
    levels = {axis: list(dict.fromkeys(effects.loc[effects["axis"].eq(axis), "level"])) for axis in axes}
    heights = [len(levels[axis]) + 1.6 for axis in axes]
    figure, grid = subplots(len(datasets), heights, (1.8 + 3.7 * len(datasets), 0.27 * sum(heights) + 0.4))
    for row, axis in zip(grid, axes, strict=True):
        for ax, dataset in zip(row, datasets, strict=True):
            here = effects[effects["axis"].eq(axis) & effects["dataset"].eq(dataset)]
            points = seeds[seeds["axis"].eq(axis) & seeds["dataset"].eq(dataset)]
            _differences(ax, here.rename(columns=NAMES), points.rename(columns=NAMES), levels[axis])
            means = here.set_index("level")["mean"].reindex(levels[axis])
            beside(ax, ["no data" if math.isnan(mean) else percent(mean) for mean in means])
            ax.set_title(f"{axis} on {dataset}", loc="left")
            if ax is not row[0]:
                ax.set_yticklabels([])
    _share_x(grid)
    for ax in grid[-1]:
        ax.set_xlabel("effect on val accuracy (points)")
    return figure


@styled
def arms_figure(ranking: pd.DataFrame, seeds: pd.DataFrame, most: int = 10) -> Figure:
    """Draw the best and the worst arms of one data set, each end on its own scale.

    Args:
        ranking: one data set's rows of `stats.rank_arms` with a rank; the arm's words in the column
            `label`.
        seeds: label, value: validation accuracy of each seed.
        most: arms shown at each end; up to twice as many are all shown, in one panel.
    """
    parts = {f"all {len(ranking)} arms" if len(ranking) > 1 else "the arm": ranking}
    if len(ranking) > 2 * most:
        parts = {f"best {most} of {len(ranking)} arms": ranking.head(most)}
        parts[f"worst {most} of {len(ranking)} arms"] = ranking.tail(most)
    heights = [len(part) + 1.6 for part in parts.values()]
    figure, grid = subplots(1, heights, (9.2, 0.27 * sum(heights) + 0.9))
    for (ax,), (title, part) in zip(grid, parts.items(), strict=True):
        labels = list(part["label"])
        points = seeds[seeds["label"].isin(labels)]
        dots(ax, part, points, labels)
        fit(ax, part[["mean", "low", "high", "shown_mean"]].to_numpy(), points["value"].to_numpy())
        ax.plot(part["shown_mean"], range(len(part)), "D", mfc="none", mec=TEST, ms=6, mew=1.4, zorder=5)
        ticks = [
            label if n == planned else f"{label} ({n} of {planned} seeds)"
            for label, n, planned in zip(labels, part["n"], part["planned"], strict=True)
        ]
        ax.set_yticks(range(len(labels)), ticks)
        ax.set_title(title, loc="left")
        ax.xaxis.set_major_formatter(PercentTicks())
    grid[-1][0].set_xlabel("accuracy")
    figure.legend(handles=_arms_keys(), loc="outside upper center", ncols=4, frameon=False)
    return figure


@styled
def differences_figure(contrasts: pd.DataFrame, seeds: pd.DataFrame, xlabel: str) -> Figure:
    """Draw paired differences between arms: a panel for each data set.

    Args:
        contrasts: as from `stats.contrasts`, the row's words in the column `label`.
        seeds: as from `stats.paired_differences`, with `label`.
        xlabel: what the difference is from, in words.
    """
    datasets = list(dict.fromkeys(contrasts["dataset"]))
    heights = [float(contrasts["dataset"].eq(dataset).sum()) + 1.6 for dataset in datasets]
    figure, grid = subplots(1, heights, (9.2, 0.27 * sum(heights) + 0.5))
    for (ax,), dataset in zip(grid, datasets, strict=True):
        here = contrasts[contrasts["dataset"].eq(dataset)]
        _differences(ax, here, seeds[seeds["dataset"].eq(dataset)], list(here["label"]))
        beside(ax, [f"{100 * value:+.2f}".replace("-", "\u2212") for value in here["difference"]])
        ax.set_title(dataset, loc="left")
    grid[-1][0].set_xlabel(xlabel)
    return figure


@styled
def curves_figure(panels: Sequence[Panel], hue: str, columns: int = 3) -> Figure:
    """Lay learning curves out, `columns` panels a row, each on its own scale, for losses differ in kind.

    Args:
        panels: what to draw; an empty table says that nothing finished.
        hue: the column that colours the lines, the same in all panels: an axis, or `split`.
        columns: panels a row.
    """
    levels = dict.fromkeys(str(level) for panel in panels for level in panel.table[hue])
    colors = {level: COLORS[i % len(COLORS)] for i, level in enumerate(levels)}
    if hue == "split":
        colors = {"val": VAL, "train": TEST}
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, grid = subplots(columns, [1.0] * rows, (max(1 + 2.9 * columns, 6.0), 2.5 * rows + 0.7))
    flat = [ax for row in grid for ax in row]
    for ax in flat[len(panels) :]:
        ax.set_axis_off()
    for ax, panel in zip(flat, panels, strict=False):
        if panel.table.empty:
            nothing(ax, "no finished trial")
        else:
            curves(ax, panel.table.assign(**{hue: panel.table[hue].astype(str)}), hue, colors)
            _scale(ax, panel)
        ax.set_title(textwrap.fill(panel.title, 34), loc="left")
    _curves_legend(figure, colors, levels=hue != "split")
    return figure


@styled
def curves_by_arm_figure(panels: Sequence[Panel], *, log: bool = True) -> Figure:
    """Lay learning curves out, a panel each with a legend of its own; see `curves_panel`."""
    names = [line for panel in panels for arm in panel.table["arm"].unique() for line in arm.splitlines()]
    wide = max(6.8, 4.6 + 0.075 * max(map(len, names), default=0))
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, grid = subplots(columns, [1.0] * rows, (wide * columns, 3.8 * rows))
    flat = [ax for row in grid for ax in row]
    for ax, panel in zip(flat, panels, strict=False):
        curves_panel(ax, panel, log=log)
    for ax in flat[len(panels) :]:
        ax.remove()
    return figure


def curves_panel(ax: Axes, panel: Panel, *, log: bool = True) -> None:
    """Draw the learning curves of some arms, with a legend; of one arm, train and val have their own colours.

    Args:
        ax: where to draw.
        panel: its table has arm, split, epoch, seed, value.
        log: draw y logarithmically, unless it is an accuracy or not positive.
    """
    arms = list(dict.fromkeys(panel.table["arm"]))
    hue = "split" if len(arms) == 1 else "arm"
    colors = {"val": VAL, "train": TEST} if hue == "split" else dict(zip(arms, COLORS, strict=False))
    curves(ax, panel.table, hue, colors)
    if panel.ylabel == "accuracy":
        _scale(ax, panel)
    elif log and panel.table["value"].min() > 0:
        log_axis(ax)
    ax.set_ylabel(panel.ylabel)
    ax.set_title(textwrap.fill(panel.title, 70), loc="left")
    splits = [split for split in ("val", "train") if panel.table["split"].eq(split).any()]
    keys = [Line2D([], [], color=colors[arm], lw=2, label=arm) for arm in (arms if hue == "arm" else [])]
    for split in splits:
        dash = "-" if split == "val" else (0, (3, 2))
        keys.append(Line2D([], [], color=colors.get(split, GREY), lw=1.8, ls=dash, label=split))
    ax.legend(handles=keys, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False)


def _arms_keys() -> list[Line2D]:
    return [
        Line2D([], [], ls="", marker="o", color=SEED, ms=4.5, label="val, each seed"),
        Line2D([], [], ls="", marker="|", color=VAL, ms=13, mew=2.5, label="val, mean"),
        Line2D([], [], color=VAL, alpha=0.35, lw=6, label="val, interval"),
        Line2D([], [], ls="", marker="D", mfc="none", mec=TEST, ms=6, mew=1.4, label="test, mean"),
    ]


def _differences(ax: Axes, table: pd.DataFrame, seeds: pd.DataFrame, labels: Sequence[str]) -> None:
    """Draw differences (label, difference, low, high; shares) around 0, in percentage points."""
    if table["difference"].notna().sum() == 0:
        nothing(ax, "no data")
        return
    points = table[["difference", "low", "high"]].mul(100).rename(columns={"difference": "mean"})
    ax.axvline(0, color="0.55", lw=1, zorder=1)
    values = pd.DataFrame({"label": seeds["label"], "value": seeds["difference"] * 100})
    dots(ax, points.assign(label=table["label"]), values, labels)
    fit(ax, points.to_numpy(), values["value"].to_numpy(), np.zeros(1))


def _share_x(grid: Sequence[Sequence[Axes]]) -> None:
    """Give each column of panels one x range, so that a wide effect looks wide."""
    for column in zip(*grid, strict=True):
        limits = [ax.get_xlim() for ax in column if ax.axison]
        for ax in column:
            ax.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))


def _scale(ax: Axes, panel: Panel) -> None:
    """Show accuracies in percent, and losses on a log axis if they span more than a factor of 5."""
    if panel.ylabel == "accuracy":
        ax.yaxis.set_major_formatter(PercentTicks())
        if ends := trained_ends(panel.table):
            ax.set_ylim(*ends)
    elif kind_of(panel.ylabel, panel.table["value"]) == "log":
        log_axis(ax)
    ax.set_ylabel(panel.ylabel)


def log_axis(ax: Axes) -> None:
    """Make y logarithmic, with plain numbers at 1, 2 and 5; over many decades at some powers of ten."""
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    few = math.log10(high / low) < 3
    # With more ticks asked for than fit, matplotlib would draw none.
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if few else LogLocator(numticks=8))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())


def _curves_legend(figure: Figure, colors: Mapping[str, Color], *, levels: bool) -> None:
    shown = colors.items() if levels else []
    lines = [Line2D([], [], color=color, lw=2, label=level) for level, color in shown]
    for split, dash in (("val", "-"), ("train", (0, (3, 2)))):
        lines.append(Line2D([], [], color=colors.get(split, GREY), lw=1.8, ls=dash, label=split))
    columns = max(1, min(len(lines), 100 // max(len(str(line.get_label())) + 6 for line in lines)))
    figure.legend(handles=lines, loc="outside upper center", ncols=columns, frameon=False)
