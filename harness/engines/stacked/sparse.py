"""Layer one without the pixels that are zero, and optimizers' steps while the gradient is in registers.

It is computed in C (kernels/), on the CPU. MNIST's pixels are 81 % zeros.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data.samples import Samples
from harness.engines import kernels
from harness.engines.kernels import TILE, WIDEST
from harness.engines.members import SeedIndex, as_slice
from harness.engines.stacked.blocks import LayerBlock
from harness.engines.stacked.first_layer import LayerOne, parameter_group
from harness.engines.stacked.optimizer import StackOptimizer
from harness.planning.kernel_support import GRADIENT, rule_of, rule_settings
from harness.study.trials import Trial

DENSEST = 0.6
"""Share of pixels that are not zero, at most, where leaving out the others pays: ARCHITECTURE.md."""


def address(array: NDArray[np.generic]) -> int:
    """Return the address of the first element; it takes some microseconds."""
    return int(array.ctypes.data)


def addresses(tensors: Sequence[Tensor]) -> Any:
    """Return an array of the addresses of the tensors' first elements."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


@dataclass(frozen=True)
class Compressed:
    """N images of D pixels: image n has value[row[n]:row[n + 1]] at the pixels `column`.

    `occurs` (D,) says which pixels are not zero in at least one image. There is one more image, without any
    pixels, to fill up batches.
    """

    row: NDArray[np.int64]
    column: NDArray[np.uint16]
    value: NDArray[np.floating]
    occurs: NDArray[np.uint8]

    @functools.cached_property
    def struct(self) -> kernels.CImages:
        """Return the kernels' view."""
        return kernels.CImages(address(self.row), address(self.column), address(self.value))

    @property
    def size(self) -> int:
        """Return the number of images, N."""
        return len(self.row) - 2

    @functools.cached_property
    def occurs_at(self) -> int:
        """Return the address of `occurs`."""
        return address(self.occurs)

    def at(self, index: Tensor) -> SparseBatch:
        """Return batches by their places (S, B)."""
        return SparseBatch(self, index.contiguous())

    def chunks(self, size: int) -> Iterator[SparseBatch]:
        """Yield all images in their order, so many at a time."""
        for chunk in torch.arange(self.size).split(size):
            yield SparseBatch(self, chunk[None])


@functools.lru_cache(maxsize=6)  # the splits of two data sets, as `data.prepare` keeps them
def compressed(samples: Samples) -> Compressed:
    """Return a split's images without their zeros."""
    x = samples.x
    library = kernels.library(x.dtype)
    size = library.compressed_size(address(x), x.size)
    row = np.empty(len(x) + 2, np.int64)
    column, value = np.empty(size, np.uint16), np.empty(size, x.dtype)
    library.compress(address(x), len(x), x.shape[1], address(row), address(column), address(value))
    row[-1] = row[-2]
    occurs = np.zeros(x.shape[1], np.uint8)
    occurs[column] = 1
    return Compressed(row, column, value, occurs)


def pays(samples: Samples) -> bool:
    """Return whether there are kernels for these images, and enough zeros to leave out."""
    if samples.x.shape[1] > np.iinfo(np.uint16).max or kernels.why_not(samples.x.dtype):
        return False
    return density(samples) <= DENSEST


@functools.lru_cache(maxsize=2)
def density(samples: Samples) -> float:
    """Return the share of pixels that are not zero."""
    x = samples.x
    return float(kernels.library(x.dtype).compressed_size(address(x), x.size) / x.size)


class Transposer:
    """Transposes batches: for each pixel, the images in which it is not zero. Its memory is reused."""

    def __init__(self, like: Tensor, inputs: int) -> None:
        """Prepare for images of so many pixels, in the type of `like`."""
        self.inputs = inputs
        self.starts, self.samples = torch.empty(2, 0, dtype=torch.int32)
        self.values = like.new_empty(0)

    def __call__(self, images: Compressed, index: Tensor) -> kernels.Turned:
        """Transpose batches (.., B) by their places, contiguous."""
        size, batches = index.shape[-1], index.numel() // index.shape[-1]
        if len(self.starts) < (starts := batches * (self.inputs + 2)):
            self.starts = self.starts.new_empty(starts)
        if len(self.samples) < (values := index.numel() * self.inputs):
            self.samples, self.values = self.samples.new_empty(values), self.values.new_empty(values)
        turned = kernels.Turned(self.starts.data_ptr(), self.samples.data_ptr(), self.values.data_ptr())
        library = kernels.library(images.value.dtype)
        library.turn(images.struct, index.data_ptr(), batches, size, self.inputs, turned)
        return turned


@dataclass(frozen=True)
class SparseBatch:
    """Batches of a split by their places (S, B), contiguous: one for all members, or one a seed."""

    images: Compressed
    index: Tensor


