"""The error of extrapolating a search's learning curves: predicted against reached ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from harness import plots, stats
from harness.reporting.model import Cell, Column, Figure, Section, Table, rows_of
from harness.reporting.search.data import COMPLETE
from harness.reporting.search.pruning import by_evaluation
from harness.reporting.search.tables import difference_words
from harness.text import count, percent, spaced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.reporting.search.data import SearchData

TITLE = "How well the curves foretell their end"
SELDOM = 0.01
"""Bounds are called too narrow if they would hold so seldom by chance with at most this probability."""
NOTE = (
    "Each finished curve was predicted from those of earlier batches alone. Bias: predicted less reached, on "
    "average. RMSE: the root of the mean square of that; beside it that of simply taking the value at that "
    "evaluation for the end. Covered: the end lay within both bounds, which should hold in {share}. Stopped: "
    "the better bound was worse than the best end of earlier batches, so the pruner extrapolation would have "
    "stopped it; of these, better: it ended above that best all the same."
)
CAPTION = (
    "Left: predicted against reached end, of every curve after the first and after the middle evaluation; "
    "on the line the prediction is right. Right: the root mean square error of the prediction by "
    "evaluation, and that of taking the value at that evaluation for the end."
)


def section(search: SearchData) -> Section | None:
    """Show the error of extrapolated curves by evaluation; None where too few curves are finished."""
    errors, objective = errors_of(search), search.objective
    uses = search.settings.pruner.name == "extrapolation"
    if errors.empty:
        least = stats.least_curves(search.settings.pruner.confidence)
        lacking = (
            f"Not judged: it takes more than {least} complete suggestions of as many evaluations, in more "
        )
        return Section("extrapolation", TITLE, [f"{lacking}than one batch."]) if uses else None
    summary = stats.forecast_summary(errors, maximize=objective.maximize)
    words = [*_words(search, errors, summary), *_doubts(search, summary)]
    figure = plots.forecast_figure(errors, summary, objective.name)
    return Section(
        "extrapolation", TITLE, words, [_table(search, summary)],
        [Figure("search-extrapolation", TITLE, CAPTION, figure)],
    )  # fmt: skip


def errors_of(search: SearchData) -> pd.DataFrame:
    """Return `stats.forecast_errors` of the complete suggestions, with their number.

    They are those with the most frequent number of evaluations: only such can be compared.
    """
    curves, complete = by_evaluation(search), search.complete[search.complete["reason"].eq("")]
    if curves.empty or complete.empty:
        return pd.DataFrame()
    evaluations = int(complete["evaluations"].mode().iloc[-1])
    alike = complete[complete["evaluations"].eq(evaluations) & complete["number"].isin(curves.index)]
    steps = range(1, evaluations + 1)
    if evaluations < 2 or not set(steps) <= set(curves.columns):
        return pd.DataFrame()
    table = curves.loc[alike["number"], steps]
    whole = np.isfinite(table.to_numpy()).all(axis=1)
    confidence = search.settings.pruner.confidence
    errors = stats.forecast_errors(
        table[whole].to_numpy(), alike.loc[whole, "batch"], confidence, maximize=search.objective.maximize
    )
    numbers = alike.loc[whole, "number"].to_numpy()
    return errors.assign(number=numbers[errors["curve"].astype(int)])


def _words(search: SearchData, errors: pd.DataFrame, summary: pd.DataFrame) -> Iterator[str]:
    n, evaluations = errors["curve"].nunique(), len(summary) + 1
    first = summary.iloc[0]
    yield (
        f"{count(n, 'finished curve')} of {evaluations} evaluations, each predicted from those of earlier "
        f"batches. After one evaluation the prediction of the end, {spaced(search.objective.name)}, is off "
        f"by {difference_words(search.objective, first['rmse'])} (RMSE); the value at that evaluation itself "
        f"by {difference_words(search.objective, first['unchanged_rmse'])}."
    )
    stopped = errors[errors["below"]].groupby("curve")["evaluation"].min()
    reached, best = errors["reached"], errors["best"]
    better = reached.gt(best) if search.objective.maximize else reached.lt(best)
    lost = errors.loc[errors["below"] & better, "number"].unique()
    saved = float((evaluations - stopped).sum()) / (n * evaluations)
    named = f": suggestion {', '.join(map(str, lost[:5]))}" if len(lost) else ""
    yield (
        f"The pruner extrapolation would have stopped {len(stopped)} of these {n} and saved "
        f"{percent(saved, 0)} of their evaluations; {len(lost)} of those stopped ended better than the best "
        f"before them{named}."
    )


def _doubts(search: SearchData, summary: pd.DataFrame) -> Iterator[str]:
    share = 2 * search.settings.pruner.confidence - 1
    seldom = binom.cdf(summary["covered"], summary["n"], share) <= SELDOM
    for row in summary.iloc[np.flatnonzero(seldom)[:1]].to_dict("records"):
        yield (
            f"After evaluation {row['evaluation']} the bounds held in {row['covered']} of {row['n']}, less "
            f"often than in {percent(share, 0)}: do not rely on them."
        )
    pruner = search.settings.pruner
    pruned = search.suggestions["state"].ne(COMPLETE).any()
    if pruner.name == "extrapolation":
        yield (
            f"One suggestion in {pruner.control} was trained to its end whatever was predicted; of the "
            "others only those are here that were predicted well enough to go on, so errors of bad ones "
            "count too little."
        )
    elif pruned:
        unknown = search.settings.own or pruner.name == "none"  # that of an earlier run is not in the folder
        name = "a pruner" if unknown else f"the pruner {pruner.name}"
        yield (
            f"Only curves that {name} let come to their end are here; how far predictions of the others are "
            "off cannot be known."
        )


def _table(search: SearchData, summary: pd.DataFrame) -> Table:
    def size(key: str) -> Column:
        words = {"bias": "bias", "rmse": "RMSE", "unchanged_rmse": "RMSE of the value"}

        def cell(row: Mapping[Any, Any]) -> Cell:
            return Cell(difference_words(search.objective, row[key]), key=row[key])

        return Column(words[key], cell, numeric=True)

    def covered(row: Mapping[Any, Any]) -> Cell:
        return Cell(percent(row["covered"] / row["n"], 0), f"{row['covered']} of {row['n']}", row["covered"])

    columns = [
        Column("evaluation", "evaluation", numeric=True),
        size("bias"),
        size("rmse"),
        size("unchanged_rmse"),
        Column("covered", covered, numeric=True),
        Column("stopped", "below", numeric=True),
        Column("of these, better", "lost", numeric=True),
    ]
    note = NOTE.format(share=percent(2 * search.settings.pruner.confidence - 1, 0))
    rows = rows_of(columns, summary.to_dict("records"))
    return Table("extrapolation", "Errors of the extrapolation", note, columns, rows, summary)
