"""Layer one in the C kernels, where other layers or the optimizer are PyTorch's.

Its products and gradients are computed in C (kernels/), on the CPU, and nothing else is. Stacks whose
components are all compiled train in `engines/compiled` instead.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data.samples import Data, Samples
from harness.engines import kernels
from harness.engines.compiled import forms
from harness.engines.compiled.images import Expander, Stored, Transposer, in_full, sparse_form, stored
from harness.engines.compiled.memory import address
from harness.engines.kernels import TILE
from harness.engines.members import SeedIndex, as_slice
from harness.engines.stacked.blocks import LayerBlock
from harness.engines.stacked.first_layer import LayerOne, block_of, parameter_group
from harness.engines.stacked.optimizer import StackOptimizer
from harness.planning.compilation import WIDE
from harness.study.trials import Trial


def addresses(tensors: Sequence[Tensor]) -> Any:
    """Return an array of the addresses of the tensors' first elements."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def pays(trials: Sequence[Trial], data: Data) -> bool:
    """Return whether layer one is faster in the kernels, as far as their self-test measured it."""
    if kernels.why_not(data.train.dtype):
        return False
    found = kernels.measured()
    narrow = all(units <= WIDE for trial in trials for units in trial.arm.settings.hidden)
    return (found.wide or narrow) and (found.dense or not in_full(data.train, sparse_form(data.train)))


@dataclass(frozen=True)
class TiledImages:
    """A split's images as the kernels read them."""

    images: Stored

    def at(self, index: Tensor) -> TiledBatch:
        """Return batches by their places (S, B)."""
        return TiledBatch(self.images, index.contiguous())

    def chunks(self, size: int) -> Iterator[TiledBatch]:
        """Yield all images in their order, so many at a time."""
        for chunk in torch.arange(self.images.size).split(size):
            yield TiledBatch(self.images, chunk[None])


@dataclass(frozen=True)
class TiledBatch:
    """Batches of a split by their places (S, B), contiguous: one for all members, or one a seed."""

    images: Stored
    index: Tensor


