"""docs/tables.md: every column has its row, with the code's type, unit and meaning; its example runs.

`python tests/results/test_tables_page.py` writes the lists of the page anew.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.results import fields
from harness.results.datapackage import KEYS, TITLES
from harness.settings.schema import EPOCHS, METRICS, OF_ARM, SCORES, SEED_BLOCK, STACKS, outcome_columns
from harness.study.searches import COLUMNS

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"
BEGIN = "## trials.csv\n"
LATER = ("parent", "steps_to", "epochs_to")
"""Columns that trials.csv has where a trial went on from another, or a study has a target."""
BY_HAND = {
    "trials": [
        "| *an axis of linked settings* | string | str | | The name of the linked settings. |",
        "| *a setting of a third-party component* | its default's | | | As the component says. |",
        "| *split*_*metric* | number | float64 | the metric's | Of a tracked metric, such as val_top3. |",
    ],
    "epochs": ["| *metric* | number | float64 | the metric's | Mean of a tracked metric over the split. |"],
    "chosen": ["| *a tuned setting* | as in trials.csv | | | The chosen value. |"],
    "suggestions": [
        "| *an objective* | number | float64 | | What the search was told, such as val_accuracy. |",
        "| *a parameter* | as in trials.csv | | | The drawn value; of hidden its depth and each width. |",
    ],
}
"""Rows of columns whose names a study decides."""


def columns(table: str) -> list[str]:
    """The columns that a table may have in any study, in their order."""
    trials = ["trial_id", "arm", OF_ARM, SEED_BLOCK, *fields.SETTINGS, "seed", *outcome_columns()]
    first = {
        "trials": [*trials, *(name for name in LATER if name not in trials)], "epochs": EPOCHS,
        "scores": SCORES, "stacks": STACKS, "suggestions": COLUMNS,
    }.get(table, fields.KNOWN[table])  # fmt: skip
    more = [] if table == "stacks" else [name for name in fields.KNOWN[table] if name not in first]
    return [*first, *more]


def rows(table: str) -> Iterator[str]:
    """The list of a table's columns, as the page has it."""
    described = fields.describe(table, columns(table), {})
    yield "| column | type | in pandas | unit | meaning |"
    yield "|---|---|---|---|---|"
    for name in columns(table):
        one = described[name]
        cells = [f"`{name}`", one.type, one.dtype, one.unit, one.meaning.removesuffix(fields.EMPTY)]
        yield f"| {' | '.join(cells)} |".replace("|  |", "| |")
    yield from BY_HAND.get(table, [])


def lists() -> str:
    """The page from the first list on."""
    sections = []
    for table, title in TITLES.items():
        key = ", ".join(KEYS.get(table, ("trial_id",)))
        sections.append("\n".join([f"## {table}.csv", f"{title} Key: {key}.", "", *rows(table)]))
    return "\n\n".join(sections) + "\n"


def test_every_column_has_its_row_with_type_unit_and_meaning() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text[text.index(BEGIN) :] == lists(), "run `python tests/results/test_tables_page.py`"
    assert set(METRICS) <= set(columns("trials"))
    assert all(f"| `{table}.csv` |" in text for table in TITLES)


def test_the_settings_are_described_in_the_order_of_their_columns() -> None:
    from harness.study.checker import known_settings

    assert list(fields.SETTINGS) == list(known_settings())


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_in_pandas_give_what_the_harness_reads(
    blocks: list[str], sweep_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(sweep_folder, tmp_path / "results" / "choices")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    read, pandas, _ = blocks
    exec(read, names)  # noqa: S102 (our own page)
    exec(pandas, names)  # noqa: S102
    results, tables = names["results"], names["tables"]
    for name, frame in tables.items():
        there = getattr(results, name)
        assert list(frame) == list(there)
        text = there.columns[there.dtypes.eq("str")]
        pd.testing.assert_frame_equal(
            frame.drop(columns=text).astype("Float64"),
            there.drop(columns=text).astype("Float64"),
        )
        for column in text:
            assert frame[column].fillna("").eq(there[column].fillna("")).all(), column
    assert len(names["scores"]) == len(results.scores)


if __name__ == "__main__":
    before = PAGE.read_text(encoding="utf-8") + BEGIN
    PAGE.write_text(before[: before.index(BEGIN)] + lists(), encoding="utf-8")
