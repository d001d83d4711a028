"""Layers of torch for K members at once: of (K, B, ..) and weights (K, ..), and nothing summed over members.

A pixel batch that all members see has K = 1 until a layer with weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from harness.axes.stacked_layers.graphs import MemberActivation, NotStackedError
from harness.axes.stacked_layers.normalisation import Pairs, Rule


@dataclass(frozen=True)
class ChainForm:
    """The form of what is computed as one; of the parts behind the convolution each may be missing.

    Attributes:
        stride: pixels from an output to the next one.
        padding: zeros around an image.
        rule: of batch normalisation by the batch.
        rectified: ReLU.
        kind: of pooling.
        window: rows and columns of windows that lie side by side.
    """

    stride: tuple[int, int]
    padding: tuple[int, int]
    rule: Rule | None = None
    rectified: bool = False
    kind: Literal["average", "max"] | None = None
    window: tuple[int, int] = (1, 1)


Weights: TypeAlias = "tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]"


class LayerParts(Protocol):
    """The parts of a stack's pass in which members differ, or which an engine computes in its own way."""

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None,
        stride: tuple[int, int], padding: tuple[int, int],
    ) -> Tensor:  # fmt: skip
        """Convolve (K, B, C, H, W), or (1, B, C, H, W) of all, with kernels (K, O, C, rows, columns)."""

    def pool(self, x: Tensor, window: tuple[int, int], kind: Literal["average", "max"]) -> Tensor:
        """Pool (K, B, C, H, W) in windows side by side."""

    def activate(self, x: Tensor, *, last: bool) -> Tensor:
        """Apply each member's activation to (K, B, ..), whose memory is free if this is its `last` use."""

    @property
    def rectifies(self) -> bool:
        """Tell whether the activation of all members is ReLU."""

    def chain(self, x: Tensor, weights: Weights, running: Pairs, form: ChainForm) -> Tensor:
        """Compute a convolution and what is behind it; weights are its own, and a norm's weight and bias."""

    def batch_norm(self, x: Tensor, affine: Pairs, running: Pairs, rule: Rule) -> Tensor:
        """Normalise each member's channels as `normalisation.batch_norms`."""

    def dropout(self, place: str, x: Tensor, *, channels: bool) -> Tensor:
        """Leave out some of (K, B, ..), or whole channels, in the layer of a network that has this name."""


@dataclass(frozen=True)
class Pass:
    """One pass of K members: weights and buffers (K, ..) by name, and the engine's parts."""

    members: int
    values: Mapping[str, Tensor]
    parts: LayerParts
    training: bool

    def of(self, name: str, kind: str) -> Tensor | None:
        """Return a layer's values of a kind, None where it has none."""
        return self.values.get(f"{name}.{kind}" if name else kind)


Layer = Callable[[Pass, Any, str, Tensor], Tensor]
"""A layer's stacked form: of a pass, the module, its name and (K, B, ..)."""


def per_member(tensor: Tensor, dimensions: int) -> Tensor:
    """Return (K, ..) as (K, 1, .., 1, ..) of so many dimensions, to be broadcast within members."""
    missing = dimensions - tensor.dim()
    if missing < 0:
        raise NotStackedError("a parameter has more dimensions than what it is combined with")
    return tensor.view(len(tensor), *[1] * missing, *tensor.shape[1:])


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute x W^T + b of each member: x (K, B, .., in), or (1, B, .., in) of all; weight (K, out, in)."""
    members, inner = len(weight), x.shape[1:-1]
    rows = x.reshape(len(x), -1, x.shape[-1]).expand(members, -1, -1)
    product = torch.bmm(rows, weight.mT) if bias is None else torch.baddbmm(bias[:, None], rows, weight.mT)
    return product.view(members, *inner, -1)


def _linear(done: Pass, _module: nn.Linear, name: str, x: Tensor) -> Tensor:
    weight = done.of(name, "weight")
    assert weight is not None  # noqa: S101 (each Linear has one)
    return linear(x, weight, done.of(name, "bias"))


def _convolution(done: Pass, module: nn.Conv2d, name: str, x: Tensor) -> Tensor:
    weight = done.of(name, "weight")
    assert weight is not None  # noqa: S101 (each Conv2d has one)
    if plain(module) and x.dim() == 5:
        return done.parts.convolve(x, weight, done.of(name, "bias"), *strides_of(module))
    return _each(done, module, name, x)


def plain(module: nn.Conv2d) -> bool:
    """Tell whether a convolution is one of all channels, without gaps, in images with zeros around."""
    return module.groups == 1 and set(module.dilation) == {1} and module.padding_mode == "zeros"


def strides_of(module: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return a convolution's stride and padding, of rows and columns."""
    return pair(module.stride), _padding(module)


