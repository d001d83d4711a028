"""The columns of a results folder's tables: which are names, and stay text, and which are numbers.

A name such as "1.10", "01", "1e-3", "None" or "nan" looks like something else to every reader of CSVs that
guesses, and two names become one. So a column's kind is told by what the column is, never by its cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness import csv_rows
from harness.checking import known_settings
from harness.schema import OF_ARM

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

WHOLE = ("trial_id", "arm", "hidden", "group", "status", "reason", "state", "edge")
"""Text columns whose empty cell is an empty text; in all others it is a missing value."""
TEXT = frozenset({*WHOLE, OF_ARM, "split", "engine", "device"})
TABLES = ("baseline", "axes", "steps", "chosen", "space", "tune")
"""The tables of study.toml that give settings their values."""


def text_columns(study: Mapping[str, Any]) -> frozenset[str]:
    """The columns of trials.csv, suggestions.csv and chosen.csv that hold text, in a study's results folder.

    Linked axes hold names; a setting holds text if its default, or any value that study.toml gives it, is one
    or a list. So settings of components that are not loaded are known by the study's own words.

    Args:
        study: its study.toml.
    """
    texts = [name for name, setting in known_settings().items() if isinstance(setting.default, str | list)]
    return frozenset({*TEXT, "betas", *texts, *_named(*(study.get(table) for table in TABLES))})


def _named(*tables: object) -> Iterator[str]:
    """The keys, at any depth, whose values are text, lists of text, or tables under names."""
    for table in tables:
        if isinstance(table, list):
            yield from _named(*table)
        if isinstance(table, Mapping):
            for key, value in table.items():
                there = value.get("values", value) if isinstance(value, Mapping) else value
                values = there if isinstance(there, list) else [there]
                if any(isinstance(one, str | list) or _is_linked(one) for one in values):
                    yield str(key)
                yield from _named(*values)


def _is_linked(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def typed(frame: pd.DataFrame, text: frozenset[str]) -> pd.DataFrame:
    """A table that was read as text, with numbers in the columns of numbers; an empty cell is missing.

    A column of which nothing is known, such as a tracked metric's, is one of numbers if every cell is one.

    Args:
        frame: every cell as text.
        text: the columns that hold text, as from `text_columns`.
    """
    import pandas as pd

    frame = frame.copy()
    for column in frame.columns:
        if column in WHOLE:
            continue
        values = frame[column].replace("", None)
        try:
            frame[column] = values if column in text else pd.to_numeric(values)
        except (ValueError, TypeError):
            frame[column] = values
    return frame


def read(path: Path, study: Mapping[str, Any]) -> pd.DataFrame:
    """A table that stands beside trials.csv, such as suggestions.csv or chosen.csv, typed.

    Args:
        path: the CSV.
        study: study.toml of its results folder.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no CSV.
    """
    return typed(csv_rows.read(path), text_columns(study))
