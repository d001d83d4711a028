"""A stack of modules that was stopped ends bit for bit where one that was not stopped ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from module_members import CASES, MEMBERS

from harness.data.batches import Budget
from harness.data.samples import prepare
from harness.engines import stack_engine as engine
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions
from harness.engines.outcome import Outcome
from harness.engines.states import State, copied
from harness.planning.stack import Stack
from harness.results import checkpoints, origins
from harness.study.trials import Trial

ORIGIN = origins.Origin.here(Stack.of("stacked", []), "cpu")
HEADER = checkpoints.CheckpointHeader("g", ["t"], 1.0)


class Killed(Exception):  # noqa: N818 (the end of a sitting is no error)
    """The process ends here."""


@dataclasses.dataclass
class KilledOnce:
    """Checkpoints, in a real file, of a run that is killed after the first one at or after step `at`."""

    path: Path
    at: int

    def load(self) -> State | None:
        return checkpoints.read(self.path, ORIGIN)[1] if self.path.exists() else None

    def due(self, step: int, budget: Budget) -> bool:
        return self.at <= step < budget.steps and not self.path.exists()

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        checkpoints.write(self.path, ORIGIN, HEADER, step, values)
        raise Killed


def train(trials: list[Trial], options: EngineOptions = DEFAULT_OPTIONS) -> Outcome:
    return engine.train(trials, prepare(trials[0].arm.settings), options=options)


def assert_same_bits(a: Outcome, b: Outcome) -> None:
    for mine, right in zip(a.weights, b.weights, strict=True):
        assert mine.keys() == right.keys()
        assert all((mine[name] == right[name]).all() for name in mine)
    for p, q in zip(a.curve, b.curve, strict=True):
        assert (p.step, p.split) == (q.step, q.split)
        assert (p.loss == q.loss).all()
    assert (a.final["test"].confidence == b.final["test"].confidence).all()


@pytest.mark.parametrize("name", CASES)
def test_a_stack_that_was_killed_goes_on_to_the_same_bits(name: str, tmp_path: Path) -> None:
    trials = CASES[name]
    whole = train(trials)
    options = EngineOptions(checkpoints=KilledOnce(tmp_path / "state", 40))
    with pytest.raises(Killed):
        train(trials, options)
    assert_same_bits(train(trials, options), whole)


@dataclasses.dataclass
class Kept:
    """Checkpoints in memory: the state that is saved, or given to go on from."""

    state: State | None = None
    saved: State | None = None

    def load(self) -> State | None:
        return self.state

    def due(self, step: int, budget: Budget) -> bool:  # noqa: ARG002
        return False

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        self.saved = State(step, copied(values))


def test_some_members_go_on_from_a_state_of_all() -> None:
    """Members that go on without the others end where they do among them, to rounding."""
    half, whole = Kept(), train(MEMBERS)
    assert train(MEMBERS, EngineOptions(until=50, checkpoints=half)).steps_done == 50
    assert half.saved is not None
    for keep in ([0, 2], [3]):
        state = engine.select(half.saved, MEMBERS, keep)
        outcome = train([MEMBERS[k] for k in keep], EngineOptions(checkpoints=Kept(state)))
        for place, k in enumerate(keep):
            for name, value in whole.weights[k].items():
                assert outcome.weights[place][name] == pytest.approx(value, rel=1e-3, abs=2e-4), name
