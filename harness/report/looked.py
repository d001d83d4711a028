"""Where a search looked in its space: which parameters mattered, each by itself, and two together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness import plots
from harness.report import importance, search_tables, spaces
from harness.report.model import Figure, Section
from harness.report.spaces import names_of
from harness.text import count, spaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from harness.parameters import Parameter
    from harness.report.searched import Searched

FEWEST_CONTOUR = 8  # suggestions that have both parameters
FEWEST_VALUES = 6  # of a parameter that is an axis of the contour
PARALLEL = (
    "Each line is a complete suggestion, from parameter to parameter; the lighter, the better (the worst "
    "tenth share the darkest). Along an axis of names lines lie side by side, so that they can be counted. "
    "Where a parameter does not apply the line passes below its axis."
)
SLICES = (
    "{name} against one parameter at a time, all others varying beneath: what looks like an effect may be "
    "another parameter's. Points of one name lie from left to right in the order of their numbers. Light "
    "points are late suggestions: where they gather, the sampler looked."
)
CONTOUR = (
    "Of the numeric parameters with at least {values} different values, the two that PED-ANOVA finds most "
    "important; those that all {n} complete suggestions have come first. Colours between points are linear "
    "interpolation over Delaunay's triangles, on the axes as shown; nothing is drawn outside of the points' "
    "hull. It goes through every point and smooths no noise away, and all other parameters vary beneath: "
    "look for slopes, not for peaks."
)


def mattered(searched: Searched, found: pd.DataFrame) -> Section:
    """How important each parameter is, by both evaluators, and what to doubt of it."""
    title, many = "Importance", len(searched.complete)
    if found.empty:
        told = f"{count(many, 'complete suggestion')}, and of fewer than {importance.FEWEST} either "
        told += "evaluator often puts a parameter first that does not matter"
        return Section("importance", title, [f"Not judged: {told}."])
    words = [*_evaluators(searched, found), *_doubts(searched)]
    figure = plots.importance_figure(found)
    drawn = [Figure("search-importance", "Importance of the parameters", search_tables.IMPORTANCE, figure)]
    return Section("importance", title, words, [search_tables.importance(found)], drawn)


def _evaluators(searched: Searched, found: pd.DataFrame) -> Iterator[str]:
    """What the two evaluators ask, of which suggestions, and what they leave out."""
    left = len(searched.suggestions) - len(searched.complete)
    told = f"{count(left, 'suggestion')} pruned or failed, without a value at the end of a training"
    but = f" Left out: {told}." if left else ""
    yield (
        f"For {spaced(searched.objective.name)}, of {len(searched.complete)} complete suggestions.{but} "
        "PED-ANOVA, Optuna's default, asks which parameters set the best tenth of the suggestions apart from "
        "all of them (Watanabe et al. 2023). fANOVA asks how much of the variance over the whole space a "
        "parameter explains by itself, as random forests have learned it from the suggestions (Hutter et al. "
        "2014): mostly that between bad and middling values. Parameters stand in the order of PED-ANOVA."
    )
    for evaluator, each in found.groupby("evaluator", sort=False):
        absent = list(each.loc[each["importance"].isna(), "parameter"])
        if absent:
            yield (
                f"{evaluator} does not judge {', '.join(absent)}: it takes only parameters that every "
                "complete suggestion has."
            )
    some = [each.name for each in searched.parameters if searched.complete[each.name].isna().any()]
    judged = found[found["evaluator"].eq(importance.PED_ANOVA) & found["importance"].notna()]
    if conditional := [name for name in some if name in set(judged["parameter"])]:
        yield (
            f"PED-ANOVA judges {', '.join(conditional)} too, which only some suggestions have: whether it is "
            "there at all counts beside its value."
        )


def _doubts(searched: Searched) -> Iterator[str]:
    if len(searched.complete) < importance.STEADY:
        yield (
            f"With {len(searched.complete)} complete suggestions the best tenth is "
            f"{math.ceil(len(searched.complete) / 10)}: PED-ANOVA is not steady below {importance.STEADY}. "
            "Look at its spread before its order."
        )
    if len(searched.complete) > importance.LEARNED:
        yield (
            f"fANOVA's forests learn from {importance.LEARNED} suggestions each, drawn afresh, so its spread "
            "is that of so many."
        )
    if searched.sampler != "random":
        yield (
            f"The sampler {searched.sampler} did not look everywhere alike: fANOVA's forest knows little of "
            "where it seldom looked."
        )
    if searched.suggestions["state"].eq("pruned").any():
        yield "Complete are those that the pruner let live: what told good from hopeless was judged before."


def section(searched: Searched, found: pd.DataFrame) -> Section | None:
    """Parallel coordinates, slices, and the contour of the two most important numbers."""
    objective, done = searched.objective, searched.complete
    if done.empty:
        return None
    dimensions = [spaces.dimension(each) for each in searched.parameters if done[each.name].notna().any()]
    parallel = plots.parallel_figure(done, dimensions, objective.name, maximize=objective.maximize)
    slices = plots.slices_figure(searched.suggestions, dimensions, objective.name)
    caption = SLICES.format(name=_sentence(spaced(objective.name)))
    drawn = [
        Figure("search-parallel", "Parallel coordinates", PARALLEL, parallel),
        Figure("search-slices", "Slices", caption, slices),
    ]
    pair, told = _pair(searched, found), []
    if pair is None:
        told = ["No contour: no two numeric parameters have an importance and enough suggestions in common."]
    else:
        drawn.append(_contour(searched, *pair))
    return Section("looked", "Where it looked, and what it found there", told, [], drawn)


def _contour(searched: Searched, across: Parameter, upright: Parameter) -> Figure:
    objective, done = searched.objective, searched.complete
    figure = plots.contour_figure(
        done.dropna(subset=[across.name, upright.name]),
        spaces.dimension(across),
        spaces.dimension(upright),
        objective.name,
        maximize=objective.maximize,
    )
    title = f"{_sentence(spaced(objective.name))} over {across.name} and {upright.name}"
    return Figure("search-contour", title, CONTOUR.format(n=len(done), values=FEWEST_VALUES), figure)


def _sentence(words: str) -> str:
    """Words as a sentence begins."""
    return words[0].upper() + words[1:]


def _pair(searched: Searched, found: pd.DataFrame) -> tuple[Parameter, Parameter] | None:
    """The two most important numeric parameters: of those that all have, else that enough have in common."""
    if found.empty:
        return None
    judged = found[found["evaluator"].eq(importance.PED_ANOVA)].dropna(subset=["importance"])
    known = {each.name: each for each in searched.parameters if not names_of(each)}
    ordered = [known[name] for name in judged["parameter"] if name in known]
    # Between two depths there is nothing to interpolate.
    ordered = [each for each in ordered if searched.complete[each.name].nunique() >= FEWEST_VALUES]
    always = [each for each in ordered if searched.complete[each.name].notna().all()]
    for candidates in (always, ordered):
        for place, second in enumerate(candidates):
            for first in candidates[:place]:
                shared = searched.complete[[first.name, second.name]].dropna().drop_duplicates()
                if len(shared) >= FEWEST_CONTOUR:
                    return first, second
    return None
