"""The page of a search: what it searched, its winner confirmed, how it went, what mattered, where it looked.

Everything here reads validation; the test split was closed for the whole search, and opened in its
confirmation alone (`harness.report.confirmation`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness import plots, stats
from harness.report import confirmation, importance, looked, pruning, search_tables, spaces
from harness.report.model import Figure, Section
from harness.report.search_tables import value_words
from harness.text import count, spaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.parameters import Parameter
    from harness.report.searched import Objective, Searched

MOST_BUDGETS = 200
FEWEST_BUDGET = 5
CLOSED = (
    "The test split was closed during the search: suggestions were compared, pruned and chosen on validation "
    "only."
)
HISTORY = (
    "Each suggestion in the order of its number, and by the wall seconds of search until it was told "
    "(batches are told together). The line is the best complete suggestion so far. Of a pruned one the "
    "value at its last evaluation is shown, which is not what it would have ended at; a failed one is "
    "a cross at the bottom."
)
BUDGET = (
    "Over all subsets of the suggestions of each size, in whatever order: the mean of their best (Dodge et "
    "al. 2019, with the unbiased estimator of Tang et al. 2020), and where 80\u00a0% of them lie. "
    "Dashed beyond half of the suggestions, where it hangs on the few best ones and the band would close "
    "only because there are no others. The step line is this search in its own order."
)


def answers(searched: Searched) -> list[list[str]]:
    """What came out, in paragraphs: the best suggestion, its confirmation, what to doubt."""
    best, objective = searched.best, searched.objective
    if best is None:
        return [
            ["No suggestion has been trained to its end, so there is nothing to conclude.", *_told(searched)]
        ]
    there = [each for each in searched.parameters if pd.notna(best[each.name])]
    settings = "; ".join(
        f"{each.name} = {search_tables.setting(each, best[each.name]).text}" for each in there
    )
    name = spaced(objective.name)
    of = count(len(searched.complete), "complete suggestion")
    first = [
        f"The best of {of} by {name}: {best['arm']}, {value_words(objective, float(best['value']))}.",
        f"Its settings: {settings}.",
        *_edges(there, best),
    ]
    return [first, *confirmation.answers(searched), list(_told(searched))]


def facts(searched: Searched) -> str:
    """The search in one sentence: how many suggestions, how drawn, how pruned."""
    seeds = "one seed" if searched.seeds == 1 else f"{searched.seeds} seeds"
    pruner = "nothing was pruned" if searched.pruner == "none" else f"pruned by {searched.pruner}"
    return (
        f"{count(len(searched.suggestions), 'suggestion')} of "
        f"{count(len(searched.parameters), 'parameter')} by the sampler {searched.sampler}, {pruner}; "
        f"{seeds} each."
    )


def _edges(parameters: list[Parameter], best: pd.Series[Any]) -> Iterator[str]:
    at = [f"{each.name} ({side})" for each in parameters if (side := spaces.edge(each, best[each.name]))]
    if at:
        lies = "lies" if len(at) == 1 else "lie"
        yield f"At the edge of its range {lies} {', '.join(at)}: a better value may lie beyond."


def _told(searched: Searched) -> Iterator[str]:
    """How many suggestions were asked for, and what became of them."""
    found = searched.suggestions
    asked = int(searched.told.get("suggestions", len(found)))
    states = found["state"].value_counts()
    ended = ", ".join(f"{states.get(state, 0)} {state}" for state in ("complete", "pruned", "failed"))
    if len(found) < asked:
        yield f"{len(found)} of {asked} suggestions have been told so far: {ended}."
    else:
        yield f"{count(len(found), 'suggestion')}: {ended}."
    if states.get("failed", 0):
        reasons = found.loc[found["state"].eq("failed"), "reason"].value_counts()
        why = "; ".join(f"{reason or 'no reason told'} ({n})" for reason, n in reasons.head(3).items())
        yield f"Failed ones stay in every count and are never the best: {why}."


def sections(searched: Searched) -> list[Section]:
    """The page's sections, in the order that a reader wants."""
    found = importance.judge(searched)
    made = [
        _searched(searched), confirmation.section(searched), _history(searched), _budget(searched),
        looked.mattered(searched, found), looked.section(searched, found), _front(searched),
        pruning.section(searched),
    ]  # fmt: skip
    whole = Section("all-suggestions", "All suggestions", [], [search_tables.suggestions(searched)])
    return [section for section in [*made, whole] if section is not None]


def _searched(searched: Searched) -> Section:
    told, several = searched.told, len(searched.objectives) > 1
    by = " and ".join(f"{spaced(each.name)} ({_way(each)})" for each in searched.objectives)
    mean = f"{searched.seeds} seeds, of which the objective is the mean"
    seeds = "one seed" if searched.seeds == 1 else mean
    who = f"Sampler {searched.sampler}, seed {told.get('seed', 0)}, in batches of {told.get('batch', 1)}"
    what = f"Objective{'s' if several else ''}: {by}. Each suggestion was trained with {seeds}."
    words = [f"{who}; pruner {searched.pruner}. {what}", " ".join(_told(searched)), CLOSED]
    if several:
        words.append(f"The best suggestion is that by {spaced(searched.objective.name)}.")
    diverged = told.get("diverged", "fail")
    if not isinstance(diverged, str):
        words.append(f"A training that diverged counts as the declared worst value, {diverged:g}.")
    tables = [search_tables.space(searched), search_tables.outcomes(searched)]
    if searched.best is not None:
        tables.insert(0, search_tables.best(searched, searched.best))
    return Section("searched", "What was searched", words, tables)


