"""scores.csv and stacks.csv: the numbers of trials.csv, long and a row a stack."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import harness
from harness.errors import UsageError
from harness.planning.grouping import SAME_IN_A_GROUP
from harness.results import columns, csv_rows, derived
from harness.results.csv_rows import TextTable
from harness.settings import DEFAULTS
from harness.settings.schema import SCORES, SPLITS, STACK_SETTINGS, STACKS

TRIALS = """\
trial_id,arm,dataset,val_fraction,batch_size,seed,status,parameters,steps_done,train_loss,train_accuracy,\
val_loss,val_accuracy,test_loss,test_accuracy,train_top3,val_top3,test_top3,engine,group,group_size,\
group_seconds,kernels,host
t1,a,mnist,0.1,32,0,ok,10,90,1.5,0.50,,,1e-05,0.1234567,1,,0.9,stacked,g1,2,1.25,c-1+aa,here
t2,b,mnist,0.1,32,0,diverged,10,7,,,,,,,,,,stacked,g1,2,1.25,c-1+bb,here
t3,a,mnist,0.1,32,1,pruned,12,30,inf,0,2,0.1,,,0,0,,stacked,g1,1,0.5,c-1+aa,there
t1,same as a,mnist,0.1,32,0,ok,10,90,1.5,0.50,,,1e-05,0.1234567,1,,0.9,stacked,g1,2,1.25,c-1+aa,here
t4,c,mnist,0.1,64,0,failed,,,,,,,,,,,,,g2,,,,here
t5,d,mnist,0.1,64,0,skipped,,,,,,,,,,,,,,,,,
t6,e,mnist,0.1,64,0,,,,,,,,,,,,,,,,,,
"""
SCORED = """\
trial_id,split,metric,value
t1,train,loss,1.5
t1,train,accuracy,0.50
t1,train,top3,1
t1,test,loss,1e-05
t1,test,accuracy,0.1234567
t1,test,top3,0.9
t3,train,loss,inf
t3,train,accuracy,0
t3,train,top3,0
t3,val,loss,2
t3,val,accuracy,0.1
t3,val,top3,0
"""


def table() -> TextTable:
    return csv_rows.table(TRIALS)


def test_each_measured_number_has_a_row_with_the_same_digits_and_nothing_else_has() -> None:
    assert derived.scores(table()).written() == SCORED
    assert derived.scores(TextTable(["trial_id", "val_fraction"], [["t1", "0.1"]])).rows == []


def test_a_stack_has_a_row_of_what_its_trials_share() -> None:
    made = derived.stacks(table())
    first, second = (dict(zip(made.columns, row, strict=True)) for row in made.rows)
    assert made.columns == list(STACKS)
    assert {name: first[name] for name in STACKS[:12]} == {
        "group": "g1", "trials": "3", "arms": "2", "seeds": "2", "group_size": "2", "group_seconds": "1.75",
        "parameters": "32", "steps_done": "90", "engine": "stacked", "device": "", "kernels": "c-1",
        "host": "",
    }  # fmt: skip
    assert (first["dataset"], first["batch_size"], first["val_fraction"]) == ("mnist", "32", "0.1")
    assert {name for name in STACKS if second[name]} == {
        "group", "trials", "arms", "seeds", "host", "dataset", "batch_size", "val_fraction",
    }  # fmt: skip


def test_a_stack_has_the_settings_that_decide_who_trains_together() -> None:
    assert tuple(name for name in SAME_IN_A_GROUP if name in DEFAULTS) == STACK_SETTINGS


def test_the_frames_are_those_of_the_files_and_of_the_trials(digits_results: Path) -> None:
    found = harness.read(digits_results)
    for name in derived.DERIVED:
        file = csv_rows.read(digits_results / f"{name}.csv")
        frame = getattr(found, name)
        assert list(frame) == list(file)
        pd.testing.assert_frame_equal(frame, columns.typed(file, name, {}))
    measured = [f"{split}_{metric}" for split in SPLITS for metric in ("loss", "accuracy")]
    long = found.trials.melt("trial_id", measured).dropna()
    expected = dict(zip(long["trial_id"] + long["variable"], long["value"], strict=True))
    scores = found.scores
    assert len(scores) == len(expected) > 0
    named = scores["trial_id"] + scores["split"] + "_" + scores["metric"]
    assert dict(zip(named, scores["value"], strict=True)) == expected
    assert list(scores) == list(SCORES)
    once = found.trials.drop_duplicates("group")
    assert found.stacks["group_seconds"].sum() == pytest.approx(once["group_seconds"].sum())
    assert found.stacks["trials"].sum() == found.trials["group"].ne("").sum()


def test_trials_that_were_changed_in_python_are_followed_or_refused(digits_results: Path) -> None:
    found = harness.read(digits_results)
    one = harness.Results(
        found.folder, found.trials.head(1), found.epochs, found.confusion, found.study, found.provenance
    )
    assert set(one.scores["trial_id"]) == set(one.trials["trial_id"])
    assert one.stacks["trials"].tolist() == [1]
    odd = harness.Results(
        found.folder, found.trials.assign(group_size="many"), found.epochs, found.confusion, found.study, {}
    )
    with pytest.raises(UsageError, match=r"stacks of .* cannot be made: in its trials, .*many"):
        _ = odd.stacks
