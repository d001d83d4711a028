"""Shards: every trial in one of them, evenly, seeds whole where that is even, and the same everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.planning import plan, shards
from harness.planning.cost import trial_seconds
from harness.planning.shards import Shard
from harness.registry import PACKAGE_ROOT
from harness.settings.schema import OF_ARM
from harness.study.checker import GivenSettings
from harness.study.reading import parse
from harness.study.study import Study
from harness.study.trials import trials

Make = Callable[..., Study]
AXES: dict[str, Any] = {
    "activation": ["relu", "tanh"],
    "hidden": [[8], [64, 64]],
    "batch_size": [16, 64],
    "optimizer": ["sgd", "adam"],
}


def seconds_of(study: Study, numbers: dict[str, int]) -> dict[int, float]:
    """Estimated seconds of each shard that has trials."""
    sums: dict[int, float] = {}
    for trial in trials(study)[0]:
        number = numbers[trial.trial_id]
        sums[number] = sums.get(number, 0.0) + trial_seconds(trial.arm.settings)
    return sums


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 60), seeds=st.integers(1, 12))
def test_every_trial_is_in_one_shard_and_shards_are_even(count: int, seeds: int) -> None:
    study = parse({"study": {"name": "s", "seeds": seeds}, "baseline": {"dataset": "digits"}, "axes": AXES})
    everything = trials(study)[0]
    numbers = shards.dealt(study, everything, count)
    parts = [shards.members(study, everything, Shard(i, count)) for i in range(1, count + 1)]
    assert [trial.trial_id for trial in everything] == list(numbers)
    assert Counter(t.trial_id for part in parts for t in part) == Counter(numbers.keys())
    sums = seconds_of(study, numbers)
    total, longest = sum(sums.values()), max(trial_seconds(trial.arm.settings) for trial in everything)
    assert max(sums.values()) <= max(shards.EVEN * total / count, total / count + longest)


@pytest.mark.parametrize(
    ("seeds", "count", "split"), [(6, 3, 0), (10, 4, 2), (20, 3, 0), (3, 16, 3), (5, 1, 0)]
)
def test_seeds_stay_whole_where_shards_are_even(study_of: Make, seeds: int, count: int, split: int) -> None:
    study = study_of(AXES, study={"seeds": seeds})
    assert shards.pairings(study, trials(study)[0], count) == (split, seeds)


def test_a_seed_that_is_added_moves_no_other_one(study_of: Make) -> None:
    few, many = (study_of(AXES, study={"seeds": seeds}) for seeds in (8, 12))
    before, after = (shards.dealt(study, trials(study)[0], 4) for study in (few, many))
    assert before.items() <= after.items()


def test_the_arms_of_a_seed_that_is_split_lie_beside_those_they_share_a_stack_with(study_of: Make) -> None:
    study = study_of(AXES, study={"seeds": 1})
    everything = trials(study)[0]
    numbers = shards.dealt(study, everything, 4)
    together: set[tuple[int, str, int]] = set()
    for trial in everything:
        settings = trial.arm.settings
        together.add((numbers[trial.trial_id], str(settings.hidden), settings.batch_size))
    assert len(together) <= 4 + 3  # each border between two shards cuts one of the four kinds, at most


def test_shards_do_not_depend_on_the_machine(study_of: Make) -> None:
    """A machine without a compiler, with other hashes and other cores deals as this one."""
    study = study_of(AXES, study={"seeds": 3})
    code = (
        "import json, sys; from harness import study; from harness.planning import shards;"
        "from harness.study import trials;"
        "s = study.parse(json.load(sys.stdin)); t = trials.trials(s)[0];"
        "print(json.dumps(shards.dealt(s, t, 5)));"
        "assert 'torch' not in sys.modules"
    )
    dealt = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(study.tables()), capture_output=True, text=True,
        check=True,
        env={
            **os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent), "PYTHONHASHSEED": "7",
            "HARNESS_KERNELS": "off",
        },
    )  # fmt: skip
    assert json.loads(dealt.stdout) == shards.dealt(study, trials(study)[0], 5)


# ------------------------------------------------------------------------------------------ studies that tune


def tuned_study(axes: dict[str, Any], space: dict[str, Any]) -> Study:
    about, tune = {"name": "tuned", "seeds": 2}, {"seeds": 2, "space": space}
    return parse({"study": about, "baseline": {"dataset": "digits"}, "axes": axes, "tune": tune})


def test_a_study_that_tunes_is_dealt_by_arms_in_all_its_phases() -> None:
    study = tuned_study({"activation": ["relu", "tanh", "gelu"]}, {"lr": [0.01, 0.1]})
    chosen: dict[str, GivenSettings] = {arm: {"lr": 0.1} for arm in plan.draw(study).arms}
    phases = [study, study.in_phase("tuning"), study.in_phase("tuned", chosen)]
    owners = []
    for phase in phases:
        everything = trials(phase)[0]
        numbers = shards.dealt(phase, everything, 2)
        found = {(t.arm.labels.get(OF_ARM, t.arm.name), numbers[t.trial_id]) for t in everything}
        assert len(found) == 3
        owners.append(found)
    assert owners[0] == owners[1] == owners[2]


def test_a_try_that_two_arms_share_is_trained_by_both_shards() -> None:
    settings = [{"name": f"momentum {m}", "optimizer": "momentum", "momentum": m} for m in (0.5, 0.9)]
    space = {"lr": [0.01, 0.1], "momentum": [0.5, 0.9]}
    study = tuned_study({"how": settings}, space).in_phase("tuning")
    everything = trials(study)[0]
    own = [[t.trial_id for t in shards.members(study, everything, Shard(i, 2))] for i in (1, 2)]
    assert own[0] == own[1] == [trial.trial_id for trial in everything]


# -------------------------------------------------------------------------------------------- plans of shards


def test_a_shards_plan_has_its_own_trials_and_the_contrasts_of_all(study_of: Make) -> None:
    study = study_of({"loss": ["ce", "nll"], "lr": [0.01, 0.1]}, study={"seeds": 3})
    whole = plan.draw(study)
    parts = [plan.share(whole, Shard(i, 8)) for i in range(1, 9)]
    assert sum(len(part.trials) for part in parts) == len(whole.trials)
    assert {i for part in parts for i in part.skipped} == set(whole.skipped)
    assert all(part.contrasts == whole.contrasts for part in parts)
    assert plan.share(whole, None) is whole
    assert "shard 1 of 8" in repr(parts[0])


def test_a_shards_plan_keeps_what_its_folder_has_finished(study_of: Make) -> None:
    part = plan.share(plan.draw(study_of(AXES, study={"seeds": 4})), Shard(1, 4))
    assert part.whole is not None
    other = next(t for t in part.whole.trials if t not in part.trials)
    kept = plan.keep(part, [other.trial_id, "t000000000000"])
    assert [t for t in kept.trials if t is not other] == part.trials
    assert other in kept.trials


@pytest.mark.parametrize(
    "text", ["", "3", "a/b", "0/16", "17/16", "3/0", "-1/4", "1/2/3", "1.0/2", "\uff11/2", "1/9999999"]
)
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--shard .*allowed: "):
        Shard.of(text)
