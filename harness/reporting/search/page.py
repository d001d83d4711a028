"""The page of a search: its setup, its winner's confirmation, its history, importance, and its space.

Everything here reads validation; the test split was closed for the whole search, and opened in its
confirmation alone (`harness.reporting.search.confirmation`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness import plots, stats
from harness.errors import UsageError
from harness.reporting.model import Figure, Section
from harness.reporting.search import charts as search_charts
from harness.reporting.search import (
    confirmation,
    constraints,
    extrapolation,
    finalists,
    importance,
    pareto,
    pruning,
    top_k,
)  # fmt: skip
from harness.reporting.search import figures as search_figures
from harness.reporting.search import space as search_space
from harness.reporting.search import tables as search_tables
from harness.reporting.search.data import COMPLETE, FAILED, PRUNED
from harness.reporting.search.tables import value_words
from harness.settings.schema import KNOWN
from harness.study.searches import STATES
from harness.text import count, ordinal, spaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.reporting.search.data import SearchData
    from harness.study.searches import Search
    from harness.study.space import Parameter

MOST_BUDGETS = 200
FEWEST_BUDGET = 5
ASYNCHRONOUS = (
    " Stacks were judged in the order in which they arrived, which is the machine's: another search from the "
    "start gives other suggestions."
)
CLOSED = (
    "The test split was closed during the search: suggestions were compared, pruned and chosen on validation "
    "only."
)
HISTORY = (
    "Each suggestion in the order of its number, and by the wall seconds of search until its result was "
    "reported to the sampler (those of a batch together). The line is the best complete suggestion so far. A "
    "pruned suggestion is shown with the value at its last evaluation, not the one it would have ended at; a "
    "failed one is a cross at the bottom."
)
BUDGET = (
    "Over all subsets of the suggestions of each size, in whatever order: the mean of their best (Dodge et "
    "al. 2019, with the unbiased estimator of Tang et al. 2020), and where 80\u00a0% of them lie. "
    "Dashed beyond half of the suggestions, where it depends on the few best ones and the band would close "
    "only because there are no others. The step line is this search in its own order."
)
NOTHING = "No suggestion has been trained to its end, so there is nothing to conclude."
DEPENDENT = (
    "Left out: the result of a smaller search can be estimated from this one only if suggestions are "
    "independent draws, as those of the sampler random are. Here each suggestion of {asker} "
    "depends on the others, so a subset of them is not a smaller search of its kind. The history shows the "
    "best of this search at each number; only further searches with other sampler seeds can show how that "
    "varies."
)


def answers(search: SearchData) -> list[list[str]]:
    """State the result in paragraphs: the best suggestion, its confirmation, the outcomes."""
    best = search.chosen
    if best is None:
        told = constraints.untrained(search)
        return [told or [NOTHING, *_outcomes(search)]]
    drawn = [parameter for parameter in search.parameters if pd.notna(best[parameter.name])]
    settings = search_tables.settings_words(search, best)
    first = [*finalists.leading(search, best), f"Its settings: {settings}.", *_edges(drawn, best)]
    return [first, *confirmation.answers(search), list(_outcomes(search))]


def facts(search: SearchData) -> str:
    """Describe the search in one sentence: its suggestions, sampler and pruner."""
    parameters = count(len(search.parameters), "parameter")
    if search.suggestions.empty:
        return f"No suggestion so far, of {parameters}, by {search.asked_by}."
    seeds = "one seed" if search.seeds == 1 else f"{search.seeds} seeds"
    pruner = search.settings.pruner.name
    nothing = pruner == "none" and not search.suggestions["state"].eq(PRUNED).any()
    pruned = ", nothing was pruned" if nothing else f", pruned by {pruner}"
    if search.settings.own or (pruner == "none" and not nothing):  # by whom is not in the folder
        pruned = ""
    return (
        f"{count(len(search.suggestions), 'suggestion')} of {parameters} by {search.asked_by}"
        f"{pruned}; {seeds} each."
        f"{ASYNCHRONOUS if search.settings.pruner.waits_for == 'stack' else ''}"
    )


def _edges(parameters: list[Parameter], best: pd.Series[Any]) -> Iterator[str]:
    edges = [f"{p.name} ({side})" for p in parameters if (side := search_space.edge(p, best[p.name]))]
    if edges:
        lies = "lies" if len(edges) == 1 else "lie"
        yield f"At the edge of its range {lies} {', '.join(edges)}: a better value may lie beyond."


def _outcomes(search: SearchData) -> Iterator[str]:
    table = search.suggestions
    if told := constraints.untrained(search):
        yield from told
        return
    states = table["state"].value_counts()
    counts = ", ".join(f"{states.get(state, 0)} {state}" for state in STATES)
    first = reached(search)
    if first is not None:
        fewer = len(table) < search.settings.suggestions
        yield (
            f"Suggestion {first} reached the target, {search.settings.goal}"
            f"{', so that no more were asked for' if fewer else ''}: "
            f"{len(table)} of {search.settings.suggestions} suggestions, {counts}."
        )
    elif not search.settings.own and len(table) < search.settings.suggestions:
        yield f"{len(table)} of {search.settings.suggestions} suggestions have ended so far: {counts}."
    else:
        yield f"{count(len(table), 'suggestion')}: {counts}."
    if first is None and search.settings.goal:
        yield f"No suggestion has reached the target, {search.settings.goal}."
    yield from constraints.answers(search)
    if states.get(FAILED, 0):
        reasons = table.loc[table["state"].eq(FAILED), "reason"].value_counts()
        why = "; ".join(f"{reason or 'no reason given'} ({n})" for reason, n in reasons.head(3).items())
        yield f"Failed ones stay in every count and are never the best: {why}."


def reached(search: SearchData) -> int | None:
    """Return the number of the first complete suggestion that reached the target; None without one."""
    complete = search.complete[search.complete["reason"].eq("")]
    rows = complete[["number", *search.settings.objective]].to_dict("records")
    return next(
        (row["number"] for row in rows if search.settings.is_reached({str(k): v for k, v in row.items()})),
        None,
    )


def sections(search: SearchData) -> list[Section]:
    """Make the page's sections, in the order in which they are read."""
    shares = importance.judge(search)
    optional = [
        _setup(search), constraints.section(search), confirmation.section(search), finalists.section(search),
        _history(search), _budget(search),
        search_figures.mattered(search, shares), search_figures.section(search, shares),
        pareto.section(search), pruning.section(search), top_k.section(search),
        extrapolation.section(search),
    ]  # fmt: skip
    if not search.suggestions.empty:
        listed = [search_tables.suggestions(search)]
        optional.append(Section("all-suggestions", "All suggestions", [], listed))
    return [section for section in optional if section is not None]


