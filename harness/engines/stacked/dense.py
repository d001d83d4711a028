"""Layer one as one wide product that all members of a stack share, in PyTorch; wherever torch computes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.axes.optimizers import Count
from harness.data.samples import Samples
from harness.engines.members import SeedIndex, as_slice
from harness.engines.stacked.blocks import LayerBlock
from harness.engines.stacked.first_layer import ImageSource, LayerOne, block_of, parameter_group
from harness.engines.stacked.gpu_images import ResidentImages
from harness.engines.stacked.optimizer import StackOptimizer
from harness.engines.stacked.products import accumulate, multiply
from harness.engines.tensors import joined


class DenseImages:
    """A split's pixels (N, D) on the device."""

    def __init__(self, x: Tensor, seeds: SeedIndex) -> None:
        self.x, self.of_member = x, torch.tensor(seeds.of_member, device=x.device)
        self.space = x.new_empty(0)

    def at(self, index: Tensor) -> Tensor:
        """Return pixels (B, D) of one batch, or (K, B, D) of one a member; the next batch overwrites them."""
        shared = len(index) == 1
        flat = (index if shared else index[self.of_member]).reshape(-1)
        if len(self.space) < len(flat):
            self.space = self.x.new_empty(len(flat), self.x.shape[1])
        x: Tensor = torch.index_select(self.x, 0, flat, out=self.space[: len(flat)])
        return x if shared else x.view(len(self.of_member), index.shape[1], -1)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Yield pixels (B, D), so many images at a time."""
        return iter(self.x.split(size))


class Dense(LayerOne[Tensor]):
    """Layer one's weights of all members as one matrix, `wide` (H, D): a row is a hidden unit of a member."""

    def __init__(
        self,
        blocks: Sequence[LayerBlock],
        optimizers: Sequence[StackOptimizer],
        inputs: int,
        seeds: SeedIndex,
    ) -> None:
        """Make layer one of a stack's blocks for images of `inputs` pixels, with all members' optimizers."""
        rest = blocks[0].rest
        self.blocks, self.seeds = blocks, seeds
        self.rows = [len(block.members) * block.widths[1] for block in blocks]
        self.wide = torch.empty(sum(self.rows), inputs, device=rest.device, dtype=rest.dtype)
        self.block_weights = [
            piece.view(len(block.members), -1)
            for block, piece in zip(blocks, self.wide.split(self.rows), strict=True)
        ]
        self.updates = self._fused(optimizers, shared=len(seeds.seeds) == 1)
        self.groups = [group for update in self.updates for group in update.groups]

    def _fused(self, optimizers: Sequence[StackOptimizer], *, shared: bool) -> list[FusedUpdate]:
        """Fuse the updates of neighbours that have one rule, if all members share a batch."""
        runs = itertools.groupby(
            enumerate(optimizers), lambda item: (item[1].rule, item[1].folds) if shared else item[0]
        )
        updates, row = [], 0
        for _, run in runs:
            fused = [optimizer for _, optimizer in run]
            blocks = [self.blocks[block_of(optimizer, self.blocks)] for optimizer in fused]
            rows = sum(len(o.members) * block.widths[1] for o, block in zip(fused, blocks, strict=True))
            weights = self.wide[row : row + rows]
            row += rows
            if not shared:
                weights = weights.view(len(fused[0].members), blocks[0].widths[1], -1)
            updates.append(FusedUpdate(fused, self.blocks, self.block_weights, weights))
        return updates

    def images(self, samples: Samples) -> ImageSource[Tensor]:
        """Return a split on the device; in bytes on a GPU."""
        if self.wide.is_cuda:
            return ResidentImages(samples, self.seeds, self.wide.device)
        return DenseImages(torch.from_numpy(samples.x).to(self.wide.device), self.seeds)

    def products(self, batch: Tensor) -> list[Tensor]:
        """Compute each block's products (k, h, B) with pixels (B, D) of all, or (K, B, D), one a member."""
        if batch.ndim == 2:
            products: Any = torch.split_with_sizes(multiply("forward", self.wide, batch.t()), self.rows)
            return [
                product.view(len(block.members), block.widths[1], len(batch))
                for block, product in zip(self.blocks, products, strict=True)
            ]
        batches = (batch[as_slice(block.members)].mT for block in self.blocks)
        members = zip(self.blocks, self.block_weights, batches, strict=True)
        return [
            multiply("forward", weights.view(len(x), block.widths[1], -1), x) for block, weights, x in members
        ]

    def update(self, t: Count, batch: Tensor, grads: Sequence[Tensor]) -> None:
        """Take step t of all parameters."""
        for update in self.updates:
            update.apply(t, batch, grads)


class FusedUpdate:
    """The update of neighbours of one rule, of a block or (where all see the same batch) of several.

    Their gradients of layer one are one product. `weights` of layer one are (R, D), or (k, h, D) where each
    member sees a batch of its own; `grad` is as large, or empty where the step `folds` into the product.
    """

    def __init__(
        self,
        optimizers: Sequence[StackOptimizer],
        blocks: Sequence[LayerBlock],
        block_weights: Sequence[Tensor],
        weights: Tensor,
    ) -> None:
        self.folds = optimizers[0].folds
        self.members = slice(optimizers[0].members.start, optimizers[-1].members.stop)
        self.weights = weights
        self.grad = weights.new_empty(0) if self.folds else torch.empty_like(weights)
        sizes = [len(o.members) * block_weights[block_of(o, blocks)].shape[1] for o in optimizers]
        grads = [self.grad] * len(sizes) if self.folds else self.grad.view(-1).split(sizes)
        self.groups = [
            parameter_group(optimizer, blocks, block_weights, grad)
            for optimizer, grad in zip(optimizers, grads, strict=True)
        ]

    def apply(self, t: Count, batch: Tensor, grads: Sequence[Tensor]) -> None:
        """Take step t on a batch, from the gradients at the blocks' first pre-activations (k, h, B)."""
        x = batch if batch.ndim == 2 else batch[self.members]
        pieces = [grads[group.block][group.members] for group in self.groups]
        if not self.folds:
            multiply("gradient", self._as_factor(pieces), x, out=self.grad)
            for group in self.groups:
                group.optimizer.apply(t, [group.first, group.rest], [group.grad_first, group.grad_rest])
            return
        rates = [group.optimizer.rate(t) for group in self.groups]
        for group in self.groups:
            group.optimizer.apply(t, [group.rest], [group.grad_rest])
        rate = rates[0]
        if len(rates) > 1 or not isinstance(rate, float):
            rate = 1.0
            wide = (r if isinstance(r, float) else r[..., None].to(pieces[0].dtype) for r in rates)
            pieces = [piece * factor for piece, factor in zip(pieces, wide, strict=True)]
        accumulate(self.weights, self._as_factor(pieces), x, -rate)

    def _as_factor(self, pieces: Sequence[Tensor]) -> Tensor:
        """Return gradients (k, h, B) as the product with the batch wants them: (R, B), or as they are."""
        if self.weights.ndim == 3:
            return pieces[0]
        return joined([piece.reshape(-1, piece.shape[2]) for piece in pieces])