def pair(value: Any) -> tuple[int, int]:
    """Return rows and columns, which PyTorch takes as one number, as one in a tuple, or as two."""
    rows, *columns = (value,) if isinstance(value, int) else value
    return rows, columns[0] if columns else rows


def _padding(module: nn.Conv2d) -> tuple[int, int]:
    """Return the zeros around an image, which "same" makes equal on both sides of an odd kernel."""
    if isinstance(module.padding, str):
        if module.padding == "valid":
            return 0, 0
        if any(size % 2 == 0 for size in module.kernel_size):
            raise NotStackedError("a convolution with an even kernel pads one side more than the other")
        return pair(tuple(size // 2 for size in module.kernel_size))
    return pair(module.padding)


def _each(done: Pass, module: nn.Module, name: str, x: Tensor) -> Tensor:
    """Call a layer that has no stacked form once a member."""
    kinds = [kind for kind, _ in module.named_parameters(recurse=False)]
    weights = {kind: value for kind in kinds if (value := done.of(name, kind)) is not None}
    images = x.expand(done.members, *x.shape[1:])
    return torch.stack([
        torch.func.functional_call(module, {kind: value[k] for kind, value in weights.items()}, (images[k],))
        for k in range(done.members)
    ])  # fmt: skip


def _batch_norm(done: Pass, module: Any, name: str, x: Tensor) -> Tensor:
    return done.parts.batch_norm(x, *batch_norm_of(done, module, name))


def batch_norm_of(done: Pass, module: Any, name: str) -> tuple[Pairs, Pairs, Rule]:
    """Return a batch norm's weight and bias, its running statistics, and the rule of this pass.

    In training, the pass is counted.
    """
    counted = done.of(name, "num_batches_tracked")
    mean, variance = done.of(name, "running_mean"), done.of(name, "running_var")
    factor = 0.0 if module.momentum is None else module.momentum
    if done.training and counted is not None:
        counted.add_(1)
        if module.momentum is None:
            factor = 1 / float(counted[0])
    rule = Rule(done.training or mean is None, factor, module.eps)
    return (done.of(name, "weight"), done.of(name, "bias")), (mean, variance), rule


def _affine(done: Pass, name: str, x: Tensor, trailing: int) -> Tensor:
    """Scale and shift (K, B, ..) by weights (K, ..) that have `trailing` dimensions of 1 behind them."""
    weight, bias = done.of(name, "weight"), done.of(name, "bias")
    for value, combine in ((weight, torch.mul), (bias, torch.add)):
        if value is not None:
            x = combine(x, per_member(value.view(*value.shape, *[1] * trailing), x.dim()))
    return x


def _layer_norm(done: Pass, module: nn.LayerNorm, name: str, x: Tensor) -> Tensor:
    normal = nn.functional.layer_norm(x, module.normalized_shape, eps=module.eps)
    return _affine(done, name, normal, 0)


def _group_norm(done: Pass, module: nn.GroupNorm, name: str, x: Tensor) -> Tensor:
    groups = x.reshape(*x.shape[:2], module.num_groups, -1)
    variance, mean = torch.var_mean(groups, 3, correction=0, keepdim=True)
    normal = (groups - mean) * (variance + module.eps).rsqrt()
    return _affine(done, name, normal.view(x.shape), x.dim() - 3)


def _prelu(done: Pass, _module: nn.PReLU, name: str, x: Tensor) -> Tensor:
    weight = done.of(name, "weight")
    assert weight is not None  # noqa: S101 (each PReLU has one)
    slope = per_member(weight.view(*weight.shape, *[1] * max(0, x.dim() - 3)), x.dim())
    return torch.where(x > 0, x, slope * x)


def _activation(done: Pass, module: MemberActivation, _name: str, x: Tensor) -> Tensor:
    return done.parts.activate(x, last=module.last)


def _dropout(done: Pass, module: nn.Module, name: str, x: Tensor) -> Tensor:
    if not done.training:
        return x
    return done.parts.dropout(name, x, channels=not isinstance(module, nn.Dropout))


def _flatten(_done: Pass, module: nn.Flatten, _name: str, x: Tensor) -> Tensor:
    start, end = (dim + 1 if dim >= 0 else dim for dim in (module.start_dim, module.end_dim))
    return x.flatten(start, end)


def _pool(done: Pass, module: Any, _name: str, x: Tensor) -> Tensor:
    if beside(module) and x.dim() == 5:
        kind, window = pooling_of(module)
        return done.parts.pool(x, window, kind)
    return _as_one_batch(module, x)


def _as_one_batch(module: nn.Module, x: Tensor) -> Tensor:
    """Call a layer that sees one image at a time with (K * B, ..)."""
    given: Tensor = module(x.flatten(0, 1))
    return given.view(*x.shape[:2], *given.shape[1:])


def beside(module: Any) -> bool:
    """Tell whether a pooling is in whole windows that lie side by side."""
    if isinstance(module, nn.MaxPool2d):
        other = module.return_indices or pair(module.dilation) != (1, 1)
    else:
        other = module.divisor_override is not None
    here = pair(module.stride) == pair(module.kernel_size) and pair(module.padding) == (0, 0)
    return here and not module.ceil_mode and not other


def pooling_of(module: Any) -> tuple[Literal["average", "max"], tuple[int, int]]:
    """Return the kind of a pooling, and its window's rows and columns."""
    return "max" if isinstance(module, nn.MaxPool2d) else "average", pair(module.kernel_size)


def _adaptive_average(_done: Pass, module: nn.AdaptiveAvgPool2d, _name: str, x: Tensor) -> Tensor:
    if module.output_size in {1, (1, 1)}:
        return x.mean((-2, -1), keepdim=True)
    return _as_one_batch(module, x)


LAYERS: dict[type, Layer] = {
    MemberActivation: _activation, nn.Linear: _linear, nn.Conv2d: _convolution, nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm, nn.LayerNorm: _layer_norm, nn.GroupNorm: _group_norm, nn.PReLU: _prelu,
    nn.Conv1d: _each, nn.ConvTranspose1d: _each, nn.ConvTranspose2d: _each, nn.Dropout: _dropout,
    nn.Dropout1d: _dropout, nn.Dropout2d: _dropout,
}  # fmt: skip
"""Layers in which members differ, by weights of their own or otherwise."""
MAKERS = {nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d}
"""Layers whose outputs are new memory, which they need no more."""
OF_SHARED = {nn.Linear, nn.Conv2d}
"""Those that see pixels of all members once, as (1, B, ..)."""
ELEMENTWISE: frozenset[type] = frozenset({
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Softplus, nn.Softsign, nn.Softshrink,
    nn.Hardshrink, nn.Tanhshrink, nn.LogSigmoid, nn.Threshold,
})  # fmt: skip
"""Layers without weights that see one number at a time."""
FOLDED: frozenset[type] = frozenset({
    nn.Unflatten, nn.MaxPool1d, nn.AvgPool1d, nn.LPPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d, nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d,
    nn.CircularPad2d, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.LocalResponseNorm,
    nn.ChannelShuffle, nn.Softmax, nn.LogSoftmax, nn.Softmax2d,
})  # fmt: skip
"""Layers without weights that see one image at a time: K batches are one of them."""
ALIKE: dict[type, Layer] = {
    nn.Flatten: _flatten, nn.MaxPool2d: _pool, nn.AvgPool2d: _pool, nn.AdaptiveAvgPool2d: _adaptive_average,
}  # fmt: skip
"""Layers without weights that have a stacked form of their own."""
