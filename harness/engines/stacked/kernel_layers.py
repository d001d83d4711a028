"""Blocks and outputs in C (kernels/), of components that planning/kernel_support.py lists."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engines import kernels
from harness.engines.regularisation import Masks
from harness.engines.stacked.blocks import BlockPass, LayerBlock
from harness.engines.stacked.sparse import address, addresses
from harness.planning.kernel_support import ACTIVATIONS
from harness.study.trials import Trial


@dataclass(frozen=True)
class _Buffers:
    """Memory of passes over batches of one size: z, a as in `BlockPass`, and the kernels' view of them."""

    z: list[Tensor]
    a: list[Tensor]
    first: Tensor
    scratch: Tensor
    pointers: Sequence[ctypes.Array[ctypes.c_void_p]]
    struct: kernels.CNetwork


class CompiledBlock(LayerBlock):
    """A block whose layers are computed member by member, while everything between them is in cache.

    PyTorch computes batches that are not a multiple of LANES, and dropout.
    """

    def __init__(self, members: range, trials: Sequence[Trial], widths: Sequence[int], masks: Masks) -> None:
        """Initialise as `LayerBlock`; the kernels support these trials."""
        super().__init__(members, trials, widths, masks)
        self.library, self.lanes = kernels.library(self.rest.dtype), kernels.lanes(self.rest.dtype)
        self.codes = np.array([ACTIVATIONS[trial.arm.settings.activation] for trial in trials], np.int32)
        self.shape = np.array(self.widths[1:], np.int64)
        self.buffers: dict[int, _Buffers] = {}

    def forward(self, product: Tensor, masks: Sequence[Tensor] = ()) -> BlockPass:
        """Compute as `LayerBlock.forward`; the next batch of this size overwrites the result."""
        size = product.shape[2]
        if masks or size % self.lanes:
            return super().forward(product, masks)
        buffers = self._buffers(size)
        buffers.z[0] = product
        buffers.pointers[0][0] = product.data_ptr()
        self.library.forward_rest(ctypes.byref(buffers.struct))
        return BlockPass(buffers.z, buffers.a, buffers.a, ())

    def backward(self, done: BlockPass, grad: Tensor) -> Tensor:
        """Compute as `LayerBlock.backward`."""
        size = grad.shape[2]
        if done.masks or size % self.lanes:
            return super().backward(done, grad)
        buffers, grad = self._buffers(size), grad.contiguous()
        self.library.backward_rest(ctypes.byref(buffers.struct), grad.data_ptr(), buffers.first.data_ptr())
        return buffers.first

    def _buffers(self, size: int) -> _Buffers:
        """Return the buffers for batches of this size, made at first use."""
        if size in self.buffers:
            return self.buffers[size]
        k = len(self.members)
        z = [self.rest.new_empty(k, h, size) for h in self.widths[1:]]
        a = [torch.empty_like(hidden) for hidden in z[:-1]]
        scratch = self.rest.new_empty(3 * size * (max(self.widths[1:]) + self.lanes))
        pointers = (addresses(z), addresses(a))
        struct = kernels.CNetwork(
            k=k, b=size, n=self.rest.shape[1], depth=len(a),
            widths=address(self.shape), activation=address(self.codes),
            rest=self.rest.data_ptr(), grad_rest=self.grad_rest.data_ptr(),
            z=ctypes.addressof(pointers[0]), a=ctypes.addressof(pointers[1]), scratch=scratch.data_ptr(),
        )  # fmt: skip
        self.buffers[size] = _Buffers(z, a, torch.empty_like(z[0]), scratch, pointers, struct)
        return self.buffers[size]


class CrossEntropy:
    """Softmax cross-entropy of k members' logits over C classes, of smoothed labels."""

    def __init__(self, trials: Sequence[Trial], classes: int, dtype: torch.dtype) -> None:
        shares = [trial.arm.settings.label_smoothing for trial in trials]
        self.library, self.lanes = kernels.library(dtype), kernels.lanes(dtype)
        self.keep = torch.tensor([1 - share for share in shares], dtype=dtype)
        self.spread = torch.tensor([share / classes for share in shares], dtype=dtype)

    def takes(self, z: Tensor) -> bool:
        """Return whether logits (k, C, B) are whole vectors."""
        return z.shape[2] % self.lanes == 0

    def loss_and_gradient(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mean losses (k,) of logits (k, C, B) at targets (B, C) or (k, B, C), and their gradient."""
        k, classes, size = z.shape
        z, target = z.contiguous(), target.contiguous()
        loss, grad, scratch = z.new_empty(k), torch.empty_like(z), z.new_empty(classes * size)
        self.library.cross_entropy(
            z.data_ptr(), target.data_ptr(), int(target.ndim == 3), k, classes, size,
            self.keep.data_ptr(), self.spread.data_ptr(), scratch.data_ptr(),
            loss.data_ptr(), grad.data_ptr(),
        )  # fmt: skip
        return loss, grad

    def evaluate(self, z: Tensor, y: Tensor, *, keep: bool) -> tuple[Any, ...]:
        """Compute the fields of `outputs.EvaluationSums`, of logits (k, C, B) and labels y (B,)."""
        k, classes, size = z.shape
        z = z.contiguous()
        loss, correct = torch.zeros(k, dtype=torch.float64), torch.zeros(k, dtype=torch.int64)
        predicted = y.new_empty(k, size) if keep else None
        confidence = z.new_empty(k, size) if keep else None
        self.library.judge(
            z.data_ptr(), y.data_ptr(), k, classes, size, loss.data_ptr(), correct.data_ptr(),
            predicted.data_ptr() if predicted is not None else None,
            confidence.data_ptr() if confidence is not None else None, size,
        )  # fmt: skip
        return loss, correct, (), predicted, confidence
