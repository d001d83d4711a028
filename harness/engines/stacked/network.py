"""A stack: K multilayer perceptrons as one, and their training step.

The layout makes it fast. Everything is feature-major and member by member: layer one (first_layer.py) is one
product of all members' weights with the batch they share, whatever their shapes; behind it, members of one
shape are a block (blocks.py), whose activations are (K, h, B) and whose layers are small batched products.
Logits are one (K, C, B) again, so that heads and losses need not know shapes, and class-wise reductions run
along contiguous samples. Heads and losses see logits as (K, B, C), a view. Nothing is copied to change its
layout; only what belongs to several blocks is copied, to be joined.

No autograd touches the big matrices. Where a component has a closed-form derivative it is used;
otherwise autograd differentiates that component alone. Settings that differ between members are tensors over
members; components that differ are applied to contiguous slices of the stack. Nothing is ever summed over
members, so that what happens to one changes no bit of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harness.axes.metrics import Metric
from harness.data.samples import Data, Samples
from harness.engines.augmentation import augments_none
from harness.engines.members import SeedIndex, as_slice, runs
from harness.engines.outcome import Evaluation, Floats
from harness.engines.regularisation import Masks, SharedUniforms
from harness.engines.stacked import tiled
from harness.engines.stacked.blocks import BlockPass, LayerBlock
from harness.engines.stacked.dense import Dense
from harness.engines.stacked.first_layer import ImageSource, LayerOne
from harness.engines.stacked.optimizer import StackOptimizer
from harness.engines.stacked.outputs import Outputs, evaluation
from harness.engines.stacked.tiled import Tiled
from harness.engines.tensors import joined
from harness.study.trials import Trial

EVALUATED_AT_ONCE = 2**19
"""Values of layer one in flight: keeps an evaluation's activations in cache."""
EVALUATED_AT_ONCE_CUDA = 2**28
"""Values of the widest layers in flight on a GPU, if they fit into a 64th of its memory."""


class StackedNetwork:
    """K networks, their parameters and one training step.

    Members of one shape are a block; `first` is layer one of all of them. What it calls a batch, only layer
    one can read.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        data: Data,
        optimizers: Sequence[StackOptimizer],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.trials, self.classes = trials, len(data.classes)
        self.device, self.dtype = device, dtype
        shapes = list(runs([[data.inputs, *trial.arm.settings.hidden, self.classes] for trial in trials]))
        draw = SharedUniforms([widths[1:-1] for _, widths in shapes])
        self.blocks = [self._block(members, widths, draw) for members, widths in shapes]
        self.units = sum(len(block.members) * block.widths[1] for block in self.blocks)
        self.seeds = SeedIndex.of(trial.step_seed for trial in trials)
        self.first: LayerOne[Any] = (
            Tiled(data, self.blocks, optimizers, self.seeds)
            if device.type == "cpu" and augments_none(trials) and tiled.pays(trials, data)
            else Dense(self.blocks, optimizers, data.inputs, self.seeds)
        )
        for place, block in enumerate(self.blocks):
            self.first.set_weights(place, block.initial_first().to(device, dtype))
        self.outputs = Outputs(trials, self.classes, device, dtype)
        self.sizes = [len(block.members) for block in self.blocks]

    def _block(self, members: range, widths: Sequence[int], draw: SharedUniforms) -> LayerBlock:
        """Return the block of some members."""
        trials = self.trials[as_slice(members)]
        masks = Masks(trials, widths[1:-1], self.device, self.dtype, draw)
        return LayerBlock(members, trials, widths, masks)

    def forward(self, batch: Any, masks: Sequence[Sequence[Tensor]] = ()) -> list[BlockPass]:
        """Compute all layers of each block.

        `masks` are dropout's, of each block; without them nothing is left out.
        """
        products = self.first.products(batch)
        every: Sequence[Sequence[Tensor]] = masks or [()] * len(self.blocks)
        return [
            block.forward(product, block_masks)
            for block, product, block_masks in zip(self.blocks, products, every, strict=True)
        ]

    def step(
        self, t: Any, batch: Any, target: Tensor, masks: Sequence[Sequence[Tensor]] | None = None
    ) -> Tensor:
        """Train on a batch and its target (B, C), or (K, B, C), one a member; return the mean losses (K,).

        Step t counts from 1; with `masks`, dropout's of each block, it may be a tensor, as optimizers take
        it.
        """
        if masks is None:
            masks = [block.masks.at(t, target.shape[-2]) for block in self.blocks]
        passes = self.forward(batch, masks)
        loss, grad = self.outputs.loss_and_gradient(joined([done.z[-1] for done in passes]), target)
        pieces: Any = torch.split_with_sizes(grad, self.sizes)
        parts = zip(self.blocks, passes, pieces, strict=True)
        grads = [block.backward(done, piece) for block, done, piece in parts]
        self.first.update(t, batch, grads)
        return loss

    def evaluate(
        self, samples: Samples, images: ImageSource[Any], metrics: Sequence[Metric] = (), *, keep: bool
    ) -> Evaluation:
        """Compute losses, accuracies, metrics and (with `keep`) predictions on a split."""
        n = len(samples.y)
        y = torch.from_numpy(samples.y).to(self.device)
        chunk = max(64, self._images_at_once())
        sums = []
        for batch, labels in zip(images.chunks(chunk), y.split(chunk), strict=True):
            z = joined([done.z[-1] for done in self.forward(batch)])
            sums.append(self.outputs.evaluate(z, labels, metrics, keep=keep))

        return evaluation(sums, n, metrics)

    def _images_at_once(self) -> int:
        """Return how many images are evaluated together: as a CPU's cache allows, or a GPU's memory."""
        if self.device.type != "cuda":
            return EVALUATED_AT_ONCE // self.units
        # Of all memory, not of what is free now: a sum's bits depend on how it is cut.
        memory = torch.cuda.get_device_properties(self.device).total_memory
        widest = sum(len(block.members) * max(block.widths[1:]) for block in self.blocks)
        return min(EVALUATED_AT_ONCE_CUDA, memory // (64 * self.dtype.itemsize)) // widest

    def weights(self) -> list[dict[str, Floats]]:
        """Return each member's weights under torch.nn.Linear's names, in the order of its layers."""
        weights = []
        for place, block in enumerate(self.blocks):
            first = self.first.weights(place)
            weights += [block.member_weights(k, first[k]) for k in range(len(block.members))]
        return weights
