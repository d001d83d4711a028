"""1-epoch top-k on a search's own curves: what this simplest pruner would have kept, and its price."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.reporting.model import NONE, Cell, Column, Section, Table, rows_of
from harness.reporting.search.data import COMPLETE, PRUNED
from harness.reporting.search.pruning import by_evaluation
from harness.reporting.search.tables import difference_words, value_words
from harness.study.searches import LEARN_NOTHING
from harness.text import capitalised, spaced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.reporting.search.data import SearchData

TITLE = "What 1-epoch top-k would have kept"
KEPT = (1, 3, 5, 10)
"""Numbers of suggestions that the table keeps."""
USUAL = 3
"""The number that the words speak of, if the search itself kept no other."""
NOTE = (
    "Had every suggestion been evaluated once and the best few of them trained to their end (the baseline "
    "of Egele et al. 2023, arXiv 2307.15422): which of those is the best at its end, by validation, and how "
    "many evaluations all take together. Not known: kept ones that this search pruned."
)


def section(search: SearchData) -> Section | None:
    """Show the suggestions that top-k would have kept after one evaluation, against the search's best."""
    table = outcomes(search)
    if table.empty or search.best is None:
        return None
    columns = [
        Column("kept", "kept", numeric=True),
        Column("best of them", lambda row: _suggestion(row["best"]), numeric=True),
        Column(spaced(search.objective.name), lambda row: _value(search, row), numeric=True),
        Column("worse than the winner", lambda row: _difference(search, row), numeric=True),
        Column("not known", "unknown", numeric=True),
        Column("evaluations", "evaluations", numeric=True),
    ]
    shown = Table("top-k", TITLE, NOTE, columns, rows_of(columns, table.to_dict("records")), table)
    return Section("top-k", TITLE, list(_words(search, table)), [shown])


def outcomes(search: SearchData) -> pd.DataFrame:
    """Return what top-k would have come to, a row for each number of suggestions that it keeps.

    Returns:
        kept, numbers (of those kept, in words), best (the number of the best of them that are complete; NaN
        without one), value (its final one), worse (by how much than the search's best; 0 if it is that one),
        unknown (kept ones that the search pruned), evaluations (of all together; a kept one that was pruned
        counts as many as the longest complete one), spent (evaluations of the search itself).
    """
    curves, objective = by_evaluation(search), search.objective
    if curves.empty or search.best is None or search.complete.empty:
        return pd.DataFrame()
    suggestions = search.suggestions.set_index("number")
    first = curves[1].dropna().sort_values(ascending=not objective.maximize, kind="stable")
    ended = suggestions["state"].eq(COMPLETE) & suggestions["reason"].eq("")
    longest = int(search.complete["evaluations"].max())
    rows: list[dict[str, Any]] = []
    for keep in sorted({*KEPT, _usual(search)}):
        if keep >= len(first):
            continue
        kept = first.index[:keep]
        known = suggestions.loc[[number for number in kept if ended[number]]]
        pruned = int(suggestions.loc[kept, "state"].eq(PRUNED).sum())
        further = suggestions.loc[kept, "evaluations"].where(
            suggestions.loc[kept, "state"].ne(PRUNED), longest
        )
        values = known["value"].sort_values(ascending=not objective.maximize, kind="stable")
        value = float(values.iloc[0]) if len(values) else math.nan
        difference = float(search.best["value"]) - value
        rows.append(
            {
                "kept": keep,
                "numbers": " ".join(map(str, kept)),
                "best": values.index[0] if len(values) else math.nan,
                "value": value,
                "worse": difference if objective.maximize else -difference,
                "unknown": pruned,
                "evaluations": len(first) + int(further.sum()) - keep,
                "spent": int(suggestions["evaluations"].sum()),
            }
        )
    return pd.DataFrame(rows)


def _usual(search: SearchData) -> int:
    pruner = search.settings.pruner
    return pruner.keep if pruner.name == "top-k" else USUAL


def _words(search: SearchData, table: pd.DataFrame) -> Iterator[str]:
    keep, winner = _usual(search), search.best
    assert winner is not None  # noqa: S101 (the table is not empty)
    for row in table[table["kept"].eq(keep)].to_dict("records"):
        price = f"{row['evaluations']:,} evaluations; this search took {row['spent']:,}"
        start = f"Of the best {keep} after one evaluation"
        if math.isnan(row["best"]):
            yield f"{start} this search trained none to its end. Price: {price}."
            continue
        value = value_words(search.objective, row["value"])
        beside = "as good as the winner"
        if row["worse"]:
            beside = f"{_difference(search, row).text} worse than the winner"
        if row["best"] == winner["number"]:
            beside = "the winner itself"
        yield (
            f"{start} the best at its end is suggestion {row['best']:.0f}, {value}: {beside}. Price: {price}."
        )
        if row["unknown"]:
            yield (
                f"This search pruned {row['unknown']} of these {keep}; what they would have become is not "
                "known, and may be better."
            )
    if not set(search.samplers) <= set(LEARN_NOTHING):
        yield (
            f"{capitalised(search.asked_by)} learned from suggestions that were trained further; "
            "with top-k they would have been other ones. So this judges the choice after one evaluation, not "
            "a search by it."
        )


def _suggestion(number: float) -> Cell:
    return Cell(NONE, key=math.nan) if math.isnan(number) else Cell(f"{number:.0f}", key=float(number))


def _value(search: SearchData, row: Mapping[Any, Any]) -> Cell:
    return Cell(value_words(search.objective, row["value"]), key=row["value"])


def _difference(search: SearchData, row: Mapping[Any, Any]) -> Cell:
    if math.isnan(row["worse"]):
        return Cell(NONE, key=math.nan)
    return Cell(difference_words(search.objective, row["worse"]), key=row["worse"])
