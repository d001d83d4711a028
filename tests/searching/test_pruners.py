"""Pruners: synchronous halving against brute force, and Optuna's pruners through their interface."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.pruners import BasePruner, SuccessiveHalvingPruner
from optuna.trial import Trial, TrialState, create_trial

from harness.searching import pruners
from harness.study.searches import Direction, Pruning

pytestmark = pytest.mark.usefixtures("quiet_optuna")

VALUES = st.lists(
    st.floats(allow_nan=True, width=16) | st.sampled_from([0.1, 0.5, 0.9]), min_size=1, max_size=40
)


def batch(study: optuna.Study, evaluations: Sequence[int], number: int = 0) -> list[Trial]:
    members = [study.ask() for _ in evaluations]
    for member, most in zip(members, evaluations, strict=True):
        member.set_user_attr(pruners.BATCH, number)
        member.set_user_attr(pruners.EVALUATIONS, most)
    return members


def new(pruner: BasePruner, direction: Direction = "maximize") -> optuna.Study:
    return optuna.create_study(
        direction=direction, pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0)
    )


def survivors(values: Sequence[float], reduction: int) -> set[int]:
    """Brute force: who has fewer sound members before it than may stay."""
    sound = [i for i, value in enumerate(values) if math.isfinite(value)]
    places = math.ceil(Fraction(len(sound), reduction))
    return {
        i for i in sound
        if sum(values[j] > values[i] or (values[j] == values[i] and j < i) for j in sound) < places
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------ rungs


@pytest.mark.parametrize(
    ("pruning", "evaluations", "expected"),
    [
        (Pruning(), 5, []),
        (Pruning(name="halving"), 5, [1, 3]),
        (Pruning(name="halving"), 9, [1, 3]),
        (Pruning(name="halving"), 10, [1, 3, 9]),
        (Pruning(name="hyperband", first=2, reduction=2), 16, [2, 4, 8]),
        (Pruning(name="hyperband", first=5), 5, []),
        (Pruning(name="median"), 5, [2, 3, 4]),
        (Pruning(name="percentile", warmup=0), 5, [1, 2, 3, 4]),
        (Pruning(name="patient", patience=1), 5, [3, 4]),
        (Pruning(name="patient", warmup=3, patience=1), 5, [4]),
        (Pruning(name="median"), 1, []),
        (Pruning(name="top-k"), 5, [1]),
        (Pruning(name="top-k", first=4), 5, [4]),
        (Pruning(name="top-k", first=5), 5, []),
        (Pruning(name="extrapolation"), 4, [1, 2, 3]),
        (Pruning(name="extrapolation", first=3), 5, [3, 4]),
    ],
)
def test_rungs_are_at_their_documented_evaluations(
    pruning: Pruning, evaluations: int, expected: list[int]
) -> None:
    assert pruners.rungs(pruning, evaluations) == expected


# ---------------------------------------------------------------------------------------------------- halving


@settings(max_examples=60, deadline=None)
@given(
    values=VALUES, reduction=st.integers(2, 4), direction=st.sampled_from(["maximize", "minimize"]),
    randomness=st.randoms(use_true_random=False),
)  # fmt: skip
def test_halving_keeps_the_best_in_any_order_of_asking(
    values: list[float], reduction: int, direction: Direction, randomness: object
) -> None:
    study = new(pruners.make(Pruning(name="halving", reduction=reduction), evaluations=5), direction)
    members = batch(study, [5] * len(values))
    for member, value in zip(members, values, strict=True):
        member.report(value, 1)
    order = list(range(len(values)))
    randomness.shuffle(order)  # type: ignore[attr-defined]
    kept = set()
    for i in order:  # the pruned are told at once, which must change nothing for those asked for later
        if members[i].should_prune():
            study.tell(members[i], state=TrialState.PRUNED)
        else:
            kept.add(i)
    sign = 1 if direction == "maximize" else -1
    assert kept == survivors([sign * value for value in values], reduction)


@settings(max_examples=60, deadline=None)
@given(
    stacks=st.lists(VALUES, min_size=1, max_size=5), reduction=st.integers(2, 4),
    direction=st.sampled_from(["maximize", "minimize"]),
)  # fmt: skip
def test_asynchronous_halving_judges_a_stack_by_all_that_have_reported(
    stacks: list[list[float]], reduction: int, direction: Direction
) -> None:
    study = new(pruners.make(Pruning(name="asha", reduction=reduction), evaluations=5), direction)
    sign = 1 if direction == "maximize" else -1
    reported: list[float] = []
    for number, values in enumerate(stacks):
        members = batch(study, [5] * len(values), number)
        for member, value in zip(members, values, strict=True):
            member.report(value, 1)
        before = len(reported)
        reported += [sign * value for value in values]
        kept = {before + i for i, member in enumerate(members) if not member.should_prune()}
        assert kept == {i for i in survivors(reported, reduction) if i >= before}


def test_asynchronous_hyperband_compares_within_a_bracket_over_all_batches() -> None:
    pruning = Pruning(name="async-hyperband")
    study, seen = new(pruners.make(pruning, evaluations=5)), Counter[int]()
    turn = pruners.turns(pruners.shares(3, 3), 12)
    rng = np.random.default_rng(0)
    reported: dict[int, float] = {}
    for number in range(4):
        members = batch(study, [5] * 12, number)
        reported |= {member.number: rng.random() for member in members}
        for member in members:
            member.report(reported[member.number], 1)
        for member in members:
            own = [n for n in reported if turn[n % 12] == turn[member.number % 12]]
            better = sum(reported[n] > reported[member.number] for n in own)
            stops = turn[member.number % 12] == 0 and better >= math.ceil(len(own) / 3)
            assert member.should_prune() == stops
            seen[turn[member.number % 12]] += stops
    assert seen[0] > 10
    assert not seen[1] + seen[2]


def test_halving_keeps_a_third_at_each_rung() -> None:
    study = new(pruners.make(Pruning(name="halving"), evaluations=10))
    out, left = batch(study, [10] * 32), []
    rng = np.random.default_rng(0)
    for evaluation in range(1, 10):
        for member in out:
            member.report(rng.random(), evaluation)
        out = [member for member, stop in [(m, m.should_prune()) for m in out] if not stop]
        left.append(len(out))
    assert left == [11, 11, 4, 4, 4, 4, 4, 4, 2]


def test_finished_suggestions_are_not_pruned_and_take_no_place() -> None:
    study = new(pruners.make(Pruning(name="halving"), evaluations=9))
    members = batch(study, [9, 9, 9, 3, 3, 1])
    for member, value in zip(members, [0.1, 0.3, 0.2, 0.9, 0.8, 0.0], strict=True):
        for evaluation in (1, 2, 3) if value else (1,):
            member.report(value, evaluation)
    assert [member.should_prune() for member in members] == [True, False, True, False, False, False]


def test_a_suggestion_without_a_number_is_pruned_even_alone() -> None:
    study = new(pruners.make(Pruning(name="halving"), evaluations=9))
    for value in (math.nan, math.inf, -math.inf):
        (member,) = batch(study, [9], number=study.trials[-1].number + 1 if study.trials else 0)
        member.report(value, 1)
        assert member.should_prune()


def test_nothing_is_pruned_between_rungs_nor_before_a_report() -> None:
    study = new(pruners.make(Pruning(name="halving"), evaluations=9))
    members = batch(study, [9] * 6)
    assert not any(member.should_prune() for member in members)
    for i, member in enumerate(members):
        member.report(float(i), 2)
    assert not any(member.should_prune() for member in members)


def test_other_batches_are_not_in_the_field() -> None:
    study = new(pruners.make(Pruning(name="halving"), evaluations=9))
    for number, base in enumerate((0.5, 0.0)):
        members = batch(study, [9] * 3, number)
        for i, member in enumerate(members):
            member.report(base + i / 100, 1)
        assert [member.should_prune() for member in members] == [True, True, False]


def test_optunas_own_halving_depends_on_the_order() -> None:
    """Why ours is not Optuna's: of nine, who is kept is decided by who asks first."""

    def kept(order: Sequence[int]) -> list[int]:
        study = new(SuccessiveHalvingPruner(min_resource=1, reduction_factor=3))
        members = batch(study, [9] * 9)
        for i, member in enumerate(members):
            member.report(i / 10, 1)
        return sorted(i for i in order if not members[i].should_prune())

    assert kept(range(9)) == list(range(9))  # the worst first
    assert kept(range(8, -1, -1)) == [8]  # the best first
    assert kept([0, 8, 1, 7, 2, 6, 3, 5, 4]) == [0, 8]  # 0 is the worst of all


