"""Learning curves of a search's best suggestions beside those of the pruned ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from harness import plots
from harness.reporting.model import Figure, Section
from harness.reporting.search.data import PRUNED
from harness.text import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.reporting.search.data import SearchData
    from harness.study.searches import Objective

BEST_CURVES = 5
MOST_RUNGS = 14
"""Most epochs of pruning that a figure marks: of more, nothing can be read."""
BEST = "Validation, mean over the search seeds: the best {best} complete suggestions."
FAINT = (
    " Faint: pruned ones, each to its last evaluation. Dotted: epochs at which suggestions were pruned, "
    "above how many."
)


def section(search: SearchData) -> Section | None:
    """Draw the learning curves of the best few suggestions and of the pruned ones."""
    curves = learning_curves(search)
    if curves.empty:
        return None
    title = "Learning curves and pruning" if curves["pruned"].any() else "Learning curves"
    ends = curves[curves["pruned"]].groupby("number")["epoch"].max().value_counts().sort_index()
    rungs = pd.DataFrame({"epoch": ends.index, "pruned": ends.to_numpy()})
    shown = rungs if len(rungs) <= MOST_RUNGS else rungs.iloc[:0]
    figure = plots.pruning_figure(curves, shown, _curve_name(search.objective))
    best = curves.loc[~curves["pruned"], "number"].nunique()
    caption = BEST.format(best=best) + (FAINT if len(rungs) else "")
    drawn = [Figure("search-curves", title, caption, figure)]
    return Section("learning", title, list(_words(rungs)), figures=drawn)


def _words(rungs: pd.DataFrame) -> Iterator[str]:
    pruned = f"{count(int(rungs['pruned'].sum()), 'suggestion')} pruned"
    if len(rungs) > MOST_RUNGS:
        yield f"{pruned}, at {len(rungs)} different epochs."
    elif len(rungs):
        epochs = [f"{row['pruned']:.0f} at epoch {row['epoch']:g}" for row in rungs.to_dict("records")]
        yield f"{pruned}: {', '.join(epochs)}."


def learning_curves(search: SearchData) -> pd.DataFrame:
    """Return number, label, pruned, epoch and value: val of the best complete and of all pruned suggestions.

    Values are means over the search seeds, of the leading objective, or of val accuracy if that is not
    measured while training. The observation before training is left out if there are others.
    """
    suggestions, objective = search.suggestions, search.objective
    column = _curve_name(objective).removeprefix("val_")
    epochs, trials = search.reading.results.epochs, search.reading.trials
    if column not in epochs:
        return pd.DataFrame()
    complete = search.complete.sort_values("value", ascending=not objective.maximize, kind="stable")
    shown = pd.concat([complete.head(BEST_CURVES), suggestions[suggestions["state"].eq(PRUNED)]])
    shown = shown[["number", "arm"]].assign(pruned=shown["state"].eq(PRUNED), label=shown["arm"])
    val = epochs.loc[epochs["split"].eq("val"), ["trial_id", "epoch", column]]
    table = shown.merge(trials[["arm", "trial_id"]], on="arm").merge(val, on="trial_id")
    by = ["number", "label", "pruned", "epoch"]
    curves = table.groupby(by, sort=False)[column].mean().rename("value").reset_index().dropna()
    trained = curves[curves["epoch"].gt(0)]
    return trained if len(trained) else curves


def by_evaluation(search: SearchData) -> pd.DataFrame:
    """Return the leading objective by evaluation: a row a suggestion (its number), a column an evaluation.

    Evaluations count from 1, the one before training left out. Values are means over the search seeds, NaN
    where a seed has none.
    """
    column = search.objective.name.removeprefix("val_")
    epochs, trials = search.reading.results.epochs, search.reading.trials
    if not search.objective.is_val or column not in epochs:
        return pd.DataFrame()
    val = epochs.loc[epochs["split"].eq("val") & epochs["step"].gt(0), ["trial_id", "step", column]]
    val = val.sort_values(["trial_id", "step"], kind="stable")
    val = val.assign(evaluation=val.groupby("trial_id").cumcount() + 1)
    table = val.merge(trials[["arm", "trial_id"]], on="trial_id")
    table = table.merge(search.suggestions[["number", "arm"]], on="arm")
    values = table.groupby(["number", "evaluation"])[column].agg(["mean", "count"]).reset_index()
    values.loc[values["count"].ne(search.seeds), "mean"] = math.nan
    return values.pivot_table(values="mean", index="number", columns="evaluation", dropna=False)


def _curve_name(objective: Objective) -> str:
    return objective.name if objective.is_val else "val_accuracy"
