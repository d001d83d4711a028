"""Layer one without the pixels that are zero, and optimizers' steps while the gradient is in registers.

In C (kernels/), on the CPU. MNIST's pixels are 81 % zeros.
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

from harness.data import Samples
from harness.engines import kernels
from harness.engines.blocks import Block
from harness.engines.kernels import TILE, WIDEST
from harness.engines.layer_one import Part, part_of
from harness.engines.updates import Updates
from harness.known import GRADIENT, rule_of, rule_settings
from harness.trials import Trial

DENSEST = 0.6
"""The share of pixels that are not zero, at most, where leaving out the others pays: ARCHITECTURE.md."""


def address(array: NDArray[np.generic]) -> int:
    """Where the first element is; it takes some microseconds."""
    return int(array.ctypes.data)


def addresses(tensors: Sequence[Tensor]) -> Any:
    """An array of where each tensor's first element is."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


@dataclass(frozen=True)
class Compressed:
    """N images of D pixels: image n has value[row[n]:row[n + 1]] at the pixels `column`.

    `occurs` (D,) says which pixels are not zero in at least one image. There is one more image, without any
    pixels, to fill batches up with.
    """

    row: NDArray[np.int64]
    column: NDArray[np.uint16]
    value: NDArray[np.floating]
    occurs: NDArray[np.uint8]

    @functools.cached_property
    def struct(self) -> kernels.Images:
        """For the kernels."""
        return kernels.Images(address(self.row), address(self.column), address(self.value))

    @property
    def size(self) -> int:
        """How many images, N."""
        return len(self.row) - 2

    @functools.cached_property
    def occurs_at(self) -> int:
        """Where `occurs` is."""
        return address(self.occurs)


@functools.lru_cache(maxsize=6)  # the splits of two data sets, as `data.prepare` keeps them
def compressed(samples: Samples) -> Compressed:
    """A split's images without their zeros."""
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
    """Whether there are kernels for these images, and zeros enough to leave out."""
    if samples.x.shape[1] > np.iinfo(np.uint16).max or kernels.why_not(samples.x.dtype):
        return False
    return density(samples) <= DENSEST


@functools.lru_cache(maxsize=2)
def density(samples: Samples) -> float:
    """The share of pixels that are not zero."""
    x = samples.x
    return float(kernels.library(x.dtype).compressed_size(address(x), x.size) / x.size)


class Turning:
    """Turns batches: pixel by pixel, in which images it is not zero. Its memory is reused."""

    def __init__(self, like: Tensor, inputs: int) -> None:
        """For images of so many pixels, in the type of `like`."""
        self.inputs = inputs
        self.starts, self.samples = torch.empty(2, 0, dtype=torch.int32)
        self.values = like.new_empty(0)

    def __call__(self, of: Compressed, index: Tensor) -> kernels.Turned:
        """Batches (.., B) by their places, contiguous."""
        size, batches = index.shape[-1], index.numel() // index.shape[-1]
        if len(self.starts) < (starts := batches * (self.inputs + 2)):
            self.starts = self.starts.new_empty(starts)
        if len(self.samples) < (values := index.numel() * self.inputs):
            self.samples, self.values = self.samples.new_empty(values), self.values.new_empty(values)
        turned = kernels.Turned(self.starts.data_ptr(), self.samples.data_ptr(), self.values.data_ptr())
        library = kernels.library(of.value.dtype)
        library.turn(of.struct, index.data_ptr(), batches, size, self.inputs, turned)
        return turned


@dataclass(frozen=True)
class Seen:
    """Batches of a split by their places (S, B), contiguous: one for all members, or one a seed."""

    of: Compressed
    index: Tensor


class SparseImages:
    """A split whose images are compressed."""

    def __init__(self, of: Compressed) -> None:
        self.of = of

    def __len__(self) -> int:
        return self.of.size

    def at(self, index: Tensor) -> Seen:
        """Batches by their places (S, B)."""
        return Seen(self.of, index.contiguous())

    def chunks(self, size: int) -> Iterator[Seen]:
        """All images in their order."""
        places = torch.arange(len(self))
        for chunk in places.split(size):
            yield Seen(self.of, chunk[None])


