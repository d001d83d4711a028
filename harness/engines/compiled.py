"""Blocks and outputs in C (kernels/), where these know the components (known.py)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engines import kernels
from harness.engines.blocks import Block, Pass
from harness.engines.regularisation import Draws
from harness.engines.sparse import address, addresses
from harness.engines.updates import Slice
from harness.known import ACTIVATIONS
from harness.trials import Trial


@dataclass(frozen=True)
class _Buffers:
    """What a forward pass over batches of one size writes: z, a as `Pass` has them, and the kernels' view."""

    z: list[Tensor]
    a: list[Tensor]
    first: Tensor
    scratch: Tensor
    held: Sequence[ctypes.Array[ctypes.c_void_p]]
    struct: kernels.Network


class CompiledBlock(Block):
    """A block whose layers are computed member by member, while all that is between them is in cache.

    Batches that are no multiple of LANES, and dropout, are PyTorch's.
    """

    def __init__(
        self,
        part: Slice,
        trials: Sequence[Trial],
        widths: Sequence[int],
        draws: Draws,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """As `Block`; the kernels know these trials."""
        super().__init__(part, trials, widths, draws, device=device, dtype=dtype)
        self.library, self.lanes = kernels.library(self.rest.dtype), kernels.lanes(self.rest.dtype)
        named = [trial.arm.settings.activation for trial in trials]
        self.codes = np.array([ACTIVATIONS[name] for name in named], np.int32)
        self.shape = np.array(self.widths[1:], np.int64)
        self.buffers: dict[int, _Buffers] = {}

    def forward(self, product: Tensor, masks: Sequence[Tensor] = ()) -> Pass:
        """As `Block.forward`; what it gives is overwritten by the next batch of this size."""
        size = product.shape[2]
        if masks or size % self.lanes:
            return super().forward(product, masks)
        buffers = self.of(size)
        buffers.z[0] = product
        buffers.held[0][0] = product.data_ptr()
        self.library.forward_rest(ctypes.byref(buffers.struct))
        return Pass(buffers.z, buffers.a, buffers.a, ())

    def backward(self, done: Pass, grad: Tensor) -> Tensor:
        """As `Block.backward`."""
        size = grad.shape[2]
        if done.masks or size % self.lanes:
            return super().backward(done, grad)
        buffers, grad = self.of(size), grad.contiguous()
        self.library.backward_rest(ctypes.byref(buffers.struct), grad.data_ptr(), buffers.first.data_ptr())
        return buffers.first

    def of(self, size: int) -> _Buffers:
        """The buffers for batches of this size."""
        if size not in self.buffers:
            self.buffers[size] = self._made(size)
        return self.buffers[size]

    def _made(self, size: int) -> _Buffers:
        k = self.part.size
        z, a = (
            [self.rest.new_empty(k, h, size) for h in widths]
            for widths in (self.widths[1:], self.widths[1:-1])
        )
        scratch = self.rest.new_empty(3 * size * (max(self.widths[1:]) + self.lanes))
        held = (addresses(z), addresses(a))
        struct = kernels.Network(
            k=k, b=size, n=self.rest.shape[1], depth=len(a),
            widths=address(self.shape), activation=address(self.codes),
            rest=self.rest.data_ptr(), grad_rest=self.grad_rest.data_ptr(),
            z=ctypes.addressof(held[0]), a=ctypes.addressof(held[1]), scratch=scratch.data_ptr(),
        )  # fmt: skip
        return _Buffers(z, a, torch.empty_like(z[0]), scratch, held, struct)


class CrossEntropy:
    """Softmax cross-entropy of k members' logits over C classes, of smoothed labels."""

    def __init__(self, shares: Sequence[float], classes: int, dtype: torch.dtype) -> None:
        """`shares` (k,) of label smoothing."""
        self.library, self.lanes = kernels.library(dtype), kernels.lanes(dtype)
        self.keep = torch.tensor([1 - share for share in shares], dtype=dtype)
        self.spread = torch.tensor([share / classes for share in shares], dtype=dtype)

    def takes(self, z: Tensor) -> bool:
        """Whether logits (k, C, B) are whole vectors."""
        return z.shape[2] % self.lanes == 0

    def loss_and_gradient(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Mean losses (k,) of logits (k, C, B) against targets (B, C) or (k, B, C), and their gradient."""
        k, classes, size = z.shape
        z, target = z.contiguous(), target.contiguous()
        loss, grad, scratch = z.new_empty(k), torch.empty_like(z), z.new_empty(classes * size)
        self.library.cross_entropy(
            z.data_ptr(), target.data_ptr(), int(target.ndim == 3), k, classes, size,
            self.keep.data_ptr(), self.spread.data_ptr(), scratch.data_ptr(),
            loss.data_ptr(), grad.data_ptr(),
        )  # fmt: skip
        return loss, grad

    def judge(self, z: Tensor, y: Tensor, *, keep: bool) -> tuple[Any, ...]:
        """What `outputs.Judged` has, of logits (k, C, B) and labels y (B,)."""
        k, classes, size = z.shape
        z = z.contiguous()
        loss, right = torch.zeros(k, dtype=torch.float64), torch.zeros(k, dtype=torch.int64)
        best = y.new_empty(k, size) if keep else None
        sure = z.new_empty(k, size) if keep else None
        self.library.judge(
            z.data_ptr(), y.data_ptr(), k, classes, size, loss.data_ptr(), right.data_ptr(),
            best.data_ptr() if best is not None else None,
            sure.data_ptr() if sure is not None else None, size,
        )  # fmt: skip
        return loss, right, (), best, sure
