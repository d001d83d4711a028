"""Axes that tell a search's values apart, and figures of a search at the edges."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from harness import plots
from harness.plots import Dimension, scales


@pytest.mark.parametrize("kind", ["error", "log", "linear"])
def test_places_grow_with_values_and_lead_back(kind: scales.Kind) -> None:
    values = np.array([0.1, 0.5, 0.9, 0.99, 0.995, 1.0])
    least = scales.least_error(values)
    at = scales.places(values, kind, least)
    assert (np.diff(at) > 0).all()
    np.testing.assert_allclose(scales.values_at(at, kind, least), values)


def test_all_that_is_shown_lies_inside_the_axis() -> None:
    table = pd.DataFrame({"number": [0, 0, 1, 1], "label": "a", "pruned": [False, False, True, True]})
    table = table.assign(epoch=[1, 2, 1, 2], value=[0.9, 1.0, 0.1, 0.2])
    rungs = pd.DataFrame({"epoch": [2], "pruned": [1]})
    (ax,) = plots.pruning_figure(table, rungs, "val_accuracy").axes
    low, high = ax.get_ylim()
    assert low < 0.1
    assert high > 1
    assert np.asarray(ax.lines[0].get_xdata()).tolist() == [2]  # where the pruned one ended


def points(kind: str) -> tuple[pd.DataFrame, list[Dimension]]:
    rng = np.random.default_rng(0)
    x = 10 ** rng.uniform(-3, 0, 12)
    y = x if kind == "line" else 10 ** rng.uniform(-3, 0, 12)
    table = pd.DataFrame({"x": x, "y": y, "value": rng.uniform(0.5, 0.9, 12), "number": range(12)})
    table = table.assign(state="complete", best=table["value"].eq(table["value"].max()))
    return table, [Dimension("x", "log", 1e-3, 1), Dimension("y", "log", 1e-3, 1)]


def test_a_contour_is_drawn_inside_of_the_points_hull_only() -> None:
    table, (across, upright) = points("plane")
    ax = plots.contour_figure(table, across, upright, "val_accuracy").axes[0]
    (filled,) = [c for c in ax.collections if "Contour" in type(c).__name__]
    corners = np.concatenate(
        [np.asarray(path.vertices) for path in filled.get_paths() if np.size(path.vertices)]
    )
    assert corners[:, 0].min() >= table["x"].min() * (1 - 1e-6)
    assert corners[:, 0].max() <= table["x"].max() * (1 + 1e-6)
    table, (across, upright) = points("line")
    ax = plots.contour_figure(table, across, upright, "val_accuracy").axes[0]
    assert not [
        c for c in ax.collections if "Contour" in type(c).__name__
    ]  # points on one line have no inside


def test_a_line_of_parallel_coordinates_passes_below_what_does_not_apply() -> None:
    table, dimensions = points("plane")
    table.loc[3, "y"] = math.nan
    ax = plots.parallel_figure(table, dimensions, "val_accuracy").axes[0]
    lines = np.array([path.vertices for path in ax.collections[0].get_paths()])
    assert lines.shape == (12, 3, 2)
    assert (lines[:, 1, 1] < 0).sum() == 1
    assert lines[:, 0, 1].min() >= 0
    assert lines[:, 2, 1].max() == 1


def test_an_axis_names_each_of_few_values() -> None:
    assert Dimension("epochs", "linear", 3, 9, step=2).few == [3, 5, 7, 9]
    assert Dimension("width", "linear", 8, 64, step=1).few == []
    assert Dimension("lr", "log", 0.1, 1).few == []