# -------------------------------------------------------------------------------------------------- Hyperband


def test_shares_are_the_papers() -> None:
    assert pruners.shares(5, 3) == [81, 34, 15, 8, 5]  # table 1 of Li et al. (2018), R = 81
    assert pruners.shares(1, 3) == [1]


@given(st.lists(st.integers(1, 100), min_size=1, max_size=6), st.integers(0, 200))
def test_every_part_of_a_batch_has_the_shares(shares: list[int], count: int) -> None:
    turns = pruners.turns(shares, count)
    for k in range(count + 1):
        told = Counter(turns[:k])
        assert all(abs(told[b] - k * share / sum(shares)) < len(shares) for b, share in enumerate(shares))


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=40))
def test_hyperband_is_halving_of_each_bracket_from_its_own_rung(values: list[list[float]]) -> None:
    study = new(pruners.make(Pruning(name="hyperband"), evaluations=5))
    out = dict(enumerate(batch(study, [5] * len(values))))
    brackets = pruners.turns([9, 5, 3], len(values))
    expected = set(out)
    for k, rung in enumerate([1, 3]):
        for i, member in out.items():
            member.report(values[i][k], rung)
        out = {i: member for i, member in out.items() if not member.should_prune()}
        for bracket in range(3):
            if bracket <= k:
                field = sorted(i for i in expected if brackets[i] == bracket)
                best = survivors([values[i][k] for i in field], 3)
                expected -= {i for place, i in enumerate(field) if place not in best}
        assert set(out) == expected