class Sparse:
    """Layer one's weights of all members as tiles (T, D, LANES): LANES hidden units of a member, or fewer."""

    def __init__(
        self,
        trials: Sequence[Trial],
        blocks: Sequence[Block],
        updates: Sequence[Updates],
        inputs: int,
        seeds: Sequence[int],
    ) -> None:
        """Layer one of blocks of a stack; see `Dense`."""
        self.blocks, self.inputs = blocks, inputs
        self.dtype = blocks[0].rest.dtype
        self.library, self.lanes = kernels.library(self.dtype), kernels.lanes(self.dtype)
        self.tiles = _tiles(blocks, seeds, self.lanes)
        self.first_tiles = np.flatnonzero(np.diff(self.tiles["member"], prepend=-1))
        self.together = self.tiles.copy()
        self.together["batch"] = 0  # all see the same
        self.tiles_at = (address(self.together), address(self.tiles))
        self.all_weights = torch.zeros(len(self.tiles), inputs, self.lanes, dtype=self.dtype)
        ends = np.cumsum([block.part.size * _tiles_a_member(block, self.lanes) for block in blocks])
        pieces = self.all_weights.tensor_split(ends[:-1].tolist())
        self.firsts = [piece.view(block.part.size, -1) for block, piece in zip(blocks, pieces, strict=True)]
        self.turn = Turning(self.all_weights, inputs)
        self.sums = self.all_weights.new_empty(0)
        self.steps = [
            Step(self, update, trials[update.part.members], self._part(update)) for update in updates
        ]
        self.parts: Sequence[Part] = [step.part for step in self.steps]

    def _part(self, update: Updates) -> Part:
        return part_of(update, self.blocks, self.firsts, self.all_weights.new_empty(0))

    def images(self, samples: Samples) -> SparseImages:
        """A split, compressed."""
        return SparseImages(compressed(samples))

    def products(self, seen: Seen) -> list[Tensor]:
        """Each block's products (k, h, B) with batches."""
        size = seen.index.shape[1]
        made = [self.all_weights.new_empty(block.part.size, block.widths[1], size) for block in self.blocks]
        self.library.products(
            self.all_weights.data_ptr(), self.tiles_at[len(seen.index) > 1], len(self.tiles), seen.of.struct,
            seen.index.data_ptr(), size, self.inputs, self._room(2 * size), addresses(made),
        )  # fmt: skip
        return made

    def update(self, t: int, seen: Seen, grads: Sequence[Tensor]) -> None:
        """Take step t of all parameters."""
        turned, size = self.turn(seen.of, seen.index), seen.index.shape[1]
        held = [grad.contiguous() for grad in grads]
        where, sums = ctypes.addressof(pointers := addresses(held)), self._room(WIDEST * size)
        for step in self.steps:
            step.take(t, size, turned, seen.of, where, sums)
        del pointers  # not before: the kernels read it

    def _room(self, vectors: int) -> int:
        """Where there is room for so many vectors."""
        if len(self.sums) < vectors * self.lanes:
            self.sums = self.all_weights.new_empty(vectors * self.lanes)
        return self.sums.data_ptr()

    def weights(self, block: int) -> Tensor:
        """A block's weights (k, h*D), a copy."""
        return self._plain(block, self.firsts[block])

    def set_weights(self, block: int, weights: Tensor) -> None:
        """Put weights (k, h*D) into their places."""
        self.firsts[block].copy_(self._laid(block, weights))

    def plain(self, part: Part, kept: Tensor) -> Tensor:
        """What is laid out as tiles, as (k, h*D)."""
        return self._plain(part.block, kept)

    def laid(self, part: Part, plain: Tensor) -> Tensor:
        """What is (k, h*D), laid out as tiles; anything else that an optimizer keeps, as it is."""
        block = self.blocks[part.block]
        like_weights = plain.shape[1] == block.widths[0] * block.widths[1]
        return self._laid(part.block, plain) if like_weights else plain

    def _plain(self, block: int, tiles: Tensor) -> Tensor:
        k, h = len(tiles), self.blocks[block].widths[1]
        rows = tiles.view(k, -1, self.inputs, self.lanes).transpose(2, 3).reshape(k, -1, self.inputs)
        return rows[:, :h].reshape(k, -1)

    def _laid(self, block: int, plain: Tensor) -> Tensor:
        k, h = len(plain), self.blocks[block].widths[1]
        rows = plain.new_zeros(k, _tiles_a_member(self.blocks[block], self.lanes) * self.lanes, self.inputs)
        rows[:, :h] = plain.view(k, h, self.inputs)
        return rows.view(k, -1, self.lanes, self.inputs).transpose(2, 3).reshape(k, -1)


