"""Rows as text: what pandas would have written, without pandas."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from harness.results import csv_rows
from harness.results.csv_rows import TextTable

IDS = ["t00", "t1", "t10"]


def table(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        (trial, split, *(int(cell) for cell in rng.integers(0, 1000, 3)))
        for split in ("val", "test")
        for trial in rng.permutation(IDS)
        for _ in range(rng.integers(1, 4))
    ]
    return pd.DataFrame(rows, columns=csv_rows.CONFUSION)


def as_text(frame: pd.DataFrame) -> TextTable:
    return TextTable(list(frame.columns), frame.astype(str).to_numpy().tolist())


CELLS = [
    "", "plain", "0.1", "-0.5", "+1e-3", "=SUM(A1)", "-x", "+", "@home", "'", "'=1", "''-a", "a,b",
    'say "so"',
    "ünï", "=1", "nan", "-inf", "1_0", " -x",
]  # fmt: skip


def test_a_table_of_texts_is_written_and_read_as_pandas_does_it() -> None:
    rng = np.random.default_rng(0)
    for count in (0, 1, 50):
        cells = rng.choice(CELLS, (count, 3)).tolist()
        frame = pd.DataFrame(
            [(f"t{i}", *row, "a\nline\x1b" * (i % 2)) for i, row in enumerate(cells)],
            columns=["trial_id", "a", "b", "c", "reason"], dtype=str,
        )  # fmt: skip
        text = as_text(frame).written()
        assert text == csv_rows.written(frame)
        back = csv_rows.table(text)
        again = csv_rows.read(io.StringIO(text))
        assert back.columns == list(again.columns)
        assert back.rows == again.to_numpy().tolist()
        assert back.written() == text


def test_numbers_are_written_as_pandas_writes_them() -> None:
    values = [0.1, 1 / 3, 12345678.9, 1e-9, -2.5, np.nan, np.inf, -np.inf, 0.0, 3.0, 1e20]
    for kind in (np.float32, np.float64):
        frame = pd.DataFrame({"x": np.array(values, kind)})
        expected = csv_rows.written(frame.assign(y=1), "%.7g").splitlines()[1:]
        assert [f"{csv_rows.number(value)},1" for value in frame["x"]] == expected


def test_a_damaged_table_is_refused() -> None:
    for text in ("", "\n", "a,b\n1\n", "a,b\n1,2,3\n"):
        with pytest.raises(ValueError, match="it has"):
            csv_rows.table(text)
    assert csv_rows.table("a,b\r\n1,2\r\n\r\n").rows == [["1", "2"]]
    assert csv_rows.table("a\n" + "x" * 200_000 + "\n").rows == [["x" * 200_000]]


def test_tables_are_merged_in_order_of_place_and_of_coming() -> None:
    frames = [table(seed) for seed in range(3)]
    place = {"t10": 0, "t00": 1}  # and t1 is of no planned trial
    found = csv_rows.merged(csv_rows.CONFUSION, [as_text(frame).written() for frame in frames], place)
    every = pd.concat([frame.assign(source=i) for i, frame in enumerate(frames)])
    first = every.groupby("trial_id")["source"].transform("min")  # a trial's rows are one part's
    every = every[every["source"] == first].drop(columns="source")
    expected = every[every["trial_id"].isin(place)].sort_values(
        "trial_id", key=lambda ids: ids.map(place), kind="stable"
    )
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(found)), expected.reset_index(drop=True))


def test_an_empty_table_has_its_header() -> None:
    assert csv_rows.merged(["a", "b"], [], {}) == csv_rows.merged(["a", "b"], ["a,b\n"], {}) == "a,b\n"
    assert csv_rows.header("a,b\n1,2\n") == ["a", "b"]


def test_tables_of_several_headers_are_read_under_all_of_their_columns() -> None:
    read = csv_rows.concatenated(["id,x\na,1\n", "id,y\nb,2\n", "id,x\nc,03\n"], ["id", "x"])
    assert read.columns == ["id", "x", "y"]
    assert read.rows == [["a", "1", ""], ["b", "", "2"], ["c", "03", ""]]
    assert csv_rows.concatenated([], ["id", "x"]) == TextTable(["id", "x"])
    assert csv_rows.with_columns("id,x\na,1\n", ["id", "z", "x"]) == "id,z,x\na,,1\n"
    assert csv_rows.with_columns("id,x\na,1\n", ["id", "x"]) == "id,x\na,1\n"
