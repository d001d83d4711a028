from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.axes.heads import heads, probability
from harness.data.batches import Budget
from harness.data.samples import SPLITS, Data, Samples, Split, prepare
from harness.engines import driver, kernels, loop, numpy_engine
from harness.engines import stack_engine as stacked
from harness.engines.base import EngineOptions, learning_rates
from harness.engines.compiled import group, training
from harness.engines.members import as_slice, runs
from harness.engines.outcome import Outcome
from harness.engines.stacked import network, steps
from harness.engines.stacked.outputs import first_largest
from harness.planning import grouping
from harness.planning import plan as planning
from harness.study.trials import Arm, Trial, resolve

steady = settings(deadline=None, max_examples=40)  # time depends on the machine
ENGINES = pytest.mark.parametrize("engine", [stacked, loop, numpy_engine], ids=["stacked", "loop", "numpy"])


def trial(name: str = "base", **settings: Any) -> Trial:
    base: dict[str, Any] = {
        "dataset": "digits",
        "steps": 60,
        "batch_size": 32,
        "hidden": [8],
        "eval_every": "25 steps",
    }
    return Trial(f"t_{name}", Arm(name, resolve({**base, **settings})), 1)


def data_of(one: Trial) -> Data:
    return prepare(one.arm.settings, np.float64)


def outcome_of(engine: Any, one: Trial, data: Data | None = None, **options: Any) -> Outcome:
    outcome: Outcome = engine.train([one], data or data_of(one), dtype=np.float64, **options)
    return outcome


# ------------------------------------------------------------------------------------------------- pieces


@steady
@given(keys=st.lists(st.sampled_from("abc"), max_size=12))
def test_runs_are_of_equal_keys(keys: list[str]) -> None:
    found = list(runs(keys))
    assert [key for members, key in found for _ in members] == keys
    assert all(set(keys[as_slice(members)]) == {key} for members, key in found)
    assert all(a[1] != b[1] for a, b in itertools.pairwise(found))


@steady
@given(rows=st.lists(st.lists(st.integers(-3, 3), min_size=4, max_size=4), min_size=1, max_size=5))
def test_argmax_takes_the_first_of_equals(rows: list[list[int]]) -> None:
    f = torch.tensor(rows, dtype=torch.float32)
    assert first_largest(f).tolist() == np.argmax(np.array(rows), -1).tolist()


def test_a_prediction_of_nans_is_still_a_class() -> None:
    f = torch.tensor([[[torch.nan, 1.0, 2.0], [torch.nan] * 3, [torch.inf, torch.inf, 0.0]]])
    assert ((first_largest(f) >= 0) & (first_largest(f) <= 2)).all()


@pytest.mark.parametrize("name", ["identity", "sigmoid", "softmax", "log_softmax"])
def test_a_predictions_probability_is_its_class_probability(name: str) -> None:
    z = torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    head = heads[name]
    f = head.forward(z)
    p = torch.sigmoid(z) / torch.sigmoid(z).sum(-1, keepdim=True) if name == "sigmoid" else z.softmax(-1)
    best, chosen = p.max(-1)
    assert (first_largest(f) == chosen).all()
    torch.testing.assert_close(probability(head, f, chosen), best)


def test_learning_rates_are_each_members_own() -> None:
    members = [
        trial(lr=0.5),
        trial(lr=2.0, schedule="linear"),
        trial(lr=1.0, schedule="exponential", gamma=0.5),
    ]
    rates = learning_rates(members, Budget(10, 5, 4, (0, 4)))
    assert rates.T.tolist() == [[0.5] * 4, [2, 1.5, 1, 0.5], [1, 1, 0.5, 0.5]]


def test_the_plan_sorts_members_by_component() -> None:
    members = []
    for activation, centered, name in itertools.product(("relu", "tanh"), (False, True), ("rmsprop", "adam")):
        own: dict[str, Any] = {"centered": centered} if name == "rmsprop" else {"lr": 0.1 + centered}
        members.append(trial(f"{name} {centered} {activation}", optimizer=name, activation=activation, **own))
    ordered = sorted(members, key=grouping.order)
    assert len(list(runs([one.arm.settings["optimizer"] for one in ordered]))) == 2
    assert len(list(runs([one.arm.settings.get("centered") for one in ordered]))) == 3
    assert len(list(runs([one.arm.settings["activation"] for one in ordered]))) == 6


# ------------------------------------------------------------------------------------------- observations


def by_hand(weights: dict[str, Any], samples: Samples) -> tuple[float, float, Any, Any]:
    """Loss, accuracy, predictions and their probabilities of a one-layer ReLU network with CE, in NumPy."""
    hidden = np.maximum(samples.x @ weights["0.weight"].T + weights["0.bias"], 0)
    z = hidden @ weights["1.weight"].T + weights["1.bias"]
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    predicted = p.argmax(1)
    loss = -np.log(p[np.arange(len(p)), samples.y]).mean()
    return float(loss), float((predicted == samples.y).mean()), predicted, p.max(1)


