"""The space of a search in figures: importance, parallel coordinates, slices, and a contour."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness import plots
from harness.reporting.model import Figure, Section
from harness.reporting.search import charts as search_charts
from harness.reporting.search import importance
from harness.reporting.search import space as search_space
from harness.reporting.search import tables as search_tables
from harness.reporting.search.data import PRUNED
from harness.text import capitalised, count, spaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from harness.reporting.search.data import SearchData
    from harness.study.space import Parameter

FEWEST_CONTOUR = 8
"""Suggestions that must have both parameters of a contour."""
FEWEST_VALUES = 6
"""Different values that an axis of a contour needs."""
PARALLEL = (
    "Each line is a complete suggestion, from parameter to parameter; the lighter, the better (the worst "
    "tenth share the darkest). Along an axis of names lines lie side by side, so that they can be counted. "
    "Where a parameter does not apply the line passes below its axis."
)
SLICES = (
    "{name} against one parameter at a time, while all others vary as well: an apparent effect may be "
    "another parameter's. Points of one name lie from left to right in the order of their numbers. Light "
    "points are late suggestions: they gather where the sampler looked."
)
CONTOUR = (
    "Of the numeric parameters with at least {values} different values, the two that PED-ANOVA finds most "
    "important; those that all {n} complete suggestions have come first. Colours between points are linear "
    "interpolation over Delaunay's triangles, on the axes as shown; nothing is drawn outside of the points' "
    "hull. It goes through every point and does not smooth noise away, and all other parameters vary as "
    "well: look for slopes, not for peaks."
)


def mattered(search: SearchData, shares: pd.DataFrame) -> Section:
    """Show the importance of each parameter by both evaluators, and the doubts about it."""
    title, complete = "Importance", count(len(search.complete), "complete suggestion")
    if shares.empty:
        reason = (
            f"{complete}, and of fewer than {importance.FEWEST} either evaluator often puts a parameter "
            "first that does not matter"
        )
        return Section("importance", title, [f"Not judged: {reason}."])
    words = [*_evaluators(search, shares), *_doubts(search)]
    figure = plots.importance_figure(shares)
    drawn = [Figure("search-importance", "Importance of the parameters", search_tables.IMPORTANCE, figure)]
    return Section("importance", title, words, [search_tables.importance(shares)], drawn)


def _evaluators(search: SearchData, shares: pd.DataFrame) -> Iterator[str]:
    """Explain the two evaluators: their questions, and the suggestions and parameters that they leave out."""
    rest = len(search.suggestions) - len(search.complete)
    reason = "pruned or failed, without a value at the end of a training"
    omitted = f" Left out: {count(rest, 'suggestion')} {reason}." if rest else ""
    yield (
        f"For {spaced(search.objective.name)}, of {len(search.complete)} complete suggestions.{omitted} "
        "PED-ANOVA, Optuna's default, asks which parameters set the best tenth of the suggestions apart from "
        "all of them (Watanabe et al. 2023). fANOVA asks how much of the variance over the whole space a "
        "parameter explains by itself, as random forests have learned it from the suggestions (Hutter et al. "
        "2014): mostly that between bad and middling values. Parameters stand in the order of PED-ANOVA."
    )
    for evaluator, group in shares.groupby("evaluator", sort=False):
        absent = list(group.loc[group["importance"].isna(), "parameter"])
        if absent:
            yield (
                f"{evaluator} does not judge {', '.join(absent)}: it takes only parameters that every "
                "complete suggestion has."
            )
    judged = shares[shares["evaluator"].eq(importance.PED_ANOVA) & shares["importance"].notna()]
    conditional = [p.name for p in search.parameters if search.complete[p.name].isna().any()]
    if conditional := [name for name in conditional if name in set(judged["parameter"])]:
        yield (
            f"PED-ANOVA judges {', '.join(conditional)} too, which only some suggestions have: its presence "
            "counts as well as its value."
        )


def _doubts(search: SearchData) -> Iterator[str]:
    if len(search.complete) < importance.STEADY:
        yield (
            f"With {len(search.complete)} complete suggestions the best tenth is "
            f"{math.ceil(len(search.complete) / 10)}: PED-ANOVA is not steady below {importance.STEADY}. "
            "Look at its spread before its order."
        )
    if len(search.complete) > importance.LEARNED:
        yield (
            f"fANOVA's forests learn from {importance.LEARNED} suggestions each, drawn afresh, so its spread "
            "is that of as many."
        )
    if search.samplers != ["random"]:
        yield (
            f"{capitalised(search.asked_by)} did not cover the space evenly: fANOVA's forest knows "
            "little of the regions that it seldom drew from."
        )
    if search.suggestions["state"].eq(PRUNED).any():
        yield (
            "The pruner has stopped the worst suggestions already, so the parameters that set them apart "
            "from the complete ones may seem less important than they are."
        )


def section(search: SearchData, shares: pd.DataFrame) -> Section | None:
    """Show parallel coordinates, slices, and the contour of the two most important numbers."""
    objective, complete = search.objective, search.complete
    if complete.empty:
        return None
    dimensions = [search_space.dimension(p) for p in search.parameters if complete[p.name].notna().any()]
    parallel = plots.parallel_figure(complete, dimensions, objective.name, maximize=objective.maximize)
    slices = plots.slices_figure(search.suggestions, dimensions, objective.name)
    told = search_tables.told(search.suggestions, search.parameters)
    chart = search_charts.slices(search.suggestions, dimensions, objective.name, told)
    caption = SLICES.format(name=capitalised(spaced(objective.name)))
    drawn = [
        Figure("search-parallel", "Parallel coordinates", PARALLEL, parallel),
        Figure("search-slices", "Slices", caption, slices, chart=chart),
    ]
    pair, words = _pair(search, shares), []
    if pair is None:
        words = ["No contour: no two numeric parameters have an importance and enough suggestions in common."]
    else:
        drawn.append(_contour(search, *pair))
    return Section("looked", "Where the search looked, and its results there", words, [], drawn)


def _contour(search: SearchData, across: Parameter, upright: Parameter) -> Figure:
    objective, complete = search.objective, search.complete
    figure = plots.contour_figure(
        complete.dropna(subset=[across.name, upright.name]), search_space.dimension(across),
        search_space.dimension(upright), objective.name, maximize=objective.maximize,
    )  # fmt: skip
    title = f"{capitalised(spaced(objective.name))} over {across.name} and {upright.name}"
    return Figure("search-contour", title, CONTOUR.format(n=len(complete), values=FEWEST_VALUES), figure)


def _pair(search: SearchData, shares: pd.DataFrame) -> tuple[Parameter, Parameter] | None:
    """Return the two most important numeric parameters, of those that all suggestions have if possible."""
    if shares.empty:
        return None
    judged = shares[shares["evaluator"].eq(importance.PED_ANOVA)].dropna(subset=["importance"])
    numeric = {parameter.name: parameter for parameter in search.parameters if parameter.numeric}
    ordered = [numeric[name] for name in judged["parameter"] if name in numeric]
    # Between two depths there is nothing to interpolate.
    ordered = [p for p in ordered if search.complete[p.name].nunique() >= FEWEST_VALUES]
    always = [p for p in ordered if search.complete[p.name].notna().all()]
    for candidates in (always, ordered):
        for place, second in enumerate(candidates):
            for first in candidates[:place]:
                shared = search.complete[[first.name, second.name]].dropna().drop_duplicates()
                if len(shared) >= FEWEST_CONTOUR:
                    return first, second
    return None
