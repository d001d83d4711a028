"""The tables of a search: what became of its suggestions, its space, its best one, all of them, the front."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.parameters import Choices
from harness.report import spaces
from harness.report.model import NONE, Cell, Column, Table
from harness.report.searched import STATES
from harness.report.spaces import EDGE, names_of
from harness.text import as_word, count, percent, spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.parameters import Parameter
    from harness.report.searched import Objective, Searched

NAMED = 12  # suggestions that a cell names
DASH = "\u2013"
SPACE = (
    "What each suggestion was drawn from. Suggested: in how many of the suggestions; a parameter that only "
    "some have (momentum, a second layer's width) is asked for only where it has an effect."
)
BEST = (
    "Chosen by validation only. Edge: the value lies in the outer {share} of its range at that end (of a log "
    "range, of its logarithm), so a better one may lie beyond. By chance one value in twenty lies at an "
    "edge, of a few whole numbers more."
)
ALL = "Pruned: {name} where its training was stopped. Empty: the parameter does not apply."
FRONT = (
    "Complete suggestions that no other one beats: none is at least as good in both objectives and better "
    "in one. Chosen by validation, among as many noisy numbers as there are suggestions."
)
IMPORTANCE = (
    "Shares of the importance of all parameters that an evaluator judges; the two judge different things, "
    "and fANOVA fewer parameters, so their shares are not of one whole. Under each the middle 90\u00a0% over "
    "bootstrap resamples of the suggestions (which hold fewer different ones, so that a share may lie "
    "outside); seeds: fANOVA's lowest and highest over the seeds of its forest."
)


def value_words(objective: Objective, value: float) -> str:
    """An objective's value in words: an accuracy in %, a count whole, else with four digits."""
    if math.isnan(value):
        return NONE
    if objective.share:
        return percent(value, 2)
    return f"{value:,.0f}" if abs(value) >= 1e4 or float(value).is_integer() else f"{value:.4g}"


def _value(objective: Objective, value: float) -> Cell:
    return Cell(value_words(objective, value), key=float(value))


def setting(parameter: Parameter, value: Any) -> Cell:
    """A parameter's value; empty, and last when sorted, where it does not apply."""
    if pd.isna(value):
        return Cell("", key=math.nan)
    return Cell(as_word(value)) if names_of(parameter) else Cell(f"{value:.4g}", key=float(value))


def outcomes(searched: Searched) -> Table:
    """What became of the suggestions, and why: a row a state and reason."""
    found = searched.suggestions
    rank = {state: place for place, state in enumerate(STATES)}
    groups = found.groupby(["state", "reason"], sort=False)
    table = groups.agg(suggestions=("number", "size"), numbers=("number", list)).reset_index()
    table = table.sort_values("state", key=lambda state: state.map(rank), kind="stable", ignore_index=True)
    rows = [
        [
            Cell(row["state"], row["reason"]),
            Cell(str(row["suggestions"]), key=row["suggestions"]),
            Cell(_numbers(row["numbers"])),
        ]
        for row in table.to_dict("records")
    ]
    columns = [Column("state", show="long"), Column("suggestions", numeric=True), Column("numbers")]
    note = "Every suggestion that was told, by what became of it; nothing is left out of these counts."
    data = table.assign(numbers=table["numbers"].map(lambda numbers: " ".join(map(str, numbers))))
    return Table("outcomes", "What became of the suggestions", note, columns, rows, data)


