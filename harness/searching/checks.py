"""Whether a search can come to its end: what its tables alone do not tell, said before any training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from harness import costs, planned_components
from harness.arm_settings import Settings
from harness.data import train_size
from harness.errors import UsageError
from harness.parameters import Layers, Space
from harness.plan import misfit
from harness.schema import BASELINE
from harness.searches import Search
from harness.searching import samplers
from harness.study import Study
from harness.trials import Arm, settings_of


def check(study: Study) -> None:
    """Raise UsageError where a study is no search, or one that cannot come to its end."""
    if study.search is None or study.space is None:
        raise UsageError(
            f"{study.name} is a study of design {study.about.design!r}. Train it with `harness run`; a "
            "search has design = 'search', [search] and [space]."
        )
    if study.about.phase == "confirmed":
        raise UsageError(
            f"{study.path} is the confirmation of a search. Use the search's own study file, or the "
            "study.toml of the folder above it."
        )
    problems = list(_problems(study, study.search, study.space))
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise UsageError(f"{study.name}: nothing was run\n{listed}")


def _problems(study: Study, search: Search, space: Space) -> Iterator[str]:
    """What is wrong with a search that its tables alone do not tell."""
    yield from samplers.problems(search, space)
    held = holds(study, search.suggestions)
    if held is not None and held < search.suggestions:
        yield (
            f"search.suggestions = {search.suggestions}, and [space] holds {held} different settings; "
            f"allowed: at most {held}, or a wider space"
        )
    baseline = settings_of(study)
    n = train_size(baseline)
    sizes = [settings_of(study, drawn).batch_size for drawn in _corners(study)]
    too_large = sorted({size for size in (baseline.batch_size, *sizes) if size > n})
    if too_large:
        yield (
            f"batch_size can be {too_large[-1]}, and {baseline.dataset} has {n} training images; lower it "
            "in [space] or [baseline]"
        )
    else:
        largest = [{"hidden": entry.largest} for entry in space.entries if isinstance(entry, Layers)]
        corners = [settings_of(study, corner) for corner in ({}, *_corners(study), *largest)]
        yield from dict.fromkeys(problem for corner in corners for problem in costs.too_large(corner))
    if why := misfit(Arm(BASELINE, baseline), {}):
        yield f"[baseline], which the winner is compared with: {why}"
    chosen = [meant for entry in space.entries for meant in entry.means.values()]
    yield from planned_components.problems([baseline, *(settings_of(study, one) for one in chosen)])


def holds(study: Study, enough: int) -> int | None:
    """How many different settings a space holds, counted up to `enough`; None of one with floats."""
    assert study.space is not None  # noqa: S101 (asked of searches only)
    if not study.space.finite:
        return None
    seen: set[str] = set()
    for drawn in study.space.points():
        seen.add(str(sorted(settings_of(study, study.space.settings(drawn)).items())))
        if len(seen) >= enough:
            break
    return len(seen)


def _corners(study: Study) -> list[dict[str, Any]]:
    """The ends of what decides how long a suggestion trains: settings, beside the baseline's."""
    assert study.space is not None  # noqa: S101 (asked of searches only)
    ends: dict[str, list[Any]] = {}
    for entry in study.space.entries:
        for key in ("epochs", "steps", "batch_size"):
            listed = [meant[key] for meant in entry.means.values() if key in meant]
            if entry.name == key and not entry.means:
                listed = [entry.values.low, entry.values.high]  # type: ignore[union-attr]
            always = not entry.when and all(key in meant for meant in entry.means.values())
            if listed and not always:  # where it is not drawn, the baseline's value counts
                listed += [settings_of(study)[key]] if key in settings_of(study) else []
            if listed:
                seen = [*ends.get(key, []), *listed]
                ends[key] = [min(seen), max(seen)]
    return [dict(zip(ends, values, strict=True)) for values in itertools.product(*ends.values())]


def evaluations_of(study: Study) -> list[int]:
    """How many evaluations suggestions get, at the ends of what decides it."""
    return [evaluations(settings_of(study, drawn)) for drawn in _corners(study)]


def evaluations(resolved: Settings) -> int:
    """How many evaluations a suggestion gets after its start, unpruned."""
    return costs.evaluations(resolved)
