"""Batch normalisation of K members: each by its own batch, its own running statistics updated in place."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Pairs = tuple[Tensor | None, Tensor | None]


class Rule(NamedTuple):
    """The rule of a batch norm: by the batch's statistics, which move running ones by `factor`, or by these.

    eps is added to variances.
    """

    by_batch: bool
    factor: float
    eps: float


def batch_norms(x: Tensor, affine: Pairs, running: Pairs, rule: Rule) -> Tensor:
    """Normalise each member's (B, C, ..) of x (K, B, C, ..) as torch.nn.functional.batch_norm.

    Args:
        x: (K, B, C) or (K, B, C, H, W).
        affine: weight and bias (K, C), or None.
        running: mean and variance (K, C), or None; those are updated in place.
        rule: by which statistics.
    """
    normal: Tensor = _BatchNorms.apply(x, *affine, *running, rule)
    return normal


class _BatchNorms(torch.autograd.Function):
    """Member by member, in the kernels that one network has, whose bits these are."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Any) -> Tensor:
        weight, bias, mean, variance, rule = given
        columns = [_rows(value, len(x)) for value in (weight, bias, mean, variance)]
        parts = [
            torch.native_batch_norm(images, *own, rule.by_batch, rule.factor, rule.eps)
            for images, *own in zip(x, *columns, strict=True)
        ]
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.rule, ctx.saved = rule, [part[1:] for part in parts]
        return torch.stack([part[0] for part in parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, weight, mean, variance = ctx.saved_tensors
        rule, wanted = ctx.rule, list(ctx.needs_input_grad[:3])
        columns = [_rows(value, len(x)) for value in (weight, mean, variance)]
        parts = [
            torch.ops.aten.native_batch_norm_backward(
                above.contiguous(), images, *own, *saved, rule.by_batch, rule.eps, wanted
            )
            for above, images, saved, *own in zip(grad, x, ctx.saved, *columns, strict=True)
        ]
        found = [torch.stack(list(each)) if want else None
                 for each, want in zip(zip(*parts, strict=True), wanted, strict=True)]  # fmt: skip
        return *found, None, None, None


def _rows(value: Tensor | None, members: int) -> Any:
    return [None] * members if value is None else value
