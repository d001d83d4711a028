"""The Pareto front of a search for two objectives, and its hypervolume over time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from harness import plots, stats
from harness.reporting.model import Figure, Section
from harness.reporting.search import charts as search_charts
from harness.reporting.search import tables as search_tables
from harness.reporting.search.data import COMPLETE
from harness.reporting.search.tables import value_words
from harness.text import capitalised, spaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.reporting.search.data import SearchData

NEARLY = 0.95
"""The share of the last hypervolume whose first reaching the page names."""
HYPERVOLUME = (
    "The hypervolume of the front after each suggestion, by its number and by the wall seconds of search: "
    "the area that the front beats and the reference point does not (Zitzler and Thiele 1998), in {unit}. It "
    "never falls; a step is a suggestion that came onto the front. Values are of validation, so the front of "
    "many noisy suggestions is optimistic."
)


def section(search: SearchData) -> Section | None:
    """Show the front as a figure and a table, and its hypervolume over time; None with one objective."""
    if len(search.settings.objectives) < 2 or search.complete.empty:
        return None
    ranking = search.settings.ranking
    names, maximize = [objective.name for objective in ranking], [objective.maximize for objective in ranking]
    complete = search.complete
    table = complete.assign(front=stats.pareto_front(complete[names].to_numpy(dtype=float), maximize))
    beaten = list(table.loc[table["best"] & ~table["front"], "arm"])
    tie = "is beaten by one of the front: as good, and better in the other objective."
    words = [f"The best by {spaced(names[0])}, {beaten[0]}, {tie}"] if beaten else []
    words += [" ".join(_words(search))]
    title = capitalised(f"{spaced(names[0])} against {spaced(names[1])}")
    caption = f"{search_tables.FRONT} Faint: complete suggestions that are beaten."
    figure = plots.front_figure(table, names, maximize)
    chart = search_charts.front(table, names, search_tables.told(table, search.parameters))
    unit = " times ".join(map(spaced, names))
    drawn = [
        Figure("search-front", title, caption, figure, chart=chart),
        Figure(
            "search-hypervolume", "Hypervolume over time", HYPERVOLUME.format(unit=unit),
            plots.hypervolume_figure(hypervolume(search)),
        ),
    ]  # fmt: skip
    return Section("pareto", "The Pareto front", words, [search_tables.front(search, table)], drawn)


def reference(search: SearchData) -> list[float]:
    """Return the reference point, in the order of `ranking`.

    Of a cost with an upper bound that bound, which is the same in every search that has it; else the worst
    value of the complete suggestions.
    """
    bounds = search.settings.constraints
    return [
        bounds.get(one.name, float(search.complete[one.name].agg("min" if one.maximize else "max")))
        for one in search.settings.ranking
    ]


def hypervolume(search: SearchData) -> pd.DataFrame:
    """Return number, seconds and hypervolume of every suggestion: of the complete ones up to it."""
    ranking, table = search.settings.ranking, search.suggestions
    values = table[[one.name for one in ranking]].where(table["state"].eq(COMPLETE)).to_numpy(dtype=float)
    areas = stats.hypervolume(values, [one.maximize for one in ranking], reference(search))
    return table[["number", "seconds"]].assign(hypervolume=areas)


def _words(search: SearchData) -> Iterator[str]:
    """Yield the reference point, the hypervolume that was reached, and when nearly all of it was."""
    ranking, bounds = search.settings.ranking, search.settings.constraints
    point = [
        f"{spaced(one.name)} {value_words(one, value)} ({'its bound' if one.name in bounds else 'the worst'})"
        for one, value in zip(ranking, reference(search), strict=True)
    ]
    table = hypervolume(search)
    last = float(table["hypervolume"].iloc[-1])
    yield (
        f"Hypervolume {last:,.4g}, of the reference point {' and '.join(point)} of the complete suggestions."
    )
    if any(one.name not in bounds for one in ranking):
        yield "Another search has another worst value: compare hypervolumes of one reference point alone."
    if last > 0 and math.isfinite(last):
        first = table[table["hypervolume"].ge(NEARLY * last)].iloc[0]
        yield (
            f"{NEARLY:.0%} of it was reached by suggestion {first['number']:.0f}, after "
            f"{first['seconds']:,.0f} of {table['seconds'].max():,.0f} seconds."
        ).replace("%", "\u00a0%")
