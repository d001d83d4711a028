"""The result of a suggestion, combined from those of its trials."""

from __future__ import annotations

import math

import pytest
from optuna.trial import TrialState

from harness.searching.costs import training_flops
from harness.searching.outcomes import TrialResult, combine
from harness.study.reading import parse
from harness.study.searches import Search
from harness.study.trials import Trial, trials


def members(seeds: int = 2, **baseline: object) -> list[Trial]:
    tables = {"study": {"name": "s", "seeds": seeds}, "baseline": {"dataset": "digits"} | baseline}
    return trials(parse(tables))[0]


def results_of(*statuses: str, values: float = 0.5) -> dict[str, TrialResult]:
    own = members(len(statuses))
    curves = {"val_accuracy": {1: 0.25, 2: values}}
    return {
        trial.trial_id: TrialResult(status, "why", curves, 100)
        for trial, status in zip(own, statuses, strict=True)
    }


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        (("ok", "ok"), TrialState.COMPLETE),
        (("pruned", "pruned"), TrialState.PRUNED),
        (("ok", "diverged"), TrialState.FAIL),
        (("pruned", "diverged"), TrialState.FAIL),
        (("failed", "ok"), TrialState.FAIL),
    ],
)
def test_the_worst_of_the_seeds_decides(statuses: tuple[str, str], state: TrialState) -> None:
    result = combine(members(), results_of(*statuses), Search())
    assert result.state == state
    assert result.intermediate == {1: 0.25, 2: 0.5}
    assert result.reached == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_counts_as_diverged(value: float) -> None:
    result = combine(members(), results_of("ok", "ok", values=value), Search())
    assert (result.state, result.values) == (TrialState.FAIL, [])
    assert "not finite" in result.reason
    worst = combine(members(), results_of("ok", "ok", values=value), Search(diverged=0.1))
    assert (worst.state, worst.values) == (TrialState.COMPLETE, [0.1])
    assert worst.reason


def test_training_flops_are_those_of_the_products() -> None:
    (trial,) = members(1, hidden=[16], epochs=3, batch_size=100, val_fraction=0.0)
    samples, first, second = 3 * 1437, 64 * 16, 16 * 10
    assert training_flops(trial.arm.settings) == pytest.approx(samples * (4 * first + 6 * second), rel=1e-6)
    (trial,) = members(1, hidden=[16], steps=20, batch_size=100, val_fraction=0.0)
    # A pass is 14 batches of 100 and one of 37.
    assert training_flops(trial.arm.settings) == pytest.approx(
        (1437 + 500) * (4 * first + 6 * second), rel=1e-6
    )
