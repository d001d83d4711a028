"""Activations of a stack of modules: each member's own, in one pass over images in whatever layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.axes.activations import activations
from harness.engines.members import as_slice, runs

aten: Any = torch.ops.aten

INTO: dict[str, Callable[[Tensor, Tensor], object]] = {
    "sigmoid": lambda x, out: torch.sigmoid(x, out=out),
    "tanh": lambda x, out: torch.tanh(x, out=out),
    "relu": lambda x, out: torch.clamp_min(x, 0, out=out),
    "leaky_relu": lambda x, out: aten.leaky_relu.out(x, 0.01, out=out),
    "elu": lambda x, out: aten.elu.out(x, out=out),
    "gelu": lambda x, out: aten.gelu.out(x, out=out),
    "silu": lambda x, out: aten.silu.out(x, out=out),
    "softplus": lambda x, out: aten.softplus.out(x, out=out),
}
"""The harness's own, written straight to where they belong; others are copied there."""
SLOPES_INTO: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], object]] = {
    "sigmoid": lambda grad, _x, y, out: aten.sigmoid_backward.grad_input(grad, y, grad_input=out),
    "tanh": lambda grad, _x, y, out: aten.tanh_backward.grad_input(grad, y, grad_input=out),
    "relu": lambda grad, _x, y, out: aten.threshold_backward.grad_input(grad, y, 0, grad_input=out),
    "gelu": lambda grad, x, _y, out: aten.gelu_backward.grad_input(grad, x, grad_input=out),
    "silu": lambda grad, x, _y, out: aten.silu_backward.grad_input(grad, x, grad_input=out),
}
"""Their closed-form derivatives, likewise."""
BY_OUTPUT = {"sigmoid", "tanh", "relu"}
"""Those whose derivative needs the activation alone: the pre-activation may be overwritten."""


class ModuleActivations:
    """The activations of K members: runs of members share a function."""

    def __init__(self, names: Sequence[str]) -> None:
        self.runs = [(as_slice(members), activations[name]) for members, name in runs(names)]
        self.by_output = all(phi.name in BY_OUTPUT for _, phi in self.runs)

    def __call__(self, x: Tensor, *, last: bool) -> Tensor:
        """Apply each member's activation to (K, B, ..), which is overwritten if this is its `last` use."""
        if len(self.runs) == 1 and self.runs[0][1].name == "identity":
            return x
        apply: Any = _Activated.apply
        activated: Tensor = apply(x, self, last and self.by_output)
        return activated


class _Activated(torch.autograd.Function):
    """Forward and backward by closed forms where there are such."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, of: ModuleActivations, over: bool) -> Tensor:
        # Overwritten behind autograd's back: whatever made x needs it no more, and nothing else reads it.
        out = x.detach() if over else torch.empty_like(x)
        for members, phi in of.runs:
            if phi.name in INTO:
                INTO[phi.name](x[members], out[members])
            else:
                out[members] = phi.forward(x[members])
        ctx.of = of
        ctx.save_for_backward(*((out,) if of.by_output else (out, x)))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        out, *before = ctx.saved_tensors
        x, (grad,) = before[0] if before else out, grads
        slopes = torch.empty_like(out)
        for members, phi in ctx.of.runs:
            given = (grad[members], x[members], out[members])
            if phi.name in SLOPES_INTO:
                SLOPES_INTO[phi.name](*given, slopes[members])
            else:
                slopes[members] = phi.gradient(*given)
        return slopes, None, None
