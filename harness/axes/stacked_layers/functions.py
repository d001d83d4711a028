"""Functions of torch in a network's graph, for K members at once.

Each is called with (K, B, ..), or (1, B, ..) of all members, where one member's code has (B, ..): elementwise
ones as they are, those that name dimensions with these moved by one, and others that see one image at a time
with (K * B, ..).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from harness.axes.stacked_layers.graphs import NotStackedError
from harness.axes.stacked_layers.layers import Pass, linear, pair, per_member

ELEMENTWISE: frozenset[Any] = frozenset({
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
    "sin", "cos", "reciprocal", "float", "contiguous", "clone", "clip", "maximum", "minimum",
})  # fmt: skip
"""Elementwise functions and methods, which broadcast and may combine images with weights."""
FOLDED: frozenset[Any] = frozenset({
    torch.max_pool2d, torch.avg_pool1d, torch.max_pool1d, torch.adaptive_avg_pool1d, torch.movedim,
    torch.roll, torch.flip, torch.einsum, torch.matmul, torch.bmm, operator.matmul, torch.cumsum,
    torch.norm, torch.var, torch.std, F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d,
    F.adaptive_max_pool2d, F.max_pool1d, F.avg_pool1d, F.lp_pool2d, F.pad, F.interpolate, F.pixel_shuffle,
    F.pixel_unshuffle, F.unfold, F.normalize, F.layer_norm, F.group_norm, F.glu,
    F.scaled_dot_product_attention, F.adaptive_avg_pool1d, F.local_response_norm, getattr, "movedim",
    "matmul", "bmm", "roll", "flip", "expand", "expand_as", "view_as", "norm", "cumsum", "repeat",
    "narrow", "select", "unbind", "max", "min", "var", "std", "unflatten",
})  # fmt: skip
"""Functions and methods of one image at a time, if they spare dimension 0: K batches are one of them."""
SIZES = {"size", "dim", "ndimension"}
"""Methods that ask for a tensor's shape."""
FACTS = {"shape", "ndim", "dtype", "device"}
"""Attributes that tell about a tensor."""

POOLINGS: dict[Any, Any] = {
    F.max_pool2d: nn.MaxPool2d, torch.max_pool2d: nn.MaxPool2d, F.avg_pool2d: nn.AvgPool2d,
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
}  # fmt: skip
"""Functions that are a layer."""


def pooling_of(node: fx.Node) -> nn.Module | None:
    """Return the layer that a call is; None where its arguments are not known when it is traced, or many."""
    _, *rest = node.args
    if len(node.all_input_nodes) != 1 or len(rest) > 4:
        return None
    module: nn.Module = POOLINGS[node.target](*rest, **node.kwargs)
    return module


Weighted = Callable[[Pass, Any, dict[str, Any]], Tensor]


def _moved(dim: Any) -> Any:
    """Move dimensions of one member's (B, ..) to those of (K, B, ..)."""
    if isinstance(dim, int):
        return dim + 1 if dim >= 0 else dim
    if dim is None:
        raise NotStackedError("it reduces all dimensions, the images' among them")
    return tuple(map(_moved, dim))


