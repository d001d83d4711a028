"""Constraints of a search: upper bounds, how close its suggestions came, and what was refused."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pandas as pd

from harness.reporting.model import Cell, Column, Section, Table, rows_of
from harness.reporting.search.tables import value_words
from harness.results import documents
from harness.settings.schema import LATENCY
from harness.study.searches import REFUSED, Objective
from harness.text import count, percent, spaced, with_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from harness.reporting.search.data import SearchData

NOTE = (
    "Costs are known before training, so no suggestion breaks a bound. Largest and smallest: of all "
    "suggestions, however they ended."
)


def refused(search: SearchData) -> int:
    """Count the points that were drawn, break a constraint, and were not trained."""
    if not search.settings.constraints:
        return 0
    return int(search.suggestions[REFUSED].fillna(0).sum()) + _after(search)


def _after(search: SearchData) -> int:
    """Count those that an Optuna study outside drew after the last suggestion of its calls."""
    return documents.refused_after(search.reading.results.provenance)


def _bounds(search: SearchData) -> str:
    return " and ".join(
        f"at most {with_unit(f'{bound:,.6g}', name)} {spaced(name)}"
        for name, bound in search.settings.constraints.items()
    )


def untrained(search: SearchData) -> list[str]:
    """Say that an Optuna study outside drew nothing that could be trained, and what to do; else nothing.

    Of a call that was stopped while it trained, nothing is said; a folder whose call was killed before does
    not know how many of its points broke a constraint.
    """
    nothing = search.suggestions.empty and search.reading.trials.empty
    if not (nothing and search.settings.own and search.settings.constraints):
        return []
    total, one = refused(search), len(search.settings.constraints) == 1
    bounds, keeps = ("bound", "it") if one else ("bounds", "them")
    if not total:
        known = f"No suggestion was trained. A point is trained only if it has {_bounds(search)}"
        return [
            f"{known}; how many that were drawn have not is not known.",
            f"Call it again; where trials break [search.constraints], loosen the {bounds} or narrow [space].",
        ]
    drawn = f"{count(total, 'point')} that the Optuna study drew broke [search.constraints]"
    narrow = f"narrow [space] so that more of it keeps to {keeps}"
    return [
        f"No suggestion was trained: {drawn} ({_bounds(search)}).",
        f"Loosen the {bounds}, or {narrow}, and search into another folder.",
    ]


def answers(search: SearchData) -> Iterator[str]:
    """Yield one sentence on the constraints, if there are any."""
    if search.settings.constraints:
        more = count(refused(search), "more point")
        yield (
            f"Every suggestion keeps {_bounds(search)}; {more} that the sampler drew did not, and got no "
            "training."
        )


def measured(search: SearchData) -> Iterator[str]:
    """Yield how latencies were measured, and how far they can be believed."""
    if "latency" not in search.settings.costs:
        return
    from harness.searching import latency  # imports optuna

    known = latency.read(search.reading.results.folder / LATENCY).values()
    if not known:
        yield f"How the latencies were measured is not known any more: {LATENCY} cannot be read."
        return
    hosts, versions = (sorted({getattr(one, name) for one in known}) for name in ("host", "onnxruntime"))
    spread = statistics.median((one.high - one.low) / one.microseconds for one in known)
    runs = sorted(one.runs for one in known)
    text = (
        f"Latency is in microseconds of one image, on one thread of {' and '.join(hosts)}, by onnxruntime "
        f"{' and '.join(versions)}: of each of {count(len(known), 'network')} the median of "
        f"{runs[0]:,} to {runs[-1]:,} runs, measured once, with new weights. The middle half of a network's "
        f"runs spread over {percent(spread)} of it. It is of that machine, with the search at work there."
    )
    yield f"{text} Two hosts measured: their values cannot be compared." if len(hosts) > 1 else text


def section(search: SearchData) -> Section | None:
    """Tabulate the bounds beside the costs of the suggestions; None without a constraint or a suggestion."""
    if not search.settings.constraints or search.suggestions.empty:
        return None
    table = search.suggestions
    data = pd.DataFrame(
        [
            {
                "cost": name,
                "bound": bound,
                "best": None if search.best is None else float(search.best[name]),
                "largest": float(table[name].max()),
                "smallest": float(table[name].min()),
            }
            for name, bound in search.settings.constraints.items()
        ]
    )
    columns = [
        Column("cost", lambda row: Cell(spaced(row["cost"]))),
        Column("upper bound", lambda row: _value(row, "bound"), numeric=True),
        Column("of the best", lambda row: _value(row, "best"), numeric=True),
        Column("largest", lambda row: _value(row, "largest"), numeric=True),
        Column("smallest", lambda row: _value(row, "smallest"), numeric=True),
    ]
    rows = rows_of(columns, data.to_dict("records"))
    tables = [Table("constraints", "Upper bounds and costs", NOTE, columns, rows, data)]
    return Section("constraints", "Constraints", list(_words(search)), tables)


def _value(row: Mapping[Any, Any], column: str) -> Cell:
    value = float("nan") if row[column] is None else float(row[column])
    return Cell(value_words(Objective(row["cost"], maximize=False), value), key=value)


def _words(search: SearchData) -> Iterator[str]:
    table, total = search.suggestions, refused(search)
    drawn = total + len(table)
    if search.settings.own:
        yield (
            f"{count(total, 'point')} that the Optuna study drew broke a constraint, and "
            f"{'was' if total == 1 else 'were'} told to it as pruned. Of a call that was killed, those after "
            "its last suggestion are not counted."
        )
        return
    yield (
        f"Of {count(drawn, 'point')} that were drawn {total:,} broke a constraint "
        f"({percent(total / max(1, drawn))}). They were known before training, are no suggestions, and are "
        "counted here alone."
    )
    if total and len(table) > 1:
        half = len(table) // 2
        early, late = (int(part[REFUSED].fillna(0).sum()) for part in (table[:half], table[half:]))
        last = f", {after} after the last one of a call" if (after := _after(search)) else ""
        yield (
            f"{early} of them came before the first half of the suggestions, {late} before the others{last}."
        )
