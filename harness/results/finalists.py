"""Finalists of a search: the folder finalists/, read, and the winner that its trials pick by val."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness import results, stats
from harness.settings.schema import FINALISTS, WINNER
from harness.study.contrasts import Contrasts
from harness.study.searches import Search

SETTLED = ("ok", "diverged")
"""Statuses of trials that no further run changes."""
ALL_DIVERGED = "every finalist diverged with every finalist seed"
"""Why no winner can be picked where the same finalists would diverge again."""


@dataclass(frozen=True)
class Finalists:
    """The finalists of a search, best first, and the winner among them.

    `table`: number, arm, searched (its objective in the search), n, mean, low, high, planned, ok, diverged,
    failed, wins (as `stats.finalists`). `verdicts`: the first against each other, as
    `stats.finalist_verdicts`. `picked` is the winner's number, None where `undecided` says why.
    """

    table: pd.DataFrame
    verdicts: pd.DataFrame
    picked: int | None
    undecided: str = ""


def read(
    folder: Path, suggestions: pd.DataFrame, search: Search, contrasts: Contrasts | None = None
) -> Finalists | None:
    """Read the finalists of a search; None where none were trained.

    Args:
        folder: the search's results folder.
        suggestions: its table suggestions.csv: number, arm, and the objectives.
        search: its [search] table.
        contrasts: its [contrasts] table, for margin and alpha of the verdicts.

    Raises:
        UsageError: the trials of finalists/ cannot be read.
    """
    if not (folder / FINALISTS / "trials.csv").is_file():
        return None
    trials = results.read_trials(folder / FINALISTS)
    objective, compared = search.ranking[0], contrasts or Contrasts()
    maximize = objective.maximize
    known = suggestions[["number", "arm"]].assign(searched=suggestions[objective.name].astype(float))
    # As the search ranks them, so that the better one of the search is the first of those that tie.
    trials = trials.merge(known, on="arm")
    trials = trials.sort_values("searched", ascending=not maximize, kind="stable", ignore_index=True)
    if trials.empty:
        return None
    table = known.merge(stats.finalists(trials, objective.name, maximize=maximize), on="arm", how="right")
    judged = stats.finalist_verdicts(
        trials,
        objective.name,
        margin=compared.margin if objective.is_accuracy else None,
        alpha=compared.alpha,
        maximize=maximize,
    )
    undecided = _undecided(trials, table)
    return Finalists(table, judged, None if undecided else int(table["number"].iloc[0]), undecided)


def _undecided(trials: pd.DataFrame, table: pd.DataFrame) -> str:
    """Say why no winner can be picked: a choice among those that happened not to fail would be unfair."""
    unsettled = int((~trials["status"].isin(SETTLED)).sum())
    if unsettled:
        return f"no result of {unsettled} of the finalists' {len(trials)} trials"
    return "" if table["n"].iloc[0] else ALL_DIVERGED


def optimism(number: int, confirmed: pd.DataFrame, suggestions: pd.DataFrame, search: Search) -> pd.DataFrame:
    """Compare a winner's objective in the search with that of the fresh seeds, as `stats.optimism`.

    Args:
        number: the winner's number.
        confirmed: the trials in confirmed/.
        suggestions: the search's table suggestions.csv: number, and the objectives.
        search: its [search] table.
    """
    objective = search.ranking[0]
    searched = suggestions.loc[suggestions["number"].eq(number), objective.name].astype(float)
    trials = confirmed[confirmed["arm"].eq(WINNER)]
    if searched.empty or objective.name not in trials:
        return pd.DataFrame()
    return stats.optimism(float(searched.iloc[0]), trials, objective.name, maximize=objective.maximize)
