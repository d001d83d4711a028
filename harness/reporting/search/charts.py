"""Charts of a search's suggestions, in place of the page's figures.

Each takes the table that its figure is drawn from, so that both show the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.plots.scales import kind_of
from harness.reporting.charts import Axis, Chart, Mark, Series, together
from harness.text import measured_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.plots import Dimension

MOST_SUGGESTIONS = 5000


def history(table: pd.DataFrame, objective: str, words: Sequence[str]) -> Chart | None:
    """Chart a search: each suggestion by its number and by the seconds of search, and the best so far.

    Args:
        table: number, state, value, seconds, best, so_far, as for the figure.
        objective: the value's name.
        words: a suggestion's name and settings, for each row.
    """
    shown, note = _told(table, words)
    y = _objective(objective, table["value"])
    charts = []
    for column, title, label in (
        ("number", "by number", "suggestion"),
        ("seconds", "by time", "seconds of search until it was told"),
    ):
        so_far = shown.dropna(subset=["so_far", column])
        best = Series("best so far", list(so_far[column]), list(so_far["so_far"]), mark="steps", color=1)
        charts.append(Chart("points", Axis(label), y, [*_states(shown, column), best], title, note))
    return together(charts)


def slices(
    table: pd.DataFrame, dimensions: Sequence[Dimension], objective: str, words: Sequence[str]
) -> Chart | None:
    """Chart the objective against each parameter by itself, a view a parameter.

    Args:
        table: a column a dimension, number, state, value, as for the figure.
        dimensions: the parameters.
        objective: the value's name.
        words: a suggestion's name and settings, for each row.
    """
    shown, note = _told(table, words)
    y = _objective(objective, table["value"])
    charts = []
    for axis in dimensions:
        here, x = shown[shown[axis.name].notna()], Axis(axis.name, log=axis.kind == "log")
        if axis.kind == "category":
            # From left to right by their numbers, so that points of one name do not lie on each other.
            level = here[axis.name].map({level: place for place, level in enumerate(axis.levels)})
            here = here.assign(**{axis.name: level + 0.28 * np.linspace(-1, 1, len(here))})
            x = Axis(axis.name, names=list(axis.levels))
        charts.append(Chart("points", x, y, list(_states(here, axis.name)), axis.name, note))
    return together(charts)


def front(table: pd.DataFrame, names: Sequence[str], words: Sequence[str]) -> Chart:
    """Chart two objectives of complete suggestions against each other, those of the front apart.

    Args:
        table: the objectives, front (boolean), as for the figure.
        names: the leading objective, which stands upright, and the other.
        words: a suggestion's name and settings, for each row.
    """
    upright, across = names
    shown, note = _told(table, words)
    series = []
    looks: list[tuple[str, bool, Mark, int]] = [("beaten", False, "hollow", 7), ("front", True, "", 0)]
    for name, best, mark, color in looks:
        here = shown[shown["front"].eq(best)]
        x, y = list(here[across]), list(here[upright])
        series.append(Series(name, x, y, labels=list(here["told"]), mark=mark, color=color))
    x_axis, y_axis = (_objective(name, table[name]) for name in (across, upright))
    return Chart("points", x_axis, y_axis, series, note=note)


def _objective(name: str, values: pd.Series[Any]) -> Axis:
    kind = kind_of(name, values)
    share = name.endswith("accuracy")
    return Axis(measured_in(name), log=kind == "log", percent=share, error=kind == "error")


def _told(table: pd.DataFrame, words: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """Return the last suggestions with their words in `told`, and words on those that are not shown."""
    shown = table.assign(told=list(words)).tail(MOST_SUGGESTIONS)
    left = f"The last {len(shown):,} of {len(table):,} suggestions." if len(shown) < len(table) else ""
    failed = "value" in shown and shown["value"].isna().any()
    return shown, " ".join(filter(None, (left, "Failed ones have no point here." if failed else "")))


def _states(table: pd.DataFrame, x: str) -> Iterator[Series]:
    looks: list[tuple[str, Mark, int]] = [("complete", "", 0), ("pruned", "hollow", 7)]
    for state, mark, color in looks:
        here = table[table["state"].eq(state)].dropna(subset=["value", x])
        if len(here):
            numbers, values, labels = list(here[x]), list(here["value"]), list(here["told"])
            yield Series(state, numbers, values, labels=labels, mark=mark, color=color)
