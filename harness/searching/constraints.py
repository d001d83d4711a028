"""Constraints of a search: whether anything in its space keeps them, before anything is trained."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import numpy as np

from harness.data.arm_settings import Settings
from harness.errors import UsageError
from harness.searching import latency, samplers
from harness.searching.costs import Costs, uncounted
from harness.study.checker import GivenSettings
from harness.study.searches import Search
from harness.study.study import Study
from harness.study.trials import settings_of
from harness.text import spaced

MOST_LISTED = 5000
"""Points of a space that are all looked at; of a larger one, points drawn at random."""
DRAWN = 2000
"""Points that are drawn, half of them with their numbers at the ends of their ranges."""
MOST_MEASURED = 8
"""Networks of the fewest parameters whose latency is measured."""


def problems(study: Study) -> Iterator[str]:
    """Yield why a search cannot know its costs, or cannot keep its constraints anywhere in its space."""
    search = study.search
    assert search is not None  # noqa: S101 (asked of searches only)
    if "latency" in search.costs and (absent := latency.missing()):
        where = "search.objective" if "latency" in search.objective else "search.constraints"
        yield f"{where}: {latency.needs(absent)}"
        return
    if unknown := uncounted(search, itertools.islice(_points(study), MOST_MEASURED)):
        yield (
            f"the operations of architecture {', '.join(map(repr, unknown))} cannot be counted (it has "
            "products that are not known); use parameters in place of flops and training_flops"
        )
        return
    if search.constraints and (told := _unkept(study)):
        yield told
    elif "latency" in search.objective:  # told now, where it cannot be measured
        try:
            Costs(search).of("latency", settings_of(study))
        except UsageError as error:
            yield f"search.objective: {error}"


def _unkept(study: Study) -> str:
    """Say that no point of a space keeps the constraints, and which come closest; empty if one does."""
    search = study.search
    assert search is not None  # noqa: S101
    costs, looked = Costs(search), 0
    bounds = {name: bound for name, bound in search.constraints.items() if name != "latency"}
    least: dict[str, float] = {}
    fitting: dict[float, Settings] = {}
    for settings in _points(study):
        looked += 1
        values = {name: costs.of(name, settings) for name in bounds}
        least = {name: min(value, least.get(name, value)) for name, value in values.items()}
        if costs.kept(values):
            if "latency" not in search.constraints:
                return ""
            fitting.setdefault(costs.of("parameters", settings), settings)
    if fitting:
        try:
            slow = [costs.of("latency", fitting[size]) for size in sorted(fitting)[:MOST_MEASURED]]
        except UsageError as error:
            return f"search.constraints: {error}"
        if min(slow) <= search.constraints["latency"]:
            return ""
        least["latency"] = min(slow)
    given = ", ".join(f"{name} = {bound:,.6g}" for name, bound in search.constraints.items())
    found = ", ".join(f"{name} = {value:,.6g}" for name, value in least.items())
    together = "each by itself " if len(least) > 1 else ""
    which = "all points" if _is_listed(study) else f"{looked:,} points drawn from it"
    return (
        f"search.constraints: nothing in [space] keeps {given}; the smallest of {which} {together}has "
        f"{found}. Raise the bound, or let [space] reach smaller networks"
    )


def drawn(study: Study, count: int, rng: np.random.Generator) -> list[GivenSettings]:
    """Draw settings of a space at random that keep the constraints, as far as they are known and found.

    A bound of latency, which would have to be measured, leaves none out.
    """
    search, space = study.search, study.space
    assert search is not None  # noqa: S101
    costs = Costs(search)
    bounds = [name for name in search.constraints if name != "latency"]
    points: list[GivenSettings] = []
    left = DRAWN
    while len(points) < count:
        left -= 1
        settings = space.walk(lambda parameter: samplers.at_random(parameter, rng))[1]
        resolved = settings_of(study, settings)
        if left < 0 or costs.kept({name: costs.of(name, resolved) for name in bounds}):
            points.append(settings)
    return points


def in_words(search: Search) -> str:
    """Put the constraints into words: "parameters at most 50,000"; empty without one."""
    return ", ".join(f"{spaced(name)} at most {bound:,.6g}" for name, bound in search.constraints.items())


def _is_listed(study: Study) -> bool:
    """Tell whether all points of a study's space are looked at."""
    return (
        study.space.finite
        and len(list(itertools.islice(study.space.points(), MOST_LISTED + 1))) <= MOST_LISTED
    )


def _points(study: Study) -> Iterator[Settings]:
    """Yield the settings of all points of a small space; of a large one, drawn at random and at its ends."""
    if _is_listed(study):
        for drawn in study.space.points():
            yield settings_of(study, study.space.settings(drawn))
        return
    rng = np.random.default_rng(0)
    for count in range(DRAWN):
        draw = (samplers.at_random, samplers.near_an_end)[count % 2]
        yield settings_of(study, study.space.walk(partial(draw, rng=rng))[1])
