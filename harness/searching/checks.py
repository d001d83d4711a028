"""Checks of a search before any training, beyond those of its tables: it must be able to come to its end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.axes import own_networks, planned_components
from harness.axes.own_networks import ENGINES
from harness.data.samples import train_size
from harness.errors import UsageError
from harness.planning import cost
from harness.planning.checks import misfit
from harness.searching import constraints, networks, pruners, samplers, warm_start
from harness.searching.costs import Costs
from harness.settings.schema import BASELINE
from harness.study.searches import Search
from harness.study.space import Floats, Ints, Space
from harness.study.study import Study
from harness.study.trials import settings_of


def check_engine(engine: object) -> None:
    """Raise UsageError where a person's own network is to search: its code would not be in a trial's id."""
    if engine in ENGINES:
        return
    if isinstance(engine, str) and not engine.endswith(".py") and not own_networks.is_own(engine):
        own_networks.named(engine)  # says what is wrong with it
    raise UsageError(
        f"a search trains with {', '.join(ENGINES)}, not with a network of your own. Search with one of "
        "them, and train what it finds with your network: harness run --engine"
    )


def check(study: Study, folder: Path | None = None) -> None:
    """Raise UsageError where a study is not a search, or is one that cannot come to its end.

    With the results `folder` that it searches into, its warm start is checked, too.
    """
    if study.search is None:
        raise UsageError(
            f"{study.name} is a study of design {study.about.design!r}. Train it with `harness run`; a "
            "search has design = 'search', [search] and [space]."
        )
    if study.about.phase in {"finalists", "confirmed"}:
        which = "the confirmation" if study.about.phase == "confirmed" else "a study of the finalists"
        raise UsageError(
            f"{study.path} is {which} of a search. Use the search's own study file, or the "
            "study.toml of the folder above it."
        )
    problems = list(_problems(study, study.search, study.space))
    if folder is not None:
        problems += warm_start.problems(study, folder)
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise UsageError(f"{study.name}: nothing was run\n{listed}")


def _problems(study: Study, search: Search, space: Space) -> Iterator[str]:
    """Yield the problems of a search that its tables alone do not show."""
    yield from samplers.problems(search, space)
    if len(search.objective) == 1:
        yield from pruners.problems(search)
    told = list(constraints.problems(study))
    yield from told
    size = None if told else size_of(study, search.suggestions)
    if size is not None and size < search.suggestions:
        keep = " that keep [search.constraints]" if search.constraints else ""
        yield (
            f"search.suggestions = {search.suggestions}, and [space] holds {size} different settings{keep}; "
            f"allowed: at most {size}, or a wider space"
        )
    baseline = settings_of(study)
    n, drawn = train_size(baseline), list(networks.corners(study))
    sizes = [settings_of(study, corner).batch_size for corner in _corners(study)]
    too_large = sorted({size for size in (baseline.batch_size, *sizes) if size > n})
    if too_large:
        yield (
            f"batch_size can be {too_large[-1]}, and {baseline.dataset} has {n} training images; lower it "
            "in [space] or [baseline]"
        )
    else:
        corners = [settings_of(study, corner) for corner in ({}, *_corners(study))]
        large = (problem for corner in (*corners, *drawn) for problem in cost.too_large(corner))
        yield from dict.fromkeys(large)
    if why := misfit(baseline.head, baseline.loss, baseline.match):
        yield f"[baseline], which the winner is compared with: {why}"
    linked = [settings for entry in space.entries for settings in entry.means.values()]
    every = [baseline, *(settings_of(study, settings) for settings in linked), *drawn]
    yield from planned_components.problems(every)


def every_component(study: Study) -> Study:
    """Return a study whose arms name every component that a suggestion may have."""
    entries = study.space.entries
    linked = {f"{e.name} {name}": settings for e in entries for name, settings in e.means.items()}
    return study.in_phase("search", {BASELINE: {}, **linked})


def size_of(study: Study, enough: int) -> int | None:
    """Count the different settings of a study's space, up to `enough`; None for a space with floats.

    Settings that break a constraint are not counted; a bound of latency, which would have to be measured,
    leaves none out.
    """
    if not study.space.finite:
        return None
    search = study.search
    bounds = {n: b for n, b in (search.constraints if search else {}).items() if n != "latency"}
    costs = Costs(search) if search and bounds else None
    different: set[str] = set()
    for drawn in study.space.points():
        settings = settings_of(study, study.space.settings(drawn))
        if costs is None or costs.kept({name: costs.of(name, settings) for name in bounds}):
            different.add(str(sorted(settings.items())))
        if len(different) >= enough:
            break
    return len(different)


def _corners(study: Study) -> list[dict[str, Any]]:
    """Return all combinations of the extremes of the settings that decide how long a suggestion trains."""
    ends: dict[str, list[Any]] = {}
    for entry in study.space.entries:
        for key in ("epochs", "steps", "batch_size"):
            values = [settings[key] for settings in entry.means.values() if key in settings]
            if entry.name == key and not entry.means and isinstance(entry.values, Floats | Ints):
                values = [entry.values.low, entry.values.high]
            always = not entry.when and all(key in settings for settings in entry.means.values())
            if values and not always:  # where it is not drawn, the baseline's value counts
                values += [settings_of(study)[key]] if key in settings_of(study) else []
            if values:
                values += ends.get(key, [])
                ends[key] = [min(values), max(values)]
    return [dict(zip(ends, values, strict=True)) for values in itertools.product(*ends.values())]


def evaluations_of(study: Study) -> list[int]:
    """Return the number of evaluations of suggestions at the extremes of what decides it."""
    return [cost.evaluations(settings_of(study, drawn)) for drawn in _corners(study)]
