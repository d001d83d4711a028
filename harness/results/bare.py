"""Tables alone: a folder of trials.csv, epochs.csv and confusion.csv that no study.toml describes.

Such a folder was copied without its other files, or made by somebody else in the form of docs/tables.md. What
was varied is read off trials.csv.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import results
from harness.errors import UsageError
from harness.results import Results, columns, csv_rows, documents, fields, tables
from harness.results.columns import TABLES

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("trial_id", "arm", "dataset", "seed", "status", "val_accuracy")
"""Columns of trials.csv without which no arm can be drawn."""
FILLED: Mapping[str, Any] = {
    "reason": "", "test_accuracy": float("nan"), "loss": "the loss", "head": "the output"
}  # fmt: skip
"""Columns that a report reads, and what stands there where a table made by somebody else has none."""


def read(folder: Path, names: Sequence[str] = TABLES) -> Results:
    """Read a results folder; or tables that lie alone in a folder, plain or packed by gzip.

    Of the study that nothing describes, `Results.study` has a name, the folder's, and the axes.

    Args:
        folder: where the tables are.
        names: the tables that are needed, "trials" among them; where they lie alone, others are empty.

    Raises:
        UsageError: it is no such folder, or a table is missing, empty, damaged, or lacks a column.
    """
    if (folder / "study.toml").is_file():
        return results.read(folder)
    if not tables.is_there(folder / "trials.csv"):
        raise UsageError(
            f"{folder} is not a results folder: it has no trials.csv. Results are in results/<study>/."
        )
    frames = {name: _frame(folder, name) for name in names}
    absent = {name: _empty(name) for name in TABLES if name not in names}
    frames |= absent
    trials = frames["trials"]
    axes = _axes(trials)
    arms = trials.groupby(["dataset", *axes], dropna=False)["arm"].nunique()
    study = {"name": folder.resolve().name, "design": "grid" if arms.max() == 1 else "arms"}
    values = {axis: list(trials[axis].unique()) for axis in axes}
    described = {"study": study, "axes": values}
    provenance = documents.provenance(folder)
    return Results(folder, trials, frames["epochs"], frames["confusion"], described, provenance)


def _frame(folder: Path, name: str) -> pd.DataFrame:
    """Read a table and check it."""
    text = tables.read(folder, [name])[name]
    try:
        frame = columns.typed(csv_rows.read(io.StringIO(text)), name, {})
        if name == "trials":
            columns.check_columns(frame.columns, NEEDED)
            frame = frame.assign(**{key: value for key, value in FILLED.items() if key not in frame})
        columns.check_table(name, frame)
    except (ValueError, KeyError) as error:
        raise UsageError(
            f"{folder / name}.csv cannot be read: {error}. docs/tables.md has its form."
        ) from error
    if frame.empty:
        raise UsageError(f"{folder / name}.csv has no rows, so there is nothing to draw.")
    return frame


def _empty(name: str) -> pd.DataFrame:
    return columns.typed(csv_rows.read(io.StringIO(",".join(columns.NEEDED[name]) + "\n")), name, {})


def _axes(trials: pd.DataFrame) -> list[str]:
    """List the columns that were varied: not those that others decide, as an optimizer does its momentum."""
    names = [str(name) for name in trials]
    described = fields.describe("trials", names, {})
    others = [name for name in names if name not in described and name not in FILLED]
    settings = [name for name in names if name in fields.SETTINGS and name != "dataset"]
    within = trials.groupby(["dataset", "arm"], dropna=False)
    axes: list[str] = []
    for name in (*others, *settings):
        if within[name].nunique(dropna=False).max() > 1:
            continue  # such as a time of day: trials of one arm differ in it
        levels = trials.groupby(["dataset", *axes], dropna=False)[name].nunique(dropna=False)
        if levels.max() > 1:
            axes.append(name)
    return axes
