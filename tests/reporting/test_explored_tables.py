"""Charts of verdicts, effects, rates, ladders and searches: their numbers are those of the tables."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from families import arms, grid

from harness import stats
from harness.plots import Dimension
from harness.reporting import contrasts, explored_tables, verdict_views
from harness.reporting.charts import Chart

SUGGESTIONS = pd.DataFrame({
    "number": [0, 1, 2, 3], "state": ["complete", "pruned", "failed", "complete"],
    "value": [0.9, 0.5, math.nan, 0.95], "seconds": [1.0, 2.0, 3.0, 4.0], "best": [False, False, False, True],
    "so_far": [0.9, 0.9, 0.9, 0.95], "lr": [0.1, 0.2, 0.3, math.nan], "act": ["relu", "tanh", "relu", "tanh"],
})  # fmt: skip
TOLD = ["s0: lr 0.1", "s1: lr 0.2", "s2: lr 0.3", "s3: "]


def of(chart: Chart, name: str) -> list[tuple[float, float]]:
    """The points of a name, x and y."""
    return [(x, y) for one in chart.series if one.name == name for x, y in zip(one.x, one.y, strict=True)]


def test_a_forest_has_the_verdicts_a_row_each_in_their_colours() -> None:
    reading = arms({"base": 0.0, "up": 0.05, "down": -0.05, "near": 0.0005})
    judged = contrasts.judge(reading, contrasts.read_family(reading))
    (figure,) = verdict_views.draw(judged)
    chart = figure.chart
    assert chart is not None
    assert chart.rows
    rows = judged.table.to_dict("records")
    verdicts = {}
    for one in chart.series:
        for place, difference, low, high, label in zip(
            one.x, one.y, one.low, one.high, one.labels, strict=True
        ):
            row = rows[int(place)]
            assert (difference, low, high) == (row["difference"], row["low"], row["high"])
            assert row["arm"] in chart.x.names[int(place)]
            assert label.startswith(row["verdict"])
            verdicts[row["arm"]] = (one.name, one.color)
    assert verdicts["up"] == ("better", 0)
    assert verdicts["down"] == ("worse", 3)
    assert chart.band == (-judged.family.margin, judged.family.margin)
    assert chart.x.beside[0] == verdict_views.label(rows[0])


def test_effects_are_the_tables_with_a_view_a_data_set() -> None:
    reading = grid({"activation": {"relu": 0.02, "tanh": 0.0}, "optimizer": {"sgd": 0.0, "adam": 0.01}},
                   datasets=("digits", "mnist"))  # fmt: skip
    table = stats.main_effects(reading.trials, reading.axes)
    seeds = stats.seed_effects(reading.trials, reading.axes)
    chart = explored_tables.effects(table, seeds)
    assert chart is not None
    assert [one.title for one in (chart, *chart.others)] == ["digits", "mnist"]
    here = table[table["dataset"].eq("digits")]
    assert chart.x.names == [
        f"{axis}: {level}" for axis, level in zip(here["axis"], here["level"], strict=True)
    ]
    means = [y for one in chart.series if one.mark == "tick" for y in one.y]
    assert means == list(here["effect"])
    single = [y for one in chart.series if one.mark == "circle" for y in one.y]
    assert sorted(single) == sorted(seeds.loc[seeds["dataset"].eq("digits"), "effect"])


def test_rates_have_a_view_a_panel_and_rings_around_the_chosen() -> None:
    table = pd.DataFrame({
        "panel": ["a", "a", "a", "b"], "line": ["sgd", "sgd", "adam", "sgd"], "lr": [0.1, 0.01, 0.1, 0.1],
        "mean": [0.9, 0.8, math.nan, 0.7], "low": 0.1, "high": 0.95, "n": [3, 3, 0, 3], "joined": True,
        "chosen": [True, False, False, True], "edge": [True, False, False, False],
    })  # fmt: skip
    chart = explored_tables.rates(table, "interval")
    assert chart is not None
    assert [one.title for one in (chart, *chart.others)] == ["a", "b"]
    assert of(chart, "sgd") == [(0.01, 0.8), (0.1, 0.9), (0.1, 0.9)]  # then the ring
    assert chart.series[1].labels == ["mean of 3 seeds, the lr chosen, at an edge of the values tried"]
    assert not of(chart, "adam")  # whose setting did not finish
    assert chart.note == explored_tables.LEFT_OUT
    assert explored_tables.rates(table.assign(mean=math.nan), "interval") is None


def test_a_ladder_has_its_steps_and_their_changes() -> None:
    accuracy = pd.DataFrame({"label": ["0 a", "1 b"], "split": "val", "mean": [0.5, 0.8], "low": [0.4, 0.7],
                             "high": [0.6, 0.9], "n": 2})  # fmt: skip
    accuracies = accuracy[["label", "split"]].assign(value=[0.5, 0.8], trial_id=["t", "u"], seed=0)
    changes = pd.DataFrame(
        {"label": ["1 b"], "split": "val", "difference": 0.3, "low": 0.2, "high": 0.4, "n": 2}
    )
    differences = pd.DataFrame({"label": ["1 b"], "split": "val", "difference": [0.3], "seed": 4})
    chart = explored_tables.ladder(["0 a", "1 b"], accuracy, accuracies, changes, differences)
    assert [y for _, y in of(chart, "val")] == [0.5, 0.8, 0.5, 0.8]
    assert chart.series[1].labels == ["trial t, seed 0", "trial u, seed 0"]
    change = chart.others[0]
    assert [round(x) for x, _ in of(change, "val")] == [1, 1]  # in the row of the step that makes it
    assert change.series[1].labels == ["seed 4"]


def test_a_search_names_its_suggestions_and_a_failed_one_has_no_point() -> None:
    chart = explored_tables.history(SUGGESTIONS, "val_accuracy", TOLD)
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
    monkeypatch.setattr(explored_tables, "MOST_SUGGESTIONS", 1)
    chart = explored_tables.history(SUGGESTIONS, "val_accuracy", TOLD)
    assert chart is not None
    assert of(chart, "complete") == [(3, 0.95)]
    assert chart.note == "The last 1 of 4 suggestions."


def test_slices_have_a_view_a_parameter_and_names_side_by_side() -> None:
    dimensions = [
        Dimension("lr", "log", 0.01, 1.0), Dimension("act", "category", levels=("relu", "tanh"))
    ]  # fmt: skip
    chart = explored_tables.slices(SUGGESTIONS, dimensions, "val_accuracy", TOLD)
    assert chart is not None
    assert chart.x.log
    assert of(chart, "complete") == [(0.1, 0.9)]  # the other has no lr
    names = chart.others[0]
    assert names.x.names == ["relu", "tanh"]
    places = [x for x, _ in of(names, "complete")]
    assert np.round(places).tolist() == [0, 1]


def test_the_front_stands_apart() -> None:
    table = pd.DataFrame({"val_accuracy": [0.9, 0.95], "parameters": [10.0, 20.0], "front": [False, True]})
    chart = explored_tables.front(table, ["val_accuracy", "parameters"], ["s0", "s1"])
    assert of(chart, "beaten") == [(10.0, 0.9)]
    assert of(chart, "front") == [(20.0, 0.95)]
    assert chart.y.percent
