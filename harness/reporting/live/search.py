"""A search as the live page shows it: its suggestions so far, best first, and the best value over time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import MachineError
from harness.reporting.charts import Axis, Chart, Series
from harness.results import csv_rows
from harness.results.csv_rows import TextTable
from harness.study.searches import COLUMNS, SUGGESTIONS, Objective, Search
from harness.system import files

MOST_ROWS = 100
MOST_POINTS = 1000  # of a chart


def described(folder: Path, study: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a search's suggestions in JSON's types: a table of the best, charts, and counts by state."""
    table, objective = _table(folder), _objective(study)
    if objective is None or objective.name not in table:
        return {"suggestions": None, "charts": []}
    rows = [_row(table, row, objective) for row in table.rows]
    ranked = sorted(
        (row for row in rows if row["state"] == "complete" and math.isfinite(row["value"])),
        key=lambda row: row["value"], reverse=objective.maximize,
    )  # fmt: skip
    places = [table.columns.index(name) for name in table.columns if name not in {*COLUMNS, objective.name}]
    wrong = [row for row in rows if row["state"] == "failed"]
    return {
        "suggestions": {
            "columns": ["rank", "suggestion", objective.name, *(table.columns[place] for place in places)],
            "rows": [
                [str(rank), row["number"], f"{row['value']:.4f}", *_cells(row, places)]
                for rank, row in enumerate(ranked[:MOST_ROWS], 1)
            ],
            "left": max(len(ranked) - MOST_ROWS, 0),
            "states": _states(rows),
            "failed": [f"suggestion {row['number']}: {row['reason']}" for row in wrong[:MOST_ROWS]],
        },
        "charts": [{"title": title, "spec": chart.as_json()} for title, chart in _charts(rows, objective)],
    }


def _table(folder: Path) -> TextTable:
    """Read suggestions.csv; an empty table where there is none, or it is being written."""
    with suppress(OSError, ValueError, MachineError):
        return csv_rows.table(files.text(folder / SUGGESTIONS))
    return TextTable([])


def _objective(study: Mapping[str, Any]) -> Objective | None:
    """Return the objective that ranks, as study.toml has it; None where it cannot be read."""
    with suppress(ValidationError, ValueError, IndexError):
        return Search.model_validate(study.get("search", {})).ranking[0]
    return None


def _row(table: TextTable, cells: Sequence[str], objective: Objective) -> dict[str, Any]:
    named = dict(zip(table.columns, cells, strict=True))
    value = math.nan
    with suppress(ValueError):
        value = float(named[objective.name] or math.nan)
    told = {name: named.get(name, "") for name in ("number", "state", "reason")}
    return {**told, "value": value, "cells": cells}


def _states(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    return counts


def _charts(rows: Sequence[Mapping[str, Any]], objective: Objective) -> list[tuple[str, Chart]]:
    """Draw each suggestion's value, and the best so far, over their numbers."""
    known = [(i, row) for i, row in enumerate(rows) if math.isfinite(row["value"])]
    if not known:
        return []
    better = max if objective.maximize else min
    numbers, bests = list[float](), list[float]()
    for i, row in known:
        if row["state"] == "complete":
            numbers.append(i)
            bests.append(better(row["value"], bests[-1]) if bests else row["value"])
    places = {*range(0, len(numbers), math.ceil(len(numbers) / MOST_POINTS) or 1), len(numbers) - 1} - {-1}
    at = sorted(places)
    best = Series("best so far", [numbers[i] for i in at], [bests[i] for i in at], mark="steps")
    drawn = [best] if at else []
    for state in ("complete", "pruned"):
        own = [(i, row["value"]) for i, row in known if row["state"] == state][-MOST_POINTS:]
        if own:
            labels = [f"suggestion {i}" for i, _ in own]
            drawn.append(Series(state, [i for i, _ in own], [value for _, value in own], labels=labels))
    axes = Axis("suggestion"), Axis(objective.name, percent=objective.is_accuracy)
    return [(f"{objective.name} of the suggestions, and the best so far", Chart("points", *axes, drawn))]


def _cells(row: Mapping[str, Any], places: Sequence[int]) -> list[str]:
    return [_short(row["cells"][place]) for place in places]


def _short(cell: str) -> str:
    """Write a number with four digits, and a text as it is."""
    return f"{float(cell):.4g}" if re.fullmatch(csv_rows.NUMBER, cell) and len(cell) > 6 else cell