def _asked(settings: Search) -> str:
    if settings.own:
        return f"Asked by {settings.asked_by}, in batches of {settings.batch}"
    return (
        f"Sampler {settings.sampler}, seed {settings.seed}, in batches of {settings.batch}; pruner "
        f"{settings.pruner.name}"
    )


def _setup(search: SearchData) -> Section:
    settings, several = search.settings, len(search.settings.objectives) > 1
    objectives = " and ".join(
        f"{spaced(o.name)} (the {'higher' if o.maximize else 'lower'} the better)"
        for o in settings.objectives
    )
    mean = f"{search.seeds} seeds, of which the objective is the mean"
    seeds = "one seed" if search.seeds == 1 else mean
    setup = f"{_asked(settings)}. Objective{'s' if several else ''}: {objectives}."
    if search.suggestions.empty:
        words = [setup, *_known(search), " ".join(_outcomes(search))]
        return Section("searched", "What was searched", words, [search_tables.space(search)])
    setup = f"{setup} Each suggestion was trained with {seeds}."
    words = [setup, *_known(search), *constraints.measured(search), " ".join(_outcomes(search)), CLOSED]
    if several:
        words.append(f"The best suggestion is that by {spaced(search.objective.name)}.")
    if settings.diverged != "fail":
        words.append(f"A training that diverged counts as the declared worst value, {settings.diverged:g}.")
    tables = [search_tables.space(search), search_tables.outcomes(search)]
    if search.chosen is not None:
        tables.insert(0, search_tables.best(search, search.chosen))
    return Section("searched", "What was searched", words, tables)


