"""An engine stops at a rung and goes on with some of its members, as if the others had never been there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_agreement import assert_same_observations, assert_same_weights
from test_states import assert_same_bits

from harness.data.batches import Budget
from harness.data.samples import prepare
from harness.engines import loop, numpy_engine
from harness.engines import stack_engine as engine
from harness.engines.base import EngineOptions
from harness.engines.outcome import Outcome
from harness.engines.states import State
from harness.planning import grouping
from harness.planning.stack import Stack
from harness.results import checkpoints, origins
from harness.study.trials import Arm, Trial, resolve

ENGINES: dict[str, Any] = {"stacked": engine, "loop": loop, "numpy": numpy_engine}
every_engine = pytest.mark.parametrize("engine", ENGINES)
ORIGIN = origins.Origin.here(Stack.of("stacked", []), "cpu")
HEADER = checkpoints.CheckpointHeader("g", ["t"], 1.0)
RUNG = 50


def trial(name: str, seed: int = 1, **settings: Any) -> Trial:
    # 1,293 images in batches of 16: an epoch is 81 steps, so that the rung is in the middle of one.
    base: dict[str, Any] = {"dataset": "digits", "steps": 110, "batch_size": 16, "hidden": [8]}
    resolved = resolve({**base, "eval_every": "25 steps", **settings})
    return Trial(f"{name}_{seed}", Arm(name, resolved), seed)


def mixed(*seeds: int) -> list[Trial]:
    """Members of several optimizers and components, in the plan's order."""
    arms: dict[str, dict[str, Any]] = {
        "a": {"lr": 0.1},
        "b": {"lr": 0.03, "activation": "tanh", "schedule": "linear"},
        "c": {"optimizer": "momentum", "head": "softmax", "loss": "mse"},
        "d": {"optimizer": "momentum", "lr": 0.1, "momentum": 0.5},
        "e": {"optimizer": "adam", "activation": "tanh"},
        "f": {"optimizer": "adam", "lr": 3e-3},
        "g": {"optimizer": "adam", "amsgrad": True},
        "h": {"optimizer": "adam", "lr": 1e-3, "loss": "ql"},
    }
    members = [trial(name, seed, **arm) for seed in seeds for name, arm in arms.items()]
    return sorted(members, key=grouping.order)


@dataclass
class Kept:
    """What a paused engine gave; as a file holds it."""

    folder: Path
    state: State | None = None

    def load(self) -> State | None:
        return self.state

    def due(self, step: int, budget: Budget) -> bool:  # noqa: ARG002
        return False

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        path = self.folder / "kept.safetensors"
        checkpoints.write(path, ORIGIN, HEADER, step, values)
        self.state = checkpoints.read(path, ORIGIN)[1]


def outcome_of(engine: str, trials: Sequence[Trial], dtype: Any = np.float32, **options: Any) -> Outcome:
    data = prepare(trials[0].arm.settings, dtype)
    outcome: Outcome = ENGINES[engine].train(trials, data, dtype=dtype, options=EngineOptions(**options))
    return outcome


def from_a_rung(
    engine: str,
    trials: Sequence[Trial],
    keep: Sequence[int],
    folder: Path,
    dtype: Any = np.float32,
    **options: Any,
) -> Outcome:
    """Train to the rung, and go on with the members `keep`."""
    kept = Kept(folder)
    outcome_of(engine, trials, dtype, checkpoints=kept, until=RUNG, **options)
    assert kept.state is not None
    kept.state = ENGINES[engine].select(kept.state, trials, keep)
    return outcome_of(engine, [trials[k] for k in keep], dtype, checkpoints=kept, **options)


@every_engine
def test_an_engine_that_stops_at_a_rung_leaves_test_closed(engine: str, tmp_path: Path) -> None:
    one, kept = trial("one", optimizer="momentum"), Kept(tmp_path)
    outcome = outcome_of(engine, [one], checkpoints=kept, until=RUNG)
    assert outcome.final == {}
    assert (outcome.steps_done, outcome.epochs_done) == (RUNG, RUNG / 81)
    assert [point.step for point in outcome.curve] == [0, 0, 25, 25, 50, 50]
    assert kept.state is not None
    assert kept.state.step == RUNG
    shorter = outcome_of(engine, [trial("one", optimizer="momentum", steps=RUNG)])
    assert_same_weights(outcome, 0, shorter, 0, 0.0)
    again = outcome_of(engine, [one], checkpoints=kept, until=RUNG)  # a run that was killed after its rung
    assert_same_bits(again, outcome)


