"""Rows as text: what pandas would have written, without pandas."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd

from harness.results import columns, csv_rows

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


def test_a_confusion_table_is_written_as_pandas_writes_it() -> None:
    for frame in (table(0), columns.empty_table("confusion"), table(1).astype(object)):
        assert csv_rows.confusion(frame) == frame.to_csv(index=False, lineterminator="\n")


def test_tables_are_merged_in_order_of_place_and_of_coming() -> None:
    frames = [table(seed) for seed in range(3)]
    place = {"t10": 0, "t00": 1}  # and t1 is of no planned trial
    found = csv_rows.merged(csv_rows.CONFUSION, map(csv_rows.confusion, frames), place)
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
    nothing = pd.DataFrame(columns=["id", "x"], dtype=str)
    read = csv_rows.concatenated(["id,x\na,1\n", "id,y\nb,2\n", "id,x\nc,03\n"], nothing).fillna("")
    assert sorted(map(tuple, read[["id", "x", "y"]].to_numpy())) == [
        ("a", "1", ""),
        ("b", "", "2"),
        ("c", "03", ""),
    ]
    assert csv_rows.concatenated([], nothing).empty
    assert csv_rows.with_columns("id,x\na,1\n", ["id", "z", "x"]) == "id,z,x\na,,1\n"
    assert csv_rows.with_columns("id,x\na,1\n", ["id", "x"]) == "id,x\na,1\n"