def _known(search: SearchData) -> Iterator[str]:
    """Yield what the sampler knew of an earlier search."""
    if not search.settings.warm_start:
        return
    from harness.searching import warm_start  # imports optuna

    try:
        known = warm_start.read(search.reading.results.folder / KNOWN)
    except UsageError:
        known = None
    if known is None:
        yield f"Warm start: from {search.settings.warm_start}; {KNOWN}, which says more, cannot be read."
        return
    place, objective = search.settings.objectives.index(search.objective), search.objective
    best = (max if objective.maximize else min)(values[place] for _, values in known.points)
    yield (
        f"Warm start: before its first suggestion the sampler knew {known.words}; their best "
        f"{spaced(objective.name)} was {value_words(objective, best)} there. They are no suggestions of this "
        "search: none is counted here, and none can be its best."
    )


def history(search: SearchData) -> pd.DataFrame:
    """Return number, state, value, seconds, best and so_far (best of the complete ones up to here)."""
    table = search.suggestions
    complete = table["value"].where(table["state"].eq(COMPLETE))
    so_far = stats.best_so_far(complete, maximize=search.objective.maximize)
    return table[["number", "state", "value", "seconds", "best"]].assign(so_far=so_far)


def _history(search: SearchData) -> Section | None:
    table = history(search)
    if table["value"].notna().sum() == 0:
        return None
    figure = plots.history_figure(table, search.objective.name)
    words = []
    if search.best is not None:
        nth = f"the {ordinal(int(search.best['number']) + 1)} of {len(table)}"
        when = f"{search.best['seconds']:,.0f} of {table['seconds'].max():,.0f} seconds"
        words = [f"The best suggestion was {nth}, reported after {when}."]
    told = search_tables.told(search.suggestions, search.parameters)
    chart = search_charts.history(table, search.objective.name, told)
    drawn = [Figure("search-history", "History", HISTORY, figure, chart=chart)]
    return Section("history", "History", words, [], drawn)


def budget(search: SearchData) -> pd.DataFrame:
    """Return budget, expected, low and high: the best that a random search of each size would have had.

    A pruned suggestion counts with the value at which it was stopped; a failed one is the worst.
    """
    table, sign = search.suggestions, 1 if search.objective.maximize else -1
    values = sign * table["value"].where(table["state"].ne(FAILED)).to_numpy()
    sizes = np.unique(np.geomspace(1, len(values), MOST_BUDGETS).astype(int))
    expected = stats.expected_best(values, list(map(int, sizes)))[["budget", "expected"]]
    curve = expected.merge(stats.best_quantiles(values, list(map(int, sizes))), on="budget")
    return curve.assign(
        expected=sign * curve["expected"],
        low=sign * curve["low" if sign > 0 else "high"],
        high=sign * curve["high" if sign > 0 else "low"],
    )


def _budget(search: SearchData) -> Section | None:
    title = "Expected best against budget"
    if len(search.complete) < FEWEST_BUDGET:
        return None
    if search.samplers != ["random"]:
        return Section("budget", title, [DEPENDENT.format(asker=search.asked_by)])
    curve, table = budget(search), history(search)
    so_far = table.assign(number=np.arange(1, len(table) + 1)).dropna(subset=["so_far"])
    figure = plots.budget_figure(
        curve.dropna(subset=["expected"]), so_far[["number", "so_far"]], search.objective.name
    )
    words = list(_budget_words(search, curve))
    return Section("budget", title, words, [], [Figure("search-budget", title, BUDGET, figure)])


def _budget_words(search: SearchData, curve: pd.DataFrame) -> Iterator[str]:
    """Yield the best to expect of half the budget, and how failed and pruned suggestions count."""
    half = curve[curve["budget"].le(len(search.suggestions) / 2)].iloc[-1]
    if not math.isnan(half["expected"]):
        low, high = (value_words(search.objective, half[end]) for end in ("low", "high"))
        most = f" (80\u00a0% of them {low} to {high})" if not math.isnan(half["low"] + half["high"]) else ""
        yield (
            f"A random search of {half['budget']:.0f} suggestions from this space would have been expected "
            f"to find {value_words(search.objective, half['expected'])}{most}."
        )
    failed = int(search.suggestions["state"].eq(FAILED).sum())
    if failed:
        yield (
            f"The {count(failed, 'suggestion')} that failed count as spent and as worse than all others; the "
            f"curve begins at {failed + 1}, where no search of that size could have failed throughout."
        )
    if search.suggestions["state"].eq(PRUNED).any():
        yield (
            "Pruned suggestions count with the value at which they were stopped, though a smaller search "
            "might have trained them on: with a pruner this curve is an approximation, and too low rather "
            "than too high."
        )