def _numbers(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return ", ".join(map(str, numbers[:NAMED])) + more


def space(searched: Searched) -> Table:
    """The parameters with their ranges and conditions."""
    suggested = {
        each.name: int(searched.suggestions[each.name].notna().sum()) for each in searched.parameters
    }
    told = searched.reading.results.study.get("space", {})
    when = {each.name: spaces.when(told, each) for each in searched.parameters}
    columns = [Column("parameter"), Column("from", numeric=True), Column("to", numeric=True), Column("drawn")]
    columns += [Column("when")] if any(when.values()) else []
    columns += [Column("suggested", numeric=True)]
    rows = [
        [
            Cell(each.name),
            *map(_bound, _ends(each)),
            Cell(spaces.drawn(each)),
            *([Cell(when[each.name])] if any(when.values()) else []),
            Cell(f"{suggested[each.name]} of {len(searched.suggestions)}", key=suggested[each.name]),
        ]
        for each in searched.parameters
    ]
    data = [
        (each.name, *_ends(each), spaces.drawn(each), when[each.name], suggested[each.name])
        for each in searched.parameters
    ]
    frame = pd.DataFrame(data, columns=["parameter", "from", "to", "drawn", "when", "suggested"])
    return Table("space", "The space", SPACE, columns, rows, frame)


def _ends(parameter: Parameter) -> tuple[float, float]:
    values = parameter.values
    return (math.nan, math.nan) if isinstance(values, Choices) else (float(values.low), float(values.high))


def _bound(end: float) -> Cell:
    return Cell(DASH if math.isnan(end) else f"{end:g}", key=end)


def _range(parameter: Parameter) -> str:
    low, high = _ends(parameter)
    return DASH if math.isnan(low) else f"{low:g} to {high:g}"


def best(searched: Searched, row: pd.Series[Any]) -> Table:
    """The best suggestion's settings, those at the edge of their range marked."""
    there = [each for each in searched.parameters if pd.notna(row[each.name])]
    edges = {each.name: spaces.edge(each, row[each.name]) for each in there}
    data = pd.DataFrame(
        [(each.name, as_word(row[each.name]), edges[each.name]) for each in there],
        columns=["parameter", "value", "edge"],
    )
    rows = [
        [
            Cell(each.name),
            setting(each, row[each.name]),
            Cell(_range(each)),
            Cell(edges[each.name]),
        ]
        for each in there
    ]
    columns = [Column("parameter"), Column("value", numeric=True), Column("range"), Column("edge")]
    title = f"The best suggestion: {row['arm']}, {value_words(searched.objective, row['value'])}"
    return Table("best", title, BEST.format(share=percent(EDGE)), columns, rows, data)


def suggestions(searched: Searched) -> Table:
    """Every suggestion, best first, with its settings."""
    objective = searched.objective
    found = searched.suggestions.assign(
        _state=searched.suggestions["state"].map({state: place for place, state in enumerate(STATES)}),
        _cost=searched.suggestions["value"] * (-1 if objective.maximize else 1),
    )
    found = found.sort_values(["_state", "_cost"], kind="stable")
    columns = [Column("number", numeric=True), Column("state")]
    columns += [Column(spaced(each.name), numeric=True) for each in searched.objectives]
    columns += [Column("evaluations", numeric=True)]
    columns += [Column(each.name, numeric=not names_of(each), show="wide") for each in searched.parameters]
    rows = [
        [
            Cell(str(row["number"]), key=row["number"]),
            Cell(row["state"], row["reason"] if row["state"] == "failed" else ""),
            *(_value(each, row[each.name]) for each in searched.objectives),
            Cell(as_word(row["evaluations"]), key=float(row["evaluations"])),
            *(setting(each, row[each.name]) for each in searched.parameters),
        ]
        for row in found.to_dict("records")
    ]
    note = ALL.format(name=spaced(objective.name))
    data = found.drop(columns=["_state", "_cost", "value", "best"])
    return Table("suggestions", "All suggestions, the best first", note, columns, rows, data)


def front(searched: Searched, table: pd.DataFrame) -> Table:
    """The suggestions of the Pareto front, the best by the first objective first."""
    first = searched.objective
    shown = table[table["front"]].sort_values("value", ascending=not first.maximize, kind="stable")
    columns = [Column("suggestion", numeric=True)]
    columns += [Column(spaced(each.name), numeric=True) for each in searched.objectives]
    columns += [Column(each.name, numeric=not names_of(each), show="wide") for each in searched.parameters]
    rows = [
        [
            Cell(str(row["number"]), key=row["number"]),
            *(_value(each, row[each.name]) for each in searched.objectives),
            *(setting(each, row[each.name]) for each in searched.parameters),
        ]
        for row in shown.to_dict("records")
    ]
    names = [*(each.name for each in searched.objectives), *(each.name for each in searched.parameters)]
    title = f"The front: {count(len(shown), 'suggestion')}"
    return Table("front", title, FRONT, columns, rows, shown[["number", *names]])


def importance(found: pd.DataFrame) -> Table:
    """Each parameter's importance by each evaluator, with its spreads."""
    evaluators = list(dict.fromkeys(found["evaluator"]))
    columns = [Column("parameter"), *(Column(name, numeric=True) for name in evaluators)]
    columns += [Column("fANOVA's seeds", numeric=True)]
    rows = []
    for name, each in found.groupby("parameter", sort=False):
        by = each.set_index("evaluator")
        cells = [Cell(str(name)), *(_share(by.loc[evaluator]) for evaluator in evaluators)]
        last = by.loc[evaluators[-1]]
        known = pd.notna(last["seed_low"])
        seeds = f"{percent(last['seed_low'])} to {percent(last['seed_high'])}" if known else DASH
        rows.append([*cells, Cell(seeds, key=float(last["seed_high"] - last["seed_low"]))])
    return Table("importance-shares", "Importance of the parameters", IMPORTANCE, columns, rows, found)


def _share(row: pd.Series[Any]) -> Cell:
    if pd.isna(row["importance"]):
        return Cell("not judged", key=math.nan)
    return Cell(
        percent(row["importance"]), f"{percent(row['low'])} to {percent(row['high'])}", row["importance"]
    )