def _way(objective: Objective) -> str:
    return "the higher the better" if objective.maximize else "the lower the better"


# --------------------------------------------------------------------------------------------- how it went


def history(searched: Searched) -> pd.DataFrame:
    """number, state, value, so_far (best of the complete ones up to here), seconds, best; by number."""
    found = searched.suggestions
    complete = found["value"].where(found["state"].eq("complete"))
    so_far = stats.best_so_far(complete, maximize=searched.objective.maximize)
    return found[["number", "state", "value", "seconds", "best"]].assign(so_far=so_far)


def _history(searched: Searched) -> Section | None:
    table, objective = history(searched), searched.objective
    if table["value"].notna().sum() == 0:
        return None
    figure = plots.history_figure(table, objective.name)
    words = []
    if searched.best is not None:
        nth = f"the {_ordinal(int(searched.best['number']) + 1)} of {len(table)}"
        when = f"{searched.best['seconds']:,.0f} of {table['seconds'].max():,.0f} seconds"
        words = [f"The best suggestion was {nth}, told after {when}."]
    return Section("history", "History", words, [], [Figure("search-history", "History", HISTORY, figure)])


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def budget(searched: Searched) -> pd.DataFrame:
    """budget, expected, low, high: the best that a random search of each size would have had.

    A pruned suggestion counts with the value at which it was stopped; a failed one is the worst.
    """
    found, sign = searched.suggestions, 1 if searched.objective.maximize else -1
    values = sign * found["value"].where(found["state"].ne("failed")).to_numpy()
    sizes = np.unique(np.geomspace(1, len(values), MOST_BUDGETS).astype(int))
    expected = stats.expected_best(values, list(map(int, sizes)))[["budget", "expected"]]
    table = expected.merge(stats.best_quantiles(values, list(map(int, sizes))), on="budget")
    return table.assign(
        expected=sign * table["expected"],
        low=sign * table["low" if sign > 0 else "high"],
        high=sign * table["high" if sign > 0 else "low"],
    )


def _budget(searched: Searched) -> Section | None:
    title = "Expected best against budget"
    if len(searched.complete) < FEWEST_BUDGET:
        return None
    if searched.sampler != "random":
        why = (
            "Left out: what a smaller search would have found can be told from this one only where "
            "suggestions are independent draws, as those of the sampler random are. Here each suggestion of "
            f"the sampler {searched.sampler} depends on the others, so a subset of them is no smaller search "
            "of its kind. The history shows what this one had found at each number; how that varies, only "
            "further searches with other sampler seeds can tell."
        )
        return Section("budget", title, [why])
    curve, told = budget(searched), history(searched)
    so_far = told.assign(number=np.arange(1, len(told) + 1)).dropna(subset=["so_far"])[["number", "so_far"]]
    figure = plots.budget_figure(curve.dropna(subset=["expected"]), so_far, searched.objective.name)
    words = list(_budget_words(searched, curve))
    return Section("budget", title, words, [], [Figure("search-budget", title, BUDGET, figure)])


def _budget_words(searched: Searched, curve: pd.DataFrame) -> Iterator[str]:
    """What half of the budget would have given, and what pruning does to that."""
    half = curve[curve["budget"].le(len(searched.suggestions) / 2)].iloc[-1]
    if not math.isnan(half["expected"]):
        low, high = (value_words(searched.objective, half[end]) for end in ("low", "high"))
        most = f" (80\u00a0% of them {low} to {high})" if not math.isnan(half["low"] + half["high"]) else ""
        yield (
            f"A random search of {half['budget']:.0f} suggestions from this space would have been expected "
            f"to find {value_words(searched.objective, half['expected'])}{most}."
        )
    failed = int(searched.suggestions["state"].eq("failed").sum())
    if failed:
        yield (
            f"The {count(failed, 'suggestion')} that failed count as spent and as worse than all others; the "
            f"curve begins at {failed + 1}, where no search of that size could have failed throughout."
        )
    if searched.suggestions["state"].eq("pruned").any():
        yield (
            "Pruned suggestions count with the value at which they were stopped, though a smaller search "
            "might have trained them on: with a pruner this curve is an approximation, and too low rather "
            "than too high."
        )


def _front(searched: Searched) -> Section | None:
    """The Pareto front, of a search with two objectives."""
    if len(searched.objectives) < 2 or searched.complete.empty:
        return None
    ordered = sorted(searched.objectives, key=lambda each: each != searched.objective)
    names, ways = [each.name for each in ordered], [each.maximize for each in ordered]
    done = searched.complete
    table = done.assign(front=stats.pareto_front(done[names].to_numpy(dtype=float), ways))
    beaten = list(table.loc[table["best"] & ~table["front"], "arm"])
    tie = "is beaten by one of the front: as good, and better in the other objective."
    words = [f"The best by {spaced(names[0])}, {beaten[0]}, {tie}"] if beaten else []
    title = f"{spaced(names[0])} against {spaced(names[1])}"
    caption = f"{search_tables.FRONT} Faint: complete suggestions that are beaten."
    figure = plots.front_figure(table, names, ways)
    drawn = [Figure("search-front", title[0].upper() + title[1:], caption, figure)]
    return Section("pareto", "The Pareto front", words, [search_tables.front(searched, table)], drawn)