def test_hyperbands_last_bracket_is_never_pruned() -> None:
    study = new(pruners.make(Pruning(name="hyperband"), evaluations=5))
    members = batch(study, [5] * 17)
    for rung in (1, 3):
        for i, member in enumerate(members):
            member.report(float(pruners.turns([9, 5, 3], 17)[i] != 2), rung)  # the worst there are
        pruned = {i for i, member in enumerate(members) if member.should_prune()}
        assert not pruned & {i for i, b in enumerate(pruners.turns([9, 5, 3], 17)) if b == 2}
    assert len(pruned) == 6 + 3  # of 9 and of 5, none being told


def test_a_search_that_was_rebuilt_prunes_as_it_would_have() -> None:
    pruner = pruners.make(Pruning(name="hyperband"), evaluations=9)
    study = new(pruner)
    rng = np.random.default_rng(1)
    for number in range(2):
        members = batch(study, [9] * 16, number)
        for member, value in zip(members, rng.random(16), strict=True):
            member.report(value, 1)
        decided = [member.should_prune() for member in members]
        if number == 0:
            for member, stop in zip(members, decided, strict=True):
                study.tell(member, **({"state": TrialState.PRUNED} if stop else {"values": 0.5}))
    rebuilt = new(pruners.make(Pruning(name="hyperband"), evaluations=9))
    rebuilt.add_trials([trial for trial in study.trials if trial.state.is_finished()])
    again = batch(rebuilt, [9] * 16, 1)
    for member, old in zip(again, study.trials[16:], strict=True):
        member.report(old.intermediate_values[1], 1)
    assert [member.should_prune() for member in again] == decided
    assert 0 < sum(decided) < 16


# ------------------------------------------------------------------------------------------------------ top-k


