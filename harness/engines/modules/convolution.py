"""Convolutions of a stack: each member's images with its own weights, and nothing summed over members.

Two ways lead there: C kernels on images whose memory has the batch innermost, and PyTorch's convolutions of
one network, member by member, where there are no kernels. docs/decisions/stacked-convolutions.md has the
others that were measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.axes.stacked_layers.layers import pair
from harness.engines.modules import image_kernels
from harness.engines.modules.image_kernels import Pair


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int | Pair = 1, padding: int | Pair = 0
) -> Tensor:
    """Convolve each member's images with its kernels, as torch.nn.functional.conv2d does one network's.

    Args:
        x: (K, B, C, H, W), or (1, B, C, H, W) that all members see.
        weight: (K, O, C, rows, columns).
        bias: (K, O), or None.
        stride: pixels from an output to the next one, of rows and columns.
        padding: zeros around an image, above and below, left and right.

    Returns:
        (K, B, O, H', W'). By the kernels its memory is (K, O, H', W', B): elementwise operations and
        `flatten(2)` keep that, and the next layer reads it without a copy.
    """
    by_kernels = image_kernels.available(x)
    apply: Callable[..., Tensor] = (_KernelConvolution if by_kernels else _MemberByMember).apply
    out = apply(x, weight, bias, pair(stride), pair(padding))
    return image_kernels.outer(out, x.shape[1]) if by_kernels else out


class _KernelConvolution(torch.autograd.Function):
    """The kernels in C; what they give has the batch innermost: (K, O, H', W', B')."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
    ) -> Tensor:
        library = image_kernels.library(x.dtype)
        images = image_kernels.inner(x, image_kernels.lanes(x.dtype))
        weights = weight.detach().contiguous()
        sizes = image_kernels.sizes_of(images, weights, stride, padding)
        out = images.new_empty(len(weights), *sizes[5:8], images.shape[-1])
        room = weights.new_empty(weights[0].numel())
        biases = bias.detach().contiguous() if bias is not None else None
        library.convolve(
            image_kernels.numbers(*sizes), images.data_ptr(), weights.data_ptr(), _address(biases),
            out.data_ptr(), room.data_ptr(),
        )  # fmt: skip
        ctx.save_for_backward(images, weights)
        ctx.sizes, ctx.batch = sizes, x.shape[1]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weights = ctx.saved_tensors
        library, sizes = image_kernels.library(images.dtype), image_kernels.numbers(*ctx.sizes)
        g = gradients[0].contiguous()
        to_x, to_weights, to_bias = None, None, None
        if ctx.needs_input_grad[0]:
            to = images.new_empty(len(weights), *images.shape[1:])
            room = torch.empty_like(weights[0])
            library.convolve_back(sizes, g.data_ptr(), weights.data_ptr(), to.data_ptr(), room.data_ptr())
            to_x = image_kernels.outer(to, ctx.batch)
            if len(images) < len(weights):
                to_x = to_x.sum(0, keepdim=True)
        if any(ctx.needs_input_grad[1:3]):
            to_weights = torch.empty_like(weights)
            to_bias = weights.new_empty(weights.shape[:2]) if ctx.needs_input_grad[2] else None
            room = weights.new_empty(weights[0, 0].numel() * library.most_rows() * library.lanes())
            pointers = (images.data_ptr(), g.data_ptr(), to_weights.data_ptr(), _address(to_bias))
            library.convolve_slopes(sizes, *pointers, room.data_ptr())
        return to_x, to_weights, to_bias, None, None


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class _MemberByMember(torch.autograd.Function):
    """PyTorch's convolutions of one network, so that a member's bits depend on nobody beside it."""

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
