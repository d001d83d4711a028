"""Dropout and label smoothing: a stack's masks, what a module does with them, evaluations without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harness.axes import formulas
from harness.data.samples import prepare
from harness.engines import loop
from harness.engines import numpy_engine as by_hand
from harness.engines import stack_engine as engine
from harness.engines.base import uniforms
from harness.engines.regularisation import Masks, SeededDropout, seed_dropout, smoothing
from harness.engines.stacked.network import StackedNetwork
from harness.study.trials import Arm, Trial, resolve

CPU = torch.device("cpu")
ENGINES: dict[str, Any] = {"stacked": engine, "loop": loop, "numpy": by_hand}
every_engine = pytest.mark.parametrize("engine", ENGINES)


def trial(seed: int = 0, **settings: Any) -> Trial:
    base: dict[str, Any] = {"dataset": "digits", "hidden": [16, 12], "steps": 30, "eval_every": "10 steps"}
    return Trial(f"t{seed}", Arm("one", resolve({**base, **settings})), seed)


def masks(*members: Trial, dtype: torch.dtype = torch.float32) -> Masks:
    return Masks(members, members[0].arm.settings["hidden"], CPU, dtype)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------- dropout


def test_the_masks_of_one_step_are_pinned() -> None:
    """Of seed 0, the first hidden layer, step 1: changing these is a matter of trials.SEMANTICS."""
    (mask,) = masks(trial(hidden=[3], dropout=0.5)).at(1, 4)
    assert mask.tolist() == [[[0.0, 0.0, 2.0, 0.0], [0.0, 2.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_member_has_its_own_seeds_masks_at_its_own_share(dtype: torch.dtype) -> None:
    members = [trial(seed, dropout=p) for seed, p in ((4, 0.3), (0, 0.0), (0, 0.7), (4, 0.0), (4, 0.1))]
    drawn = masks(*members, dtype=dtype).at(9, 5)
    assert [mask.shape for mask in drawn] == [(5, 16, 5), (5, 12, 5)]
    for layer, mask in enumerate(drawn):
        assert mask.dtype == dtype
        for k, member in enumerate(members):
            u = uniforms(member.seed, layer, 9, mask.shape[1], 5)
            expected = formulas.dropout_mask(u, float(member.arm.settings["dropout"]), mask.numpy().dtype)  # type: ignore[arg-type]
            assert np.array_equal(mask[k].numpy(), expected)
            assert (expected == 1).all() or member.arm.settings["dropout"]


def test_members_that_agree_share_one_mask() -> None:
    assert [mask.shape for mask in masks(*[trial(dropout=0.2)] * 3).at(1, 7)] == [(1, 16, 7), (1, 12, 7)]
    assert masks(trial(0, dropout=0.2), trial(1, dropout=0.2)).at(1, 7)[0].shape == (2, 16, 7)


@pytest.mark.parametrize("members", [[trial(), trial(1)], [trial(hidden=[], dropout=0.5)]])
def test_without_dropout_there_are_no_masks(members: list[Trial]) -> None:
    assert masks(*members).at(1, 8) == []


def test_more_dropout_leaves_out_the_same_units_and_others_besides() -> None:
    (mask, _) = masks(*(trial(dropout=p) for p in (0.1, 0.2, 0.4))).at(3, 50)
    left_out = mask == 0
    assert (left_out[:-1] <= left_out[1:]).all()
    assert left_out.sum((1, 2)).diff().gt(0).all()


@pytest.mark.parametrize("p", [0.2, 0.5, 0.99])
def test_masks_leave_the_mean_as_it_is(p: float) -> None:
    every = masks(trial(hidden=[64], dropout=p))
    mean = torch.stack([every.at(step, 64)[0] for step in range(1, 41)]).mean()
    error = (p / (1 - p) / (40 * 64 * 64)) ** 0.5
    assert mean.item() == pytest.approx(1, abs=4 * error)


def test_a_dropout_share_close_to_1_divides_by_no_zero() -> None:
    (mask,) = masks(trial(hidden=[8], dropout=1 - 1e-16)).at(1, 8)
    assert (mask == 0).all()


def test_the_module_leaves_out_what_the_stack_does_and_nothing_in_inference_mode() -> None:
    one = trial(seed=2, dropout=0.3)
    net = nn.Sequential(nn.Linear(9, 16), nn.Dropout(0.3), nn.Linear(16, 12), nn.Dropout(0.3))
    layers = seed_dropout(net, one)
    assert [str(layer) for layer in layers] == ["SeededDropout(p=0.3)"] * 2
    assert [net[1], net[3]] == layers
    for layer, mask in zip(layers, masks(one).at(5, 6), strict=True):
        layer.begin(5)
        x = torch.rand(6, mask.shape[1])
        assert torch.equal(layer(x), x * mask[0].T)
        assert layer.eval()(x) is x


def test_the_dropout_module_masks_the_gradient_alike() -> None:
    layer = SeededDropout(0.5, 0, 0)
    layer.begin(1)
    x = torch.ones(4, 8, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_the_dropout_of_any_network_is_drawn_from_the_trials_stream() -> None:
    net = nn.Sequential(nn.Dropout(0.3), nn.Sequential(nn.Dropout2d(0.5)), nn.AlphaDropout(0.1))
    first, second = seed_dropout(net, trial())
    assert net[0] is first
    assert isinstance(net[2], nn.AlphaDropout)  # which knows torch's generator alone
    first.begin(7)
    second.begin(7)
    x = torch.ones(5, 4, 3, 2)
    u = torch.from_numpy(uniforms(0, 0, 7, 24, 5).T.copy()).view(5, 4, 3, 2)
    assert torch.equal(first(x), (u >= 0.3) / torch.tensor(0.7))
    u = torch.from_numpy(uniforms(0, 1, 7, 4, 5).T.copy())[:, :, None, None]
    assert torch.equal(second(x), (u >= 0.5).expand(x.shape) * 2.0)  # whole channels
    assert not torch.equal(second(x), (u >= 0.5).expand(x.shape) * 2.0)  # used again in the same step
    second.begin(7)
    assert torch.equal(second(x), (u >= 0.5).expand(x.shape) * 2.0)
    second.eval()
    assert second(x) is x


# --------------------------------------------------------------------------------------------- evaluations


@every_engine
def test_evaluations_use_the_whole_network_and_plain_labels(engine: str) -> None:
    one = trial(dropout=0.5, label_smoothing=0.3, steps=25)
    data = prepare(one.arm.settings, np.float64)
    outcome = ENGINES[engine].train([one], data, dtype=np.float64)
    network = by_hand.NumpyNetwork(one, data.inputs, 10, np.float64)
    for array, name in zip(network.parameters, network.named(), strict=True):
        array[:] = outcome.weights[0][name]
    for split, seen in outcome.final.items():
        y = nn.functional.one_hot(torch.from_numpy(data[split].y), 10).double().numpy()
        logits = network.forward(data[split].x).f
        assert seen.loss[0] == pytest.approx(formulas.cross_entropy(logits, y).mean(), rel=1e-12)
        assert np.array_equal(seen.predicted[0], logits.argmax(1))


@every_engine
def test_the_number_of_evaluations_changes_no_mask(engine: str) -> None:
    data = prepare(trial().arm.settings)
    rare, often = (
        ENGINES[engine].train([trial(dropout=0.5, eval_every=f"{every} steps")], data).weights[0]
        for every in (30, 1)
    )
    assert all(np.array_equal(rare[name], often[name]) for name in rare)


# ---------------------------------------------------------------------------------------- label smoothing


@pytest.mark.parametrize("s", [0.0, 0.1, 0.9])
def test_the_loop_engines_training_loss_equals_torchs(s: float) -> None:
    z = torch.randn(20, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.arange(20) % 10
    loss = loop.LossFunction(trial(label_smoothing=s), 10, torch.float64, CPU)
    torch.testing.assert_close(loss(z, y).mean(), nn.CrossEntropyLoss(label_smoothing=s)(z, y))
    torch.testing.assert_close(loss.eval()(z, y).mean(), nn.CrossEntropyLoss()(z, y))


def test_the_stacks_training_loss_equals_torchs_for_each_member() -> None:
    shares = [0.1, 0.0, 0.4]
    members = [trial(label_smoothing=s, steps=1) for s in shares]
    data = prepare(members[0].arm.settings, np.float64)
    stack = StackedNetwork(members, data, [], CPU, torch.float64)
    y = torch.from_numpy(data.train.y[:32])
    target = nn.functional.one_hot(y, 10).double()
    z = (
        stack.forward(stack.first.images(data.train).at(torch.arange(32)[None]))[0]
        .z[-1]
        .clone()
        .requires_grad_()
    )
    expected = torch.stack(
        [nn.CrossEntropyLoss(label_smoothing=s)(own.T, y) for s, own in zip(shares, z, strict=True)]
    )
    (gradient,) = torch.autograd.grad(expected.sum(), z)
    for targets in (target, target.expand(3, -1, -1)):  # shared by the members, or each with its own
        loss, grad = stack.outputs.loss_and_gradient(z.detach(), targets)
        torch.testing.assert_close(loss, expected.detach())
        torch.testing.assert_close(grad, gradient)


def test_smoothing_equals_the_formula_and_is_absent_without_smoothed_members() -> None:
    target = torch.eye(4, dtype=torch.float64)
    smooth = smoothing([trial(label_smoothing=0.2)] * 2, 4, CPU, torch.float64)
    assert smooth is not None
    assert smooth(target).shape == (4, 4)  # members that agree share a target
    np.testing.assert_allclose(smooth(target).numpy(), formulas.smoothed(np.eye(4), 0.2), rtol=1e-15)
    own = smoothing([trial(label_smoothing=0.2), trial()], 4, CPU, torch.float64)
    assert own is not None
    assert torch.equal(own(target)[0], smooth(target))
    assert torch.equal(own(target)[1], target)
    assert smoothing([trial()], 4, CPU, torch.float64) is None
