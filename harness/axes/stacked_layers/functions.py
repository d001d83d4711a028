"""Functions of torch in a network's graph: of one image at a time, or of images and weights."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.axes.stacked_layers.graphs import NotStackedError
from harness.axes.stacked_layers.layers import Pass, linear, per_member

BROADCASTING: frozenset[Any] = frozenset({
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.iadd, operator.isub,
    operator.imul, operator.itruediv, operator.neg, operator.gt, operator.lt, operator.ge, operator.le,
    torch.add, torch.sub, torch.subtract, torch.mul, torch.multiply, torch.div, torch.divide, torch.pow,
    torch.maximum, torch.minimum, torch.where, torch.sigmoid, torch.tanh, torch.relu, torch.exp, torch.log,
    torch.log1p, torch.sqrt, torch.rsqrt, torch.square, torch.abs, torch.neg, torch.clamp, torch.sin,
    torch.cos, torch.erf, torch.reciprocal, torch.sign, torch.lerp, torch.addcmul, torch.expm1, torch.atan,
    torch.sinh, torch.cosh, torch.logaddexp, F.relu, F.relu6, F.gelu, F.silu, F.elu, F.selu, F.celu, F.mish,
    F.leaky_relu, F.softplus, F.softsign, F.hardtanh, F.hardsigmoid, F.hardswish, F.hardshrink, F.softshrink,
    F.tanhshrink, F.logsigmoid, F.threshold, F.tanh, F.sigmoid, F.relu_, F.hardtanh_, torch.relu_,
    "add", "sub", "mul", "div", "pow", "sigmoid", "tanh", "relu", "exp", "log", "sqrt", "rsqrt", "square",
    "abs", "neg", "clamp", "add_", "sub_", "mul_", "div_", "relu_", "tanh_", "sigmoid_", "clamp_",
    "sin", "cos",     "reciprocal", "float", "contiguous", "clone", "clip", "maximum", "minimum",
})  # fmt: skip
"""Elementwise functions and methods, which broadcast and may combine images with weights."""
SAMPLE_WISE: frozenset[Any] = frozenset({
    torch.flatten, torch.cat, torch.concat, torch.stack, torch.reshape, torch.permute, torch.transpose,
    torch.unsqueeze, torch.squeeze, torch.chunk, torch.split, torch.mean, torch.sum, torch.amax, torch.amin,
    torch.var, torch.std, torch.softmax, torch.log_softmax, torch.max_pool2d, torch.avg_pool1d,
    torch.max_pool1d, torch.adaptive_avg_pool1d, torch.movedim, torch.swapaxes, torch.roll, torch.flip,
    torch.logsumexp, torch.einsum, torch.matmul, torch.bmm, operator.matmul, torch.cumsum, torch.norm,
    F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.max_pool1d, F.avg_pool1d,
    F.lp_pool2d, F.softmax, F.log_softmax, F.pad, F.interpolate, F.pixel_shuffle, F.pixel_unshuffle, F.unfold,
    F.normalize, F.layer_norm, F.group_norm, F.glu, F.scaled_dot_product_attention, F.adaptive_avg_pool1d,
    F.local_response_norm, operator.getitem, getattr,
    "flatten", "view", "reshape", "permute", "transpose", "unsqueeze", "squeeze", "chunk", "split", "mean",
    "sum", "amax", "amin", "var", "std", "softmax", "log_softmax", "unflatten", "movedim", "matmul", "bmm",
    "roll", "flip", "logsumexp", "expand", "expand_as", "view_as", "norm", "cumsum", "repeat", "narrow",
    "select", "unbind", "max", "min",
})  # fmt: skip
"""Functions and methods of one image at a time if they spare dimension 0: K batches are one of them."""
SIZES = {"size", "dim", "ndimension"}
"""Methods that ask for a tensor's shape."""
FACTS = {"shape", "ndim", "dtype", "device"}
"""Attributes that tell about a tensor."""

Weighted = Callable[[Pass, Any, dict[str, Any]], Tensor]


def _linear(done: Pass, args: Any, kwargs: dict[str, Any]) -> Tensor:  # noqa: ARG001
    def of(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return linear(x, weight, bias)

    return of(*args, **kwargs)


def _conv2d(done: Pass, args: Any, kwargs: dict[str, Any]) -> Tensor:
    def of(
        x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, **more: Any
    ) -> Tensor:
        if more or isinstance(padding, str):
            raise NotStackedError("a convolution of groups, with gaps, or with padding in words")
        return done.parts.convolve(x, weight, bias, _two(stride), _two(padding))

    return of(*args, **kwargs)


def _two(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    first, *rest = value
    return first, rest[0] if rest else first


def _matmul(done: Pass, args: Any, kwargs: dict[str, Any]) -> Tensor:  # noqa: ARG001
    x, weight = args
    if x.dim() < 3 or weight.dim() != 3 or len(weight) != done.members:
        raise NotStackedError("a product with a parameter that is no matrix on the right")
    return linear(x, weight.mT, None)


WEIGHTED: dict[Any, Weighted] = {
    F.linear: _linear, F.conv2d: _conv2d, torch.conv2d: _conv2d, torch.matmul: _matmul,
    operator.matmul: _matmul, "matmul": _matmul,
}  # fmt: skip
"""Functions of images and a member's weights, which are given as (K, B, ..) and (K, ..)."""


def combined(call: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Apply an elementwise function to tensors (K, ..) of several ranks, each broadcast within its member."""
    every = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    most = max(value.dim() for value in every)

    def aligned(value: Any) -> Any:
        return per_member(value, most) if isinstance(value, Tensor) else value

    return call(*map(aligned, args), **{name: aligned(value) for name, value in kwargs.items()})
