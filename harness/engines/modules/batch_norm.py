"""Batch normalisation of a stack's images, with a ReLU behind it in the same pass if there is one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import Structure, c_double, c_int64
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.engines.modules import image_kernels


def normalise(
    x: Tensor, weight: Tensor, bias: Tensor, epsilon: float = 1e-5, *, rectified: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each member's channels by the batch's mean and variance, as batch_norm of torch in training.

    Args:
        x: (K, B, C, H, W).
        weight: (K, C).
        bias: (K, C).
        epsilon: added to the variance.
        rectified: ReLU follows.

    Returns:
        What becomes of x; and mean and variance (K, C), without gradients. The variance is the biased one:
        running statistics take B H W / (B H W - 1) times as much.
    """
    if image_kernels.available(x) and x.shape[1] >= image_kernels.lanes(x.dtype):
        apply: Callable[..., tuple[Tensor, Tensor, Tensor]] = _Normalise.apply
        normal, *found = apply(x, weight, bias, epsilon, rectified)
        return image_kernels.outer(normal, x.shape[1]), found[0], found[1]
    variance, mean = torch.var_mean(x, (1, 3, 4), correction=0, keepdim=True)
    shape = (len(x), 1, x.shape[2], 1, 1)
    scale = weight.view(shape) * (variance + epsilon).rsqrt()
    out = (x - mean) * scale + bias.view(shape)
    sides = mean.detach().view(weight.shape), variance.detach().view(weight.shape)
    return out.relu() if rectified else out, *sides


class _Normalise(torch.autograd.Function):
    """The kernels in C; what they give has the batch innermost: (K, C, H, W, B)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float, rectified: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        images, scales, shifts = (
            image_kernels.inner(x),
            weight.detach().contiguous(),
            bias.detach().contiguous(),
        )
        out = torch.empty_like(images)
        mean, variance, inverse = (torch.empty_like(scales) for _ in range(3))
        tensors = (images, scales, shifts, out, mean, variance, inverse)
        sizes = _NormSizes(scales.numel(), images[0, 0].numel(), int(rectified), epsilon)
        image_kernels.library(x.dtype).normalise(ctypes.byref(sizes), *(each.data_ptr() for each in tensors))
        ctx.save_for_backward(images, mean, inverse, scales, shifts)
        ctx.sizes = sizes
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, *rest = ctx.saved_tensors
        g, to = gradients[0].contiguous(), torch.empty_like(images)
        to_weight, to_bias = (torch.empty_like(rest[0]) for _ in range(2))
        tensors = (images, g, *rest, to, to_weight, to_bias)
        library = image_kernels.library(images.dtype)
        library.normalise_back(ctypes.byref(ctx.sizes), *(each.data_ptr() for each in tensors))
        return image_kernels.outer(to, images.shape[-1]), to_weight, to_bias, None, None


class _NormSizes(Structure):
    """The struct `normalisation` in C."""

    _fields_ = [("planes", c_int64), ("count", c_int64), ("rectified", c_int64), ("epsilon", c_double)]
