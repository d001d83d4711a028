"""Convolutions of a stack: each member's images with its own weights, and nothing summed over members."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Pair: TypeAlias = tuple[int, int]
"""Rows and columns."""


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int | Pair = 1, padding: int | Pair = 0
) -> Tensor:
    """Convolve each member's images with the member's kernels, as torch.nn.functional.conv2d does one network's.

    Args:
        x: (K, B, C, H, W), or (1, B, C, H, W) that all members see.
        weight: (K, O, C, rows, columns).
        bias: (K, O), or None.
        stride: pixels from an output to the next one, of rows and columns.
        padding: zeros around an image, above and below, left and right.

    Returns:
        (K, B, O, H', W').
    """
    convolved: Tensor = _Convolution.apply(x, weight, bias, _pair(stride), _pair(padding))
    return convolved


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


class _Convolution(torch.autograd.Function):
    """Member by member, so that a member's bits depend on nobody beside it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding
        ctx.biased = bias is not None
        images = x.expand(len(weight), *x.shape[1:])
        biases = bias if bias is not None else [None] * len(weight)
        members = zip(images, weight, biases, strict=True)
        convolved = [torch.conv2d(of, kernels, added, stride, padding) for of, kernels, added in members]
        return torch.stack(convolved)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        stride, padding = ctx.geometry
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.biased and ctx.needs_input_grad[2]]
        members = [
            torch.ops.aten.convolution_backward(
                of, images, kernels, [len(kernels)], stride, padding, (1, 1), False, (0, 0), 1, wanted
            )
            for of, images, kernels in zip(gradient, x.expand(len(weight), *x.shape[1:]), weight, strict=True)
        ]
        found = [
            torch.stack(list(each)) if needed else None
            for each, needed in zip(zip(*members, strict=True), wanted, strict=True)
        ]
        if found[0] is not None and len(x) < len(weight):
            found[0] = found[0].sum(0, keepdim=True)
        return *found, None, None
