"""Stretches: many steps of a stack in one call, where the kernels support all of it.

A few members at a time train through the stretch, so that their weights stay in the cache from step to step;
the batches are transposed once for all members.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.samples import Samples
from harness.engines import kernels
from harness.engines.stacked.blocks import LayerBlock
from harness.engines.stacked.first_layer import LayerOne
from harness.engines.stacked.kernel_layers import CompiledBlock, CrossEntropy
from harness.engines.stacked.outputs import Outputs
from harness.engines.stacked.sparse import KernelUpdate, Sparse, Transposer, address, compressed
from harness.study.trials import Trial

CACHED_BYTES = 5 * 2**18
"""Bytes of weights and states that train together: they stay in a core's own cache."""
STRETCH_VALUES = 2**22
"""Values of all batches of a stretch, at most, zeros included."""
DEEPEST = 30
"""Layers behind the first, at most: DEEPEST in C."""


@functools.lru_cache(maxsize=2)
def labels(samples: Samples) -> Tensor:
    """Return a split's labels (N + 1,): the image that fills up batches has one, too."""
    return torch.from_numpy(np.append(samples.y, 0))


class Stretches:
    """A stack whose steps the kernels take from end to end."""

    def __init__(self, trials: Sequence[Trial], first: Sparse, blocks: Sequence[CompiledBlock]) -> None:
        smoothed = CrossEntropy(trials, blocks[0].widths[-1], first.dtype)
        self.first = first
        self.members = [_Members(first, update, blocks, smoothed) for update in first.updates]
        self.transpose = Transposer(first.all_weights, first.inputs)
        self.room = first.all_weights.new_empty(0)
        self.seeds = len({trial.seed for trial in trials})

    def most(self, batch_size: int) -> int:
        """Return how many steps of this batch size a stretch may have."""
        filled = batch_size + -batch_size % self.first.lanes
        return max(1, STRETCH_VALUES // (self.seeds * filled * self.first.inputs))

    def take(self, t: int, samples: Samples, index: Tensor, losses: Tensor) -> None:
        """Take steps t, t + 1, ... (from 1) on batches of the train split by their places (S, steps, B).

        The mean losses go into `losses` (steps, K).
        """
        images, y, count = compressed(samples), labels(samples), index.shape[2]
        by_step, empty = index.transpose(0, 1), -count % self.first.lanes
        index = torch.nn.functional.pad(by_step, (0, empty), value=images.size).contiguous()
        library = self.first.library
        steps, seeds, size = index.shape
        transposed = self.transpose(images, index)
        stretch = kernels.Stretch(
            x=images.struct, batches=transposed, occurs=images.occurs_at,
            index=index.data_ptr(), label=y.data_ptr(), t=t, steps=steps, seeds=seeds, b=size, count=count,
        )  # fmt: skip
        for members in self.members:
            room = library.stretch_room(ctypes.byref(members.struct), size, members.together)
            if len(self.room) < room:
                self.room = self.room.new_empty(room)
            members.take(stretch, losses, self.room)


class _Members:
    """The members of one shape and one optimizer, as the kernels see them."""

    def __init__(
        self, first: Sparse, update: KernelUpdate, blocks: Sequence[CompiledBlock], smoothed: CrossEntropy
    ) -> None:
        assert update.rule is not None  # noqa: S101 (`stretches` has checked)
        self.update, self.rule, group = update, update.rule, update.group
        self.library = first.library
        block, k = blocks[group.block], len(group.rest)
        self.tiles = update.tiles.copy()
        self.tiles["row"] -= self.tiles["row"][0]
        self.tiles["member"] -= self.tiles["member"][0]
        self.tiles["block"] = 0
        self.codes = np.ascontiguousarray(block.codes[group.members])
        member_bytes = (1 + len(self.rule.states)) * group.first[0].nbytes
        self.together = max(1, CACHED_BYTES // member_bytes)
        batch_members = max(1, kernels.WIDEST * k // len(update.tiles))  # members that read a batch together
        self.together -= self.together % batch_members if self.together > batch_members else 0
        self.start = update.optimizer.members.start
        offset = self.start * smoothed.keep.itemsize
        self.smoothed = smoothed  # its memory is pointed at
        self.struct = kernels.Members(
            k=k, n=group.rest.shape[1], d=first.inputs, depth=len(block.shape) - 1,
            settings_each=update.settings.shape[1], widths=address(block.shape),
            activation=address(self.codes), tiles=address(self.tiles),
            w=group.first.data_ptr(), rest=group.rest.data_ptr(),
            grad_rest=group.grad_rest.data_ptr(), settings=address(update.settings),
            keep=smoothed.keep.data_ptr() + offset, spread=smoothed.spread.data_ptr() + offset,
        )  # fmt: skip

    def take(self, stretch: kernels.Stretch, losses: Tensor, room: Tensor) -> None:
        """Take the steps of a stretch."""
        struct, rates = self.struct, self.update.rates
        (struct.one, struct.two), (struct.rest_one, struct.rest_two) = self.update.states()
        self.library.train_stretch(
            self.rule.number, ctypes.byref(struct), ctypes.byref(stretch), self.together,
            rates[stretch.t - 1].data_ptr(), rates.shape[1], losses[:, self.start :].data_ptr(),
            losses.stride(0), room.data_ptr(),
        )  # fmt: skip


def stretches(
    trials: Sequence[Trial], first: LayerOne[Any], blocks: Sequence[LayerBlock], outputs: Outputs
) -> Stretches | None:
    """Return the stretches of a stack; None where the kernels do not support all of it."""
    if not isinstance(first, Sparse) or any(update.rule is None for update in first.updates):
        return None
    compiled = [block for block in blocks if isinstance(block, CompiledBlock) and not block.masks.widths]
    if len(compiled) < len(blocks) or any(len(block.shape) > DEEPEST for block in compiled):
        return None
    if any(output.kernel is None for output in outputs.parts):
        return None
    return Stretches(trials, first, compiled)
