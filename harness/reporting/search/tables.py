"""The tables of a search: outcomes, space, best suggestion, all suggestions, Pareto front, importance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.reporting.model import NONE, Cell, Column, Table, rows_of
from harness.reporting.search import space as search_space
from harness.reporting.search.data import FAILED
from harness.reporting.search.space import EDGE
from harness.study.searches import STATES
from harness.study.space import Choices
from harness.text import DASH, as_word, count, percent, points, spaced, with_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.reporting.search.data import SearchData
    from harness.study.searches import Objective
    from harness.study.space import Parameter

MOST_NAMED = 12  # suggestions that a cell names
SPACE = (
    "The distribution of each parameter. Suggested: in how many of the suggestions; a parameter that only "
    "some have (momentum, a second layer's width) is drawn only if it has an effect."
)
BEST = (
    "Chosen by validation only. Edge: the value lies in the outer {share} of its range at that end (of a log "
    "range, of its logarithm), so a better one may lie beyond. By chance one value in twenty lies at an "
    "edge, of a few whole numbers more."
)
MEANT = "the layers that these mean"
ALL = "Pruned: {name} when its training was stopped. Empty: the parameter does not apply."
FRONT = (
    "Complete suggestions that no other one beats: no other is at least as good in both objectives and "
    "better in one. Chosen by validation, among as many noisy numbers as there are suggestions."
)
IMPORTANCE = (
    "Shares of the importance of all parameters that an evaluator judges; the two judge different things, "
    "and fANOVA fewer parameters, so their shares cannot be compared. Under each the middle 90\u00a0% over "
    "bootstrap resamples of the suggestions (which hold fewer different ones, so that a share may lie "
    "outside); seeds: fANOVA's lowest and highest over the seeds of its forest."
)


def value_words(objective: Objective, value: float) -> str:
    """Put an objective's value into words: an accuracy in %, a count whole, others with their unit."""
    if math.isnan(value):
        return NONE
    if objective.is_accuracy:
        return percent(value, 2)
    number = f"{value:,.0f}" if abs(value) >= 1e4 or float(value).is_integer() else f"{value:.4g}"
    return with_unit(number, objective.name)


def difference_words(objective: Objective, difference: float) -> str:
    """Put a difference of an objective into words: of accuracies in points, else with three digits."""
    if objective.is_accuracy:
        return f"{points(difference)} points"
    return with_unit(f"{difference:.3g}", objective.name)


def setting(parameter: Parameter, value: Any) -> Cell:
    """Show a parameter's value; empty, and last when sorted, if it does not apply."""
    if pd.isna(value):
        return Cell("", key=math.nan)
    return Cell(f"{value:.4g}", key=float(value)) if parameter.numeric else Cell(as_word(value))


def settings_words(search: SearchData, suggestion: pd.Series[Any]) -> str:
    """Put the settings that a suggestion drew into words, and the lists of layers that they stand for."""
    drawn = [parameter for parameter in search.parameters if pd.notna(suggestion[parameter.name])]
    words = [f"{p.name} = {setting(p, suggestion[p.name]).text}" for p in drawn]
    return "; ".join([*words, *(f"{name} = {widths}" for name, widths in search.layers(suggestion).items())])


def told(table: pd.DataFrame, parameters: Sequence[Parameter]) -> list[str]:
    """Describe each suggestion of a table: its name, and the settings that it drew."""
    words = []
    for row in table.to_dict("records"):
        drawn = (p for p in parameters if pd.notna(row[p.name]))
        settings = ", ".join(f"{p.name} {setting(p, row[p.name]).text}" for p in drawn)
        words.append(f"{row['arm']}: {settings}")
    return words


def outcomes(search: SearchData) -> Table:
    """Tabulate the outcomes of the suggestions: a row a state and reason."""
    rank = {state: place for place, state in enumerate(STATES)}
    groups = search.suggestions.groupby(["state", "reason"], sort=False)
    table = groups.agg(suggestions=("number", "size"), numbers=("number", list)).reset_index()
    table = table.sort_values("state", key=lambda state: state.map(rank), kind="stable", ignore_index=True)
    columns = [
        Column("state", lambda row: Cell(row["state"], row["reason"]), show="long"),
        Column("suggestions", "suggestions", numeric=True),
        Column("numbers", lambda row: Cell(_numbers(row["numbers"]))),
    ]
    rows = rows_of(columns, table.to_dict("records"))
    note = "Every suggestion that has ended, by its outcome; nothing is left out of these counts."
    data = table.assign(numbers=table["numbers"].map(lambda numbers: " ".join(map(str, numbers))))
    return Table("outcomes", "Outcomes of the suggestions", note, columns, rows, data)


def _numbers(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - MOST_NAMED} more" if len(numbers) > MOST_NAMED else ""
    return ", ".join(map(str, numbers[:MOST_NAMED])) + more


def space(search: SearchData) -> Table:
    """Tabulate the parameters with their ranges and conditions."""
    table = search.reading.results.study.get("space", {})
    frame = pd.DataFrame(
        [
            (
                parameter.name, *_ends(parameter), search_space.distribution(parameter),
                search_space.when(table, parameter), int(search.suggestions[parameter.name].notna().sum()),
            )
            for parameter in search.parameters
        ],
        columns=["parameter", "from", "to", "drawn", "when", "suggested"],
    )  # fmt: skip
    total = len(search.suggestions)
    columns = [
        Column("parameter", "parameter"),
        Column("from", lambda row: _bound(row["from"]), numeric=True),
        Column("to", lambda row: _bound(row["to"]), numeric=True),
        Column("drawn", "drawn"),
        *([Column("when", "when")] if frame["when"].ne("").any() else []),
        Column("suggested", lambda r: Cell(f"{r['suggested']} of {total}", key=r["suggested"]), numeric=True),
    ]
    return Table("space", "The space", SPACE, columns, rows_of(columns, frame.to_dict("records")), frame)


