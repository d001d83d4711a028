"""Rules that the tables of a study must keep together, each a small function that says what breaks it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.axes.metrics import metrics, taken
from harness.errors import did_you_mean
from harness.settings import NON_SETTING_KEYS, limits
from harness.study import contrasts, searches, seed_axes, tuning_space
from harness.study.about import About
from harness.study.checker import GivenSettings
from harness.study.contrasts import Contrasts
from harness.study.searches import Search
from harness.study.tuning_space import Tune, TuningSpace


@dataclass(frozen=True)
class Draft:
    """The tables of a study file, each validated by itself; None where one is not there, or is wrong.

    `spaces` are what arms may tune, by their place; `columns` the names of all settings and axes.
    """

    about: About
    baseline: GivenSettings
    axes: Mapping[str, Sequence[Any]]
    steps: Sequence[Mapping[str, Any]]
    contrasts: Contrasts | None
    tune: Tune | None
    spaces: Mapping[str, TuningSpace]
    chosen: Mapping[str, GivenSettings]
    search: Search | None
    columns: Sequence[str]

    @property
    def searches(self) -> bool:
        """Tell whether the design is a search."""
        return self.about.design == "search"


Rule = Callable[[Draft], Iterator[str]]
PHASES_OF_SEARCH = ("search", "finalists", "confirmed")
"""Phases in which study.toml stands in a folder of a search."""


def _phase(draft: Draft) -> Iterator[str]:
    phase = draft.about.phase
    if phase in {"tuning", "tuned"} and draft.tune is None:
        yield f"study.phase = {phase!r}: only for a study with [tune]"
    if phase in PHASES_OF_SEARCH and not draft.searches:
        yield f"study.phase = {phase!r}: only for design = 'search'"


def _search_tables(draft: Draft) -> Iterator[str]:
    if not draft.searches:
        return
    for key, table in (("axes", draft.axes), ("tune", draft.tune)):
        if table:
            yield f"[{key}]: a search has [space] instead"
    if draft.about.resample_split:
        yield "study.resample_split = true: a search compares on one validation split"
    if draft.baseline.get("val_fraction") == 0:
        yield "baseline.val_fraction = 0 leaves no validation split to choose by"


def _design_tables(draft: Draft) -> Iterator[str]:
    design = draft.about.design
    if design == "ladder" and not draft.steps:
        yield "study.design = 'ladder': a ladder needs [[steps]]"
    if design == "ladder" and draft.axes:
        yield "[axes]: a ladder has [[steps]] and no axes"
    if design != "ladder" and draft.steps:
        yield f"[[steps]]: only for design = 'ladder', this study's is {design!r}"
    if design == "one-factor" and not draft.axes:
        yield "study.design = 'one-factor': needs [axes] to vary one at a time"


def _settings_of_axes(draft: Draft) -> dict[str, list[str]]:
    """Map each setting that axes vary to these axes, in order."""
    axes_of: dict[str, list[str]] = {}
    for axis, values in draft.axes.items():
        keys = {key for value in values for key in (value if isinstance(value, Mapping) else [axis])}
        for key in sorted(keys - {*NON_SETTING_KEYS}):
            axes_of.setdefault(key, []).append(axis)
    return axes_of


def _settings_once(draft: Draft) -> Iterator[str]:
    axes_of = _settings_of_axes(draft)
    for key, axes in axes_of.items():
        for earlier, later in itertools.pairwise(axes):
            yield f"axes.{later} and axes.{earlier} both set {key}"
    named = {*draft.baseline, *axes_of, *(key for step in draft.steps for key in step)}
    if {"epochs", "steps"} <= named:
        yield "epochs and steps are both set: a budget is one or the other"
    if draft.about.resample_split and "split_seed" in named:
        yield "split_seed and study.resample_split = true: the split has its seed or the trial's"


def _seed_axes(draft: Draft) -> Iterator[str]:
    yield from seed_axes.problems(
        draft.axes, draft.baseline,
        resamples=draft.about.resample_split, tunes=draft.tune is not None,
    )  # fmt: skip


def _spaces_without_tune(draft: Draft) -> Iterator[str]:
    if draft.tune is None and draft.spaces:
        places = ", ".join(draft.spaces)
        yield f"{places}: a space to tune, in a study without [tune]; add the table, or take it out"


def _metric_of_contrasts(draft: Draft) -> Iterator[str]:
    if draft.contrasts is None or draft.contrasts.metric != "val_accuracy":
        return
    if {*draft.axes.get("val_fraction", [draft.baseline.get("val_fraction")])} == {0}:
        yield (
            "contrasts.metric = 'val_accuracy': val_fraction = 0 leaves no images to measure it on; allowed: "
            "test_accuracy, or a val_fraction above 0"
        )
    if draft.tune is not None:
        yield (
            "contrasts.metric = 'val_accuracy': tuned arms are chosen by it, so it cannot judge them; "
            "allowed with [tune]: test_accuracy"
        )


def _chosen(draft: Draft) -> Iterator[str]:
    if draft.chosen and draft.about.phase == "fixed":
        yield "[chosen]: only in a study.toml that tuning or a search wrote; take it out"


def _contrasts_and_tune(draft: Draft) -> Iterator[str]:
    if draft.contrasts is not None:
        yield from contrasts.problems(draft.contrasts, draft.about.design, draft.axes)
        if draft.searches:
            yield from contrasts.problems_of_search(draft.contrasts, draft.about.phase)
    if draft.tune is not None:
        about = draft.about
        yield from tuning_space.problems(draft.tune, draft.spaces, about.seeds, draft.baseline, draft.axes)


def _looks(draft: Draft) -> Iterator[str]:
    """Say where a study cannot be looked at while it trains."""
    if draft.contrasts is None:
        return
    if "spending" in draft.contrasts.model_fields_set and "looks" not in draft.contrasts.model_fields_set:
        yield (
            f"contrasts.spending = {draft.contrasts.spending!r}: alpha is spent over looks, and none are "
            "given; give looks, such as [5, 10, 20], or take spending out"
        )
    if not draft.contrasts.looks:
        return
    where = f"contrasts.looks = {draft.contrasts.looks}"
    if draft.searches:
        yield f"{where}: a search compares two arms at its end, with all seeds; take the looks out"
    if draft.tune is not None:
        yield f"{where}: tuned arms are compared with all seeds; take the looks out, or [tune]"
    if draft.about.resample_split:
        yield (
            f"{where}: the levels of looks are for seeds that share one split; take the looks out, or "
            "study.resample_split"
        )
    if draft.about.phase == "fixed":
        yield from contrasts.problems_of_looks(draft.contrasts, draft.about.seeds)


def _metrics(draft: Draft) -> Iterator[str]:
    """Say where a tracked metric is not known, or its column is a setting's or an axis's."""
    for name in draft.about.metrics or ():
        if name not in metrics:
            names = [entry.name for entry in metrics]
            yield f"study.metrics: unknown metric {name!r}; {did_you_mean(name, names)}"
        elif clash := taken(name, draft.columns):
            yield (
                f"metric {name!r} ({metrics.entry(name).where}) would be a second column {clash!r}, which is "
                "a setting or an axis of this study; rename one of them"
            )


def _search(draft: Draft) -> Iterator[str]:
    if draft.search is not None:
        yield from searches.problems(draft.search, draft.about.seeds, draft.about.metrics or ())


RULES: Sequence[Rule] = (
    _phase, _search_tables, _design_tables, _settings_once, _seed_axes, _spaces_without_tune,
    _metric_of_contrasts,
)  # fmt: skip
"""Rules of all studies."""
RULES_OF_ABOUT: Sequence[Rule] = (_chosen, _contrasts_and_tune, _looks, _metrics, _search)
"""Rules that need a [study] table without problems."""


def problems(draft: Draft, *, about_is_known: bool) -> list[str]:
    """Say which rules a study breaks; unless `about_is_known`, [study] is a stand-in for a wrong one."""
    rules = [*RULES, *(RULES_OF_ABOUT if about_is_known else ())]
    return [problem for rule in rules for problem in rule(draft)]


def size_problems(draft: Draft) -> Iterator[str]:
    """Say where a study means more trials than a plan can hold, in any of its phases."""
    about, search = draft.about, draft.search
    if about.phase in PHASES_OF_SEARCH:
        return
    if search is not None:
        counts = {"suggestions": search.suggestions, "seeds": len(search.seeds)}
        yield limits.trials_problem("search.suggestions", counts)
        counts = {"finalists": search.finalists, "seeds": len(search.finalist_seeds)}
        yield limits.trials_problem("search.finalist_seeds", counts)
        yield limits.trials_problem("study.seeds", {"arms": 2, "seeds": len(about.seeds)})
        return
    arms = limits.arms(about.design, draft.axes, draft.steps)
    where = "[steps]" if about.design == "ladder" else "[axes]"
    yield limits.trials_problem(where, {"arms": arms, "seeds": len(about.seeds)})
    if draft.tune is not None:
        shared, budget = draft.spaces.get(tuning_space.ALL, {}), draft.tune.budget or 0
        tries = max(tuning_space.size({**shared, **space}) or budget for space in draft.spaces.values())
        counts = {"arms": arms, "settings to try": tries, "tuning seeds": len(draft.tune.seeds)}
        yield limits.trials_problem("[tune]", counts)
