"""A ladder: accuracy step by step, and the change of each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from harness.plots.style import GREY, SEED, TEST, VAL, PercentTicks, fit, styled, subplots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {"val": VAL, "test": TEST}
WORDS = {"val": VAL, "test": "#9a6000"}  # the colour of a bar is too light for letters
MARKERS = {"val": "o", "test": "D"}
LANES = {"val": -0.17, "test": 0.17}  # how far from its row's middle each split is drawn
POINT: Any = {"ls": "", "ms": 4, "mec": SEED, "mew": 0.6}
NARROWEST = np.array([-0.1, 0.1])  # points: an axis around no change at all shows no rounding errors
ENDS = ["mean", "low", "high"]
MEAN = {"difference": "mean"}


@styled
def ladder_figure(
    steps: Mapping[str, str], accuracy: pd.DataFrame, accuracies: pd.DataFrame, changes: pd.DataFrame,
    differences: pd.DataFrame,
) -> Figure:  # fmt: skip
    """Draw accuracy by step, and between two steps the change of the lower row, val and test side by side.

    Steps are rows, so that long names and ten of them can be read. Changes have a panel and a scale of their
    own: beside a first step that only guesses, the intervals of the later ones would be invisible.

    Args:
        steps: label -> its words, in order.
        accuracy: label, split, mean, low, high: shares; low and high NaN where there is no interval.
        accuracies: label, split, value: each seed's share.
        changes: label, split, difference, low, high (shares, from the step before), words.
        differences: label, split, difference: each seed's.
    """
    figure, ((left, right),) = subplots(2, [1.0], (11.2, 0.66 * len(steps) + 1.5))
    places = {label: float(place) for place, label in enumerate(steps)}
    change = changes.assign(**(changes[["difference", "low", "high"]] * 100)).rename(columns=MEAN)
    paired = differences.assign(value=differences["difference"] * 100)
    splits = [split for split in LANES if accuracy["split"].eq(split).any()]
    for split in splits:
        mean, seeds, by, pair = (t[t["split"].eq(split)] for t in (accuracy, accuracies, change, paired))
        _lane(left, mean, seeds, places, split)
        _lane(right, by, pair, {label: place - 0.5 for label, place in places.items()}, split)
        for label, words in zip(by["label"], by["words"], strict=True):
            _say(right, places[label] - 0.5 + LANES[split], f"{split} {words}", WORDS[split])
    for label in list(steps)[1:]:
        if label not in set(change["label"]):
            _say(right, places[label] - 0.5, "no seed finished both", GREY)
    fit(left, accuracy[ENDS].to_numpy(), accuracies["value"].to_numpy())
    fit(right, change[ENDS].to_numpy(), paired["value"].to_numpy(), NARROWEST)
    _name_axes(left, right, list(steps.values()))
    keys = _keys(splits, several=bool(accuracy["low"].notna().any()))
    figure.legend(handles=keys, loc="outside upper center", ncols=len(keys), frameon=False)
    return figure


def _lane(
    ax: Axes, table: pd.DataFrame, seeds: pd.DataFrame, places: Mapping[str, float], split: str
) -> None:
    """Draw one split: intervals as bars, means as ticks, each seed as a point, at `places` of the labels."""
    color = COLORS[split]
    y = table["label"].map(places) + LANES[split]
    ax.hlines(y, table["low"], table["high"], color=color, lw=6, alpha=0.35, zorder=2)
    ax.plot(table["mean"], y, "|", color=color, ms=12, mew=2.5, zorder=3)
    rows = seeds["label"].map(places) + LANES[split]
    ax.plot(seeds["value"], rows, **POINT, marker=MARKERS[split], color=color, zorder=4)


def _say(ax: Axes, y: float, words: str, color: Any) -> None:
    ax.text(1.02, y, words, transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=color)


def _name_axes(left: Axes, right: Axes, steps: Sequence[str]) -> None:
    for ax, title in ((left, "accuracy by step"), (right, "change from the step before")):
        ax.set_title(title, loc="left")
        ax.set(ylim=(len(steps) - 0.5, -0.5), ylabel="")
        ax.grid(visible=False, axis="y")
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.hlines(range(len(steps)), 0, 1, transform=ax.get_yaxis_transform(), color="0.9", lw=1, zorder=0)
    left.set_yticks(range(len(steps)), steps)
    left.xaxis.set_major_formatter(PercentTicks())
    left.set_xlabel("accuracy")
    right.set_yticks([])
    right.axvline(0, color="0.55", lw=1, zorder=1)
    right.set_xlabel("difference (points)")


def _keys(splits: Sequence[str], *, several: bool) -> list[Line2D]:
    keys = []
    for split in splits:
        color, marker = COLORS[split], MARKERS[split]
        keys.append(Line2D([], [], **POINT, marker=marker, color=color, label=f"{split}, each seed"))
        if several:
            keys.append(Line2D([], [], ls="", marker="|", color=color, ms=12, mew=2.5, label="mean"))
            keys.append(Line2D([], [], color=color, alpha=0.35, lw=6, label="interval"))
    return keys
