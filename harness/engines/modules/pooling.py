"""Pooling of a stack's images, in one pass with a ReLU ahead of it if there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.engines.modules import image_kernels

Kind: TypeAlias = Literal["average", "max"]


def pool(x: Tensor, window: int | tuple[int, int], kind: Kind, *, rectified: bool = False) -> Tensor:
    """Pool images in windows that lie side by side, as avg_pool2d and max_pool2d with their usual stride.

    Args:
        x: (K, B, C, H, W).
        window: rows and columns; pixels behind the last whole window are left out.
        kind: the average or the largest pixel.
        rectified: pool what ReLU makes of the pixels.

    Returns:
        (K, B, C, H', W').
    """
    rows, columns = (window, window) if isinstance(window, int) else window
    if image_kernels.available(x):
        apply: Callable[..., Tensor] = _Pool.apply
        return image_kernels.outer(apply(x, (rows, columns, int(kind == "max"), int(rectified))), x.shape[1])
    function: Callable[..., Tensor] = (
        torch.nn.functional.max_pool2d if kind == "max" else torch.nn.functional.avg_pool2d
    )
    images = x.flatten(0, 1)
    pooled: Tensor = function(images.relu() if rectified else images, (rows, columns)).unflatten(
        0, x.shape[:2]
    )
    return pooled


class _Pool(torch.autograd.Function):
    """The kernels in C; what they give has the batch innermost: (K, C, H', W', B').

    Which pixel was the largest is found again, which takes less than to keep it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, how: tuple[int, int, int, int]) -> Tensor:
        images = image_kernels.inner(x, image_kernels.lanes(x.dtype))
        members, channels, height, width, batch = images.shape
        out = images.new_empty(members, channels, height // how[0], width // how[1], batch)
        ctx.sizes = image_kernels.numbers(members * channels, batch, height, width, *how)
        image_kernels.library(x.dtype).pool(ctx.sizes, images.data_ptr(), out.data_ptr())
        ctx.save_for_backward(images)
        ctx.batch = x.shape[1]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (images,) = ctx.saved_tensors
        g, to = gradients[0].contiguous(), torch.empty_like(images)
        library = image_kernels.library(images.dtype)
        library.pool_back(ctx.sizes, images.data_ptr(), g.data_ptr(), to.data_ptr())
        return image_kernels.outer(to, ctx.batch), None
