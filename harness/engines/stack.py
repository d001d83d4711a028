"""A stack: K multilayer perceptrons as one, and their training step.

Layout is what makes it fast. Everything is feature-major and member by member: layer one (layer_one.py) is
one product of all members' weights with the batch they share, whatever their shapes; behind it, members
of one shape are a block (blocks.py), whose activations are (K, h, B) and whose layers are small batched
products.
Logits are one (K, C, B) again, so that heads and losses know no shapes, and class-wise reductions run along
contiguous samples. A network sees its output as (K, B, C), a view.
Nothing is copied to change its layout, but what belongs to several blocks, to be joined.

No autograd touches the big matrices. Where a component has a closed-form derivative it is used; where it has
none, autograd differentiates that component alone. Settings that differ between members are tensors over
members; components that differ are applied to contiguous slices of the stack. Nothing is ever summed over
members, so that what happens to one changes no bit of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.axes.metrics import Metric
from harness.data import Data, Samples
from harness.engines import kernels, sparse
from harness.engines.blocks import Block, Pass, joined
from harness.engines.compiled import CompiledBlock
from harness.engines.dense import Dense
from harness.engines.kernels import MOST_LANES
from harness.engines.layer_one import Images, LayerOne
from harness.engines.outcome import Evaluation, Floats
from harness.engines.outputs import Outputs
from harness.engines.regularisation import Draws
from harness.engines.sparse import Sparse
from harness.engines.stretches import stretches
from harness.engines.updates import Updates, slices
from harness.known import kernels_support_layers
from harness.trials import Trial

EVALUATED_AT_ONCE = 2**19  # values of layer one in flight: keeps an evaluation's activations in cache
EVALUATED_AT_ONCE_CUDA = 2**28  # of the widest layers, on a GPU, if they are not a 64th of its memory


class Stack:
    """K networks, their parameters and one training step.

    Members of one shape are a block; `first` is layer one of all of them.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        data: Data,
        updates: Sequence[Updates],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.trials, self.classes = trials, len(data.classes)
        self.device, self.dtype = device, dtype
        shapes = list(slices([_widths(trial, data) for trial in trials]))
        draws = Draws([widths[1:-1] for _, widths in shapes])
        native = device.type == "cpu" and not kernels.why_not(dtype)
        known = [
            native and all(kernels_support_layers(t.arm.settings) for t in trials[p.members])
            for p, _ in shapes
        ]
        self.blocks = [
            (CompiledBlock if own else Block)(
                part, trials[part.members], widths, draws, device=device, dtype=dtype
            )
            for (part, widths), own in zip(shapes, known, strict=True)
        ]
        self.units = sum(block.part.size * block.widths[1] for block in self.blocks)
        self.seeds = list(dict.fromkeys(trial.seed for trial in trials))
        self.rows = rows = [self.seeds.index(trial.seed) for trial in trials]
        self.first: LayerOne = (
            Sparse(trials, self.blocks, updates, data.inputs, rows)
            if device.type == "cpu" and sparse.pays(data.train)
            else Dense(self.blocks, updates, data.inputs, rows)
        )
        for place, block in enumerate(self.blocks):
            self.first.set_weights(place, block.first_start().to(device, dtype))
        self.outputs = Outputs(trials, self.classes, device, dtype)
        self.sizes = [part.size for part, _ in shapes]
        self.stretches = stretches(trials, self.first, self.blocks, self.outputs)

    def forward(self, seen: Any, masks: Sequence[Sequence[Tensor]] = ()) -> list[Pass]:
        """All layers of each block, for batches as layer one sees them.

        `masks` are dropout's, of each block; without them nothing is left out.
        """
        shaped = self.first.products(seen)
        left_out: Sequence[Sequence[Tensor]] = masks or [()] * len(self.blocks)
        return [
            block.forward(product, own)
            for block, product, own in zip(self.blocks, shaped, left_out, strict=True)
        ]

    def step(
        self, t: Any, seen: Any, target: Tensor, masks: Sequence[Sequence[Tensor]] | None = None
    ) -> Tensor:
        """Train on a batch as layer one sees it, with its target (B, C), or (K, B, C), one a member.

        Step t counts from 1; with `masks`, dropout's of each block, it may be a tensor, as optimizers take
        it. Gives the mean losses (K,).
        """
        if masks is None:
            masks = [block.masks.at(t, target.shape[-2]) for block in self.blocks]
        passes = self.forward(seen, masks)
        loss, grad = self.outputs.loss_and_gradient(joined([done.z[-1] for done in passes]), target)
        pieces: Any = torch.split_with_sizes(grad, self.sizes)
        grads = [block.backward(*each) for block, *each in zip(self.blocks, passes, pieces, strict=True)]
        self.first.update(t, seen, grads)
        return loss

    def evaluate(
        self, samples: Samples, images: Images, metrics: Sequence[Metric] = (), *, keep: bool
    ) -> Evaluation:
        """Losses, accuracies, metrics and (with `keep`) predictions on a split, as layer one sees it."""
        n = len(samples.y)
        y = torch.from_numpy(samples.y).to(self.device)
        chunk = max(64, self._at_once() // MOST_LANES * MOST_LANES)
        each = [
            self.outputs.judge(joined([done.z[-1] for done in self.forward(seen)]), own, metrics, keep=keep)
            for seen, own in zip(images.chunks(chunk), y.split(chunk), strict=True)
        ]

        def mean(sums: Sequence[Tensor]) -> Floats:
            total: Floats = torch.stack(list(sums)).sum(0).cpu().numpy() / n
            return total

        def together(pieces: Sequence[Tensor | None], kind: Any) -> Any:
            kept = [piece for piece in pieces if piece is not None]
            return torch.cat(kept, 1).cpu().numpy() if kept else np.empty((len(self.trials), 0), kind)

        return Evaluation(
            mean([one.loss for one in each]),
            mean([one.right for one in each]),
            together([one.best for one in each], np.int64),
            together([one.sure for one in each], np.float64),
            {metric.name: mean([one.metrics[i] for one in each]) for i, metric in enumerate(metrics)},
        )

    def _at_once(self) -> int:
        """Images that are evaluated together: what a CPU's cache bears, or a GPU's memory."""
        if self.device.type != "cuda":
            return EVALUATED_AT_ONCE // self.units
        # Of all memory, not of what is free now: a sum's bits depend on how it is cut.
        memory = torch.cuda.get_device_properties(self.device).total_memory
        widest = sum(block.part.size * max(block.widths[1:]) for block in self.blocks)
        return min(EVALUATED_AT_ONCE_CUDA, memory // (64 * self.dtype.itemsize)) // widest

    def weights(self) -> list[dict[str, Floats]]:
        """Each member's weights under torch.nn.Linear's names, in the order of its layers."""
        firsts = [self.first.weights(place) for place in range(len(self.blocks))]
        return [
            block.member_weights(k, first[k])
            for block, first in zip(self.blocks, firsts, strict=True)
            for k in range(block.part.size)
        ]


def _widths(trial: Trial, data: Data) -> list[int]:
    """Inputs, hidden widths, classes."""
    return [data.inputs, *trial.arm.settings.hidden, len(data.classes)]