def _ends(parameter: Parameter) -> tuple[float, float]:
    values = parameter.values
    return (math.nan, math.nan) if isinstance(values, Choices) else (float(values.low), float(values.high))


def _bound(end: float) -> Cell:
    return Cell(DASH if math.isnan(end) else f"{end:g}", key=end)


def _range(parameter: Parameter) -> str:
    low, high = _ends(parameter)
    return DASH if math.isnan(low) else f"{low:g} to {high:g}"


def best(search: SearchData, row: pd.Series[Any]) -> Table:
    """Tabulate the settings of the best suggestion, those at the edge of their range marked."""
    drawn = [parameter for parameter in search.parameters if pd.notna(row[parameter.name])]
    edges = [search_space.edge(parameter, row[parameter.name]) for parameter in drawn]
    lists = search.layers(row)
    data = pd.DataFrame(
        [
            *((p.name, as_word(row[p.name]), edge) for p, edge in zip(drawn, edges, strict=True)),
            *((name, str(widths), "") for name, widths in lists.items()),
        ],
        columns=["parameter", "value", "edge"],
    )
    rows = [
        [Cell(p.name), setting(p, row[p.name]), Cell(_range(p)), Cell(edge)]
        for p, edge in zip(drawn, edges, strict=True)
    ]
    rows += [[Cell(name), Cell(str(widths)), Cell(MEANT), Cell("")] for name, widths in lists.items()]
    columns = [Column("parameter"), Column("value", numeric=True), Column("range"), Column("edge")]
    picked = search.finalists is not None and search.finalists.picked == row["number"]
    which = "The winner" if picked else "The best suggestion"
    title = f"{which}: {row['arm']}, in the search {value_words(search.objective, row['value'])}"
    return Table("best", title, BEST.format(share=percent(EDGE)), columns, rows, data)


def _objective_column(objective: Objective) -> Column:
    def cell(row: Mapping[Any, Any]) -> Cell:
        value = float(row[objective.name])
        return Cell(value_words(objective, value), key=value)

    return Column(spaced(objective.name), cell, numeric=True)


def _parameter_column(p: Parameter) -> Column:
    return Column(p.name, lambda row: setting(p, row[p.name]), numeric=p.numeric, show="wide")


def _evaluations(row: Mapping[Any, Any]) -> Cell:
    return Cell(as_word(row["evaluations"]), key=float(row["evaluations"]))


def suggestions(search: SearchData) -> Table:
    """Tabulate every suggestion with its settings, the best first."""
    objective = search.objective
    table = search.suggestions.assign(
        _state=search.suggestions["state"].map({state: place for place, state in enumerate(STATES)}),
        _cost=search.suggestions["value"] * (-1 if objective.maximize else 1),
    )
    table = table.sort_values(["_state", "_cost"], kind="stable")
    columns = [
        Column("number", "number", numeric=True),
        Column("state", lambda row: Cell(row["state"], row["reason"] if row["state"] == FAILED else "")),
        *map(_objective_column, search.settings.objectives),
        Column("evaluations", _evaluations, numeric=True),
        *map(_parameter_column, search.parameters),
    ]
    rows = rows_of(columns, table.to_dict("records"))
    note = ALL.format(name=spaced(objective.name))
    data = table.drop(columns=["_state", "_cost", "value", "best"])
    title = "All suggestions, the best first"
    return Table("suggestions", title, note, columns, rows, data, searched=True)


def front(search: SearchData, table: pd.DataFrame) -> Table:
    """Tabulate the suggestions of the Pareto front, the best by the leading objective first."""
    ascending = not search.objective.maximize
    shown = table[table["front"]].sort_values("value", ascending=ascending, kind="stable")
    columns = [Column("suggestion", "number", numeric=True)]
    columns += map(_objective_column, search.settings.objectives)
    columns += map(_parameter_column, search.parameters)
    rows = rows_of(columns, shown.to_dict("records"))
    names = [*search.settings.objective, *(parameter.name for parameter in search.parameters)]
    title = f"The front: {count(len(shown), 'suggestion')}"
    return Table("front", title, FRONT, columns, rows, shown[["number", *names]])


def importance(shares: pd.DataFrame) -> Table:
    """Tabulate each parameter's importance by each evaluator, with its spreads."""
    evaluators = list(dict.fromkeys(shares["evaluator"]))
    columns = [Column("parameter"), *(Column(name, numeric=True) for name in evaluators)]
    columns += [Column("fANOVA's seeds", numeric=True)]
    rows = []
    for name, group in shares.groupby("parameter", sort=False):
        by = group.set_index("evaluator")
        cells = [Cell(str(name)), *(_share(by.loc[evaluator]) for evaluator in evaluators)]
        last = by.loc[evaluators[-1]]
        judged = pd.notna(last["seed_low"])
        seeds = f"{percent(last['seed_low'])} to {percent(last['seed_high'])}" if judged else DASH
        rows.append([*cells, Cell(seeds, key=float(last["seed_high"] - last["seed_low"]))])
    return Table("importance-shares", "Importance of the parameters", IMPORTANCE, columns, rows, shares)


def _share(row: pd.Series[Any]) -> Cell:
    share = row["importance"]
    if pd.isna(share):
        return Cell("not judged", key=math.nan)
    return Cell(percent(share), f"{percent(row['low'])} to {percent(row['high'])}", share)
