"""A search's finalists: its best suggestions, trained anew, and how sure it is which is the best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness import plots
from harness.reporting.model import (
    Cell,
    Column,
    Figure,
    Section,
    Table,
    accuracy_cell,
    difference_cell,
    number_cell,
    rows_of,
    share_cell,
)
from harness.reporting.search.tables import value_words
from harness.settings.schema import FINALISTS
from harness.text import DASH, count, joined, percent, significant, spaced, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from harness.reporting.search.data import SearchData
    from harness.results.finalists import Finalists

FEW = 0.5  # of the resamples: the winner is then less likely to be the best than not
HOW = (
    "The best {count} by {name} in the search were trained anew at the full budget with seeds that had no "
    "part in it ({seeds}), and the winner is the best of them by the mean. Test stayed closed."
)
WINS = (
    "Would win: in how many of 10,000 resamples of the seeds, drawn with replacement, the mean is the best "
    "of all. A few seeds know little of their own spread, so it is a rough number, and rather too sure."
)
AGAIN = (
    "The winner's number here is the best of {count}, and so a little too good; with the fresh seeds of "
    "the confirmation, which choose nothing, it is not."
)
WENT_ON = (
    "The search has gone on since, and its best suggestions are others now. Run the search again: it trains "
    "those that are new."
)
FIGURE = (
    "Mean over the finalists' seeds with its 95\u00a0% Student-t interval; hollow: the number in the search, "
    "by which it became a finalist."
)
RIGHT = " Right: the share of resamples of the seeds in which it would win."


def leading(search: SearchData, best: pd.Series[Any]) -> list[str]:
    """Say which suggestion is the winner, and how sure that is; or else which is the best of the search."""
    objective, found = search.objective, search.finalists
    complete = count(len(search.complete), "complete suggestion")
    value = value_words(objective, float(best["value"]))
    searched = f"The best of {complete} by {spaced(objective.name)}: {best['arm']}, {value}."
    if found is None and search.opened is not None and search.settings.finalists > 1:
        told = f"The winner: {best['arm']}, picked of the search's best {search.settings.finalists}"
        aside = f"with seeds of their own, whose folder {FINALISTS}/ is not here"
        return [f"{told} {aside}; in the search it had {value}."]
    if found is None:
        return [searched]
    told = _picked(search, found)
    return [told] if found.picked is not None else [told, searched]


def _picked(search: SearchData, found: Finalists) -> str:
    many, name = len(found.table), spaced(search.objective.name)
    if found.picked is None:
        return f"No winner is picked of the best {many}: {found.undecided}."
    first = found.table.iloc[0]
    out = (
        f"The winner: {first['arm']}, picked of the search's best {many} by {name} with "
        f"{count(int(first['n']), 'seed')} of their own, {value_words(search.objective, first['mean'])}"
    )
    if math.isnan(first["wins"]):
        few = "one seed" if first["n"] == 1 else "so few seeds"
        return f"{out}; with {few} that may be chance."
    likely = "" if first["wins"] > FEW else ", less often than not"
    return f"{out}; with other seeds it would win {percent(first['wins'], 0)} of the time{likely}."


def sureness(search: SearchData) -> Iterator[tuple[str, str]]:
    """Say which finalists cannot be told from the winner."""
    found = search.finalists
    if found is None or found.picked is None or found.verdicts.empty:
        return
    alike = [str(row["reference"]) for row in found.verdicts.to_dict("records") if row["verdict"] != "better"]
    told = f"not shown to be better than {joined(alike)}" if alike else "better than each other finalist"
    seeds = count(int(found.table["planned"].iloc[0]), "seed")
    yield "Rank", f"of {len(found.table)} finalists, {seeds} each, the winner is {told}."


def section(search: SearchData) -> Section | None:
    """Show the finalists with their intervals, the winner against each other one, and how often each wins."""
    found = search.finalists
    if found is None:
        return None
    name, seeds = spaced(search.objective.name), search.settings.finalist_seeds
    how = HOW.format(count=len(found.table), name=name, seeds=_listed(seeds))
    told = bool(found.table["wins"].notna().any())  # not of few seeds
    again = AGAIN.format(count=len(found.table))
    words = [how, _picked(search, found), f"{WINS} {again}" if told else again]
    if search.went_on:
        words.append(WENT_ON)
    words.append(f"`harness report` of the folder {FINALISTS}/ draws their curves.")
    caption, figures = f"{FIGURE}{RIGHT if told else ''}", []
    if found.table["n"].gt(0).any():
        drawn = plots.finalists_figure(found.table, search.objective.name)
        figures = [Figure("search-finalists", "The finalists", caption, drawn)]
    title = "The finalists, with seeds of their own"
    return Section("finalists", title, words, [table(search, found)], figures, opened=True)


def _listed(seeds: list[int]) -> str:
    ordered = sorted(seeds)
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{ordered[0]} to {ordered[-1]}"
    return joined([str(seed) for seed in ordered])


def table(search: SearchData, found: Finalists) -> Table:
    """Tabulate the finalists, the best first; differences are the winner's from each other one."""
    judged = found.verdicts.set_index("reference")
    accuracy = search.objective.is_accuracy

    def against(row: Mapping[Any, Any]) -> Cell:
        if row["arm"] not in judged.index:
            return Cell(DASH, key=math.nan)
        verdict = judged.loc[row["arm"]].to_dict()
        return difference_cell(verdict) if accuracy else _difference(verdict)

    def said(row: Mapping[Any, Any]) -> Cell:
        return Cell(str(judged.loc[row["arm"], "verdict"]) if row["arm"] in judged.index else DASH)

    def searched(row: Mapping[Any, Any]) -> Cell:
        return Cell(value_words(search.objective, row["searched"]), key=row["searched"])

    columns = [
        Column("suggestion", "number", numeric=True),
        Column("in the search", searched, numeric=True),
        Column("with its own seeds", accuracy_cell if accuracy else number_cell, numeric=True),
        Column("seeds", _seeds, numeric=True, show="wide"),
        Column("the first against it", against, numeric=True),
        Column("verdict", said),
    ]
    if found.table["wins"].notna().any():  # not of few seeds
        columns.append(Column("would win", lambda row: share_cell(row["wins"], digits=0), numeric=True))
    pairs = len(found.table) * (len(found.table) - 1) // 2
    note = (
        f"Ordered by the mean of {spaced(search.objective.name)}; under it its 95\u00a0% Student-t interval. "
        f"The differences are paired by seed; the verdicts are corrected for all {count(pairs, 'pair')} of "
        "finalists (Holm), since which one would be first was not known before."
    )
    data = found.table.merge(
        found.verdicts.drop(columns=["arm", "dataset", "n", "sd"]).rename(
            columns={"reference": "arm", "low": "difference_low", "high": "difference_high"}
        ),
        on="arm", how="left",
    )  # fmt: skip
    rows = rows_of(columns, found.table.to_dict("records"))
    return Table("finalists", "The finalists", note, columns, rows, data)


def _seeds(row: Mapping[Any, Any]) -> Cell:
    lost = ", ".join(f"{row[state]} {state}" for state in ("diverged", "failed") if row[state])
    return Cell(f"{row['n']} of {row['planned']}", lost, row["n"])


def _difference(row: Mapping[Any, Any]) -> Cell:
    if not row["n"]:
        return Cell("no data", key=math.nan)
    return Cell(significant(row["difference"], sign=True), span(row, significant), row["difference"])
