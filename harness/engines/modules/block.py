"""A convolution with the normalisation, the ReLU and the pooling behind it, as one layer.

Member by member: what lies between the layers is one member's, and stays in the processor's caches.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import Structure, c_double, c_int64, c_void_p
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.engines.modules import image_kernels
from harness.engines.modules.batch_norm import normalise
from harness.engines.modules.convolution import convolve
from harness.engines.modules.image_kernels import Pair
from harness.engines.modules.pooling import Kind, pool

PARAMETERS = ("w", "bias", "scale", "shift")
"""Names of a block's parameters in C."""
MOST_MARKED = 7
"""Pixels of a window, at most, whose bits fit in a mark of a byte with a sign."""


@dataclass(frozen=True)
class Block:
    """The layers behind a convolution, in this order; each may be missing.

    Attributes:
        stride: pixels from an output to the next one.
        padding: zeros around an image.
        normalised: batch normalisation by the batch's statistics.
        epsilon: its own.
        rectified: ReLU.
        kind: of pooling.
        window: rows and columns of windows that lie side by side.
    """

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    normalised: bool = False
    epsilon: float = 1e-5
    rectified: bool = False
    kind: Kind | None = None
    window: Pair = (1, 1)


@dataclass(frozen=True)
class BlockWeights:
    """The parameters of a block: weight (K, O, C, rows, columns); the others (K, O), or None.

    Attributes:
        weight: of the convolution.
        bias: of the convolution.
        scale: of the normalisation.
        shift: of the normalisation.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: Tensor | None = None
    shift: Tensor | None = None


def compute(x: Tensor, weights: BlockWeights, block: Block) -> tuple[Tensor, Tensor, Tensor]:
    """Compute a block of layers of images (K, B, C, H, W), or (1, B, C, H, W) that all members see.

    Returns:
        What comes out, (K, B, O, H', W'); mean and biased variance (K, O) of the batch, empty without a
        normalisation.
    """
    if fits(x, block):
        parts = (weights.weight, weights.bias, weights.scale, weights.shift)
        apply: Callable[..., tuple[Tensor, Tensor, Tensor]] = _Block.apply
        computed, *found = apply(block, x, *parts)
        return image_kernels.outer(computed, x.shape[1]), found[0], found[1]
    out = convolve(x, weights.weight, weights.bias, block.stride, block.padding)
    mean = variance = out.new_empty(0)
    rectified = block.rectified
    if block.normalised and weights.scale is not None and weights.shift is not None:
        out, mean, variance = normalise(out, weights.scale, weights.shift, block.epsilon, rectified=rectified)
        rectified = False
    if block.kind is not None:
        return pool(out, block.window, block.kind, rectified=rectified), mean, variance
    return out.relu() if rectified else out, mean, variance


def fits(x: Tensor, block: Block) -> bool:
    """Tell whether the kernels compute a block of such images as one."""
    if not image_kernels.available(x) or x.shape[1] < image_kernels.lanes(x.dtype):
        return False
    return not (x.requires_grad and len(x) == 1) and block.window[0] * block.window[1] <= MOST_MARKED


class _BlockSizes(Structure):
    """The struct `block` in C."""

    _fields_ = [
        ("of", c_int64 * image_kernels.CONVOLUTION),
        *((name, c_int64) for name in ("normalised", "rectified", "pooled", "rows", "columns")),
        ("epsilon", c_double),
    ]  # fmt: skip


class _Pointers(Structure):
    """The struct `pointers` in C."""

    _fields_ = [
        (name, c_void_p)
        for name in (
            *("x", "w", "bias", "scale", "shift", "convolved", "out", "mean", "variance", "inverse", "mark"),
            *("g", "to_x", "to_w", "to_bias", "to_scale", "to_shift"),
        )
    ]


@dataclass
class _BlockRoom:
    """The tensors of a block in C, by their names there, all dense.

    Attributes:
        sizes: the struct `block`.
        named: name -> tensor.
    """

    sizes: _BlockSizes
    named: dict[str, Tensor] = field(default_factory=dict)

    def pointers(self) -> _Pointers:
        """Return the struct `pointers`."""
        return _Pointers(**{name: tensor.data_ptr() for name, tensor in self.named.items()})


class _Block(torch.autograd.Function):
    """The kernels in C; what they give has the batch innermost: (K, O, H', W', B)."""

    @staticmethod
    def forward(ctx: Any, block: Block, x: Tensor, *parts: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        given = {"x": image_kernels.inner(x)}
        for name, of in zip(PARAMETERS, parts, strict=True):
            if of is not None:
                given[name] = of.detach().contiguous()
        room = _BlockRoom(_sizes(given, block), given)
        outputs = _made(room, block)
        library, one = image_kernels.library(x.dtype), _between(room)
        packed = given["w"].new_empty(given["w"][0].numel())
        library.block_forth(
            ctypes.byref(room.sizes), ctypes.byref(room.pointers()), one.data_ptr(), packed.data_ptr()
        )
        ctx.room = room
        if block.normalised or block.kind or not block.rectified:
            # Not read on the way back, so what follows may change it in place.
            room.named.pop("out")
        ctx.save_for_backward(*room.named.values())
        ctx.names, room.named = list(room.named), {}
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        named = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        room = _BlockRoom(ctx.room.sizes, {**named, "g": gradients[0].contiguous()})
        found: dict[str, Tensor] = {}
        for name, needed in zip(("x", *PARAMETERS), ctx.needs_input_grad[1:], strict=True):
            if name in named and (needed or name not in {"x", "bias"}):
                found[name] = room.named[f"to_{name}"] = torch.empty_like(named[name])
        library, w = image_kernels.library(named["x"].dtype), named["w"]
        packed = w.new_empty(max(w[0].numel(), w[0, 0].numel() * library.most_rows() * library.lanes()))
        sizes, pointers, two = ctypes.byref(room.sizes), ctypes.byref(room.pointers()), _between(room, 2)
        library.block_back(sizes, pointers, two.data_ptr(), packed.data_ptr())
        if "x" in found:
            found["x"] = image_kernels.outer(found["x"], named["x"].shape[-1])
        return None, found.get("x"), *(found.get(name) for name in PARAMETERS)


def _sizes(given: dict[str, Tensor], block: Block) -> _BlockSizes:
    of = image_kernels.sizes_of(given["x"], given["w"], block.stride, block.padding)
    pooled = {None: 0, "average": 1, "max": 2}[block.kind]
    flags = (int(block.normalised), int(block.rectified), pooled)
    return _BlockSizes(image_kernels.numbers(*of), *flags, *block.window, block.epsilon)


def _between(room: _BlockRoom, times: int = 1) -> Tensor:
    """Make room for what the convolution of one member gives, so many times."""
    _, batch, _, _, _, outputs, height, width, *_ = room.sizes.of
    return next(iter(room.named.values())).new_empty(times * outputs * height * width * batch)


def _made(room: _BlockRoom, block: Block) -> tuple[Tensor, Tensor, Tensor]:
    """Make what is computed, and put it among the tensors; return what is told outside."""
    members, batch, _, _, _, outputs, height, width, *_ = room.sizes.of
    rows, columns = block.window if block.kind else (1, 1)
    shape = (members, outputs, height // rows, width // columns, batch)
    like = room.named["x"]
    out = room.named["out"] = like.new_empty(shape)
    sides = [like.new_empty(members, outputs) if block.normalised else like.new_empty(0) for _ in range(3)]
    if block.normalised:
        room.named["convolved"] = like.new_empty(members, outputs, height, width, batch)
        room.named |= dict(zip(("mean", "variance", "inverse"), sides, strict=True))
    if block.kind == "max" or (block.kind and block.rectified and not block.normalised):
        room.named["mark"] = like.new_empty(shape, dtype=torch.int8)
    return out, sides[0], sides[1]
