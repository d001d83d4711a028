"""Layer one as one wide product that all members of a stack share, in PyTorch; wherever torch computes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.axes.optimizers import Count
from harness.data import Samples
from harness.engines.blocks import Block, joined
from harness.engines.layer_one import Images, Part, block_of, part_of
from harness.engines.resident import ResidentImages
from harness.engines.updates import Updates


class DenseImages:
    """A split's pixels (N, D) on the device; `rows` (K,) is the seed's place of each member."""

    def __init__(self, x: Tensor, rows: Sequence[int]) -> None:
        self.x, self.rows = x, torch.tensor(rows, device=x.device)
        self.space = x.new_empty(0)

    def __len__(self) -> int:
        return len(self.x)

    def at(self, index: Tensor) -> Tensor:
        """Pixels (B, D) of one batch, or (K, B, D) of one a member; the memory is the next batch's, too."""
        shared = len(index) == 1
        flat = (index if shared else index[self.rows]).reshape(-1)
        if len(self.space) < len(flat):
            self.space = self.x.new_empty(len(flat), self.x.shape[1])
        x: Tensor = torch.index_select(self.x, 0, flat, out=self.space[: len(flat)])
        return x if shared else x.view(len(self.rows), index.shape[1], -1)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Pixels (B, D), so many at a time."""
        return iter(self.x.split(size))


class Dense:
    """Layer one's weights of all members as one matrix, `wide` (H, D): a row is a hidden unit of a member."""

    def __init__(
        self,
        blocks: Sequence[Block],
        updates: Sequence[Updates],
        inputs: int,
        seeds: Sequence[int],
    ) -> None:
        """Layer one of blocks of a stack that looks at `inputs` pixels, updated by `updates` in their order.

        `seeds` (K,) is the place of each member's seed among the stack's.
        """
        rest = blocks[0].rest
        self.blocks, self.seeds, self.shared = blocks, seeds, len(set(seeds)) == 1
        self.rows = [block.part.size * block.widths[1] for block in blocks]
        self.wide = torch.empty(sum(self.rows), inputs, device=rest.device, dtype=rest.dtype)
        pieces = self.wide.split(self.rows)
        self.firsts: list[Tensor] = [
            piece.view(block.part.size, -1) for block, piece in zip(blocks, pieces, strict=True)
        ]
        self.spans = spans(updates, blocks, self.firsts, self.wide, shared=self.shared)
        self.parts: Sequence[Part] = [part for span in self.spans for part in span.parts]

    def images(self, samples: Samples) -> Images:
        """A split on the device; in bytes on a GPU."""
        if self.wide.is_cuda:
            return ResidentImages(samples, self.seeds, self.wide.device)
        return DenseImages(torch.from_numpy(samples.x).to(self.wide.device), self.seeds)

    def products(self, seen: Tensor) -> list[Tensor]:
        """Each block's products (k, h, B) with pixels (B, D) that all see, or (K, B, D), one a member."""
        if seen.ndim == 2:
            products: Any = torch.split_with_sizes(torch.mm(self.wide, seen.t()), self.rows)
            return [
                product.view(block.part.size, block.widths[1], len(seen))
                for block, product in zip(self.blocks, products, strict=True)
            ]
        return [
            torch.bmm(first.view(block.part.size, block.widths[1], -1), seen[block.part.members].mT)
            for block, first in zip(self.blocks, self.firsts, strict=True)
        ]

    def update(self, t: Count, seen: Tensor, grads: Sequence[Tensor]) -> None:
        """Take step t of all parameters."""
        for span in self.spans:
            span.update(t, seen, grads)

    def weights(self, block: int) -> Tensor:
        """A block's weights (k, h*D), a view."""
        return self.firsts[block]

    def set_weights(self, block: int, weights: Tensor) -> None:
        """Put weights (k, h*D) into their places."""
        self.firsts[block].copy_(weights)

    def plain(self, part: Part, kept: Tensor) -> Tensor:  # noqa: ARG002
        """What lies like a part's weights, as it is."""
        return kept

    def laid(self, part: Part, plain: Tensor) -> Tensor:  # noqa: ARG002
        """What lies like a part's weights, as it is."""
        return plain


