"""The pruner that extrapolates: it stops only what its measured errors let it stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import Trial, TrialState, create_trial

from harness import stats
from harness.searching import loop, pruners
from harness.study.reading import parse
from harness.study.searches import Direction, Pruning

pytestmark = pytest.mark.usefixtures("quiet_optuna")

PRUNING = Pruning(name="extrapolation", control=1000)


def new(curves: np.ndarray, pruning: Pruning = PRUNING, direction: Direction = "maximize") -> optuna.Study:
    """Make a study whose first trials are these curves, finished."""
    sampler = optuna.samplers.RandomSampler(seed=0)
    pruner = pruners.make(pruning, evaluations=curves.shape[1])
    study = optuna.create_study(direction=direction, pruner=pruner, sampler=sampler)
    finish(study, curves)
    return study


def finish(study: optuna.Study, curves: np.ndarray) -> None:
    for curve in curves.tolist():
        steps = {i + 1: value for i, value in enumerate(curve)}
        attributes = {pruners.BATCH: 0, pruners.EVALUATIONS: len(curve)}
        study.add_trial(create_trial(value=curve[-1], intermediate_values=steps, user_attrs=attributes))


def begun(study: optuna.Study, values: Sequence[float], evaluations: int = 5) -> Trial:
    """Ask for a trial that has reported these values."""
    member = study.ask()
    member.set_user_attr(pruners.BATCH, 1)
    member.set_user_attr(pruners.EVALUATIONS, evaluations)
    for i, value in enumerate(values, 1):
        member.report(value, i)
    return member


def straight(count: int, seed: int = 0) -> np.ndarray:
    """Rise evenly by 0.1 to ends between 0.3 and 0.9, but for a little noise."""
    rng = np.random.default_rng(seed)
    end = np.linspace(0.3, 0.9, count)
    return end[:, None] - 0.1 * np.linspace(1, 0, 5) + rng.normal(0, 0.005, (count, 5))


def test_what_ends_below_the_best_is_stopped_and_what_may_be_the_best_goes_on() -> None:
    study = new(straight(30))
    assert begun(study, [0.5]).should_prune()
    assert not begun(study, [0.8]).should_prune()
    assert not begun(study, [0.85]).should_prune()


def test_nothing_is_stopped_before_enough_curves_are_finished_to_know_the_error() -> None:
    study = new(straight(stats.least_curves(0.95) - 1))
    assert not begun(study, [0.0]).should_prune()
    finish(study, straight(1))
    assert begun(study, [0.0]).should_prune()


def test_late_risers_have_made_the_error_large_so_that_no_early_value_is_hopeless() -> None:
    curves = straight(30)
    curves[::3, :3] = 0.1  # a third stands still at chance, and rises at the end
    curves[::3, -1] = np.linspace(0.5, 0.95, 10)
    study = new(curves)
    assert not begun(study, [0.1, 0.1, 0.1]).should_prune()
    assert begun(study, [0.1, 0.1, 0.1, 0.3]).should_prune()


def test_a_loss_is_judged_the_other_way_round() -> None:
    study = new(-straight(30), direction="minimize")
    assert begun(study, [-0.5]).should_prune()
    assert not begun(study, [-0.85]).should_prune()


def test_one_suggestion_in_so_many_is_never_stopped_by_a_prediction() -> None:
    study = new(straight(30), Pruning(name="extrapolation", control=4))
    members = [begun(study, [0.3]) for _ in range(8)]
    assert [member.should_prune() for member in members] == [m.number % 4 != 0 for m in members]
    assert begun(study, [math.nan]).number % 4
    assert begun(study, [math.nan]).should_prune()


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_a_suggestion_without_a_number_is_stopped_even_without_curves(lost: float) -> None:
    assert begun(new(straight(1)), [0.9, lost]).should_prune()


def test_only_curves_of_as_many_evaluations_foretell_an_end() -> None:
    study = new(straight(30))
    assert not begun(study, [0.1], evaluations=9).should_prune()
    assert not begun(study, [0.1] * 5, evaluations=5).should_prune()  # it has come to its end


def test_pruned_and_diverged_suggestions_are_no_finished_curves() -> None:
    study = new(straight(18))
    attributes = {pruners.BATCH: 0, pruners.EVALUATIONS: 5}
    for state in (TrialState.PRUNED, TrialState.FAIL):
        study.add_trial(create_trial(state=state, intermediate_values={1: 0.5}, user_attrs=attributes))
    # One that diverged after two evaluations, and counts as a declared worst value.
    worst = create_trial(value=0.1, intermediate_values={1: 0.5, 2: 0.6}, user_attrs=attributes)
    study.add_trial(worst)
    assert not begun(study, [0.0]).should_prune()
    finish(study, straight(1))
    assert begun(study, [0.0]).should_prune()


def test_the_first_evaluation_that_is_judged_can_be_a_later_one() -> None:
    study = new(straight(30), Pruning(name="extrapolation", first=3, control=1000))
    assert not begun(study, [0.1, 0.1]).should_prune()
    assert begun(study, [0.1, 0.1, 0.1]).should_prune()


def test_a_rebuilt_search_stops_the_same() -> None:
    rng = np.random.default_rng(3)
    curves = straight(40, seed=2) + rng.normal(0, 0.05, (40, 5))
    values = rng.uniform(0.2, 0.9, 20).tolist()
    decided: list[list[bool]] = []
    for study in (new(curves), new(curves)):
        members = [begun(study, [value]) for value in values]
        order = range(20) if not decided else reversed(range(20))
        stops = {i: members[i].should_prune() for i in order}
        decided.append([stops[i] for i in range(20)])
    assert decided[0] == decided[1]
    assert 0 < sum(decided[0]) < 20


def searched(folder: Path, **search: object) -> pd.DataFrame:
    """Search on digits, and return suggestions.csv without times."""
    study = parse(
        {
            "study": {"name": "s", "design": "search", "seeds": 2},
            "baseline": {"dataset": "digits", "hidden": [8], "epochs": 4, "batch_size": 64},
            "search": {"sampler": "random", "finalists": 1, **search},
            "space": {"lr": {"low": 1e-4, "high": 1.0, "log": True}, "activation": ["relu", "tanh"]},
        }
    )
    return loop.search(study, folder, workers=1).suggestions.drop(columns="seconds")


def test_a_search_stops_what_is_hopeless_and_spares_its_control_group(tmp_path: Path) -> None:
    pruner = {"name": "extrapolation", "confidence": 0.8, "control": 3}
    table = searched(tmp_path / "a", suggestions=24, batch=6, pruner=pruner)
    assert table["state"].isin(["complete", "pruned"]).all()
    pruned = table[table["state"].eq("pruned")]
    assert len(pruned) > 4
    assert pruned["batch"].min() > 0
    assert not pruned["number"].mod(3).eq(0).any()
    best = table[table["state"].eq("complete")]["val_accuracy"].max()
    assert (pruned["val_accuracy"] < best).all()
    again = searched(tmp_path / "b", suggestions=24, batch=6, pruner=pruner)
    pd.testing.assert_frame_equal(again, table)


def test_a_top_k_search_finishes_as_many_as_it_keeps(tmp_path: Path) -> None:
    table = searched(tmp_path, suggestions=9, batch=3, pruner={"name": "top-k", "keep": 2})
    assert table["state"].value_counts().to_dict() == {"pruned": 7, "complete": 2}
    pruned = table[table["state"].eq("pruned")]
    assert pruned["evaluations"].eq(1).all()
    assert table.loc[table["state"].eq("complete"), "evaluations"].eq(4).all()
