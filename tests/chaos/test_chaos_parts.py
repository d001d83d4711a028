"""Parts of the campaign that need no cluster: rows compared, faults recorded, packs of kinds."""

from __future__ import annotations

import itertools
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from chaos import faults, records, rows
from chaos.faults import Kind
from chaos.records import Record
from chaos.rows import Differences

HEADER = "trial_id,status,val_accuracy,group,group_seconds,host\n"


def folder(path: Path, *lines: str) -> Path:
    path.mkdir()
    (path / "trials.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    (path / "predictions").mkdir()
    np.savez(path / "predictions" / "g.npz", trial_id=["t1"], test_predicted=np.zeros((1, 3), np.int8))
    return path


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["t1,finished,0.5,g9,8.0,n2", "t2,finished,0.25,g2,1,n1"], Differences(3)),
        (["t1,finished,0.5,g1,1,n1"], Differences(3, lost=1)),
        (["t1,finished,0.5,g1,1,n1"] * 2 + ["t2,finished,0.25,g2,1,n1"], Differences(3, doubled=1)),
        (["t1,finished,0.5000001,g1,1,n1", "t2,finished,0.25,g2,1,n1"], Differences(3, different=1)),
        (["t1,failed,,g1,1,n1", "t3,finished,0.25,g2,1,n1"], Differences(3, lost=1, different=2)),
    ],
)
def test_rows_are_counted_by_what_became_of_them(
    tmp_path: Path, lines: list[str], expected: Differences
) -> None:
    before = folder(tmp_path / "before", "t1,finished,0.5,g1,1,n1", "t2,finished,0.25,g2,1,n1")
    found = rows.compare(before, folder(tmp_path / "after", *lines))
    counts = (found.compared, found.lost, found.doubled, found.different)
    assert counts == (expected.compared, expected.lost, expected.doubled, expected.different), found.first
    assert found.none == (expected == Differences(3))
    assert bool(found.first) != found.none


def test_predictions_are_compared_trial_by_trial(tmp_path: Path) -> None:
    lines = ["t1,finished,0.5,g1,1,n1"]
    before, after = folder(tmp_path / "before", *lines), folder(tmp_path / "after", *lines)
    (after / "predictions" / "g.npz").rename(after / "predictions" / "another.npz")
    assert rows.compare(before, after).none
    np.savez(after / "predictions" / "another.npz", trial_id=["t1"], test_predicted=np.ones((1, 3), np.int8))
    assert rows.compare(before, after).different == 1


def test_a_folder_that_is_not_there_has_lost_all_rows(tmp_path: Path) -> None:
    before = folder(tmp_path / "before", "t1,finished,0.5,g1,1,n1")
    shutil.rmtree(tmp_path / "after", ignore_errors=True)
    assert rows.compare(before, tmp_path / "after").lost == 2


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "chaos" / "faults.csv"
    written = [
        Record(0, "study", "node killed", "n1", 3.5, "2", 'noticed, "late"', 0, 1, 2, "finished"),
        Record(-1, "", "network slow", "", 0.0, "", "not run: the kernel has no netem"),
    ]
    records.write(path, written)
    assert records.read(path) == written
    assert [record.run for record in written] == [True, False]
    text = "\n".join(records.table(written))
    assert "1 faults of 1 kinds in 1 rounds: 0 rows lost, 1 doubled, 2 different" in text
    assert "not run: the kernel has no netem" in text


def test_a_pack_has_every_kind_and_repeats_with_its_seed() -> None:
    known = {
        "a": Kind(faults.node_killed),
        "b": Kind(faults.node_added, 2.0),
        "c": Kind(faults.clock_off, 0.5),
    }
    first, again = (list(itertools.islice(faults.drawn(random.Random(7), known), 12)) for _ in range(2))
    assert first == again
    assert sorted(first) == sorted("abbc" * 3)


def test_kinds_that_are_not_allowed_keep_their_reasons() -> None:
    known = {"a": Kind(faults.node_killed), "b": Kind(faults.network_slow, 1.0, lambda: "no netem")}
    assert faults.allowed(known) == ({"a": known["a"]}, {"b": "no netem"})
