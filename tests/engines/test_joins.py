"""Stacks that are joined at a rung: what `select` takes apart, `join` puts together, and it trains on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from module_members import CASES
from test_agreement import assert_same_observations, assert_same_weights
from test_ragged import ragged
from test_rungs import ENGINES, RUNG, mixed, outcome_of, trial

from harness.data.samples import prepare
from harness.engines import stack_engine as engine
from harness.engines.base import EngineOptions
from harness.engines.compiled import engine as compiled
from harness.engines.states import State, copied
from harness.lowering import compiler
from harness.planning import grouping
from harness.study.trials import Trial


class Keeper:
    """Checkpoints in memory: the state to go on from, then the one that is saved."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state

    def load(self) -> State | None:
        return self.state

    def due(self, *_: Any) -> bool:
        return False

    def save(self, step: int, values: Any) -> None:
        self.state = State(step, copied(values))


def stopped(members: Sequence[Trial], dtype: Any = np.float32, until: int = RUNG) -> State:
    kept = Keeper()
    outcome_of("stacked", members, dtype, checkpoints=kept, until=until, metrics=["top3"])
    assert kept.state is not None
    return kept.state


def assert_same_state(a: State, b: State) -> None:
    assert a.step == b.step
    assert a.values.keys() == b.values.keys()
    for name, value in b.values.items():
        assert np.array_equal(a.values[name], value), name
        assert getattr(a.values[name], "dtype", None) == getattr(value, "dtype", None), name


STACKS: dict[str, list[Trial]] = {
    "a shape": mixed(1), "seeds": mixed(1, 2), "shapes": ragged(1), "shapes and seeds": ragged(1, 2),
    "modules": CASES["cnn"],
}  # fmt: skip


@pytest.fixture(scope="module")
def states() -> dict[str, State]:
    return {name: stopped(members) for name, members in STACKS.items()}


@pytest.mark.parametrize("name", STACKS)
@settings(max_examples=25)
@given(chosen=st.data())
def test_join_is_the_inverse_of_select(name: str, states: dict[str, State], chosen: st.DataObject) -> None:
    members, state = STACKS[name], states[name]
    of_stack = chosen.draw(st.lists(st.integers(0, 2), min_size=len(members), max_size=len(members)))
    pieces = [[k for k, piece in enumerate(of_stack) if piece == i] for i in set(of_stack)]
    apart = [engine.select(state, members, piece) for piece in pieces]
    places = list(itertools.chain(*pieces))
    order = [places.index(k) for k in range(len(members))]
    trials = [[members[k] for k in piece] for piece in pieces]
    assert_same_state(engine.join(apart, trials, order), state)
    every = engine.join(apart, trials)  # in the order in which they come
    assert_same_state(engine.select(every, [members[k] for k in places], order), state)


@pytest.mark.parametrize("kernels", [True, False], ids=["compiled", "PyTorch"])
@pytest.mark.parametrize("seeds", [(1,), (1, 2)], ids=["a seed", "seeds"])
def test_joined_stacks_end_as_they_would_apart(
    kernels: bool, seeds: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled to the bit; in PyTorch to the rounding of its products, here of float64."""
    if not kernels:
        monkeypatch.setenv(compiler.SWITCH, "off")
    members = ragged(*seeds)
    data, dtype = prepare(members[0].arm.settings), np.float32 if kernels else np.float64
    assert (not compiled.why_not(members, data, "cpu", ["top3"])) == kernels
    halves = [members[::2], members[1::2]]
    states = [stopped(half, dtype) for half in halves]
    every = list(itertools.chain(*halves))
    order = [every.index(member) for member in members]
    joined = Keeper(engine.join(states, halves, order))
    together = outcome_of("stacked", members, dtype, checkpoints=joined, metrics=["top3"])
    for half, state in zip(halves, states, strict=True):
        apart = outcome_of("stacked", half, dtype, checkpoints=Keeper(state), metrics=["top3"])
        for j, member in enumerate(half):
            tolerance = 0.0 if kernels else 1e-9
            assert_same_weights(together, members.index(member), apart, j, tolerance)
            assert_same_observations(together, members.index(member), apart, j, tolerance)


@pytest.mark.parametrize("name", CASES)
def test_joined_stacks_of_modules_end_as_they_would_apart(name: str) -> None:
    members = CASES[name]
    data = prepare(members[0].arm.settings, np.float64)
    halves, states = [members[:1], members[1:]], []
    for half in halves:
        kept = Keeper()
        engine.train(half, data, dtype=np.float64, options=EngineOptions(checkpoints=kept, until=50))
        assert kept.state is not None
        states.append(kept.state)
    options = EngineOptions(checkpoints=Keeper(engine.join(states, halves)))
    together = engine.train(members, data, dtype=np.float64, options=options)
    apart = [
        engine.train(half, data, dtype=np.float64, options=EngineOptions(checkpoints=Keeper(state)))
        for half, state in zip(halves, states, strict=True)
    ]
    for k, (i, j) in enumerate([(0, 0), *((1, j) for j in range(len(halves[1])))]):
        for weight, expected in apart[i].weights[j].items():
            assert together.weights[k][weight] == pytest.approx(expected, rel=1e-7, abs=1e-9), weight
        assert together.curve[-1].loss[k] == pytest.approx(apart[i].curve[-1].loss[j])


def test_a_member_that_has_diverged_joins_as_diverged() -> None:
    wild = trial("wild", optimizer="momentum", lr=1e25, loss="mse")
    with_wild, others = sorted([wild, *mixed(1)[:2]], key=grouping.order), mixed(1)[2:]
    at = with_wild.index(wild)
    state = engine.join([stopped(with_wild), stopped(others)], [with_wild, others])
    outcome = outcome_of("stacked", [*with_wild, *others], checkpoints=Keeper(state), metrics=["top3"])
    assert 0 < outcome.diverged_step[at] < RUNG
    assert not np.delete(outcome.diverged_step, at).any()


def test_states_of_other_steps_are_not_joined() -> None:
    one, other = mixed(1)[:2], mixed(1)[2:4]
    with pytest.raises(ValueError, match=r"after steps \[50, 75\]"):
        engine.join([stopped(one), stopped(other, until=75)], [one, other])


def test_states_that_were_observed_otherwise_are_not_joined() -> None:
    one, state = mixed(1)[:1], stopped(mixed(1)[:1])
    other = State(state.step, {**state.values, "curve.step": state.values["curve.step"] + 1})
    with pytest.raises(ValueError, match="observed after other steps"):
        engine.join([state, other], [one, one])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"update.0.count": 3}, "differ in 'count'"),
        ({"update.0.more": np.zeros((1, 2))}, "not those of another"),
    ],
)
def test_members_of_one_optimizer_must_agree_in_what_they_share(change: dict[str, Any], words: str) -> None:
    one = mixed(1)[:1]
    state = stopped(one)
    first = State(state.step, {**state.values, "update.0.count": 2})
    with pytest.raises(ValueError, match=words):
        engine.join([first, State(state.step, {**first.values, **change})], [one, one])


@pytest.mark.parametrize("name", ["loop", "numpy"])
def test_an_engine_of_one_trial_joins_none(name: str) -> None:
    one, kept = mixed(1)[:1], Keeper()
    outcome_of(name, one, checkpoints=kept, until=RUNG)
    assert kept.state is not None
    assert ENGINES[name].join([kept.state], [one]) is kept.state
    with pytest.raises(ValueError, match="one trial at a time"):
        ENGINES[name].join([kept.state] * 2, [one] * 2)
