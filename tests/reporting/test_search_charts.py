"""Charts of a search: their numbers are those of its table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from test_comparison_charts import of

from harness.plots import Dimension
from harness.reporting.search import charts as search_charts

SUGGESTIONS = pd.DataFrame({
    "number": [0, 1, 2, 3], "state": ["complete", "pruned", "failed", "complete"],
    "value": [0.9, 0.5, math.nan, 0.95], "seconds": [1.0, 2.0, 3.0, 4.0], "best": [False, False, False, True],
    "so_far": [0.9, 0.9, 0.9, 0.95], "lr": [0.1, 0.2, 0.3, math.nan], "act": ["relu", "tanh", "relu", "tanh"],
})  # fmt: skip
TOLD = ["s0: lr 0.1", "s1: lr 0.2", "s2: lr 0.3", "s3: "]


def test_a_search_names_its_suggestions_and_a_failed_one_has_no_point() -> None:
    chart = search_charts.history(SUGGESTIONS, "val_accuracy", TOLD)
    assert chart is not None
    assert of(chart, "complete") == [(0, 0.9), (3, 0.95)]
    assert chart.series[0].labels == ["s0: lr 0.1", "s3: "]
    assert of(chart, "pruned") == [(1, 0.5)]
    assert of(chart, "best so far")[-1] == (3, 0.95)
    assert "Failed" in chart.note
    assert of(chart.others[0], "complete") == [(1.0, 0.9), (4.0, 0.95)]


def test_of_very_many_suggestions_the_last_are_shown_and_the_chart_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_charts, "MOST_SUGGESTIONS", 1)
    chart = search_charts.history(SUGGESTIONS, "val_accuracy", TOLD)
    assert chart is not None
    assert of(chart, "complete") == [(3, 0.95)]
    assert chart.note == "The last 1 of 4 suggestions."


def test_slices_have_a_view_a_parameter_and_names_side_by_side() -> None:
    dimensions = [
        Dimension("lr", "log", 0.01, 1.0), Dimension("act", "category", levels=("relu", "tanh"))
    ]  # fmt: skip
    chart = search_charts.slices(SUGGESTIONS, dimensions, "val_accuracy", TOLD)
    assert chart is not None
    assert chart.x.log
    assert of(chart, "complete") == [(0.1, 0.9)]  # the other has no lr
    names = chart.others[0]
    assert names.x.names == ["relu", "tanh"]
    places = [x for x, _ in of(names, "complete")]
    assert np.round(places).tolist() == [0, 1]


def test_the_front_stands_apart() -> None:
    table = pd.DataFrame({"val_accuracy": [0.9, 0.95], "parameters": [10.0, 20.0], "front": [False, True]})
    chart = search_charts.front(table, ["val_accuracy", "parameters"], ["s0", "s1"])
    assert of(chart, "beaten") == [(10.0, 0.9)]
    assert of(chart, "front") == [(20.0, 0.95)]
    assert chart.y.percent
