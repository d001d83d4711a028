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

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.axes.heads import Head, heads, softmax
from harness.axes.losses import Form, losses
from harness.axes.metrics import Metric
from harness.data import Data, Samples
from harness.engines import sparse
from harness.engines.blocks import Block, Pass, joined
from harness.engines.dense import Dense
from harness.engines.layer_one import Images, LayerOne
from harness.engines.outcome import Evaluation, Floats
from harness.engines.regularisation import Draws, Smoothing, smoothing
from harness.engines.sparse import Sparse
from harness.engines.updates import Updates, exact, slices
from harness.trials import Trial

EVALUATED_AT_ONCE = 2**19  # values of layer one in flight: keeps an evaluation's activations in cache


@dataclass(frozen=True)
class Output:
    """Head and loss of some members. `settings` are the loss's, as tensors (k, 1).

    `smoothing`, of the labels, is for training alone.
    """

    head: Head
    form: Form
    settings: dict[str, Tensor]
    smoothing: Smoothing | None

    def loss(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Output (k, B, C) and losses (k, B) of logits (k, B, C) against a target (B, C) or (k, B, C)."""
        f = self.head.forward(z)
        return f, self.form.forward(f, target, **self.settings)

    def loss_and_gradient(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (k, B) and the gradient of their sum at the logits (k, B, C); of smoothed labels."""
        if self.smoothing is not None:
            target = self.smoothing(target)
        if self.head.backward is not None and self.form.gradient is not None:
            f, loss = self.loss(z, target)
            return loss, self.head.backward(self.form.gradient(f, target, **self.settings), f)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            _, loss = self.loss(z, target)
            (grad,) = torch.autograd.grad(loss.sum(), z)
        return loss.detach(), grad


class Outputs:
    """Heads and losses of a stack, whose members are put side by side by output for this alone.

    Logits are small, so that moving them costs less than a slice for every change of activation would.
    """

    def __init__(
        self, trials: Sequence[Trial], classes: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        keys = [
            tuple(str(trial.arm.settings[axis]) for axis in ("head", "loss", "match")) for trial in trials
        ]
        places = sorted(range(len(trials)), key=lambda k: keys[k])
        self.moved = places != list(range(len(trials)))
        self.places = torch.tensor(places, device=device)
        self.back = self.places.argsort()
        runs = list(slices([keys[k] for k in places]))
        self.sizes = [part.size for part, _ in runs]
        self.parts = [
            _output(key, [trials[k] for k in places[part.members]], classes, device, dtype)
            for part, key in runs
        ]

    def _pieces(self, z: Tensor) -> Iterator[tuple[Output, Tensor]]:
        """Each output with its members' logits, (k, B, C)."""
        return zip(self.parts, self._split(z.mT), strict=True)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        """Each output's members' part of (K, ...)."""
        x = x.index_select(0, self.places) if self.moved else x
        return torch.split_with_sizes(x, self.sizes)

    def _gather(self, pieces: Sequence[Tensor]) -> Tensor:
        together = joined(pieces)
        return together.index_select(0, self.back) if self.moved else together

    def loss_and_gradient(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Mean losses (K,) of a batch, and their gradient at the logits z (K, C, B).

        The target is (B, C), or (K, B, C) where members see batches of their own.
        """
        targets = itertools.repeat(target) if target.ndim == 2 else self._split(target)
        pieces = zip(self._pieces(z), targets, strict=False)
        results = [output.loss_and_gradient(piece, target) for (output, piece), target in pieces]
        loss = self._gather([loss for loss, _ in results]).mean(1)
        # Through .mT and back: joined in the memory order that the layers behind want.
        return loss, self._gather([grad.mT for _, grad in results]).div_(target.shape[-2])

    def judge(
        self, z: Tensor, target: Tensor, metrics: Sequence[Metric] = (), *, sure: bool
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Losses, predicted classes, (if `sure`) their probabilities, and metrics of logits (K, C, B).

        All (K, B).
        """
        losses_, best, confidence = [], [], []
        values: list[list[Tensor]] = [[] for _ in metrics]
        for output, piece in self._pieces(z):
            f, loss = output.loss(piece, target)
            losses_.append(loss)
            best.append(first_largest(f))
            confidence.append(probability(output.head, f, best[-1]) if sure else loss)
            if metrics:
                p = probabilities(output.head, f)
                for value, metric in zip(values, metrics, strict=True):
                    value.append(metric.function(p, target.expand_as(p)))
        measured = [self._gather(value) for value in values]
        return self._gather(losses_), self._gather(best), self._gather(confidence), measured


def _output(
    key: tuple[str, ...], trials: Sequence[Trial], classes: int, device: torch.device, dtype: torch.dtype
) -> Output:
    head, loss = heads[key[0]], losses[key[1]]
    form = loss.form(head.kind, key[2])
    assert form is not None  # noqa: S101 (the plan skips what does not fit)
    settings = {
        name: torch.tensor([[trial.arm.settings[name]] for trial in trials], dtype=dtype, device=device)
        for name in loss.settings
    }
    return Output(head, form, settings, smoothing(trials, classes, device, dtype))


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
        self.blocks = [
            Block(part, trials[part.members], widths, draws, device=device, dtype=dtype)
            for part, widths in shapes
        ]
        self.units = sum(block.part.size * block.widths[1] for block in self.blocks)
        self.seeds = list(dict.fromkeys(trial.seed for trial in trials))
        rows = [self.seeds.index(trial.seed) for trial in trials]
        self.first: LayerOne = (
            Sparse(trials, self.blocks, updates, data.inputs, rows)
            if device.type == "cpu" and sparse.pays(data.train)
            else Dense(self.blocks, updates, data.inputs, rows)
        )
        for place, block in enumerate(self.blocks):
            self.first.set_weights(place, block.first_start().to(device, dtype))
        self.outputs = Outputs(trials, self.classes, device, dtype)
        self.sizes = [part.size for part, _ in shapes]

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

    def step(self, t: int, seen: Any, target: Tensor) -> Tensor:
        """Train on a batch as layer one sees it, with its target (B, C), or (K, B, C), one a member.

        Step t counts from 1. Gives the mean losses (K,).
        """
        passes = self.forward(seen, [block.masks.at(t, target.shape[-2]) for block in self.blocks])
        loss, grad = self.outputs.loss_and_gradient(joined([done.z[-1] for done in passes]), target)
        pieces: Any = torch.split_with_sizes(grad, self.sizes)
        grads = [block.backward(*each) for block, *each in zip(self.blocks, passes, pieces, strict=True)]
        self.first.update(t, seen, grads)
        return loss

    def evaluate(
        self, samples: Samples, images: Images, metrics: Sequence[Metric] = (), *, keep: bool
    ) -> Evaluation:
        """Losses, accuracies, metrics and (with `keep`) predictions on a split, as layer one sees it."""
        k, n = len(self.trials), len(samples.y)
        y = torch.from_numpy(samples.y).to(self.device)
        loss = torch.zeros(k, dtype=exact(self.device), device=self.device)
        right = torch.zeros(k, dtype=torch.int64, device=self.device)
        sums = [torch.zeros_like(loss) for _ in metrics]
        predicted, confidence = [], []
        chunk = max(64, EVALUATED_AT_ONCE // self.units)
        for seen, y_chunk in zip(images.chunks(chunk), y.split(chunk), strict=True):
            z = joined([done.z[-1] for done in self.forward(seen)])
            target = torch.nn.functional.one_hot(y_chunk, self.classes).to(self.dtype)
            losses_, best, sure, values = self.outputs.judge(z, target, metrics, sure=keep)
            loss += losses_.to(loss.dtype).sum(1)
            for total, value in zip(sums, values, strict=True):
                total.add_(value.to(loss.dtype).sum(1))
            right += (best == y_chunk).sum(1)
            if keep:
                predicted.append(best)
                confidence.append(sure)
        return Evaluation(
            (loss / n).cpu().numpy(),
            right.cpu().numpy() / n,
            torch.cat(predicted, 1).cpu().numpy() if keep else np.empty((k, 0), np.int64),
            torch.cat(confidence, 1).cpu().numpy() if keep else np.empty((k, 0)),
            {metric.name: (total / n).cpu().numpy() for metric, total in zip(metrics, sums, strict=True)},
        )

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
    return [data.inputs, *trial.arm.settings["hidden"], len(data.classes)]  # type: ignore[misc]


def first_largest(f: Tensor) -> Tensor:
    """The first class with the largest output, (..., B) of (..., B, C); as torch.argmax, without its copy."""
    places = torch.arange(f.shape[-1], device=f.device, dtype=f.dtype)  # floats: amin is vectorised for them
    last = f.shape[-1] - 1
    return torch.where(f == f.amax(-1, keepdim=True), places, last).amin(-1).long()


def probabilities(head: Head, f: Tensor) -> Tensor:
    """The probabilities (..., B, C) that an output (..., B, C) stands for.

    Softmax of logits, exp of log-probabilities, scores divided by their sum.
    """
    if head.kind == "logits":
        return softmax(f)
    if head.kind == "log_probabilities":
        return f.exp()
    return f / f.sum(-1, keepdim=True) if head.kind == "scores" else f


def probability(head: Head, f: Tensor, chosen: Tensor) -> Tensor:
    """The probability (..., B) that an output (..., B, C) gives to the chosen classes (..., B).

    As of `probabilities`, without computing those of the other classes.
    """
    at = f.gather(-1, chosen[..., None])[..., 0]
    if head.kind == "logits":
        return 1 / (f - at[..., None]).exp().sum(-1)
    if head.kind == "log_probabilities":
        return at.exp()
    return at / f.sum(-1) if head.kind == "scores" else at
