"""Charts of verdicts, effects, rates and ladders: their numbers are those of the tables."""

from __future__ import annotations

import math

import pandas as pd
from families import arms, grid

from harness import stats
from harness.reporting import comparison_charts, contrasts, verdict_views
from harness.reporting.charts import Chart


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
    chart = comparison_charts.effects(table, seeds)
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
    chart = comparison_charts.rates(table, "interval")
    assert chart is not None
    assert [one.title for one in (chart, *chart.others)] == ["a", "b"]
    assert of(chart, "sgd") == [(0.01, 0.8), (0.1, 0.9), (0.1, 0.9)]  # then the ring
    assert chart.series[1].labels == ["mean of 3 seeds, the lr chosen, at an edge of the values tried"]
    assert not of(chart, "adam")  # whose setting did not finish
    assert chart.note == comparison_charts.LEFT_OUT
    assert comparison_charts.rates(table.assign(mean=math.nan), "interval") is None


def test_a_ladder_has_its_steps_and_their_changes() -> None:
    accuracy = pd.DataFrame({"label": ["0 a", "1 b"], "split": "val", "mean": [0.5, 0.8], "low": [0.4, 0.7],
                             "high": [0.6, 0.9], "n": 2})  # fmt: skip
    accuracies = accuracy[["label", "split"]].assign(value=[0.5, 0.8], trial_id=["t", "u"], seed=0)
    changes = pd.DataFrame(
        {"label": ["1 b"], "split": "val", "difference": 0.3, "low": 0.2, "high": 0.4, "n": 2}
    )
    differences = pd.DataFrame({"label": ["1 b"], "split": "val", "difference": [0.3], "seed": 4})
    chart = comparison_charts.ladder(["0 a", "1 b"], accuracy, accuracies, changes, differences)
    assert [y for _, y in of(chart, "val")] == [0.5, 0.8, 0.5, 0.8]
    assert chart.series[1].labels == ["trial t, seed 0", "trial u, seed 0"]
    change = chart.others[0]
    assert [round(x) for x, _ in of(change, "val")] == [1, 1]  # in the row of the step that makes it
    assert change.series[1].labels == ["seed 4"]
