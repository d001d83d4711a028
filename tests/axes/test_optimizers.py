from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.axes import formulas
from harness.axes.optimizers import Optimizer, optimizers
from harness.check import component
from harness.settings import TYPES, Value

every = pytest.mark.parametrize("name", [entry.name for entry in optimizers])
with_class = pytest.mark.parametrize("name", [e.name for e in optimizers if e.component.torch_class])
STEPS = 60
# (setting, values of the members of a stack), one variation at a time and some together.
VARIATIONS: list[dict[str, list[Any]]] = [
    {},
    {"weight_decay": [0.1, 0.0, 0.02]},
    {"momentum": [0.5, 0.0, 0.95]},
    {"momentum": [0.5, 0.8, 0.95], "weight_decay": [0.1, 0.2, 0.02]},
    {"dampening": [0.5, 0.0, 0.1]},
    {"momentum": [0.4, 0.6, 0.8], "dampening": [0.1, 0.2, 0.3], "weight_decay": [0.01, 0.02, 0.03]},
    {"alpha": [0.9, 0.5, 0.99]},
    {"centered": [True] * 3},
    {"centered": [True] * 3, "momentum": [0.5, 0.6, 0.7], "weight_decay": [0.1, 0.0, 0.2]},
    {"eps": [1e-3, 1e-8, 1.0]},
    {"betas": [[0.5, 0.9], [0.9, 0.99], [0.0, 0.5]]},
    {"betas": [[0.8, 0.9], [0.9, 0.99], [0.7, 0.95]], "eps": [0.01, 1e-4, 1e-6], "weight_decay": [0.1, 0, 0]},
    {"amsgrad": [True] * 3},
    {"amsgrad": [True] * 3, "weight_decay": [0.1, 0.0, 0.2], "eps": [1e-2, 1e-4, 1e-6]},
    {"lr_decay": [0.1, 0.0, 0.01]},
    {"initial_accumulator_value": [0.5, 0.0, 0.1]},
    {"lr_decay": [0.1, 0.2, 0.01], "initial_accumulator_value": [0.5, 0.3, 0.1], "weight_decay": [0.1, 0, 0]},
]  # fmt: skip


def settings_of(optimizer: Optimizer) -> dict[str, Any]:
    return {name: setting.default for name, setting in optimizer.settings.items()}


def pairs() -> list[Any]:
    """Each optimizer with each variation of settings it has."""
    return [
        pytest.param(entry.name, varied, id=f"{entry.name}-{'+'.join(varied) or 'defaults'}")
        for entry in optimizers
        for varied in VARIATIONS
        if set(varied) <= set(entry.component.settings)
    ]


def start() -> Tensor:
    return torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def slope(p: Tensor, t: int) -> Tensor:
    """A bumpy gradient, element by element, with an exact 0 now and then, as dead pixels give."""
    grad = torch.sin(3 * p + t) + 0.1 * p
    grad[..., 0] = 0 if t % 3 else 1e-3
    return grad


