"""The page of a search: what it searched, its winner confirmed, how it went, what mattered, where it looked.

Everything here reads validation; the test split was closed for the whole search, and opened in its
confirmation alone (`harness.report.confirmation`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness import plots, stats
from harness.report import confirmation, importance, search_tables
from harness.report.figures import Drawn
from harness.report.search_tables import value_words
from harness.report.section import Section
from harness.report.words import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.report.searched import Objective, Parameter, Searched

BEST_CURVES = 5
MOST_RUNGS = 14  # epochs at which something was pruned; of more, nothing can be read
MOST_BUDGETS = 200
FEWEST_BUDGET = 5
FEWEST_CONTOUR = 8
HISTORY = (
    "Each suggestion in the order of its number, and by the wall seconds of search until it was told "
    "(batches are told together). The line is the best complete suggestion so far. Of a pruned one the "
    "value at its last evaluation is shown, which is not what it would have ended at; a failed one is "
    "a cross at the bottom."
)
PARALLEL = (
    "Each line is a complete suggestion, from parameter to parameter; the lighter, the better (the worst "
    "tenth share the darkest). Along an axis of names lines lie side by side, so that they can be counted. "
    "Where a parameter does not apply the line passes below its axis."
)
SLICES = (
    "{name} against one parameter at a time, all others varying beneath: what looks like an effect may be "
    "another parameter's. Points of one name lie from left to right in the order of their numbers. Light points are late suggestions: where they gather, the sampler looked."
)
CONTOUR = (
    "The numeric parameters that PED-ANOVA finds most important, of {n} complete suggestions; those that all of them have come first. Colours "
    "between points are linear interpolation over Delaunay's triangles, on the axes as shown; nothing is "
    "drawn outside of the points' hull. It goes through every point and smooths no noise away, and all other "
    "parameters vary beneath: look for slopes, not for peaks."
)
PRUNING = (
    "Validation, mean over the search seeds: the best {best} complete suggestions, and faint the pruned "
    "ones, each to its last evaluation. Dotted: epochs at which suggestions were pruned."
)
BUDGET = (
    "Over all subsets of the suggestions of each size, in whatever order: the mean of their best (Dodge et al. "
    "2019, with the unbiased estimator of Tang et al. 2020), and between which values 80\u00a0% of them lie. "
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
    settings = ", ".join(f"{each.name} {search_tables.setting(each, best[each.name]).text}" for each in there)
    name = plots.words(objective.name)
    first = [
        f"The best of {count(len(searched.complete), 'complete suggestion')} by {name}: {best['arm']}, "
        f"{value_words(objective, float(best['value']))}.",
        f"Its settings: {settings}.",
        *_edges(there, best),
    ]
    return [first, *confirmation.answers(searched), list(_told(searched))]


def facts(searched: Searched) -> str:
    """The search in one sentence: how many suggestions, how drawn, how pruned."""
    seeds = "one seed" if searched.seeds == 1 else f"{searched.seeds} seeds"
    pruner = "nothing was pruned" if searched.pruner == "none" else f"pruned by {searched.pruner}"
    return (
        f"{count(len(searched.suggestions), 'suggestion')} of {count(len(searched.parameters), 'parameter')} by "
        f"the sampler {searched.sampler}, {pruner}; {seeds} each."
    )


def _edges(parameters: list[Parameter], best: Mapping[str, object]) -> Iterator[str]:
    at = [f"{each.name} ({side})" for each in parameters if (side := each.edge(best[each.name]))]
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
        _importance(searched, found), _where(searched, found), _front(searched), _curves(searched),
    ]  # fmt: skip
    whole = Section("all-suggestions", "All suggestions", [], [search_tables.suggestions(searched)])
    return [section for section in [*made, whole] if section is not None]


def _searched(searched: Searched) -> Section:
    told, several = searched.told, len(searched.objectives) > 1
    by = " and ".join(f"{plots.words(each.name)} ({_way(each)})" for each in searched.objectives)
    seeds = (
        "one seed" if searched.seeds == 1 else f"{searched.seeds} seeds, of which the objective is the mean"
    )
    words = [
        f"Sampler {searched.sampler}, seed {told.get('seed', 0)}, in batches of {told.get('batch', 1)}; pruner "
        f"{searched.pruner}. Objective{'s' if several else ''}: {by}. Each suggestion was trained with {seeds}.",
        " ".join(_told(searched)),
        "The test split was closed during the search: suggestions were compared, pruned and chosen on "
        "validation only.",
    ]
    if several:
        words.append(
            f"The best suggestion is that by the first objective, {plots.words(searched.objective.name)}."
        )
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
        after = int(searched.best["number"]) + 1
        words = [
            f"The best suggestion was the {_ordinal(after)} of {len(table)}, told after "
            f"{searched.best['seconds']:,.0f} of {table['seconds'].max():,.0f} seconds."
        ]
    return Section("history", "History", words, [], [Drawn("search-history", "History", HISTORY, figure)])


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def budget(searched: Searched) -> pd.DataFrame:
    """budget, expected, low, high: the best that a random search of each size would have had.

    A pruned suggestion counts with the value at which it was stopped; a failed one was spent and is the worst.
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
        words = (
            "Left out: what a smaller search would have found can be told from this one only where suggestions "
            "are independent draws, as those of the sampler random are. Here each suggestion of the sampler "
            f"{searched.sampler} depends on the others, so a subset of them is no smaller search of its kind. "
            "The history shows what this one had found at each number; how that varies, only further searches "
            "with other sampler seeds can tell."
        )
        return Section("budget", title, [words])
    curve, told = budget(searched), history(searched)
    so_far = told.assign(number=np.arange(1, len(told) + 1)).dropna(subset=["so_far"])[["number", "so_far"]]
    figure = plots.budget_figure(curve.dropna(subset=["expected"]), so_far, searched.objective.name)
    words = list(_budget_words(searched, curve))
    return Section("budget", title, words, [], [Drawn("search-budget", title, BUDGET, figure)])