@ENGINES
def test_final_observations_are_those_of_the_final_weights(engine: Any) -> None:
    one = trial(lr=0.5)
    data, outcome = data_of(one), outcome_of(engine, one)
    assert set(outcome.final) == {"train", "val", "test"}
    for split, seen in outcome.final.items():
        loss, accuracy, predicted, sure = by_hand(outcome.weights[0], data[split])
        assert seen.loss[0] == pytest.approx(loss, rel=1e-10)
        assert seen.accuracy[0] == pytest.approx(accuracy, abs=1e-12)
        assert (seen.predicted[0] == predicted).all()
        assert seen.confidence[0] == pytest.approx(sure, rel=1e-10)
    assert outcome.final["test"].accuracy[0] > 0.5


@ENGINES
def test_the_curve_begins_before_training_and_ends_with_the_final_weights(engine: Any) -> None:
    outcome = outcome_of(engine, trial())
    seen = [(point.step, point.split) for point in outcome.curve]
    assert seen == [(step, split) for step in (0, 25, 50, 60) for split in ("train", "val")]
    assert [point.epoch for point in outcome.curve[::2]] == [0, 25 / 41, 50 / 41, 60 / 41]
    assert outcome.curve[0].loss[0] == pytest.approx(np.log(10), abs=0.2)
    for point in outcome.curve[-2:]:
        assert point.loss[0] == outcome.final[point.split].loss[0]
    assert outcome.steps_done == 60
    assert outcome.epochs_done == pytest.approx(60 / 41)
    assert outcome.parameters.tolist() == [64 * 8 + 8 + 8 * 10 + 10]


@ENGINES
@pytest.mark.parametrize("split", ["val", "test"])
def test_only_train_decides_the_weights(engine: Any, split: Split) -> None:
    one = trial(optimizer="adam")
    data = data_of(one)
    held_out = data[split]
    changed: Any = {split: dataclasses.replace(held_out, pixels=-held_out.x, y=held_out.y[::-1].copy())}
    other = dataclasses.replace(data, **changed)
    a, b = outcome_of(engine, one, data), outcome_of(engine, one, other)
    assert all((a.weights[0][name] == b.weights[0][name]).all() for name in a.weights[0])
    assert a.final[split].loss[0] != b.final[split].loss[0]


@ENGINES
def test_evaluation_does_not_change_training(engine: Any) -> None:
    often, rarely = (outcome_of(engine, trial(eval_every=every)) for every in ("1 step", "60 steps"))
    assert all((often.weights[0][n] == rarely.weights[0][n]).all() for n in often.weights[0])


@ENGINES
def test_progress_rises_to_the_end(engine: Any) -> None:
    told: list[float] = []
    outcome_of(engine, trial(steps=200), options=EngineOptions(lambda fraction, _: told.append(fraction)))
    assert told == sorted(told)
    assert len(told) >= 2
    assert told[0] > 0
    assert told[-1] <= 1


def test_evaluation_in_chunks_is_evaluation_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = outcome_of(stacked, trial())
    monkeypatch.setattr(network, "EVALUATED_AT_ONCE", 1)
    monkeypatch.setattr(group, "EVALUATED_BYTES", 1)
    monkeypatch.setattr(loop, "EVALUATION_BATCH", 100)
    for engine in (stacked, loop):
        pieces = outcome_of(engine, trial())
        for split in SPLITS:
            a, b = whole.final[split], pieces.final[split]
            assert a.loss[0] == pytest.approx(b.loss[0], rel=1e-10)
            assert (a.predicted == b.predicted).all()


def test_the_step_of_divergence_does_not_depend_on_when_losses_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wild = trial(lr=1e9, loss="ql", preprocessing="raw", eval_every="60 steps")
    expected = outcome_of(loop, wild).diverged_step[0]
    assert expected > 1
    for kept in (1, 3, 64):
        monkeypatch.setattr(driver, "LOOK_EVERY", kept)
        monkeypatch.setattr(steps, "LOOK_EVERY", kept)
        monkeypatch.setattr(training, "LOOK_EVERY", kept)
        assert outcome_of(stacked, wild).diverged_step[0] == expected


def test_plain_sgd_keeps_no_gradient_of_layer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is accumulated into the weights; with weight decay, or any other optimizer, it is not."""
    monkeypatch.setattr(kernels, "why_not", lambda *_: "this test wants PyTorch")
    made: list[network.StackedNetwork] = []
    start = network.StackedNetwork.__init__

    def keep(self: network.StackedNetwork, *arguments: Any) -> None:
        start(self, *arguments)
        made.append(self)

    monkeypatch.setattr(network.StackedNetwork, "__init__", keep)
    for changed in ({}, {"weight_decay": 0.1}, {"optimizer": "adam"}):
        outcome_of(stacked, trial(steps=2, **changed))
    assert [bool(one.first.groups[0].grad_first.numel()) for one in made] == [False, True, True]


def test_arms_of_a_seed_start_from_the_same_weights_and_seeds_from_others(
    study_of: Callable[..., Any],
) -> None:
    plan = planning.make(study_of(axes={"activation": ["relu", "tanh"]}, epochs=1, lr=1e-300))
    (group,) = plan.stacks
    weights = stacked.train(group.trials, data_of(group.trials[0]), dtype=np.float64).weights
    by_seed = {
        seed: [w for t, w in zip(group.trials, weights, strict=True) if t.seed == seed] for seed in (0, 1)
    }
    for relu, tanh in by_seed.values():
        assert all((relu[name] == tanh[name]).all() for name in relu)
    assert not (by_seed[0][0]["0.weight"] == by_seed[1][0]["0.weight"]).any()
