"""Figures of whole trials and of functions: confusion matrices, learning curves, a component."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

from harness import plots
from harness.axes import function_values
from harness.exporting.hidden_layers import IMAGES
from harness.gallery.contact_sheet import save_into
from harness.plots import styled
from harness.reporting import lookups
from harness.results import TrainedTrial

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from harness.axes.function_values import DrawnFunction
    from harness.plots import Panel
    from harness.reporting.own_arrays import Counts
    from harness.results import Results

TITLE = 88  # letters in a line


def confusion_figure(counts: Counts) -> Figure:
    """Draw a confusion matrix under its title."""
    side = max(3.2, 0.44 * len(counts.classes) + 0.9)
    title = textwrap.fill(counts.title, int(10 * side))
    return plots.confusion_figure({title: counts.table}, counts.classes)


def curves_figure(panels: Sequence[Panel], *, log: bool = True) -> Figure:
    """Draw learning curves, a panel a data set and kind of loss."""
    return plots.curves_by_arm_figure(panels, log=log)


def function_panel(ax: Axes, found: DrawnFunction, table: pd.DataFrame) -> None:
    """Draw a function and its derivative, and say above what x is."""
    plots.function(ax, table, found.name)
    ax.set_ylabel("value")
    ax.set_title(textwrap.fill(function_values.title(found), 72), loc="left", fontsize=10)


def function_axes() -> Axes:
    """Make the Axes of a figure of one function."""
    return plots.new_figure((6.4, 4.2), "constrained").subplots()


def draw_confusion(
    results: Results, row: pd.Series[Any], split: str, combine: str | None, folder: Path
) -> tuple[str, Path]:
    """Draw a trial's confusion matrix, or that of its arm's seeds, into a folder; return a title and the PNG.

    Raises:
        UsageError: there are no predictions of the split.
        MachineError: the folder cannot be written.
    """
    if combine is None:
        counts = lookups.count_trial(results, row, split)
    else:
        counts = lookups.counts_of_arm(results, split, lookups.arm_of(row), combine)
    stem = f"{row['dataset']}-{row['trial_id']}-{split}-confusion{'-' + combine if combine else ''}"
    return counts.title, save_into(confusion_figure(counts), folder, stem)


def draw_curves(
    results: Results, row: pd.Series[Any], folder: Path, *, seeds: bool
) -> Iterator[tuple[str, Path]]:
    """Draw the curves of loss and accuracy of a trial, or of its arm's seeds, into a folder.

    Raises:
        MachineError: the folder cannot be written.
    """
    where = lookups.arm_of(row) if seeds else f"trial_id={json.dumps(row['trial_id'])}"
    for quantity in ("loss", "accuracy"):
        panels = lookups.curves_of(results, quantity, where, plots.MAX_LINES)
        stem = f"{row['dataset']}-{row['trial_id']}-curves-{quantity}{'-seeds' if seeds else ''}"
        yield f"{quantity} over epochs: {panels[0].title}", save_into(curves_figure(panels), folder, stem)


def draw_network(
    results: Results, row: pd.Series[Any], folder: Path, kinds: Collection[str]
) -> Iterator[tuple[str, Path]]:
    """Draw a trial's activations by depth, on val, and its filters, those in `kinds`, into a folder.

    Raises:
        UsageError: the network has no such layers, or cannot be rebuilt.
        MachineError: the folder cannot be written.
    """
    trial, stem = TrainedTrial(results, row), f"{row['dataset']}-{row['trial_id']}"
    if "activations" in kinds:
        table, title = lookups.activations_of(trial, "val", "", IMAGES)
        yield title, save_into(activations_figure(table, title), folder, f"{stem}-activations")
    if "filters" in kinds:
        first, title = lookups.first_weights_of(trial, "", lookups.UNITS)
        yield title, save_into(filters_figure(first.weights, title), folder, f"{stem}-filters")


def activations_figure(table: pd.DataFrame, title: str) -> Figure:
    """Draw activations by depth under a title."""
    return plots.activations_figure(table, _lines(title))


def filters_figure(weights: NDArray[Any], title: str) -> Figure:
    """Draw the first layer's weights under a title."""
    return plots.filters_figure(weights, _lines(title))


def _lines(title: str) -> str:
    return textwrap.fill(title, TITLE)


@styled
def draw_function(found: DrawnFunction, table: pd.DataFrame, folder: Path) -> Path:
    """Draw a component's function and derivative into a folder; return the PNG, beside its SVG.

    Raises:
        MachineError: the folder cannot be written.
    """
    ax = function_axes()
    function_panel(ax, found, table)
    figure: Any = ax.figure
    return save_into(figure, folder, f"{found.kind}-{found.name}")
