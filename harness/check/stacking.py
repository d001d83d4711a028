"""Stacking: whether the members of a stack get from a component what each gets alone, found by trying."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.axes import contracts, plugins
from harness.axes.activations import activations
from harness.axes.contracts import against, loss_settings
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.optimizers import State, optimizers
from harness.axes.probes import CLASSES, MEMBERS, SAMPLES, STEPS, classes, draws, noise, one_hot, reaches
from harness.errors import UsageError, in_words
from harness.system import process_state
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

STACKED = ("activation", "head", "loss", "optimizer")
"""Axes whose components a stack applies to many members at once."""


def stacks(axis: str, name: str) -> bool:
    """Return whether K members of an axis in `STACKED` get, to rounding, the same in one stack as alone."""
    together, alone = {
        "activation": _activation, "head": _head, "loss": _loss, "optimizer": _optimizer
    }[axis](name)  # fmt: skip
    return all(
        t.shape == a.shape and torch.allclose(t, a, rtol=1e-9, atol=1e-12)
        for t, a in zip(together, alone, strict=True)
    )


def why_alone(axis: str, name: str) -> str:
    """Return the reason why a component, which keeps its contract otherwise, cannot be stacked, or ""."""
    what, component = f"{axis} {name!r}", plugins.registries()[axis][name]
    try:
        reason = _reason(what, axis, component)
        if reason:
            return f"{what} {reason}"
        with process_state.kept():
            if stacks(axis, name):
                return ""
    except UsageError as fault:
        return str(fault)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (whatever is wrong with it, no other trial shall share it)
        return f"{what} fails on a stack ({in_words(error)})"
    return (
        f"{what} gives the members of a stack other values than each alone (dimensions are counted from "
        "the end, dim=-1; settings are a number a member)"
    )


def _reason(what: str, axis: str, component: Any) -> str:
    """Return the operation of a component that a stack does not allow, or "" if it is unknown."""
    if axis == "optimizer":
        if contracts.elementwise(what, component):
            return ""
        return (
            "changes an element by what others are (a norm or mean over the whole tensor?); declare it "
            "stackable=False, and it is given one tensor of one trial at a time"
        )
    x = 2 * noise(SAMPLES, classes())
    function = component.forward if axis != "loss" else _lone(component)
    if draws(what, function, x.softmax(-1) if axis == "loss" else x):
        return "draws random numbers, which a stack's members would share"
    if axis == "activation" and reaches(what, function, x):
        return "mixes the samples of a batch: its value for one changes with the others"
    if axis == "activation" and reaches(what, function, x, dim=1):
        return "mixes the units of a layer: its value for one changes with the others"
    return ""


def _lone(loss: Any) -> Callable[[Tensor], Tensor]:
    """Return a loss as a function of the output (B, C) alone."""
    form = next(iter(loss.forms.values()))
    return lambda f: form.forward(f, one_hot(), **loss_settings(loss))


def _derivatives(function: Callable[[Tensor], Tensor], x: Tensor) -> list[Tensor]:
    """Return a function's values and gradient, both of which a stack must not change."""
    x = x.clone().requires_grad_()
    y = function(x)
    (grad,) = torch.autograd.grad(y, x, torch.cos(y.detach()))
    return [y.detach(), grad]


def _activation(name: str) -> tuple[list[Tensor], list[Tensor]]:
    # Laid out as in a stack: (K, h, B), where alone it would be (B, h).
    forward, x = activations[name].forward, noise(MEMBERS, CLASSES, SAMPLES)
    alone = [_derivatives(forward, member.T) for member in x]
    return _derivatives(forward, x), [torch.stack([part[i].T for part in alone]) for i in range(2)]


def _head(name: str) -> tuple[list[Tensor], list[Tensor]]:
    forward, x = heads[name].forward, noise(MEMBERS, SAMPLES, classes())
    alone = [_derivatives(forward, member) for member in x]
    return _derivatives(forward, x), [torch.stack(parts) for parts in zip(*alone, strict=True)]


def _loss(name: str) -> tuple[list[Tensor], list[Tensor]]:
    """Try a loss on a target that members share, as arms of a seed do, and on separate targets."""
    loss = losses[name]
    form, defaults = next(iter(loss.forms.values())), loss_settings(loss)
    lone = [{key: value * (1 - 0.1 * k) for key, value in defaults.items()} for k in range(MEMBERS)]
    stacked = {key: torch.stack([settings[key] for settings in lone])[:, None] for key in defaults}
    x = noise(MEMBERS, SAMPLES, classes()).softmax(-1)
    together: list[Tensor] = []
    alone: list[Tensor] = []
    separate = torch.stack([one_hot(k) for k in range(MEMBERS)])
    for target, targets in ((one_hot(), [one_hot()] * MEMBERS), (separate, list(separate))):
        together += _derivatives(functools.partial(against, form.forward, target, stacked), x)
        members = [
            _derivatives(functools.partial(against, form.forward, labels, settings), member)
            for member, labels, settings in zip(x, targets, lone, strict=True)
        ]
        alone += [torch.stack(parts) for parts in zip(*members, strict=True)]
    return together, alone


def _optimizer(name: str) -> tuple[list[Tensor], list[Tensor]]:
    """Try members with their own settings over a few steps, together and one by one."""
    optimizer = optimizers[name]
    defaults = contracts.optimizer_settings(optimizer)
    lone = [{key: _varied(value, k) for key, value in defaults.items()} for k in range(MEMBERS)]
    settings = {key: _column([one[key] for one in lone]) for key in defaults}
    together = noise(MEMBERS, CLASSES)
    alone = [member.clone()[None] for member in together]
    state: State = {}
    states: list[State] = [{} for _ in alone]
    for t in range(1, STEPS + 1):
        grads = [torch.sin(t + member) for member in alone]
        optimizer.update(together, torch.cat(grads), state, t, **settings)
        for k, member in enumerate(alone):
            optimizer.update(member, grads[k], states[k], t, **lone[k])
    return [together], [torch.cat(alone)]


def _varied(value: Any, k: int) -> Any:
    """Return member k's value of a setting: floats differ between members, unless they are 0."""
    if isinstance(value, tuple):
        return tuple(_varied(part, k) for part in value)
    return value * (1 - 0.1 * k) if isinstance(value, float) else value


def _column(values: list[Any]) -> Any:
    """Stack the members' values as a stack's optimizer receives them."""
    if isinstance(values[0], tuple):
        return tuple(_column(list(column)) for column in zip(*values, strict=True))
    if all(value == values[0] for value in values):
        return values[0]
    return torch.tensor(values, dtype=torch.float64)[:, None]