def _many(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return numbers that are given one by one or as one sequence."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], (tuple, list)) else values


def _reshape(x: Tensor, *shape: Any) -> Tensor:
    return x.reshape(len(x), *_many(shape))


def _flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    return x.flatten(_moved(start_dim), _moved(end_dim))


def _reduce(reduce: Callable[..., Any]) -> Callable[..., Any]:
    def moved(x: Tensor, dim: Any = None, keepdim: bool = False, **more: Any) -> Any:
        return reduce(x, _moved(dim), keepdim=keepdim, **more)

    return moved


def _along(function: Callable[..., Any]) -> Callable[..., Any]:
    def moved(x: Any, dim: Any = None, **more: Any) -> Any:
        return function(x, dim=_moved(dim), **{name: more[name] for name in more if name != "_stacklevel"})

    return moved


def _joined(join: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def moved(tensors: Any, dim: int = 0) -> Tensor:
        most = max(map(len, tensors))
        return join([tensor.expand(most, *tensor.shape[1:]) for tensor in tensors], _moved(dim))

    return moved


def _permute(x: Tensor, *dims: Any) -> Tensor:
    return x.permute(0, *_moved([dim if dim >= 0 else x.dim() - 1 + dim for dim in _many(dims)]))


def _transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    return x.transpose(_moved(dim0), _moved(dim1))


def _cut(cut: Callable[..., Any]) -> Callable[..., Any]:
    def moved(x: Tensor, pieces: Any, dim: int = 0) -> Any:
        return cut(x, pieces, _moved(dim))

    return moved


def _squeeze(x: Tensor, dim: Any = None) -> Tensor:
    return torch.squeeze(x, _moved(dim))


def _element(x: Any, place: Any) -> Any:
    """Take what one member's code takes of (B, ..), or of a tuple."""
    if not isinstance(x, Tensor):
        return x[place]
    return x[(slice(None), *(place if isinstance(place, tuple) else (place,)))]


REDUCTIONS: tuple[Any, ...] = (torch.mean, torch.sum, torch.amax, torch.amin, torch.logsumexp)
MOVED: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(("view", "reshape", torch.reshape), _reshape),
    **dict.fromkeys(("flatten", torch.flatten), _flatten),
    **{given: _reduce(function) for function in REDUCTIONS for given in (function.__name__, function)},
    **{given: _along(function) for function in (torch.softmax, torch.log_softmax, torch.unsqueeze)
       for given in (function.__name__, function)},
    F.softmax: _along(torch.softmax), F.log_softmax: _along(torch.log_softmax),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), _joined(torch.cat)),
    torch.stack: _joined(torch.stack),
    **dict.fromkeys(("permute", torch.permute), _permute),
    **dict.fromkeys(("transpose", "swapaxes", torch.transpose, torch.swapaxes), _transpose),
    **dict.fromkeys(("chunk", torch.chunk), _cut(torch.chunk)),
    **dict.fromkeys(("split", torch.split), _cut(torch.split)),
    **dict.fromkeys(("squeeze", torch.squeeze), _squeeze),
    operator.getitem: _element,
}  # fmt: skip
"""Functions and methods that name dimensions, as they are called with (K, B, ..)."""


def folded(call: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Call a function that sees one image at a time with (K * B, ..), and give its tensors as (K, B, ..)."""
    leads = {len(value) for value in (*args, *kwargs.values()) if isinstance(value, Tensor)}
    lead = max(leads)

    def flat(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.expand(lead, *value.shape[1:]).flatten(0, 1)

    def unflat(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.unflatten(0, (lead, -1))
        return tuple(map(unflat, value))

    return unflat(call(*map(flat, args), **{name: flat(value) for name, value in kwargs.items()}))


def aligned(call: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Call an elementwise function with (K, ..) of several ranks, each broadcast within its member."""
    ranks = {value.dim() for value in (*args, *kwargs.values()) if isinstance(value, Tensor)}
    if len(ranks) < 2:
        return call(*args, **kwargs)

    def of_rank(value: Any) -> Any:
        return per_member(value, max(ranks)) if isinstance(value, Tensor) else value

    return call(*map(of_rank, args), **{name: of_rank(value) for name, value in kwargs.items()})


def _linear(_done: Pass, args: Any, kwargs: dict[str, Any]) -> Tensor:
    def of(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return linear(x, weight, bias)

    return of(*args, **kwargs)


def _conv2d(done: Pass, args: Any, kwargs: dict[str, Any]) -> Tensor:
    def of(
        x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, **more: Any
    ) -> Tensor:
        if more or isinstance(padding, str):
            raise NotStackedError("a convolution of groups, with gaps, or with padding in words")
        return done.parts.convolve(x, weight, bias, pair(stride), pair(padding))

    return of(*args, **kwargs)


def _matmul(done: Pass, args: Any, _kwargs: dict[str, Any]) -> Tensor:
    x, weight = args
    if x.dim() < 3 or weight.dim() != 3 or len(weight) != done.members:
        raise NotStackedError("a product with a parameter that is no matrix on the right")
    return linear(x, weight.mT, None)


WEIGHTED: dict[Any, Weighted] = {
    F.linear: _linear, F.conv2d: _conv2d, torch.conv2d: _conv2d, torch.matmul: _matmul,
    operator.matmul: _matmul, "matmul": _matmul,
}  # fmt: skip
"""Functions of images (K, B, ..) and a member's weights (K, ..)."""
