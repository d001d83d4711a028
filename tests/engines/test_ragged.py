"""A stack of several shapes: each member trains as it would alone, and none knows of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_agreement import assert_same_observations, assert_same_weights
from test_rungs import RUNG, from_a_rung, outcome_of, trial
from test_states import assert_same_bits, in_two_sittings

from harness.engines.outcome import Outcome
from harness.planning import grouping
from harness.study.trials import Trial

ARMS: dict[str, dict[str, Any]] = {
    "shallow": {"hidden": [12]},
    "shallow, tanh": {"hidden": [12], "activation": "tanh", "lr": 0.03, "schedule": "linear"},
    "shallow, adam": {"hidden": [12], "optimizer": "adam", "loss": "ql"},
    "none": {"hidden": [], "lr": 0.02},
    "wide": {"hidden": [20], "lr": 0.05, "head": "softmax", "loss": "mse"},
    "wide, decay": {"hidden": [20], "weight_decay": 0.01},
    "deep": {"hidden": [6, 9, 5], "optimizer": "momentum", "dropout": 0.2, "activation": "gelu"},
    "deep, adam": {"hidden": [6, 9, 5], "optimizer": "adam", "lr": 3e-3, "label_smoothing": 0.1},
    "deeper, adam": {"hidden": [9, 9], "optimizer": "adam", "dropout": 0.4},
    "deeper, momentum": {"hidden": [9, 9], "optimizer": "momentum", "head": "sigmoid", "loss": "mse"},
}


def ragged(*seeds: int, **changed: dict[str, Any]) -> list[Trial]:
    """Members of five shapes, with every shape's in one place."""
    arms = {**ARMS, **changed}
    members = [trial(name, seed, **arm) for seed in seeds for name, arm in arms.items()]
    return grouping.side_by_side(members)


def assert_same_members(a: Outcome, ks: Sequence[int], b: Outcome, js: Sequence[int]) -> None:
    for k, j in zip(ks, js, strict=True):
        assert_same_weights(a, k, b, j, 1e-9)
        assert_same_observations(a, k, b, j, 1e-9)
        assert a.parameters[k] == b.parameters[j] == sum(w.size for w in b.weights[j].values())


@pytest.mark.parametrize("seeds", [(1,), (1, 2)], ids=["a seed", "seeds"])
def test_a_member_of_a_ragged_stack_equals_the_pytorch_loop(seeds: tuple[int, ...]) -> None:
    members = ragged(*seeds)
    together = outcome_of("stacked", members, np.float64, metrics=["top3"])
    for k, member in enumerate(members):
        alone = outcome_of("loop", [member], np.float64, metrics=["top3"])
        assert_same_members(together, [k], alone, [0])
        points = zip(together.curve, alone.curve, strict=True)
        assert all(p.metrics["top3"][k] == pytest.approx(q.metrics["top3"][0]) for p, q in points)


def test_the_order_of_members_changes_no_ragged_stack() -> None:
    members = ragged(1)
    mixed = members[::3] + members[1::3] + members[2::3]  # shapes and optimizers apart
    a, b = (outcome_of("stacked", each, np.float64) for each in (members, mixed))
    assert_same_members(a, range(len(members)), b, [mixed.index(member) for member in members])


@pytest.mark.parametrize("seeds", [(1,), (1, 2)], ids=["a seed", "seeds"])
def test_a_ragged_stack_resumes_bit_for_bit(seeds: tuple[int, ...], tmp_path: Path) -> None:
    members = ragged(*seeds)
    outcome, _ = in_two_sittings("stacked", members, tmp_path, 60)
    assert_same_bits(outcome, outcome_of("stacked", members))
    assert_same_bits(
        from_a_rung("stacked", members, range(len(members)), tmp_path), outcome_of("stacked", members)
    )


@pytest.mark.parametrize("seeds", [(1,), (1, 2)], ids=["a seed", "seeds"])
@pytest.mark.parametrize("gone", ["deep", "shallow", "wide, decay", "momentum", "adam"])
def test_shapes_and_optimizers_may_leave_at_a_rung(gone: str, seeds: tuple[int, ...], tmp_path: Path) -> None:
    members = ragged(*seeds)
    keep = [k for k, member in enumerate(members) if gone not in member.arm.name]
    assert 0 < len(keep) < len(members)
    outcome = from_a_rung("stacked", members, keep, tmp_path, np.float64)
    whole = outcome_of("stacked", [members[k] for k in keep], np.float64)
    assert_same_members(outcome, range(len(keep)), whole, range(len(keep)))


def test_a_member_that_diverges_changes_no_bit_of_another() -> None:
    bad: dict[str, Any] = {"hidden": [9, 9], "optimizer": "momentum", "loss": "ql"}
    tame, wild = ragged(1, bad={**bad, "lr": 1e-4}), ragged(1, bad={**bad, "lr": 1e9})
    names = [member.arm.name for member in wild]
    assert names == [member.arm.name for member in tame]
    a, b = outcome_of("stacked", tame), outcome_of("stacked", wild)
    diverged = names.index("bad")
    assert 0 < b.diverged_step[diverged] < RUNG
    assert not np.delete(b.diverged_step, diverged).any()
    for k in range(len(names)):
        if k != diverged:
            assert all((a.weights[k][name] == b.weights[k][name]).all() for name in a.weights[k])
            assert (a.final["test"].confidence[k] == b.final["test"].confidence[k]).all()
