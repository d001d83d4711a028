"""Learning curves of a search's best suggestions beside those of the pruned ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from harness import plots
from harness.report.model import Figure, Section
from harness.text import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.report.searched import Objective, Searched

BEST_CURVES = 5
MOST_RUNGS = 14  # epochs at which something was pruned; of more, nothing can be read
BEST = "Validation, mean over the search seeds: the best {best} complete suggestions."
PRUNED = (
    " Faint: pruned ones, each to its last evaluation. Dotted: epochs at which suggestions were pruned, "
    "above how many."
)


def section(searched: Searched) -> Section | None:
    """Learning curves of the best few beside the pruned ones."""
    curves = learning_curves(searched)
    if curves.empty:
        return None
    title = "Learning curves and pruning" if curves["pruned"].any() else "Learning curves"
    ends = curves[curves["pruned"]].groupby("number")["epoch"].max().value_counts().sort_index()
    rungs = pd.DataFrame({"epoch": ends.index, "pruned": ends.to_numpy()})
    shown = rungs if len(rungs) <= MOST_RUNGS else rungs.iloc[:0]
    figure = plots.pruning_figure(curves, shown, _curve_name(searched.objective))
    best = curves.loc[~curves["pruned"], "number"].nunique()
    caption = BEST.format(best=best) + (PRUNED if len(rungs) else "")
    return Section(
        "learning", title, list(_words(rungs)), [], [Figure("search-curves", title, caption, figure)]
    )


def _words(rungs: pd.DataFrame) -> Iterator[str]:
    """Where suggestions were pruned."""
    cut = f"{count(int(rungs['pruned'].sum()), 'suggestion')} pruned"
    if len(rungs) > MOST_RUNGS:
        yield f"{cut}, at {len(rungs)} different epochs."
    elif len(rungs):
        at = [f"{row['pruned']:.0f} at epoch {row['epoch']:g}" for row in rungs.to_dict("records")]
        yield f"{cut}: {', '.join(at)}."


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
