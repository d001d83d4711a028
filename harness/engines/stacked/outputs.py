"""Outputs: heads and losses of a stack, in training and in evaluation.

Logits are (K, C, B); a head and a loss see them as (k, B, C), a view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.axes.heads import Head, heads, probabilities, probability
from harness.axes.losses import Form, losses
from harness.axes.metrics import Metric
from harness.engines.members import as_slice, runs
from harness.engines.outcome import Evaluation, Floats
from harness.engines.regularisation import Smoothing, smoothing
from harness.engines.tensors import joined, widest_dtype
from harness.study.trials import Trial


@dataclass(frozen=True)
class EvaluationSums:
    """Sums over samples of losses (k,), of correct predictions (k,) and of each metric (k,).

    If asked for, also the predicted class of each sample and its probability, (k, B).
    """

    loss: Tensor
    correct: Tensor
    metrics: Sequence[Tensor] = ()
    predicted: Tensor | None = None
    confidence: Tensor | None = None


@dataclass(frozen=True)
class Output:
    """Head and loss of some members. `settings` are the loss's, as tensors (k, 1).

    `smoothing`, of the labels, is for training alone.
    """

    head: Head
    form: Form
    settings: dict[str, Tensor]
    smoothing: Smoothing | None

    def loss_and_gradient(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mean losses (k,) of a batch and their gradient at logits (k, C, B), smoothing labels."""
        if self.smoothing is not None:
            target = self.smoothing(target)
        loss, grad = self._sample_losses(z.mT, target)
        return loss.mean(1), grad.mT / z.shape[2]

    def _sample_losses(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Compute losses (k, B) and the gradient of their sum at logits (k, B, C)."""
        if self.head.backward is not None and self.form.gradient is not None:
            f, loss = self.loss(z, target)
            return loss, self.head.backward(self.form.gradient(f, target, **self.settings), f)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            _, loss = self.loss(z, target)
            (grad,) = torch.autograd.grad(loss.sum(), z)
        return loss.detach(), grad

    def loss(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Compute output (k, B, C) and losses (k, B) of logits (k, B, C) at a target (B, C) or (k, B, C)."""
        f = self.head.forward(z)
        return f, self.form.forward(f, target, **self.settings)

    def evaluate(self, z: Tensor, y: Tensor, metrics: Sequence[Metric], *, keep: bool) -> EvaluationSums:
        """Evaluate logits (k, C, B) at labels y (B,); with `keep`, also return the predictions."""
        target = torch.nn.functional.one_hot(y, z.shape[1]).to(z.dtype)
        f, loss = self.loss(z.mT, target)
        best, wide = first_largest(f), widest_dtype(z.device)
        p = probabilities(self.head, f) if metrics else f
        measured = [metric.function(p, target.expand_as(p)).to(wide).sum(1) for metric in metrics]
        sums = (loss.to(wide).sum(1), (best == y).sum(1), measured)
        predictions = (best, probability(self.head, f, best)) if keep else ()
        return EvaluationSums(*sums, *predictions)


class Outputs:
    """Heads and losses of a stack, whose members are reordered for this, so that like outputs are neighbours.

    Logits are small: moving them costs less than a slice for every change of activation would.
    """

    def __init__(
        self, trials: Sequence[Trial], classes: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        every = [trial.arm.settings for trial in trials]
        keys = [(settings.head, settings.loss, settings.match) for settings in every]
        places = sorted(range(len(trials)), key=lambda k: keys[k])
        self.moved = places != list(range(len(trials)))
        self.places = torch.tensor(places, device=device)
        self.back = self.places.argsort()
        neighbours = list(runs([keys[k] for k in places]))
        self.sizes = [len(members) for members, _ in neighbours]
        self.parts = [
            _output([trials[k] for k in places[as_slice(members)]], classes, device, dtype)
            for members, _ in neighbours
        ]

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        """Split (K, ...) by output."""
        if len(self.parts) == 1:
            return [x]
        x = x.index_select(0, self.places) if self.moved else x
        return torch.split_with_sizes(x, self.sizes)

    def _gather(self, pieces: list[Tensor]) -> Tensor:
        """Join what `_split` gave, in the stack's order."""
        together = joined(pieces)
        return together.index_select(0, self.back) if self.moved else together

    def loss_and_gradient(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mean losses (K,) of a batch, and their gradient at the logits z (K, C, B).

        The target is (B, C), or (K, B, C) where members see batches of their own.
        """
        targets = [target] * len(self.parts) if target.ndim == 2 else self._split(target)
        pieces = zip(self.parts, self._split(z), targets, strict=True)
        results = [output.loss_and_gradient(logits, labels) for output, logits, labels in pieces]
        return self._gather([loss for loss, _ in results]), self._gather([grad for _, grad in results])

    def evaluate(self, z: Tensor, y: Tensor, metrics: Sequence[Metric] = (), *, keep: bool) -> EvaluationSums:
        """Evaluate logits (K, C, B) at labels y (B,); with `keep`, also return the predictions."""
        pieces = zip(self.parts, self._split(z), strict=True)
        sums = [output.evaluate(logits, y, metrics, keep=keep) for output, logits in pieces]
        predicted = [piece.predicted for piece in sums if piece.predicted is not None]
        confidence = [piece.confidence for piece in sums if piece.confidence is not None]
        return EvaluationSums(
            self._gather([piece.loss for piece in sums]),
            self._gather([piece.correct for piece in sums]),
            [self._gather([piece.metrics[i] for piece in sums]) for i in range(len(metrics))],
            self._gather(predicted) if keep else None,
            self._gather(confidence) if keep else None,
        )


def evaluation(sums: Sequence[EvaluationSums], n: int, metrics: Sequence[Metric]) -> Evaluation:
    """Join the sums over parts of a split into an evaluation of its n samples."""

    def mean(pieces: Sequence[Tensor]) -> Floats:
        total: Floats = torch.stack(list(pieces)).sum(0).cpu().numpy() / n
        return total

    def together(pieces: Sequence[Tensor | None], dtype: Any) -> Any:
        kept = [piece for piece in pieces if piece is not None]
        return torch.cat(kept, 1).cpu().numpy() if kept else np.empty((len(sums[0].loss), 0), dtype)

    return Evaluation(
        mean([piece.loss for piece in sums]),
        mean([piece.correct for piece in sums]),
        together([piece.predicted for piece in sums], np.int64),
        together([piece.confidence for piece in sums], np.float64),
        {metric.name: mean([piece.metrics[i] for piece in sums]) for i, metric in enumerate(metrics)},
    )


def _output(trials: Sequence[Trial], classes: int, device: torch.device, dtype: torch.dtype) -> Output:
    """Return the output of trials that share head and loss."""
    settings = trials[0].arm.settings
    head, loss = heads[settings.head], losses[settings.loss]
    form = loss.form(head.kind, settings.match)
    assert form is not None  # noqa: S101 (the plan skips what does not fit)
    loss_settings = {
        name: torch.tensor([[trial.arm.settings[name]] for trial in trials], dtype=dtype, device=device)
        for name in loss.settings
    }
    return Output(head, form, loss_settings, smoothing(trials, classes, device, dtype))


def first_largest(f: Tensor) -> Tensor:
    """Return the first class with the largest output, (..., B) of (..., B, C): argmax without its copy."""
    places = torch.arange(f.shape[-1], device=f.device, dtype=f.dtype)  # floats: amin is vectorised for them
    last = f.shape[-1] - 1
    return torch.where(f == f.amax(-1, keepdim=True), places, last).amin(-1).long()