class Tiled(LayerOne[TiledBatch]):
    """Layer one's weights of all members as tiles (T, D, LANES): LANES hidden units of a member, or fewer."""

    def __init__(
        self, data: Data, blocks: Sequence[LayerBlock], optimizers: Sequence[StackOptimizer], seeds: SeedIndex
    ) -> None:
        self.blocks, self.inputs, self.form = blocks, data.inputs, sparse_form(data.train)
        dtype, self.in_full = data.train.dtype, in_full(data.train, self.form)
        self.library, self.lanes = kernels.library(dtype), kernels.lanes(dtype)
        self.tiles = _tiles(blocks, seeds, self.lanes)
        self.all_weights = torch.zeros(len(self.tiles), self.inputs, self.lanes, dtype=blocks[0].rest.dtype)
        self.all_grads = torch.empty_like(self.all_weights)
        self.block_weights, block_grads = self._by_block(self.all_weights), self._by_block(self.all_grads)
        self.moved = self.all_weights.new_empty(len(self.tiles) * self.lanes)
        self.sums = self.all_weights.new_empty(0)
        self.transpose, self.expand = Transposer(self.inputs, dtype), Expander(self.inputs, dtype)
        self.expanded: TiledBatch | None = None
        self.groups = [
            parameter_group(
                optimizer, blocks, self.block_weights, _of_members(optimizer, blocks, block_grads)
            )
            for optimizer in optimizers
        ]

    def _by_block(self, tiles: Tensor) -> list[Tensor]:
        """Return tiles of all members as each block's (k, n)."""
        ends = np.cumsum([len(block.members) * _tiles_a_member(block, self.lanes) for block in self.blocks])
        pieces = tiles.tensor_split(ends[:-1].tolist())
        return [piece.view(len(block.members), -1) for block, piece in zip(self.blocks, pieces, strict=True)]

    def images(self, samples: Samples) -> TiledImages:
        """Return a split, compressed."""
        return TiledImages(stored(samples, self.form, full=self.in_full))

    def forms(self, size: int) -> forms.Forms:
        """Return the forms of images in batches of some size."""
        return forms.Forms(True, True) if self.in_full else forms.chosen(self.form.density, size)

    def _full(self, batch: TiledBatch, *, wanted: bool) -> int | None:
        """Return the address of a batch in full, if that is wanted; a step asks for it twice."""
        if wanted and batch is not self.expanded:
            index = batch.index.numpy()
            self.expand(batch.images, index, index.shape[1])
            self.expanded = batch
        return address(self.expand.full) if wanted else None

    def products(self, batch: TiledBatch) -> list[Tensor]:
        """Compute each block's products (k, h, B) with batches."""
        seeds, size = batch.index.shape
        products = [
            self.all_weights.new_empty(len(block.members), block.widths[1], size) for block in self.blocks
        ]
        self.library.products_of_all(
            self.all_weights.data_ptr(), address(self.tiles), len(self.tiles), batch.images.struct,
            batch.index.data_ptr(), self._full(batch, wanted=self.forms(size).products),
            size if seeds > 1 else 0, size, self.inputs, self.moved.data_ptr(),
            self._room(4 * size), addresses(products),
        )  # fmt: skip
        return products

    def update(self, t: int, batch: TiledBatch, grads: Sequence[Tensor]) -> None:
        """Take step t of all parameters."""
        size, common = batch.index.shape[1], batch.images.common
        full = self._full(batch, wanted=self.forms(size).gradients)
        transposed = kernels.Turned() if full else self.transpose(batch.images, batch.index.numpy())
        contiguous = [grad.contiguous() for grad in grads]
        self.library.gradients(
            self.all_grads.data_ptr(), address(self.tiles), len(self.tiles), addresses(contiguous),
            None if common is None else address(common), transposed, full, size, self.inputs,
            self._room(size),
        )  # fmt: skip
        for group in self.groups:
            group.optimizer.apply(t, [group.first, group.rest], [group.grad_first, group.grad_rest])

    def _room(self, vectors: int) -> int:
        """Return the address of room for so many vectors."""
        if len(self.sums) < vectors * self.lanes:
            self.sums = self.all_weights.new_empty(vectors * self.lanes)
        return self.sums.data_ptr()

    def from_tiles(self, block: int, tiles: Tensor) -> Tensor:
        """Return tiles as (k, h*D)."""
        k, h = len(tiles), self.blocks[block].widths[1]
        rows = tiles.view(k, -1, self.inputs, self.lanes).transpose(2, 3).reshape(k, -1, self.inputs)
        return rows[:, :h].reshape(k, -1)

    def to_tiles(self, block: int, plain: Tensor) -> Tensor:
        """Return (k, h*D) as tiles, and any other state of an optimizer as it is."""
        k, h = len(plain), self.blocks[block].widths[1]
        if plain.shape[1] != h * self.inputs:
            return plain
        rows = plain.new_zeros(k, _tiles_a_member(self.blocks[block], self.lanes) * self.lanes, self.inputs)
        rows[:, :h] = plain.view(k, h, self.inputs)
        return rows.view(k, -1, self.lanes, self.inputs).transpose(2, 3).reshape(k, -1)


def _of_members(optimizer: StackOptimizer, blocks: Sequence[LayerBlock], values: Sequence[Tensor]) -> Tensor:
    """Return the rows of an optimizer's members, of each block's values (k, n)."""
    place = block_of(optimizer, blocks)
    return values[place][as_slice(optimizer.members, blocks[place].members.start)]


def _tiles_a_member(block: LayerBlock, lanes: int) -> int:
    return -(-block.widths[1] // lanes)


def _tiles(blocks: Sequence[LayerBlock], seeds: SeedIndex, lanes: int) -> NDArray[np.void]:
    """Return the tiles of all members; a tile's batch is the place of its member's seed."""
    rows = [
        (k * h + unit, min(lanes, h - unit), place, seeds.of_member[member], member)
        for place, block in enumerate(blocks)
        for h in block.widths[1:2]
        for k, member in enumerate(block.members)
        for unit in range(0, h, lanes)
    ]
    return np.array(rows, TILE)
