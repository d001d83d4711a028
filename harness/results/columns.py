"""Columns of a results folder's tables: which exist, which hold text and which numbers, and their checks.

A name such as "1.10", "01", "1e-3", "None" or "nan" looks like something else to every reader of CSVs that
guesses, and two names become one. So a column's name decides its kind, never its cells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import quoted
from harness.results import csv_rows, datapackage, fields
from harness.results.csv_rows import CONFUSION
from harness.results.fields import Field, Kind
from harness.settings.schema import EPOCHS, METRICS, OF_ARM, OUTCOME, PARENT
from harness.study.checker import known_settings
from harness.system import files

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("trials", "epochs", "confusion")
"""Tables of a results folder, each a CSV."""
STATUSES = ("ok", "diverged", "pruned", "failed", "skipped", "")
"""Statuses of a trial; an empty one means not trained yet."""
FINISHED = STATUSES[:3]
"""Statuses of trials that need not be trained again."""
NEEDED: Mapping[str, list[str]] = {
    "trials": ["trial_id", "arm", "dataset", "seed", "status", "reason"],
    "epochs": EPOCHS,
    "confusion": CONFUSION,
}
"""Columns that each table must have."""
EMPTY_TEXT = ("trial_id", "arm", "hidden", "group", "status", "reason", "state", "edge")
"""Text columns in which an empty cell is an empty text; in all others it is a missing value."""
TEXT = frozenset({*EMPTY_TEXT, OF_ARM, "split", "engine", "device", "kernels", "host", PARENT})
VALUE_TABLES = ("baseline", "axes", "steps", "chosen", "space", "tune")
"""Tables of study.toml that give settings their values."""
BOOLEANS: Mapping[str, bool] = {"true": True, "false": False, "True": True, "False": False}
"""Cells of a setting that is true or false, as a run writes them, and as pandas does."""
NOTHING: Mapping[str, Kind] = {}
MOST_CLASSES = 2**16
"""Most classes of a data set that stored predictions can count."""


def text_columns(study: Mapping[str, Any]) -> frozenset[str]:
    """Name the text columns of trials.csv, suggestions.csv and chosen.csv in a study's results folder.

    Linked axes hold names; a setting holds text if its default, or any value that study.toml gives it, is a
    text or a list. So settings of components that are not loaded are typed by the study's own values.
    """
    texts = [name for name, setting in known_settings().items() if isinstance(setting.default, str | list)]
    return frozenset({*TEXT, "betas", *texts, *_text_keys(*(study.get(table) for table in VALUE_TABLES))})


def _text_keys(*tables: object) -> Iterator[str]:
    """Yield the keys, at any depth, whose values are text, lists of text, or tables under names."""
    for table in tables:
        if isinstance(table, list):
            yield from _text_keys(*table)
        if isinstance(table, Mapping):
            for key, entry in table.items():
                listed = entry.get("values", entry) if isinstance(entry, Mapping) else entry
                values = listed if isinstance(listed, list) else [listed]
                if any(isinstance(value, str | list) or _is_linked(value) for value in values):
                    yield str(key)
                yield from _text_keys(*values)


def _is_linked(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def typed(
    frame: pd.DataFrame, table: str, study: Mapping[str, Any], declared: Mapping[str, Kind] = NOTHING
) -> pd.DataFrame:
    """Convert a table of texts to the types of its fields, which are the same in every folder.

    Text stays text, with a missing value for an empty cell; numbers are float64, whole numbers Int64, and
    int64 where no cell may be empty; true and false are boolean. A column that is not what its field says,
    because somebody edited it, stays text. One that no field describes is numeric if all of its cells are.

    Args:
        frame: the table, as `csv_rows.read` gives it.
        table: its name, such as "trials".
        study: the tables of its folder's study.toml.
        declared: types that its folder's datapackage.json gives to columns that are not the harness's own.
    """
    described, text = fields.describe(table, list(frame.columns), study, declared), text_columns(study)
    frame = frame.copy()
    for column in frame.columns:
        if column in EMPTY_TEXT:
            continue
        values = frame[column].replace("", None)
        found = described.get(column)
        if found is None:
            found = Field(column, "string" if column in text else "number")
        frame[column] = _converted(values, found)
    return frame


def _converted(values: pd.Series[Any], one: Field) -> pd.Series[Any]:
    """Convert a column of texts to its field's type; leave it if a cell is of another."""
    import pandas as pd

    if one.type == "string":
        return values
    if one.type == "boolean":
        return values.map(BOOLEANS).astype("boolean") if values.dropna().isin(BOOLEANS).all() else values
    try:
        numbers = pd.to_numeric(values)
    except (ValueError, TypeError):
        return values
    if one.type == "number":
        return numbers.astype("float64")
    present = values.dropna() if numbers.hasnans else values  # as floats, large seeds would lose digits
    whole = pd.to_numeric(present) if numbers.hasnans else numbers
    if whole.dtype.kind == "f" and not (whole % 1 == 0).all():
        return numbers
    if one.required and len(whole) == len(values):
        return whole.astype("int64")
    return whole.astype("Int64").reindex(values.index)


