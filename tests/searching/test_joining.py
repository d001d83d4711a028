"""Joining: which thin stacks train on as one, and what of a search stays as it was."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.engines import engine
from harness.planning import grouping
from harness.planning.stack import Stack
from harness.results.parts import ShareOutcome
from harness.searching.joining import by_planned_stack, joined
from harness.searching.rounds import StageResult, StageTask
from harness.study.study import Study
from harness.study.trials import Arm, Trial, resolve


def trial(name: str, seed: int = 1, **settings: Any) -> Trial:
    base: dict[str, Any] = {"dataset": "digits", "steps": 40, "batch_size": 16, "hidden": [8]}
    return Trial(f"{name}_{seed}", Arm(name, resolve({**base, "eval_every": "20 steps", **settings})), seed)


def waiting(study: Study, *members: Trial, until: int = 20) -> StageResult:
    """A stack that has been trained up to a rung."""
    result = StageTask(Stack.of("stacked", members), "cpu", study, until).run()
    assert not result.failure
    return result


@pytest.fixture
def digits_study(study_of: Callable[..., Study]) -> Study:
    return study_of()


def names(results: Sequence[StageResult]) -> list[list[str]]:
    return [[trial.arm.name for trial in result.stage.stack.trials] for result in results]


def test_stacks_of_the_same_batches_train_on_as_one(digits_study: Study) -> None:
    apart = [
        waiting(digits_study, trial("a"), trial("b", optimizer="adam", hidden=[12])),
        waiting(digits_study, trial("c", batch_size=32)),
        waiting(digits_study, trial("d", hidden=[12])),
        waiting(digits_study, trial("e", 2)),
    ]
    together = joined(apart)
    assert names(together) == [["b", "d", "a"], ["c"], ["e"]]  # a shape's side by side, as a plan has them
    one = together[0]
    assert one.seconds == apart[0].seconds + apart[2].seconds
    assert one.state is not None
    assert one.outcome is not None
    points = one.outcome.curve[-1].accuracy.tolist()
    outcomes = [result.outcome for result in apart]
    before = [outcome.curve[-1].accuracy.tolist() for outcome in outcomes if outcome is not None]
    assert points == [before[0][1], before[2][0], before[0][0]]
    assert len(one.outcome.kernels) == 3


def test_a_joined_stack_goes_on_as_its_members_would_have(digits_study: Study) -> None:
    apart = [waiting(digits_study, trial("a")), waiting(digits_study, trial("b", hidden=[12]))]
    (one,) = joined(apart)
    ends = [replace(r.stage, until=40, state=r.state).run() for r in (one, *apart)]
    curves = [[end.outcome.curve[-1].loss.tolist(), end.outcome.steps_done] for end in ends if end.outcome]
    assert curves[0] == [[*curves[1][0], *curves[2][0]], 40]


def test_stacks_are_joined_up_to_the_size_of_a_plan(
    digits_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "widest", lambda trial, _: 4 if trial.arm.settings.hidden == [8] else 2)
    apart = [waiting(digits_study, trial(name)) for name in "abc"]
    apart += [waiting(digits_study, trial(name, hidden=[12])) for name in "def"]
    assert names(joined(apart)) == [["a", "b", "c"], ["d", "e"], ["f"]]


def test_as_many_stacks_are_left_as_there_are_cores(digits_study: Study) -> None:
    apart = [waiting(digits_study, trial(name)) for name in "abcd"]
    assert names(joined(apart, least=3)) == [["a", "b"], ["c"], ["d"]]
    assert joined(apart, least=5) == apart


def test_what_failed_or_waits_elsewhere_stays_as_it_is(digits_study: Study) -> None:
    a, b = waiting(digits_study, trial("a")), waiting(digits_study, trial("b"))
    assert b.state is not None
    later = replace(b, state=replace(b.state, step=40))
    assert joined([a, later]) == [a, later]
    elsewhere = replace(b, stage=replace(b.stage, device="cuda:0"))
    assert joined([a, elsewhere]) == [a, elsewhere]
    failed = StageResult(b.stage, failure="no memory")
    assert joined([failed, failed]) == [failed, failed]
    loops = [replace(r, stage=replace(r.stage, stack=replace(r.stage.stack, engine="loop"))) for r in (a, b)]
    assert joined(loops) == loops


def test_stacks_that_have_not_begun_are_joined_too(digits_study: Study) -> None:
    fresh = [StageResult(StageTask(Stack.of("stacked", [trial(n)]), "cpu", digits_study)) for n in "ab"]
    (one,) = joined(fresh)
    assert (one.state, one.outcome, one.seconds) == (None, None, 0.0)
    begun = waiting(digits_study, trial("c"))
    assert len(joined([begun, *fresh])) == 2


def test_rows_keep_the_groups_and_the_seconds_of_their_plan(digits_study: Study) -> None:
    apart = [waiting(digits_study, trial("a"), trial("b")), waiting(digits_study, trial("c"))]
    planned = {t.trial_id: r.stage.stack for r in apart for t in r.stage.stack.trials}
    (one,) = joined(apart)
    assert one.outcome is not None
    members = one.stage.stack.trials
    share = ShareOutcome(members, one.outcome, 9.0, "cpu", {"b_1": "pruned", "c_1": "pruned"})
    shares = list(by_planned_stack(share, planned))
    assert [(stack.group, [t.arm.name for t in s.trials], s.seconds) for stack, s in shares] == [
        (apart[0].stage.stack.group, ["a", "b"], 6.0),
        (apart[1].stage.stack.group, ["c"], 3.0),
    ]
    assert [dict(s.reasons) for _, s in shares] == [{"b_1": "pruned"}, {"c_1": "pruned"}]
    for (_, s), before in zip(shares, apart, strict=True):
        assert before.outcome is not None
        assert np.array_equal(s.outcome.curve[-1].loss, before.outcome.curve[-1].loss)


def test_networks_of_other_modules_join_those_of_their_form(digits_study: Study) -> None:
    cnn: dict[str, Any] = {"architecture": "cnn", "channels": [3], "dropout": 0.2}
    apart = [
        waiting(digits_study, trial("a", **cnn)),
        waiting(digits_study, trial("b", 2, **cnn, optimizer="adam")),
        waiting(digits_study, trial("c", **{**cnn, "channels": [4]})),
    ]
    together = joined(apart)
    assert sorted(map(sorted, names(together))) == [["a", "b"], ["c"]]
    every = itertools.chain(*(result.stage.stack.trials for result in together))
    assert sorted(t.trial_id for t in every) == ["a_1", "b_2", "c_1"]
    one = together[names(together).index(["b", "a"])]
    assert one.state is not None
    alone = engine("stacked").select(one.state, one.stage.stack.trials, [0])
    assert apart[1].state is not None
    for name, value in apart[1].state.values.items():
        assert np.array_equal(alone.values[name], value), name
