"""Grouping: stacks that let all processes end at about the same time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.planning import grouping
from harness.planning.cost import stack_seconds
from harness.planning.grouping import EVEN, balanced, shared_out
from harness.planning.plan import make
from harness.planning.stack import Stack
from harness.study.study import Study

Make = Callable[..., Study]
LARGE: dict[str, Any] = {"dataset": "mnist", "hidden": [256]}  # arithmetic, not dispatch, is what it takes
LRS = [round(0.01 * i, 2) for i in range(1, 33)]


def end_of(seconds: list[float], processes: int) -> float:
    return max(sum(seconds[i] for i in own) for own in shared_out(seconds, processes))


def late(stacks: list[Stack], processes: int) -> float:
    """Give the end of the last process, as a multiple of the end if all ended together."""
    seconds = [stack_seconds(stack) for stack in stacks]
    return end_of(seconds, processes) * processes / sum(seconds)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.integers(1, 9))
def test_every_place_is_shared_out_once_and_evenly(seconds: list[float], processes: int) -> None:
    shares = shared_out(seconds, processes)
    assert len(shares) <= processes
    assert sorted(itertools.chain(*shares)) == list(range(len(seconds)))
    for own in shares:
        assert [seconds[i] for i in own] == sorted((seconds[i] for i in own), reverse=True)
    # Graham's bound of any schedule in which no process waits.
    assert end_of(seconds, processes) <= sum(seconds) / processes + max(seconds) * (1 - 1 / processes) + 1e-9


@pytest.mark.parametrize(("seconds", "end"), [([3, 3, 2, 2, 2], 7), ([1, 1, 1], 2), ([5], 5), ([4, 1, 1], 4)])
def test_the_longest_go_first(seconds: list[float], end: float) -> None:
    assert end_of(seconds, 2) == end


@pytest.mark.parametrize("processes", [2, 3, 4, 8])
@pytest.mark.parametrize("seeds", [1, 5])
def test_no_process_works_long_alone_at_the_end(
    study_of: Make, monkeypatch: pytest.MonkeyPatch, seeds: int, processes: int
) -> None:
    axes = {"lr": LRS, "batch_size": [64, 128, 256]}
    study = study_of(axes, study={"seeds": seeds}, **LARGE)
    stacks = list(make(study, processes=processes).stacks)
    monkeypatch.setattr(grouping, "CUTS", 0)
    uncut = list(make(study, processes=processes).stacks)
    assert late(stacks, processes) < 1.1
    assert late(stacks, processes) <= late(uncut, processes)
    ids = [trial.trial_id for stack in stacks for trial in stack.trials]
    assert sorted(ids) == sorted(trial.trial_id for stack in uncut for trial in stack.trials)


def test_three_equal_stacks_are_not_two_rounds_of_two_processes(study_of: Make) -> None:
    study = study_of({"lr": LRS[:4], "val_fraction": [0.1, 0.1001, 0.1002]}, study={"seeds": 1}, **LARGE)
    assert [len(stack.trials) for stack in make(study).stacks] == [4, 4, 4]
    assert [len(stack.trials) for stack in make(study, processes=2).stacks] == [4, 4, 2, 2]


def test_stacks_are_not_cut_without_a_gain(study_of: Make) -> None:
    tiny = study_of({"lr": LRS[:4], "val_fraction": [0.1, 0.12, 0.14]}, study={"seeds": 1}, batch_size=2)
    assert [len(stack.trials) for stack in make(tiny, processes=2).stacks] == [4, 4, 4]  # all is dispatch
    even = list(make(study_of({"lr": LRS}, **LARGE), processes=2).stacks)
    assert balanced(even, 2) == even
    assert late(even, 2) <= EVEN
    assert balanced([], 2) == []


def test_single_trials_cannot_be_cut(study_of: Make) -> None:
    stacks = list(make(study_of({"lr": LRS[:3]}, study={"seeds": 1}), "loop").stacks)
    assert balanced(stacks, 2) == stacks


def test_trials_share_a_stack_where_they_share_an_augmentation_and_its_settings(study_of: Make) -> None:
    axes = {
        "case": [
            {"name": "plain"},
            {"name": "one", "augmentation": "shift", "shift_pixels": 1},
            {"name": "two", "augmentation": "shift", "shift_pixels": 2},
            {"name": "flip", "augmentation": "flip"},
        ],
        "activation": ["relu", "tanh"],
    }
    plan = make(study_of(axes, study={"seeds": 1}, dataset="digits"), processes=1)
    cases = [{trial.arm.labels["case"] for trial in stack.trials} for stack in plan.stacks]
    assert sorted(map(sorted, cases)) == [["flip"], ["one"], ["plain"], ["two"]]
    assert all(len(stack.trials) == 2 for stack in plan.stacks)