def read(path: Path, study: Mapping[str, Any]) -> pd.DataFrame:
    """Read and type a table beside trials.csv, such as suggestions.csv or chosen.csv.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a CSV.
    """
    declared = datapackage.declared(path.parent).get(path.stem, {})
    return typed(csv_rows.read(path), path.stem, study, declared)


def of_part(name: str) -> list[str]:
    """List the columns that a part's table has at least."""
    return ["trial_id", *OUTCOME] if name == "trials" else NEEDED[name]


def count(statuses: Iterable[str]) -> dict[str, int]:
    """Count the trials of each status, the most frequent first; an empty one means not trained yet."""
    return dict(Counter(statuses).most_common())


def check_columns(present: Collection[str], needed: Iterable[str]) -> None:
    """Raise ValueError if needed columns are missing."""
    missing = [column for column in needed if column not in present]
    if missing:
        raise ValueError(f"it has no column {', '.join(missing)}")


def check_table(name: str, frame: pd.DataFrame) -> None:
    """Raise ValueError, in words, if trials, epochs or confusion is not what a run writes."""
    from pandas.api.types import is_numeric_dtype

    check_columns(frame.columns, NEEDED[name])
    numbers = {
        "trials": ["seed", *(metric for metric in METRICS if metric in frame)],
        "epochs": EPOCHS[1:3] + EPOCHS[4:],
        "confusion": CONFUSION[2:],
    }[name]
    wrong = [c for c in numbers if len(frame) and not is_numeric_dtype(frame[c])]
    if wrong or (name == "trials" and frame["seed"].isna().any()):
        raise ValueError(f"{', '.join(wrong or ['seed'])} is not a number everywhere")
    malformed = [value for value in frame["trial_id"].unique() if not files.is_name(value)]
    if malformed:
        raise ValueError(f"a trial_id is {quoted(malformed[0])}")
    if name == "trials":
        _check_trials(frame)
    elif name == "confusion":
        _check_counts(frame[CONFUSION[2:]])


def _check_trials(trials: pd.DataFrame) -> None:
    known = trials["status"].fillna("").isin(STATUSES)
    if not known.all():
        unknown = quoted(trials["status"][~known].iloc[0])
        raise ValueError(f"a status is {unknown}; allowed: {', '.join(filter(None, STATUSES))}")
    groups = list(trials["group"].dropna().unique()) if "group" in trials else []
    malformed = [group for group in groups if group != "" and not files.is_name(group)]  # "": not trained yet
    if malformed:
        raise ValueError(f"a group is {quoted(malformed[0])}")
    repeated = trials[trials.duplicated(["trial_id", "arm"])]
    if len(repeated):
        raise ValueError(f"the row of trial {repeated['trial_id'].iloc[0]} is there twice")


def _check_counts(counts: pd.DataFrame) -> None:
    """Raise ValueError unless labels, predictions and counts are whole numbers from 0 on."""
    if len(counts) and not (all(kind.kind in "iu" for kind in counts.dtypes) and (counts >= 0).all().all()):
        raise ValueError("label, prediction or count is not a whole number from 0 on everywhere")
    if len(counts) and counts[["label", "prediction"]].to_numpy().max() >= MOST_CLASSES:
        raise ValueError(f"a label or prediction is {MOST_CLASSES} or more")
