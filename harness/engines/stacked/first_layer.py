"""Layer one of a stack: most of a small network's arithmetic, and the only part that reads images.

It has two forms. The dense one (dense.py) is a wide product of PyTorch's that all members share; the tiled
one (tiled.py) is computed in the C kernels, on a CPU that has them. Both hold the weights of all members, and
exchange them as (k, h*D), as torch.nn.Linear has them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from harness.data.samples import Samples
from harness.engines.members import as_slice
from harness.engines.stacked.blocks import LayerBlock
from harness.engines.stacked.optimizer import StackOptimizer

Batch = TypeVar("Batch")
Batch_co = TypeVar("Batch_co", covariant=True)


@dataclass(frozen=True)
class ParameterGroup:
    """The parameters that one optimizer updates: those of some members of a block.

    Views of parameters and gradients: `first` (k, n), laid out as the form of layer one has it, and `rest`
    (k, n). Where layer one's gradient is not kept, `grad_first` is empty. `members` are places in the block.
    """

    optimizer: StackOptimizer
    block: int
    members: slice
    first: Tensor
    rest: Tensor
    grad_first: Tensor
    grad_rest: Tensor


class ImageSource(Protocol[Batch_co]):
    """A split's images as a form of layer one wants them; only that form reads its batches."""

    def at(self, index: Tensor) -> Batch_co:
        """Return batches of images by their places, (1, B) for all members, or (S, B), one for each seed."""

    def chunks(self, size: int) -> Iterator[Batch_co]:
        """Yield all images in their order, so many at a time, for all members."""


class LayerOne(ABC, Generic[Batch]):
    """Layer one of all members of a stack: their products with a batch, and their update.

    `block_weights` are each block's, a row a member; `groups` are the parameters of all members, behind layer
    one too, by optimizer. Here weights are laid out as (k, h*D); a form may lay them out as tiles.
    """

    blocks: Sequence[LayerBlock]
    block_weights: Sequence[Tensor]
    groups: Sequence[ParameterGroup]

    @abstractmethod
    def images(self, samples: Samples) -> ImageSource[Batch]:
        """Return a split's images, ready to be read."""

    @abstractmethod
    def products(self, batch: Batch) -> list[Tensor]:
        """Compute each block's products of weights and images, (k, h, B)."""

    @abstractmethod
    def update(self, t: Any, batch: Batch, grads: Sequence[Tensor]) -> None:
        """Take step t (from 1) of all parameters, from the gradients at the blocks' products (k, h, B).

        Those of `rest` are in the blocks. The dense form also takes a tensor t, as optimizers do.
        """

    def weights(self, block: int) -> Tensor:
        """Return a block's weights (k, h*D)."""
        return self.from_tiles(block, self.block_weights[block])

    def set_weights(self, block: int, weights: Tensor) -> None:
        """Load a block's weights (k, h*D)."""
        self.block_weights[block].copy_(self.to_tiles(block, weights))

    def from_tiles(self, block: int, tiles: Tensor) -> Tensor:  # noqa: ARG002
        """Return what is laid out like weights of some members of a block as (k, h*D)."""
        return tiles

    def to_tiles(self, block: int, plain: Tensor) -> Tensor:  # noqa: ARG002
        """Return (k, h*D) laid out like weights of a block, and any other state of an optimizer as it is."""
        return plain


def block_of(optimizer: StackOptimizer, blocks: Sequence[LayerBlock]) -> int:
    """Return the place of the block whose members an optimizer updates."""
    return next(i for i, block in enumerate(blocks) if optimizer.members.start < block.members.stop)


def parameter_group(
    optimizer: StackOptimizer, blocks: Sequence[LayerBlock], weights: Sequence[Tensor], grad: Tensor
) -> ParameterGroup:
    """Return the group of an optimizer, whose members are of one of the stack's blocks.

    `weights` are each block's of layer one, a row a member; `grad` is memory for their gradient, or empty.
    """
    place = block_of(optimizer, blocks)
    block = blocks[place]
    members = as_slice(optimizer.members, block.members.start)
    first = weights[place][members]
    grad_first = grad.view_as(first) if grad.numel() else grad
    rest, grad_rest = block.rest[members], block.grad_rest[members]
    return ParameterGroup(optimizer, place, members, first, rest, grad_first, grad_rest)
