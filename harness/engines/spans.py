"""Spans: members of a stack whose gradients of layer one are one product, and their update."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.engines.blocks import Block, joined
from harness.engines.updates import Updates


@dataclass(frozen=True)
class Part:
    """The members of a block that one optimizer updates.

    Views of their parameters and gradients: `first` (k, h*D) and `rest` (k, n). Where layer one's gradient
    is not kept, its view is empty.
    """

    update: Updates
    block: int
    members: slice
    first: Tensor
    rest: Tensor
    grad_first: Tensor
    grad_rest: Tensor


class Span:
    """Members of one update rule, side by side, of a block or (where all see the same batch) of several.

    `weights` of layer one are (R, D), or (k, h, D) where each member sees a batch of its own; `grad` is as
    large, or empty where the step `folds` into the product.
    """

    def __init__(self, updates: Sequence[Updates], blocks: Sequence[Block], weights: Tensor) -> None:
        self.folds = updates[0].folds
        self.members = slice(updates[0].part.first, updates[-1].part.last)
        self.weights = weights
        self.grad = weights.new_empty(0) if self.folds else torch.empty_like(weights)
        sizes = [update.part.size * blocks[_block_of(update, blocks)].first.shape[1] for update in updates]
        grads = [self.grad] * len(sizes) if self.folds else self.grad.view(-1).split(sizes)
        self.parts = [_part(update, blocks, grad) for update, grad in zip(updates, grads, strict=True)]

    def update(self, t: int, x: Tensor, grads: Sequence[Tensor]) -> None:
        """Take step t on a batch x, from the gradients at the blocks' first pre-activations (K, h, B)."""
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


def _part(update: Updates, blocks: Sequence[Block], grad: Tensor) -> Part:
    place = _block_of(update, blocks)
    block = blocks[place]
    members = slice(update.part.first - block.part.first, update.part.last - block.part.first)
    first = block.first[members]
    grad_first = grad.view_as(first) if grad.numel() else grad
    return Part(update, place, members, first, block.rest[members], grad_first, block.grad_rest[members])


def _block_of(update: Updates, blocks: Sequence[Block]) -> int:
    return next(i for i, block in enumerate(blocks) if update.part.first < block.part.last)


def spans(updates: Sequence[Updates], blocks: Sequence[Block], wide: Tensor, *, shared: bool) -> list[Span]:
    """Put updates that follow one another and have one rule into one span, if all members share a batch.

    Args:
        updates: of all members in their order, each of one block.
        blocks: of the stack.
        wide: layer one's weights (H, D) of all members.
        shared: whether all members see the same batch.
    """
    numbered = enumerate(updates)
    runs = itertools.groupby(numbered, lambda one: (one[1].rule, one[1].folds) if shared else one[0])
    made, row = [], 0
    for _, run in runs:
        members = [update for _, update in run]
        ours = [blocks[_block_of(update, blocks)] for update in members]
        rows = sum(u.part.size * block.widths[1] for u, block in zip(members, ours, strict=True))
        weights = wide[row : row + rows]
        row += rows
        if not shared:
            weights = weights.view(members[0].part.size, ours[0].widths[1], -1)
        made.append(Span(members, blocks, weights))
    return made
