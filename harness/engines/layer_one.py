"""Layer one of a stack: most of a small network's arithmetic, and the only part that reads images.

It has two forms. Dense (dense.py) is one wide product that all members share; sparse (sparse.py) leaves
out the pixels that are zero, in kernels of its own, where that pays. Both hold the weights of all members,
and what either gives back or takes is (k, h*D), as torch.nn.Linear has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from harness.data import Samples
from harness.engines.blocks import Block
from harness.engines.updates import Updates


@dataclass(frozen=True)
class Part:
    """The members of a block that one optimizer updates.

    Views of their parameters and gradients: `first` (k, n), laid out as the form of layer one has it, and
    `rest` (k, n). Where layer one's gradient is not kept, `grad_first` is empty.
    """

    update: Updates
    block: int
    members: slice
    first: Tensor
    rest: Tensor
    grad_first: Tensor
    grad_rest: Tensor


class Images(Protocol):
    """A split's images as a form of layer one wants them. What it gives is for `LayerOne` alone to read."""

    def __len__(self) -> int:
        """How many."""

    def at(self, index: Tensor) -> Any:
        """Batches of images by their places, (1, B) for all members, or (S, B), one for each seed."""

    def chunks(self, size: int) -> Iterator[Any]:
        """All images in their order, so many at a time, for all members."""


class LayerOne(Protocol):
    """Layer one of all members of a stack: their products with a batch, and their update."""

    @property
    def parts(self) -> Sequence[Part]:
        """All members, by optimizer."""

    def images(self, samples: Samples) -> Images:
        """A split, ready to be looked at."""

    def products(self, seen: Any) -> list[Tensor]:
        """Each block's products of weights and images, (k, h, B)."""

    def update(self, t: Any, seen: Any, grads: Sequence[Tensor]) -> None:
        """Take step t (from 1) of all parameters, from the gradients at the blocks' products (k, h, B).

        Those of `rest` are in the blocks. The dense form also takes a tensor t, as optimizers do.
        """

    def weights(self, block: int) -> Tensor:
        """A block's weights (k, h*D)."""

    def set_weights(self, block: int, weights: Tensor) -> None:
        """Put weights (k, h*D) into their places."""

    def plain(self, part: Part, kept: Tensor) -> Tensor:
        """What is laid out like a part's `first`, as (k, h*D)."""

    def laid(self, part: Part, plain: Tensor) -> Tensor:
        """What is (k, h*D), laid out like a part's `first`."""


def block_of(update: Updates, blocks: Sequence[Block]) -> int:
    """The place of the block whose members an optimizer updates."""
    return next(i for i, block in enumerate(blocks) if update.part.first < block.part.last)


def part_of(update: Updates, blocks: Sequence[Block], firsts: Sequence[Tensor], grad: Tensor) -> Part:
    """An optimizer's part of blocks whose layer one is `firsts`; `grad` is as large, or empty."""
    place = block_of(update, blocks)
    block = blocks[place]
    members = slice(update.part.first - block.part.first, update.part.last - block.part.first)
    first = firsts[place][members]
    grad_first = grad.view_as(first) if grad.numel() else grad
    return Part(update, place, members, first, block.rest[members], grad_first, block.grad_rest[members])
