"""Contract tests that a component inherits, a third party's too, and the trial by which plans decide routes.

Example, for a test suite of your own:
    >>> check_component("activation", "relu")
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from harness import plugins
from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.axes.losses import Loss, losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import State, optimizers

MEMBERS, SAMPLES, CLASSES, STEPS = 3, 6, 5, 4


def stacks(axis: str, name: str) -> bool:
    """Whether K members in one stack get, to rounding, what each gets alone.

    Args:
        axis: "activation", "head", "loss" or "optimizer".
        name: a registered component.
    """
    together, alone = {
        "activation": _activation, "head": _head, "loss": _loss, "optimizer": _optimizer
    }[axis](name)  # fmt: skip
    return all(torch.allclose(t, a, rtol=1e-9, atol=1e-12) for t, a in zip(together, alone, strict=True))


def check_component(axis: str, name: str) -> None:
    """The contract of any component: described, finite, differentiable, and stackable where it says so.

    Raises:
        AssertionError: it breaks the contract; says which part.
    """
    entry = plugins.catalogue()[axis].entry(name)
    assert entry.summary, f"{axis} {name!r} needs a docstring for `harness list`"  # noqa: S101
    if axis in {"activation", "head", "loss"}:
        _check_derivative(axis, name)
    if axis == "metric":
        fault = metric_fault(name)
        assert not fault, f"metric {name!r} {fault}"  # noqa: S101
    if axis in {"activation", "head", "loss", "optimizer"} and getattr(entry.component, "stackable", True):
        assert stacks(axis, name), f"{axis} {name!r} treats a stack otherwise than its members"  # noqa: S101


def metric_fault(name: str) -> str:
    """What a metric does otherwise than it should, in words; empty where nothing is wrong with it.

    It gives finite values, one a sample, and to the members of a stack what it gives to each alone.
    """
    function = metrics[name].function
    p = _noise(MEMBERS, SAMPLES, CLASSES).softmax(-1)
    target = _target().expand_as(p)
    try:
        alone, together = [function(p[k], target[k]) for k in range(MEMBERS)], function(p, target)
    except Exception as error:  # noqa: BLE001 (whatever a third party's function raises is its fault)
        return f"raises {type(error).__name__}: {error}"
    for values, given in ((alone[0], p[0]), (together, p)):
        expected = tuple(given.shape[:-1])
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        if got != expected:
            return f"gives {got} for probabilities {tuple(given.shape)}; one value a sample is {expected}"
    if not together.isfinite().all():
        return "is not finite on ordinary probabilities"
    if not torch.allclose(together.double(), torch.stack(alone).double(), rtol=1e-9, atol=1e-12):
        return "treats a stack otherwise than its members"
    return ""


def _noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _target(member: int = 0) -> Tensor:
    """One-hot rows (B, C); each member's labels are others, and otherwise distributed."""
    labels = torch.arange(SAMPLES) % (CLASSES - member)
    return torch.eye(CLASSES, dtype=torch.float64)[labels]


def _smoothed(target: Tensor) -> Tensor:
    """What `label_smoothing` makes of a target."""
    return 0.8 * target + 0.2 / target.shape[-1]


def _derivatives(function: Callable[[Tensor], Tensor], x: Tensor) -> list[Tensor]:
    """What a function gives and its gradient, both of which a stack must leave as they are."""
    x = x.clone().requires_grad_()
    y = function(x)
    (grad,) = torch.autograd.grad(y, x, torch.cos(y.detach()))
    return [y.detach(), grad]


def _activation(name: str) -> tuple[list[Tensor], list[Tensor]]:
    # Laid out as in a stack: (K, h, B), where alone it would be (B, h).
    forward, x = activations[name].forward, _noise(MEMBERS, CLASSES, SAMPLES)
    alone = [_derivatives(forward, member.T) for member in x]
    return _derivatives(forward, x), [torch.stack([part[i].T for part in alone]) for i in range(2)]


def _head(name: str) -> tuple[list[Tensor], list[Tensor]]:
    forward, x = heads[name].forward, _noise(MEMBERS, SAMPLES, CLASSES)
    alone = [_derivatives(forward, member) for member in x]
    return _derivatives(forward, x), [torch.stack(parts) for parts in zip(*alone, strict=True)]


