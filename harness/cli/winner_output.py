"""A search's winner on the screen and as JSON: its finalists, the optimism of the search, and the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import pandas as pd

from harness import notes, results
from harness.cli import answers
from harness.results import finalists
from harness.results.finalists import ALL_DIVERGED
from harness.settings.schema import CONFIRMED, FINALISTS
from harness.study.searches import Objective, Search
from harness.text import (
    as_word,
    count,
    difference,
    hundredths,
    interval,
    percent,
    points,
    significant,
    spaced,
    span,
)

if TYPE_CHECKING:
    from harness.results.finalists import Finalists
    from harness.searching.search_result import SearchResult
    from harness.study.study import Study

TOLD = ("number", "arm", "searched", "n", "mean", "low", "high", "planned", "diverged", "failed", "wins")
"""Columns of a finalist in JSON."""


def read(result: SearchResult, study: Study) -> Finalists | None:
    """Read the finalists of a search that has ended; None where its best was confirmed itself."""
    if result.finalists is None:
        return None
    return finalists.read(result.folder, result.suggestions, _search(study), study.contrasts)


def optimism(result: SearchResult, study: Study) -> pd.DataFrame:
    """Compare the winner's objective in the search with that of the fresh seeds, as `finalists.optimism`."""
    if result.winner is None or result.confirmed is None:
        return pd.DataFrame()
    confirmed = results.read_trials(result.folder / CONFIRMED)
    return finalists.optimism(result.winner, confirmed, result.suggestions, _search(study))


def show_target(result: SearchResult, study: Study) -> None:
    """Say whether the search reached its target, if it has one."""
    search = _search(study)
    if result.reached is not None:
        asked, wanted = len(result.trials), search.suggestions
        no_more = f": no more are asked for, after {asked} of {wanted}" if asked < wanted else ""
        click.echo(f"suggestion {result.reached} has {search.goal}{no_more}")
    elif search.until:
        notes.warn(f"no suggestion has {search.goal}")


def _unpicked(result: SearchResult) -> str:
    """Say why no winner was picked, and what to do."""
    more = "Narrow [space] and search into another folder, or ask for more suggestions"
    advice = more if result.undecided == ALL_DIVERGED else "Run the same command again"
    return f"no winner is picked: {result.undecided}. {advice}"


def show_finalists(result: SearchResult, study: Study) -> None:
    """Show the finalists in a table, and which one was picked or why none was."""
    found, objective = read(result, study), _search(study).ranking[0]
    if result.undecided:
        click.secho(f"{_unpicked(result)}.", fg="red", err=True)
    if found is None:
        if result.winner is not None and _search(study).finalists > 1:
            click.echo("one suggestion is complete: it is the winner, without other finalists")
        return
    _table(found, objective)
    if found.picked is None:
        return
    first = found.table.iloc[0]
    wins = "" if pd.isna(first["wins"]) else (
        f"; with other seeds it would win {percent(first['wins'], 0)} of the time")  # fmt: skip
    click.echo(f"picked: {first['arm']}, by the mean of {count(int(first['n']), 'seed')}{wins}")
    for row in found.verdicts.to_dict("records"):
        size = difference(row) + " points" if objective.is_accuracy else significant(row["difference"])
        said = f"{row['arm']} - {row['reference']}"
        click.echo(f"  {said}: {size if row['n'] else 'no pair of seeds'}: {row['verdict']}")
    click.echo(f"finalists: {result.folder / FINALISTS}/trials.csv; test stayed closed")


def _table(found: Finalists, objective: Objective) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"the finalists, by {spaced(objective.name)}", title_justify="left")
    told = bool(found.table["wins"].notna().any())  # not of few seeds
    columns = ["suggestion", "in the search", "mean over seeds [95 % interval]", "seeds"]
    for column in [*columns, *(["would win"] if told else [])]:
        table.add_column(column, justify="right", overflow="fold")
    shown = hundredths if objective.is_accuracy else significant
    for row in found.table.to_dict("records"):
        mean = f"{shown(row['mean'])} [{span(row, shown)}]" if row["n"] else "no data"
        wins = as_word(None) if pd.isna(row["wins"]) else percent(row["wins"], 0)
        seeds = f"{row['n']} of {row['planned']}"
        cells = [str(row["number"]), shown(row["searched"]), mean, seeds]
        table.add_row(*cells, *([wins] if told else []))
    Console().print(table)


def show_optimism(result: SearchResult, study: Study) -> None:
    """Say how much the search flattered its winner."""
    objective = _search(study).ranking[0]
    for row in optimism(result, study).to_dict("records"):
        value = (lambda v: f"{100 * v:.2f} %") if objective.is_accuracy else significant
        size = (lambda v: f"{points(v)} points") if objective.is_accuracy else significant
        ends = points if objective.is_accuracy else significant
        amount = size(abs(row["optimism"]))
        if amount == size(0.0):
            said = "did not flatter it"
        elif row["optimism"] > 0:
            said = f"flattered it by {amount}"
        else:
            said = f"did not flatter it: it is better by {amount}"
        sign = 1 if row["optimism"] > 0 else -1
        low, high = sorted((sign * row["low"], sign * row["high"]))
        spread = interval({"low": low, "high": high, "n": row["n"]}, ends)
        chance = ", which may be chance" if low <= 0 <= high else ""
        click.echo(
            f"the winner's {spaced(objective.name)}: {value(row['searched'])} in the search, "
            f"{value(row['fresh'])} with fresh seeds; the search {said} ({spread}{chance})"
        )


def facts(result: SearchResult, study: Study) -> dict[str, Any]:
    """Return what JSON says of the target, the finalists and the optimism of a search."""
    search, found = _search(study), read(result, study)
    flattered = answers.rows(optimism(result, study))
    if result.undecided:
        notes.warn(_unpicked(result))
    return {
        "until": search.until and {"levels": search.until, "reached": result.reached},
        "finalists": None if found is None else {
            "folder": result.folder / FINALISTS,
            "seeds": list(search.finalist_seeds),
            "picked": found.picked,
            "undecided": found.undecided or None,
            "arms": answers.rows(found.table[list(TOLD)]),
            "differences": answers.rows(found.verdicts),
        },
        "optimism": flattered[0] if flattered else None,
    }  # fmt: skip


def _search(study: Study) -> Search:
    assert study.search is not None  # noqa: S101 (it was searched)
    return study.search