@settings(max_examples=60, deadline=None)
@given(
    values=VALUES, keep=st.integers(1, 5), direction=st.sampled_from(["maximize", "minimize"]),
    randomness=st.randoms(use_true_random=False),
)  # fmt: skip
def test_top_k_keeps_the_best_of_all_batches_in_any_order_of_asking(
    values: list[float], keep: int, direction: Direction, randomness: object
) -> None:
    study = new(pruners.make(Pruning(name="top-k", keep=keep), evaluations=5), direction)
    members = [member for i in range(len(values)) for member in batch(study, [5], number=i // 7)]
    for member, value in zip(members, values, strict=True):
        member.report(value, 1)
    order = list(range(len(values)))
    randomness.shuffle(order)  # type: ignore[attr-defined]
    kept = set()
    for i in order:
        if members[i].should_prune():
            study.tell(members[i], state=TrialState.PRUNED)
        else:
            kept.add(i)
    sign = 1 if direction == "maximize" else -1
    sound = [i for i, value in enumerate(values) if math.isfinite(value)]
    best = sorted(sound, key=lambda i: (-sign * values[i], i))
    assert kept == set(best[:keep])


def test_top_k_judges_at_its_own_evaluation_alone_and_lets_the_finished_be() -> None:
    study = new(pruners.make(Pruning(name="top-k", keep=1, first=2), evaluations=9))
    members = batch(study, [9, 9, 2])
    for member, value in zip(members, [0.5, 0.4, 0.9], strict=True):
        member.report(value, 1)
    assert not any(member.should_prune() for member in members)
    for member, value in zip(members, [0.5, 0.4, 0.9], strict=True):
        member.report(value, 2)
    assert [member.should_prune() for member in members] == [False, True, False]
    members[0].report(0.1, 3)
    assert not members[0].should_prune()


def test_an_extended_top_k_search_compares_new_suggestions_with_all_before() -> None:
    study = new(pruners.make(Pruning(name="top-k", keep=2), evaluations=5))
    for value in (0.7, 0.8, 0.3):
        ended = {"value": value} if value > 0.5 else {"state": TrialState.PRUNED}
        attributes = {pruners.BATCH: 0, pruners.EVALUATIONS: 5}
        study.add_trial(create_trial(intermediate_values={1: value}, user_attrs=attributes, **ended))
    members = batch(study, [5, 5], number=1)
    for member, value in zip(members, [0.75, 0.6], strict=True):
        member.report(value, 1)
    assert [member.should_prune() for member in members] == [False, True]


# ------------------------------------------------------------------------------------------- Optuna's pruners


def finished(study: optuna.Study, curves: np.ndarray) -> None:
    for curve in curves:
        steps = {i + 1: float(value) for i, value in enumerate(curve)}
        study.add_trial(create_trial(value=curve[-1], intermediate_values=steps))


@pytest.mark.parametrize(("name", "percentile"), [("median", 50.0), ("percentile", 25.0)])
def test_median_and_percentile_are_numpys(name: str, percentile: float) -> None:
    pruning = Pruning(name=name, percentile=25.0)  # type: ignore[arg-type]
    study = new(pruners.make(pruning, evaluations=5))
    rng = np.random.default_rng(2)
    curves = rng.random((21, 5))
    finished(study, curves)
    members = batch(study, [5] * 20, 1)
    best = np.zeros(20)
    told = []
    for evaluation in range(1, 5):
        values = rng.random(20)
        best = np.maximum(best, values)
        for member, value in zip(members, values, strict=True):
            member.report(float(value), evaluation)
        stops = [member.should_prune() for member in members]
        if evaluation in pruners.rungs(pruning, 5):
            bar = np.percentile(curves[:, evaluation - 1], 100 - percentile)
            assert stops == (best < bar).tolist()
            told += stops
        else:
            assert not any(stops)
    assert 0 < sum(told) < len(told)


def test_the_first_suggestions_are_not_pruned_by_the_median() -> None:
    study = new(pruners.make(Pruning(name="median", startup=10), evaluations=5))
    finished(study, np.ones((9, 5)))
    members = batch(study, [5, 5])
    for evaluation in (1, 2):
        members[0].report(0.0, evaluation)
    assert not members[0].should_prune()
    finished(study, np.ones((1, 5)))
    assert members[0].should_prune()


def test_patience_is_for_those_that_do_not_improve() -> None:
    pruning = Pruning(name="patient", patience=1, startup=1)
    study = new(pruners.make(pruning, evaluations=6))
    finished(study, np.ones((3, 6)))
    rising, stuck = batch(study, [6, 6])
    for evaluation in (1, 2, 3):
        rising.report(evaluation / 10, evaluation)
        stuck.report(0.5 - evaluation / 10, evaluation)
    assert pruners.rungs(pruning, 6)[0] == 3
    assert stuck.should_prune()
    assert not rising.should_prune()


def test_the_pruner_none_prunes_nothing() -> None:
    study = new(pruners.make(Pruning(), evaluations=5))
    (member,) = batch(study, [5])
    member.report(-1e9, 1)
    assert not member.should_prune()
