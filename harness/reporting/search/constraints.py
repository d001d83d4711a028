"""Constraints of a search: upper bounds, how close its suggestions came, and what was refused."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pandas as pd

from harness.reporting.model import Cell, Column, Section, Table, rows_of
from harness.reporting.search.tables import value_words
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
    return int(search.suggestions[REFUSED].fillna(0).sum()) if search.settings.constraints else 0


def answers(search: SearchData) -> Iterator[str]:
    """Yield one sentence on the constraints, if there are any."""
    if search.settings.constraints:
        bounds = " and ".join(
            f"at most {with_unit(f'{bound:,.6g}', name)} {spaced(name)}"
            for name, bound in search.settings.constraints.items()
        )
        more = count(refused(search), "more point")
        yield f"Every suggestion keeps {bounds}; {more} that the sampler drew did not, and got no training."


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
    """Tabulate the bounds beside the costs of the suggestions; None without a constraint."""
    if not search.settings.constraints:
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
    if search.settings.own:  # which may have drawn more behind its last suggestion
        yield (
            f"{count(total, 'point')} that the Optuna study drew before a suggestion broke a constraint, and "
            f"{'was' if total == 1 else 'were'} told to it as pruned; those behind the last suggestion of a "
            "call are not counted."
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
        yield f"{early} of them came before the first half of the suggestions, {late} before the others."