def _budget_words(searched: Searched, curve: pd.DataFrame) -> Iterator[str]:
    """What half of the budget would have given, and what pruning does to that."""
    half = curve[curve["budget"].le(len(searched.suggestions) / 2)].iloc[-1]
    if not math.isnan(half["expected"]):
        low, high = (value_words(searched.objective, half[end]) for end in ("low", "high"))
        most = f" (80\u00a0% of them {low} to {high})" if not math.isnan(half["low"] + half["high"]) else ""
        yield (
            f"A random search of {half['budget']:.0f} suggestions from this space would have been expected to "
            f"find {value_words(searched.objective, half['expected'])}{most}."
        )
    failed = int(searched.suggestions["state"].eq("failed").sum())
    if failed:
        yield (
            f"The {count(failed, 'suggestion')} that failed count as spent and as worse than all others; the "
            f"curve begins at {failed + 1}, where no search of that size could have failed throughout."
        )
    if searched.suggestions["state"].eq("pruned").any():
        yield (
            "Pruned suggestions count with the value at which they were stopped, though a smaller search might "
            "have trained them on: with a pruner this curve is an approximation, too low rather than too high."
        )


# ------------------------------------------------------------------------------------------- what mattered


def _importance(searched: Searched, found: pd.DataFrame) -> Section:
    title, many = "Importance", len(searched.complete)
    if found.empty:
        fewest = importance.FEWEST
        words = (
            f"Not judged: {count(many, 'complete suggestion')}, and fewer than {fewest} tell nothing of it."
        )
        return Section("importance", title, [words])
    words = [*_evaluators(searched, found), *_doubts(searched)]
    figure = plots.importance_figure(found)
    drawn = [Drawn("search-importance", "Importance of the parameters", search_tables.IMPORTANCE, figure)]
    return Section("importance", title, words, [search_tables.importance(found)], drawn)


def _evaluators(searched: Searched, found: pd.DataFrame) -> Iterator[str]:
    """What the two evaluators ask, of which suggestions, and what they leave out."""
    left = len(searched.suggestions) - len(searched.complete)
    but = (
        f" The {left} pruned or failed ones are left out: they have no value at the end of a training."
        if left
        else ""
    )
    yield (
        f"For {plots.words(searched.objective.name)}, of {len(searched.complete)} complete suggestions.{but} "
        "PED-ANOVA, Optuna's default, asks which parameters set the best tenth of the suggestions apart from all of "
        "them (Watanabe et al. 2023). fANOVA asks how much of the variance over the whole space a parameter "
        "explains by itself, as random forests have learned it from the suggestions (Hutter et al. 2014): mostly "
        "that between bad and middling values."
    )
    for evaluator, each in found.groupby("evaluator", sort=False):
        absent = list(each.loc[each["importance"].isna(), "parameter"])
        if absent:
            yield (
                f"{evaluator} does not judge {', '.join(absent)}: it takes only parameters that every complete "
                "suggestion has."
            )
    some = [each.name for each in searched.parameters if 0 < searched.complete[each.name].isna().sum()]
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
            f"fANOVA's forests learn from {importance.LEARNED} suggestions each, drawn afresh, so its spread is "
            "that of so many."
        )
    if searched.sampler != "random":
        yield (
            f"The sampler {searched.sampler} did not look everywhere alike: fANOVA's forest knows little of where "
            "it seldom looked."
        )


