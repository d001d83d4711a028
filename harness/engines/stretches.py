"""Stretches: many steps of a stack in one call, where the kernels know all of it.

A few members at a time train through the stretch, so that their weights stay in the cache from step to step;
the batches are turned once for all members.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harness.data import Samples
from harness.engines import kernels
from harness.engines.blocks import Block
from harness.engines.compiled import CompiledBlock, CrossEntropy
from harness.engines.layer_one import LayerOne
from harness.engines.outputs import Outputs
from harness.engines.regularisation import label_smoothing
from harness.engines.sparse import Sparse, Step, Turning, address, compressed
from harness.trials import Trial

CACHED = 5 * 2**18
"""Bytes of weights and states that train together: they stay in a core's own cache."""
TURNED = 2**22
"""Values of all of a stretch's batches, at most, zeros included."""
DEEPEST = 30
"""Layers behind the first, at most: DEEPEST in C."""


@functools.lru_cache(maxsize=2)
def labels(samples: Samples) -> Tensor:
    """A split's labels (N + 1,): the image that fills batches up has one, too."""
    return torch.from_numpy(np.append(samples.y, 0))


class Stretches:
    """A stack whose steps are the kernels' from end to end."""

    def __init__(
        self, trials: Sequence[Trial], first: Sparse, blocks: Sequence[CompiledBlock], shares: Sequence[float]
    ) -> None:
        """`shares` (K,) are of label smoothing."""
        classes = blocks[0].widths[-1]
        smoothed = CrossEntropy(shares, classes, first.dtype)
        self.first, self.members = first, [_Members(first, step, blocks, smoothed) for step in first.steps]
        self.turn = Turning(first.all_weights, first.inputs)
        self.room = first.all_weights.new_empty(0)
        self.seeds = len({trial.seed for trial in trials})

    def most(self, batch_size: int) -> int:
        """Steps of this batch size that a stretch may have."""
        filled = batch_size + -batch_size % self.first.lanes
        return max(1, TURNED // (self.seeds * filled * self.first.inputs))

    def take(self, t: int, samples: Samples, index: Tensor, losses: Tensor) -> None:
        """Take steps t, t + 1, ... on batches by their places.

        Args:
            t: the first step, from 1.
            samples: the train split.
            index: (S, steps, B).
            losses: (steps, K), where the mean losses go.
        """
        of, y, count = compressed(samples), labels(samples), index.shape[2]
        filled = torch.nn.functional.pad(index.transpose(0, 1), (0, -count % self.first.lanes), value=of.size)
        index, library = filled.contiguous(), self.first.library
        steps, seeds, size = index.shape
        turned = self.turn(of, index)
        stretch = kernels.Stretch(
            x=of.struct, batches=turned, occurs=of.occurs_at, index=index.data_ptr(), label=y.data_ptr(),
            t=t, steps=steps, seeds=seeds, b=size, count=count,
        )  # fmt: skip
        for members in self.members:
            room = library.stretch_room(ctypes.byref(members.struct), size, members.together)
            if len(self.room) < room:
                self.room = self.room.new_empty(room)
            members.take(stretch, losses, self.room)


class _Members:
    """The members of one shape and one optimizer, as the kernels know them."""

    def __init__(
        self, first: Sparse, step: Step, blocks: Sequence[CompiledBlock], smoothed: CrossEntropy
    ) -> None:
        assert step.rule is not None  # noqa: S101 (`stretches` has looked)
        self.step, self.rule, self.part, update = step, step.rule, step.part, step.update
        self.library = first.library
        block, k = blocks[self.part.block], len(self.part.rest)
        self.tiles = step.tiles.copy()
        self.tiles["row"] -= self.tiles["row"][0]
        self.tiles["member"] -= self.tiles["member"][0]
        self.tiles["block"] = 0
        self.codes = np.ascontiguousarray(block.codes[self.part.members])
        held = (1 + len(self.rule.states)) * self.part.first[0].nbytes
        self.together = max(1, CACHED // held)
        whole = max(1, kernels.WIDEST * k // len(step.tiles))  # members that read a turned batch together
        self.together -= self.together % whole if self.together > whole else 0
        offset = update.part.first * smoothed.keep.itemsize
        self.smoothed = smoothed  # its memory is pointed at
        self.struct = kernels.Members(
            k=k, n=self.part.rest.shape[1], d=first.inputs, depth=len(block.shape) - 1,
            settings_each=step.settings.shape[1], widths=address(block.shape), activation=address(self.codes),
            tiles=address(self.tiles), w=self.part.first.data_ptr(), rest=self.part.rest.data_ptr(),
            grad_rest=self.part.grad_rest.data_ptr(), settings=address(step.settings),
            keep=smoothed.keep.data_ptr() + offset, spread=smoothed.spread.data_ptr() + offset,
        )  # fmt: skip

    def take(self, stretch: kernels.Stretch, losses: Tensor, room: Tensor) -> None:
        """Take the steps of a stretch."""
        struct, rates = self.struct, self.step.rates
        kept = [self.step.states(place, w) for place, w in enumerate((self.part.first, self.part.rest))]
        (struct.one, struct.two), (struct.rest_one, struct.rest_two) = kept
        own = losses[:, self.step.update.part.first :]
        self.library.train_stretch(
            self.rule.number, ctypes.byref(struct), ctypes.byref(stretch), self.together,
            rates[stretch.t - 1].data_ptr(), rates.shape[1], own.data_ptr(), losses.stride(0),
            room.data_ptr(),
        )  # fmt: skip


def stretches(
    trials: Sequence[Trial], first: LayerOne, blocks: Sequence[Block], outputs: Outputs
) -> Stretches | None:
    """The stretches of a stack; None where the kernels do not know all of it."""
    if not isinstance(first, Sparse) or any(step.rule is None for step in first.steps):
        return None
    known = [block for block in blocks if isinstance(block, CompiledBlock) and not block.masks.widths]
    if len(known) < len(blocks) or any(len(block.shape) > DEEPEST for block in known):
        return None
    if any(output.kernel is None for output in outputs.parts):
        return None
    return Stretches(trials, first, known, label_smoothing(trials))