def arguments(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def by_torch(optimizer: Optimizer, p: Tensor, settings: dict[str, Any], rates: list[float]) -> Tensor:
    assert optimizer.torch_class is not None
    factory = getattr(torch.optim, optimizer.torch_class)
    p = p.clone().requires_grad_()
    # torch refuses Nesterov without momentum, which is plain SGD.
    fixed = optimizer.torch_settings if settings.get("momentum") != 0 else {}
    reference = factory([p], **arguments(settings), **fixed)
    for t, rate in enumerate(rates, 1):
        p.grad = slope(p.detach(), t)
        reference.param_groups[0]["lr"] = rate
        reference.step()
    return p.detach()


def by_us(optimizer: Optimizer, p: Tensor, settings: dict[str, Any], rates: list[Any]) -> Tensor:
    p, state = p.clone(), dict[str, Tensor]()
    own = {name: value for name, value in settings.items() if name != "lr"}
    for t, rate in enumerate(rates, 1):
        optimizer.update(p, slope(p, t), state, t, lr=rate, **arguments(own))
    return p


def tensor_settings(members: list[dict[str, Any]]) -> dict[str, Any]:
    """What a stack passes where members have their own: float64 (k, 1), pairs of them, or a switch."""

    def column(values: list[Any]) -> Any:
        if isinstance(values[0], bool):
            return values[0]
        if isinstance(values[0], list):
            return [column(list(part)) for part in zip(*values, strict=True)]
        return torch.tensor(values, dtype=torch.float64)[:, None]

    return {name: column([member[name] for member in members]) for name in members[0]}


def rates_of(lr: float) -> list[float]:
    """A schedule, so that a rate that changes is covered."""
    return [lr * (1 + 0.5 * math.cos(t)) for t in range(STEPS)]


def members_of(optimizer: Optimizer, varied: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [settings_of(optimizer) | {name: values[k] for name, values in varied.items()} for k in range(3)]


@every
def test_contract(name: str) -> None:
    assert component("optimizer", name)


def by_counter(optimizer: Optimizer, p: Tensor, settings: dict[str, Any], rates: list[Any]) -> Tensor:
    """As `by_us`, with the step's number as a tensor, which is what a replayed step has."""
    p, state, counter = p.clone(), dict[str, Tensor](), torch.zeros((), dtype=torch.float64)
    own = {name: value for name, value in settings.items() if name != "lr"}
    for t, rate in enumerate(rates, 1):
        counter.add_(1)
        optimizer.update(p, slope(p, t), state, counter, lr=rate, **arguments(own))
    assert counter == len(rates)
    return p


@pytest.mark.parametrize(("name", "varied"), pairs())
def test_the_step_number_may_be_a_tensor(name: str, varied: dict[str, list[Any]]) -> None:
    optimizer, members = optimizers[name], members_of(optimizers[name], varied)
    for settings in (members[0], tensor_settings(members)):
        rates = [settings["lr"]] * STEPS
        got, expected = (way(optimizer, start(), settings, rates) for way in (by_counter, by_us))
        assert torch.allclose(got, expected, rtol=1e-13, atol=1e-15)
    rates = rates_of(float(members[0]["lr"]))
    one = [torch.tensor([[rate]], dtype=torch.float64) for rate in rates]  # as a schedule's comes to a graph
    got = by_counter(optimizer, start(), members[0], one)
    assert torch.allclose(got, by_us(optimizer, start(), members[0], rates), rtol=1e-12, atol=1e-14)


def test_the_registry_has_the_components_of_the_readme() -> None:
    names = {entry.name for entry in optimizers}
    assert names >= {"sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "adagrad"}


@pytest.mark.parametrize(("name", "varied"), pairs())
def test_uniform_settings_are_torchs(name: str, varied: dict[str, list[Any]]) -> None:
    optimizer = optimizers[name]
    if optimizer.torch_class is None:
        pytest.skip("torch.optim has no such class")
    for settings in members_of(optimizer, varied):
        rates = rates_of(settings["lr"])
        ours, theirs = (
            by_us(optimizer, start(), settings, rates),
            by_torch(optimizer, start(), settings, rates),
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13)
        assert (ours - start()).abs().max() > 1e-3


@pytest.mark.parametrize(("name", "varied"), pairs())
def test_settings_of_each_members_own_are_torchs(name: str, varied: dict[str, list[Any]]) -> None:
    """K members in one stack, each as torch trains it alone."""
    optimizer = optimizers[name]
    if optimizer.torch_class is None:
        pytest.skip("torch.optim has no such class")
    members = members_of(optimizer, varied)
    table = [[r * (k + 1) for k in range(3)] for r in rates_of(members[0]["lr"])]
    rates = [torch.tensor(row, dtype=torch.float64)[:, None] for row in table]
    ours = by_us(optimizer, start(), tensor_settings(members), rates)
    for k, settings in enumerate(members):
        own_rates = [row[k] for row in table]
        theirs = by_torch(optimizer, start()[k], settings, own_rates)
        torch.testing.assert_close(ours[k], theirs, rtol=1e-11, atol=1e-13)


@every
def test_a_stack_updates_its_members_as_one_by_one(name: str) -> None:
    optimizer = optimizers[name]
    if not optimizer.stackable:
        pytest.skip("declared stackable = False")
    settings = settings_of(optimizer)
    rates = rates_of(settings["lr"])
    together = by_us(optimizer, start(), settings, rates)
    alone = torch.cat([by_us(optimizer, member[None], settings, rates) for member in start()])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-14)


@with_class
def test_float32_parameters_stay_float32_under_float64_settings(name: str) -> None:
    optimizer = optimizers[name]
    members = [settings_of(optimizer)] * 3
    rates = [torch.full((3, 1), members[0]["lr"], dtype=torch.float64)] * STEPS
    p = by_us(optimizer, start().float(), tensor_settings(members), rates)
    assert p.dtype is torch.float32
    expected = by_us(optimizer, start(), members[0], [members[0]["lr"]] * STEPS)
    torch.testing.assert_close(p.double(), expected, rtol=1e-3, atol=1e-4)


@with_class
def test_defaults_are_torchs_but_for_the_learning_rate(name: str) -> None:
    optimizer = optimizers[name]
    assert optimizer.torch_class is not None
    factory = getattr(torch.optim, optimizer.torch_class)
    defaults = factory([torch.zeros(1)], lr=0.1).defaults
    for setting, value in arguments(settings_of(optimizer)).items():
        # torch has one class for SGD with and without momentum: momentum is why ours have names.
        if setting != "lr" and (name, setting) not in {
            ("momentum", "momentum"),
            ("nesterov", "momentum"),
        }:
            assert value == defaults[setting], setting


@every
def test_every_setting_has_limits_and_a_default_within_them(name: str) -> None:
    for setting in optimizers[name].settings.values():
        value: Value | None = setting.default
        assert value is not None
        assert setting.check(value) == value
        assert setting.name in TYPES or isinstance(value, bool), (
            f"{setting.name} has no limits in settings.TYPES"
        )


def parabola(p: Tensor) -> Tensor:
    return ((p - torch.tensor([1.0, -2.0], dtype=torch.float64)) ** 2).sum(-1)


def rosenbrock(p: Tensor) -> Tensor:
    return (1 - p[..., 0]) ** 2 + 100 * (p[..., 1] - p[..., 0] ** 2) ** 2


def minimised(
    optimizer: Optimizer, function: Any, lr: float, steps: int, at: list[float]
) -> tuple[float, float]:
    p, state = torch.tensor([at], dtype=torch.float64), dict[str, Tensor]()
    settings = arguments({key: value for key, value in settings_of(optimizer).items() if key != "lr"})
    before = function(p).item()
    for t in range(1, steps + 1):
        x = p.clone().requires_grad_()
        (grad,) = torch.autograd.grad(function(x).sum(), x)
        optimizer.update(p, grad, state, t, lr=lr, **settings)
    return before, function(p).item()


@every
def test_the_default_rate_reaches_the_minimum_of_a_parabola(name: str) -> None:
    optimizer = optimizers[name]
    lr = settings_of(optimizer)["lr"]
    before, after = minimised(optimizer, parabola, lr, 200, [3.0, 1.0])
    assert after < before
    _, at_last = minimised(optimizer, parabola, 0.1, 400, [3.0, 1.0])
    assert at_last < 0.1 * before


@every
def test_rosenbrocks_valley_is_descended(name: str) -> None:
    optimizer = optimizers[name]
    lr = {"sgd": 5e-4, "momentum": 1e-4, "nesterov": 1e-4}.get(name, 1e-2)
    before, after = minimised(optimizer, rosenbrock, lr, 800, [-1.0, 1.5])
    assert after < before / 5


def test_a_centered_variance_that_rounding_makes_negative_is_zero() -> None:
    """Equal gradients have no variance: the square of their mean comes out a little above the mean square."""
    settings: dict[str, Any] = {
        "lr": 1e-3, "alpha": 0.5, "eps": 1e-3, "momentum": 0.0, "centered": True, "weight_decay": 0.0,
    }  # fmt: skip
    grad = torch.linspace(0.1, 3.0, 200)
    param, held = torch.zeros(1, 200), np.zeros(200, np.float32)
    state: dict[str, Tensor] = {}
    kept: dict[str, Any] = {}
    for t in range(1, 60):
        optimizers["rmsprop"].update(param, grad[None].clone(), state, t, **settings)
        formulas.rmsprop(held, grad.numpy().copy(), kept, t, **settings)
    assert (state["square"] - state["mean"] ** 2).min() < 0
    assert param.isfinite().all()
    assert np.isfinite(held).all()