@every_engine
def test_stopping_at_the_last_step_is_a_complete_run(engine: str, tmp_path: Path) -> None:
    (one, *_), kept = mixed(1), Kept(tmp_path)
    assert_same_bits(outcome_of(engine, [one], checkpoints=kept, until=110), outcome_of(engine, [one]))
    assert kept.state is None


@every_engine
@pytest.mark.parametrize("until", [10, 111, -25])
def test_only_an_evaluation_can_be_a_rung(engine: str, until: int) -> None:
    with pytest.raises(ValueError, match="25, 50, 75, 100, 110"):
        outcome_of(engine, mixed(1)[:1], until=until)


@every_engine
def test_one_trial_resumes_bit_for_bit(engine: str, tmp_path: Path) -> None:
    one = trial("one", optimizer="adam")  # every optimizer's state is test_states' matter
    whole = outcome_of(engine, [one], metrics=["top3"])
    assert_same_bits(from_a_rung(engine, [one], [0], tmp_path, metrics=["top3"]), whole)


@pytest.mark.parametrize("engine", ["loop", "numpy"])
@pytest.mark.parametrize("keep", [[], [1], [0, 1]])
def test_an_engine_of_one_trial_selects_that_one(engine: str, keep: list[int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="member 0"):
        from_a_rung(engine, mixed(1)[:1], keep, tmp_path)


def test_a_whole_stack_resumes_bit_for_bit(tmp_path: Path) -> None:
    members = mixed(1)
    whole = outcome_of("stacked", members, metrics=["top3"])
    outcome = from_a_rung("stacked", members, range(len(members)), tmp_path, metrics=["top3"])
    assert_same_bits(outcome, whole)


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)], ids=["a seed", "seeds"])
@pytest.mark.parametrize(
    "names", ["abcdefgh", "b", "aceg", "efgh", "df", "abgh"], ids=lambda names: f"keep {names}"
)
def test_selected_members_resume_as_if_alone(names: str, seeds: tuple[int, ...], tmp_path: Path) -> None:
    """Optimizers leave altogether, or members whose settings differed do and those of the others agree."""
    members = mixed(*seeds)
    # With several seeds, every other one of those that are named goes on.
    named = [k for k, member in enumerate(members) if member.arm.name in names]
    keep = named[:: 1 if len(seeds) == 1 else 2]
    outcome = from_a_rung("stacked", members, keep, tmp_path, np.float64, metrics=["top3"])
    whole = outcome_of("stacked", [members[k] for k in keep], np.float64, metrics=["top3"])
    for k in range(len(keep)):
        assert_same_weights(outcome, k, whole, k, 1e-9)
        assert_same_observations(outcome, k, whole, k, 1e-9)
    for point, expected in zip(outcome.curve, whole.curve, strict=True):
        assert point.metrics["top3"] == pytest.approx(expected.metrics["top3"], abs=1e-9)


def test_a_member_that_diverged_before_the_rung_stays_diverged(tmp_path: Path) -> None:
    wild = trial("wild", optimizer="momentum", lr=1e25, loss="mse")
    members = sorted([*mixed(1), wild], key=grouping.order)
    at = members.index(wild)
    whole = outcome_of("stacked", members)
    assert 0 < whole.diverged_step[at] < RUNG
    keep = [at - 1, at, at + 1]
    outcome = from_a_rung("stacked", members, keep, tmp_path)
    assert outcome.diverged_step.tolist() == [0, whole.diverged_step[at], 0]


def test_a_stack_that_has_diverged_stops_before_the_rung(tmp_path: Path) -> None:
    wild, kept = trial("wild", lr=1e25, loss="mse"), Kept(tmp_path)
    for name in ENGINES:
        outcome = outcome_of(name, [wild], checkpoints=kept, until=RUNG)
        assert outcome.diverged_step[0] > 0
        assert kept.state is None
