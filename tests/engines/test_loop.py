from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harness.axes.architectures import architectures
from harness.axes.optimizers import optimizers
from harness.data.batches import Budget, epoch_order
from harness.data.samples import prepare
from harness.engines import loop
from harness.engines.base import batch_indices
from harness.engines.outcome import Outcome
from harness.planning import plan as planning
from harness.study.trials import Arm, Trial, resolve

with_class = pytest.mark.parametrize("name", [e.name for e in optimizers if e.component.torch_class])


def trial(seed: int = 1, **settings: Any) -> Trial:
    base: dict[str, Any] = {
        "dataset": "digits",
        "steps": 60,
        "batch_size": 32,
        "hidden": [8],
        "eval_every": "30 steps",
    }
    return Trial("t", Arm("t", resolve({**base, **settings})), seed)


def outcome_of(one: Trial, dtype: Any = np.float32) -> Outcome:
    return loop.train([one], prepare(one.arm.settings, dtype), dtype=dtype)


def same_bits(a: Outcome, b: Outcome) -> bool:
    return all((a.weights[0][name] == b.weights[0][name]).all() for name in a.weights[0])


def narrow(
    inputs: int, classes: int, activation: Callable[[], nn.Module], *, share: float = 0.2
) -> nn.Module:
    """A network with noise, and with statistics of its own."""
    return nn.Sequential(
        nn.Linear(inputs, 12), nn.BatchNorm1d(12), activation(), nn.Dropout(share), nn.Linear(12, classes)
    )


@pytest.fixture
def noisy() -> Iterator[str]:
    architectures.register("noisy")(narrow)
    yield "noisy"
    architectures.remove("noisy")


def test_the_loop_engine_trains_one_trial_at_a_time() -> None:
    one = trial()
    with pytest.raises(ValueError, match="too many values"):
        loop.train([one, one], prepare(one.arm.settings))


@with_class
def test_the_loop_engine_uses_torchs_own_optimizer(name: str) -> None:
    one = trial(optimizer=name)
    made = loop.make_optimizer(one, nn.Linear(2, 2))
    assert type(made).__name__ == optimizers[name].torch_class
    group = made.param_groups[0]
    for setting in optimizers[name].settings:
        value = one.arm.settings[setting]
        assert group[setting] == (tuple(value) if isinstance(value, list) else value)
    assert all(group[key] == value for key, value in optimizers[name].torch_settings.items())


def test_the_loop_engine_centers_rmsprop_as_the_other_engines_do() -> None:
    made = loop.make_optimizer(trial(optimizer="rmsprop", centered=True), nn.Linear(2, 2))
    assert isinstance(made, loop.UpdateOptimizer), "torch's has no floor under the variance"


@pytest.mark.parametrize("sampling", ["shuffle", "sequential", "replacement"])
def test_batches_are_slices_of_the_epochs_order(sampling: str) -> None:
    one, budget = trial(sampling=sampling, epochs=2), Budget(50, 16, 8, (0, 8))
    batches = [index.tolist() for index in batch_indices(one, budget)]
    assert [len(batch) for batch in batches] == (
        [16] * 8 if sampling == "replacement" else [16, 16, 16, 2] * 2
    )
    for epoch in range(2):
        seen = [index for batch in batches[4 * epoch : 4 * epoch + 4] for index in batch]
        assert seen == epoch_order(1, epoch, budget, sampling).tolist()


def test_global_random_states_are_left_alone() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]  # noqa: NPY002
    outcome_of(trial(steps=5))
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


def test_an_architecture_of_a_third_party_learns(noisy: str, study_of: Callable[..., Any]) -> None:
    outcome = outcome_of(trial(architecture=noisy, share=0.1, steps=200, batch_size=16))
    assert outcome.final["test"].accuracy[0] > 0.7
    assert {"0.weight", "1.running_mean", "4.bias"} <= set(outcome.weights[0])
    assert outcome.parameters.tolist() == [64 * 12 + 12 + 24 + 12 * 10 + 10]
    plan = planning.make(study_of(architecture=noisy))
    assert plan.routed == {}


def test_a_noisy_architecture_repeats_bit_for_bit(noisy: str) -> None:
    one = trial(architecture=noisy)
    first = outcome_of(one)
    torch.rand(3)  # whatever else has drawn since
    assert same_bits(first, outcome_of(one))
    assert not same_bits(first, outcome_of(trial(seed=2, architecture=noisy)))


def test_a_noisy_architecture_is_evaluated_in_inference_mode(noisy: str) -> None:
    """Dropout off, running statistics: what the final weights give, and the same every time."""
    one = trial(architecture=noisy)
    data, outcome = prepare(one.arm.settings), outcome_of(one)
    network = narrow(64, 10, nn.ReLU).eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in outcome.weights[0].items()})
    with torch.no_grad():
        z = network(torch.from_numpy(data.test.x))
    loss = nn.functional.cross_entropy(z, torch.from_numpy(data.test.y)).item()
    assert outcome.final["test"].loss[0] == pytest.approx(loss, rel=1e-5)
    assert (outcome.final["test"].predicted[0] == z.argmax(1).numpy()).all()


def test_evaluations_do_not_change_a_noisy_architecture(noisy: str) -> None:
    often, rarely = (
        outcome_of(trial(architecture=noisy, eval_every=every)) for every in ("5 steps", "60 steps")
    )
    assert same_bits(often, rarely)