class Span:
    """Members of one update rule, side by side, of a block or (where all see the same batch) of several.

    Their gradients of layer one are one product. `weights` of layer one are (R, D), or (k, h, D) where each
    member sees a batch of its own; `grad` is as large, or empty where the step `folds` into the product.
    """

    def __init__(
        self,
        updates: Sequence[Updates],
        blocks: Sequence[Block],
        firsts: Sequence[Tensor],
        weights: Tensor,
    ) -> None:
        self.folds = updates[0].folds
        self.members = slice(updates[0].part.first, updates[-1].part.last)
        self.weights = weights
        self.grad = weights.new_empty(0) if self.folds else torch.empty_like(weights)
        sizes = [update.part.size * firsts[block_of(update, blocks)].shape[1] for update in updates]
        grads = [self.grad] * len(sizes) if self.folds else self.grad.view(-1).split(sizes)
        self.parts = [
            part_of(update, blocks, firsts, grad) for update, grad in zip(updates, grads, strict=True)
        ]

    def update(self, t: Count, x: Tensor, grads: Sequence[Tensor]) -> None:
        """Take step t on a batch x, from the gradients at the blocks' first pre-activations (k, h, B)."""
        seen = x if x.ndim == 2 else x[self.members]
        pieces = [grads[part.block][part.members] for part in self.parts]
        if not self.folds:
            torch.matmul(self._laid(pieces), seen, out=self.grad)
            for part in self.parts:
                part.update.apply(t, [part.first, part.rest], [part.grad_first, part.grad_rest])
            return
        rates = [part.update.rate(t) for part in self.parts]
        for part in self.parts:
            part.update.apply(t, [part.rest], [part.grad_rest])
        rate = rates[0]
        if len(rates) > 1 or not isinstance(rate, float):
            rate = 1.0
            pieces = [_times(piece, own) for piece, own in zip(pieces, rates, strict=True)]
        accumulate = torch.Tensor.addmm_ if x.ndim == 2 else torch.Tensor.baddbmm_
        accumulate(self.weights, self._laid(pieces), seen, alpha=-rate)

    def _laid(self, pieces: Sequence[Tensor]) -> Tensor:
        """Gradients (k, h, B) as the product with the batch wants them: (R, B), or as they are."""
        if self.weights.ndim == 3:
            return pieces[0]
        return joined([piece.reshape(-1, piece.shape[2]) for piece in pieces])


def _times(grad: Tensor, rate: float | Tensor) -> Tensor:
    """A gradient (k, h, B) by learning rates: one, or (k, 1)."""
    return grad * (rate if isinstance(rate, float) else rate[..., None].to(grad.dtype))


def spans(
    updates: Sequence[Updates],
    blocks: Sequence[Block],
    firsts: Sequence[Tensor],
    wide: Tensor,
    *,
    shared: bool,
) -> list[Span]:
    """Put updates that follow one another and have one rule into one span, if all members share a batch.

    Args:
        updates: of all members in their order, each of one block.
        blocks: of the stack.
        firsts: each block's weights of layer one, (k, h*D), views of `wide`.
        wide: layer one's weights (H, D) of all members.
        shared: whether all members see the same batch.
    """
    numbered = enumerate(updates)
    runs = itertools.groupby(numbered, lambda one: (one[1].rule, one[1].folds) if shared else one[0])
    made, row = [], 0
    for _, run in runs:
        members = [update for _, update in run]
        ours = [blocks[block_of(update, blocks)] for update in members]
        rows = sum(u.part.size * block.widths[1] for u, block in zip(members, ours, strict=True))
        weights = wide[row : row + rows]
        row += rows
        if not shared:
            weights = weights.view(members[0].part.size, ours[0].widths[1], -1)
        made.append(Span(members, blocks, firsts, weights))
    return made