def _where(searched: Searched, found: pd.DataFrame) -> Section | None:
    """Parallel coordinates, slices, and the contour of the two most important numbers."""
    objective, done = searched.objective, searched.complete
    if done.empty:
        return None
    dimensions = [each.dimension for each in searched.parameters if done[each.name].notna().any()]
    name = plots.words(objective.name)
    parallel = plots.parallel_figure(done, dimensions, objective.name, maximize=objective.maximize)
    slices = plots.slices_figure(searched.suggestions, dimensions, objective.name)
    told = SLICES.format(name=name[0].upper() + name[1:])
    drawn = [
        Drawn("search-parallel", "Parallel coordinates", PARALLEL, parallel),
        Drawn("search-slices", "Slices", told, slices),
    ]
    pair = _pair(searched, found)
    words = []
    if pair is None:
        words = ["No contour: no two numeric parameters have an importance and enough suggestions in common."]
    else:
        across, upright = pair
        both = done.dropna(subset=[across.name, upright.name])
        figure = plots.contour_figure(
            both, across.dimension, upright.dimension, objective.name, maximize=objective.maximize
        )
        title = f"{name[0].upper() + name[1:]} over {across.name} and {upright.name}"
        drawn.append(Drawn("search-contour", title, CONTOUR.format(n=len(both)), figure))
    return Section("looked", "Where it looked, and what it found there", words, [], drawn)


def _pair(searched: Searched, found: pd.DataFrame) -> tuple[Parameter, Parameter] | None:
    """The two most important numeric parameters: of those that all have, else that enough have in common."""
    if found.empty:
        return None
    judged = found[found["evaluator"].eq(importance.PED_ANOVA)].dropna(subset=["importance"])
    known = {each.name: each for each in searched.parameters if not each.names}
    ordered = [known[name] for name in judged["parameter"] if name in known]
    always = [each for each in ordered if searched.complete[each.name].notna().all()]
    for candidates in (always, ordered):
        for place, second in enumerate(candidates):
            for first in candidates[:place]:
                shared = searched.complete[[first.name, second.name]].dropna().drop_duplicates()
                if len(shared) >= FEWEST_CONTOUR:
                    return first, second
    return None


def _front(searched: Searched) -> Section | None:
    """The Pareto front, of a search with two objectives."""
    if len(searched.objectives) < 2 or searched.complete.empty:
        return None
    names, ways = zip(*((each.name, each.maximize) for each in searched.objectives), strict=True)
    done = searched.complete
    table = done.assign(front=stats.pareto_front(done[list(names)].to_numpy(dtype=float), ways))
    figure = plots.front_figure(table, names, ways)
    title = f"{plots.words(names[0])} against {plots.words(names[1])}"
    caption = f"{search_tables.FRONT} Faint: complete suggestions that are beaten."
    drawn = [Drawn("search-front", title[0].upper() + title[1:], caption, figure)]
    return Section("front-of-two", "The Pareto front", [], [search_tables.front(searched, table)], drawn)


# ---------------------------------------------------------------------------------------------- the curves


def _curves(searched: Searched) -> Section | None:
    """Learning curves of the best few beside the pruned ones."""
    title = "Learning curves and pruning"
    curves = learning_curves(searched)
    if curves.empty:
        return None
    ends = curves[curves["pruned"]].groupby("number")["epoch"].max().value_counts().sort_index()
    rungs = pd.DataFrame({"epoch": ends.index, "pruned": ends.to_numpy()})
    shown = rungs if len(rungs) <= MOST_RUNGS else rungs.iloc[:0]
    figure = plots.pruning_figure(curves, shown, _curve_name(searched.objective))
    best = curves.loc[~curves["pruned"], "number"].nunique()
    words = []
    if len(rungs):
        where = ", ".join(
            f"{row['pruned']:.0f} at epoch {row['epoch']:g}" for row in rungs.to_dict("records")
        )
        cut = f"{int(rungs['pruned'].sum())} suggestions were pruned"
        words = [
            f"{cut}: {where}." if len(rungs) <= MOST_RUNGS else f"{cut}, at {len(rungs)} different epochs."
        ]
    drawn = [Drawn("search-curves", title, PRUNING.format(best=best), figure)]
    return Section("learning", title, words, [], drawn)


def learning_curves(searched: Searched) -> pd.DataFrame:
    """number, label, pruned, epoch, value: val of the best complete and of all pruned suggestions.

    Means over the search seeds, of the first objective; of val accuracy where that is not measured while
    training. The observation before training is left out where there are others.
    """
    found, objective = searched.suggestions, searched.objective
    column = _curve_name(objective).removeprefix("val_")
    epochs, trials = searched.reading.results.epochs, searched.reading.trials
    if column not in epochs:
        return pd.DataFrame()
    done = searched.complete.sort_values("value", ascending=not objective.maximize, kind="stable")
    wanted = pd.concat([done.head(BEST_CURVES), found[found["state"].eq("pruned")]])
    wanted = wanted[["number", "arm"]].assign(pruned=wanted["state"].eq("pruned"), label=wanted["arm"])
    val = epochs.loc[epochs["split"].eq("val"), ["trial_id", "epoch", column]]
    table = wanted.merge(trials[["arm", "trial_id"]], on="arm").merge(val, on="trial_id")
    by = ["number", "label", "pruned", "epoch"]
    curves = table.groupby(by, sort=False)[column].mean().rename("value").reset_index().dropna()
    trained = curves[curves["epoch"].gt(0)]
    return trained if len(trained) else curves


def _curve_name(objective: Objective) -> str:
    return objective.name if objective.name.startswith("val_") else "val_accuracy"