class Step:
    """An optimizer's steps of its members: in the kernels, or in PyTorch where they do not know it."""

    def __init__(self, layer: Sparse, update: Updates, trials: Sequence[Trial], part: Part) -> None:
        self.layer, self.update, self.part = layer, update, part
        self.rule = rule_of(trials[0].arm.settings)
        first = int(layer.first_tiles[update.part.first])
        last = [*layer.first_tiles.tolist(), len(layer.tiles)][update.part.last]
        self.tiles = layer.tiles[first:last]
        self.settings = rule_settings(self.rule, trials) if self.rule else np.empty((len(trials), 0))
        self.rates = update.rates.contiguous()
        self.task = kernels.Task(
            tiles=address(layer.tiles) + first * TILE.itemsize, settings=address(self.settings),
            count=last - first, first_member=update.part.first, n=self.settings.shape[1], d=layer.inputs,
        )  # fmt: skip
        self.grad = torch.empty_like(part.first) if self.rule is None else part.grad_first

    def take(self, t: int, size: int, turned: kernels.Turned, of: Compressed, grads: int, sums: int) -> None:
        """Take step t by a batch of this size, turned; `grads` and `sums` are addresses."""
        task, part, library = self.task, self.part, self.layer.library
        task.t, task.b, task.grads, task.sums, task.occurs = t, size, grads, sums, of.occurs_at
        task.lr = self.rates[t - 1].data_ptr()
        if self.rule is None:
            task.w = task.one = task.two = self.grad.data_ptr()
            library.step_first(GRADIENT, ctypes.byref(task), turned)
            self.update.apply(t, [part.first, part.rest], [self.grad, part.grad_rest])
            return
        task.w, (task.one, task.two) = part.first.data_ptr(), self.states(0, part.first)
        library.step_first(self.rule.number, ctypes.byref(task), turned)
        count, task.count = task.count, len(part.rest)
        task.w, (task.one, task.two) = part.rest.data_ptr(), self.states(1, part.rest)
        library.step_rest(self.rule.number, ctypes.byref(task), part.grad_rest.data_ptr(), part.rest.shape[1])
        task.count = count

    def states(self, place: int, w: Tensor) -> tuple[int, int]:
        """Where the rule's states of parameters w are, layer one's (0) or the rest's (1), made at first use.

        What the rule has none of is w itself.
        """
        state, where = self.update.states[place], []
        for name in self.rule.states if self.rule else ():
            if name not in state:
                state[name] = torch.zeros_like(w)
            where.append(state[name].data_ptr())
        one, two, *_ = (*where, w.data_ptr(), w.data_ptr())
        return one, two


def _tiles_a_member(block: Block, lanes: int) -> int:
    return -(-block.widths[1] // lanes)


def _tiles(blocks: Sequence[Block], seeds: Sequence[int], lanes: int) -> NDArray[np.void]:
    """The tiles of all members."""
    rows = [
        (k * block.widths[1] + unit, min(lanes, block.widths[1] - unit), place, seeds[member], member)
        for place, block in enumerate(blocks)
        for k, member in enumerate(range(block.part.first, block.part.last))
        for unit in range(0, block.widths[1], lanes)
    ]
    return np.array(rows, TILE)