class Sparse(LayerOne[SparseBatch]):
    """Layer one's weights of all members as tiles (T, D, LANES): LANES hidden units of a member, or fewer."""

    def __init__(
        self,
        trials: Sequence[Trial],
        blocks: Sequence[LayerBlock],
        optimizers: Sequence[StackOptimizer],
        inputs: int,
        seeds: SeedIndex,
    ) -> None:
        self.blocks, self.inputs = blocks, inputs
        self.dtype = blocks[0].rest.dtype
        self.library, self.lanes = kernels.library(self.dtype), kernels.lanes(self.dtype)
        self.tiles = _tiles(blocks, seeds, self.lanes)
        self.first_tiles = np.flatnonzero(np.diff(self.tiles["member"], prepend=-1))
        self.shared_tiles = self.tiles.copy()
        self.shared_tiles["batch"] = 0  # all members see the same batch
        self.tile_addresses = (address(self.shared_tiles), address(self.tiles))
        self.all_weights = torch.zeros(len(self.tiles), inputs, self.lanes, dtype=self.dtype)
        ends = np.cumsum([len(block.members) * _tiles_a_member(block, self.lanes) for block in blocks])
        pieces = self.all_weights.tensor_split(ends[:-1].tolist())
        self.block_weights = [
            piece.view(len(block.members), -1) for block, piece in zip(blocks, pieces, strict=True)
        ]
        self.transpose = Transposer(self.all_weights, inputs)
        self.sums = self.all_weights.new_empty(0)
        self.updates = [KernelUpdate(self, o, trials[as_slice(o.members)]) for o in optimizers]
        self.groups = [update.group for update in self.updates]

    def images(self, samples: Samples) -> Compressed:
        """Return a split, compressed."""
        return compressed(samples)

    def products(self, batch: SparseBatch) -> list[Tensor]:
        """Compute each block's products (k, h, B) with batches."""
        size = batch.index.shape[1]
        products = [
            self.all_weights.new_empty(len(block.members), block.widths[1], size) for block in self.blocks
        ]
        self.library.products(
            self.all_weights.data_ptr(), self.tile_addresses[len(batch.index) > 1], len(self.tiles),
            batch.images.struct, batch.index.data_ptr(), size, self.inputs, self._room(2 * size),
            addresses(products),
        )  # fmt: skip
        return products

    def update(self, t: int, batch: SparseBatch, grads: Sequence[Tensor]) -> None:
        """Take step t of all parameters."""
        transposed, size = self.transpose(batch.images, batch.index), batch.index.shape[1]
        contiguous = [grad.contiguous() for grad in grads]
        pointers, sums = addresses(contiguous), self._room(WIDEST * size)
        for update in self.updates:
            task = update.task
            task.t, task.b, task.grads, task.sums = t, size, ctypes.addressof(pointers), sums
            task.occurs = batch.images.occurs_at
            update.apply(t, transposed)

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


class KernelUpdate:
    """An optimizer's update of its members: in the kernels, or in PyTorch where they have no rule for it.

    `task` is layer one's, `rest_task` that of all other parameters, as the kernels see them.
    """

    def __init__(self, layer: Sparse, optimizer: StackOptimizer, trials: Sequence[Trial]) -> None:
        self.library, self.optimizer, self.rule = layer.library, optimizer, rule_of(trials[0].arm.settings)
        no_gradient = layer.all_weights.new_empty(0)
        self.group = group = parameter_group(optimizer, layer.blocks, layer.block_weights, no_gradient)
        first = int(layer.first_tiles[optimizer.members.start])
        last = [*layer.first_tiles.tolist(), len(layer.tiles)][optimizer.members.stop]
        self.tiles = layer.tiles[first:last]
        self.settings = rule_settings(self.rule, trials) if self.rule else np.empty((len(trials), 0))
        self.rates = optimizer.rates.contiguous()
        self.grad = torch.empty_like(group.first) if self.rule is None else no_gradient
        written = self.grad if self.rule is None else group.first
        shared: dict[str, Any] = {
            "settings": address(self.settings), "first_member": optimizer.members.start,
            "n": self.settings.shape[1],
        }  # fmt: skip
        self.task = kernels.UpdateTask(
            w=written.data_ptr(), one=written.data_ptr(), two=written.data_ptr(), count=last - first,
            tiles=address(layer.tiles) + first * TILE.itemsize, d=layer.inputs, **shared,
        )  # fmt: skip
        self.rest_task = kernels.UpdateTask(w=group.rest.data_ptr(), count=len(group.rest), **shared)

    def apply(self, t: int, transposed: kernels.Turned) -> None:
        """Take step t on a transposed batch, which `task` knows, too."""
        task, rest, group = self.task, self.rest_task, self.group
        task.lr = rest.lr = self.rates[t - 1].data_ptr()
        task.t = rest.t = t
        if self.rule is None:
            self.library.step_first(GRADIENT, ctypes.byref(task), transposed)
            self.optimizer.apply(t, [group.first, group.rest], [self.grad, group.grad_rest])
            return
        (task.one, task.two), (rest.one, rest.two) = self.states()
        number = self.rule.number
        self.library.step_first(number, ctypes.byref(task), transposed)
        self.library.step_rest(number, ctypes.byref(rest), group.grad_rest.data_ptr(), group.rest.shape[1])

    def states(self) -> list[tuple[int, int]]:
        """Return the addresses of the rule's two states of layer one's weights, and of the rest's.

        A state that the rule does not have is the weights themselves.
        """
        names, pairs = self.rule.states if self.rule else (), []
        for place, w in enumerate((self.group.first, self.group.rest)):
            kept = [state.data_ptr() for state in self.optimizer.slots(place, names, w)]
            one, two, *_ = (*kept, w.data_ptr(), w.data_ptr())
            pairs.append((one, two))
        return pairs


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