def loss_settings(loss: Loss) -> dict[str, Any]:
    """The defaults of a loss's settings, as the 0-dim tensors that a lone trial passes."""
    values = {name: loss.default_of(name, CLASSES) for name in loss.settings}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def _loss(name: str) -> tuple[list[Tensor], list[Tensor]]:
    """On a target that members share, as arms of a seed do, and on targets of their own, as seeds do."""
    loss = losses[name]
    form, settings = next(iter(loss.forms.values())), loss_settings(loss)
    stacked = {key: value.expand(MEMBERS, 1) for key, value in settings.items()}
    x = _noise(MEMBERS, SAMPLES, CLASSES).softmax(-1)
    together: list[Tensor] = []
    alone: list[Tensor] = []
    own = torch.stack([_target(k) for k in range(MEMBERS)])
    for target, targets in ((_target(), [_target()] * MEMBERS), (own, list(own))):
        together += _derivatives(functools.partial(form.forward, target=target, **stacked), x)
        members = [
            _derivatives(functools.partial(form.forward, target=one, **settings), member)
            for member, one in zip(x, targets, strict=True)
        ]
        alone += [torch.stack(parts) for parts in zip(*members, strict=True)]
    return together, alone


def _optimizer(name: str) -> tuple[list[Tensor], list[Tensor]]:
    """Members with learning rates of their own, over a few steps, together and one by one."""
    optimizer = optimizers[name]
    settings = {key: setting.default for key, setting in optimizer.settings.items() if key != "lr"}
    own = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    rates = torch.tensor([[0.01], [0.02], [0.03]], dtype=torch.float64)
    together = _noise(MEMBERS, CLASSES)
    alone = [member.clone()[None] for member in together]
    state: State = {}
    states: list[State] = [{} for _ in alone]
    for t in range(1, STEPS + 1):
        grads = [torch.sin(t + member) for member in alone]
        optimizer.update(together, torch.cat(grads), state, t, lr=rates, **own)
        for k, member in enumerate(alone):
            optimizer.update(member, grads[k], states[k], t, lr=float(rates[k, 0]), **own)
    return [together], [torch.cat(alone)]


def _check_derivative(axis: str, name: str) -> None:
    if axis == "loss":
        _check_loss(name)
        return
    component: Any = plugins.registries()[axis][name]
    x = _noise(MEMBERS, SAMPLES, CLASSES)
    y = component.forward(x)
    grad = torch.ones_like(y).cumsum(-1)
    if component.backward is None:
        closed = None
    else:
        closed = component.backward(grad, x, y) if axis == "activation" else component.backward(grad, y)
    _compare(f"{axis} {name!r}", component.forward, x, closed, grad)


def _check_loss(name: str) -> None:
    """Each form of a loss, on one-hot targets and on smoothed ones."""
    component = losses[name]
    settings = loss_settings(component)
    x = _noise(MEMBERS, SAMPLES, CLASSES)
    for kind, form in component.forms.items():
        z = x.log_softmax(-1) if kind == "log_probabilities" else x.softmax(-1)
        what, values = f"loss {name!r} of {kind}", []
        for told, target in ((what, _target()), (f"{what}, labels smoothed,", _smoothed(_target()))):
            closed = form.gradient and form.gradient(z, target, **settings)
            _compare(told, functools.partial(form.forward, target=target, **settings), z, closed)
            values.append(form.forward(z, target, **settings))
        same = torch.allclose(values[0], values[1], rtol=1e-9, atol=1e-12)
        assert not same, f"{what} does not change as labels are smoothed: it must read all of the target"  # noqa: S101


def _compare(
    what: str,
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    closed: Tensor | None,
    grad: Tensor | None = None,
) -> None:
    x = x.clone().requires_grad_()
    y = function(x)
    (derived,) = torch.autograd.grad(y, x, torch.ones_like(y) if grad is None else grad)
    assert y.isfinite().all(), f"{what} is not finite on ordinary numbers"  # noqa: S101
    assert derived.isfinite().all(), f"{what} has a derivative that is not finite"  # noqa: S101
    if closed is not None:
        same = closed.shape == derived.shape and torch.allclose(closed, derived, rtol=1e-9, atol=1e-12)
        assert same, f"the closed-form derivative of {what} is not autograd's"  # noqa: S101
