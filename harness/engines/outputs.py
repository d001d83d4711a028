"""Outputs: heads and losses of a stack, in training and in evaluation.

Logits are (K, C, B); a head and a loss see them as (k, B, C), a view. Softmax cross-entropy has kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.axes.heads import Head, heads, softmax
from harness.axes.losses import Form, losses
from harness.axes.metrics import Metric
from harness.engines import kernels
from harness.engines.blocks import joined
from harness.engines.compiled import CrossEntropy
from harness.engines.regularisation import Smoothing, label_smoothing, smoothing
from harness.engines.updates import exact, slices
from harness.known import kernels_support_output
from harness.trials import Trial


@dataclass(frozen=True)
class Judged:
    """Logits (k, C, B) against their labels.

    Sums over samples of losses (k,), of hits (k,) and of each metric (k,); if asked for, the predicted class
    of each sample and its probability, (k, B).
    """

    loss: Tensor
    right: Tensor
    metrics: Sequence[Tensor] = ()
    best: Tensor | None = None
    sure: Tensor | None = None


@dataclass(frozen=True)
class Output:
    """Head and loss of some members. `settings` are the loss's, as tensors (k, 1).

    `smoothing`, of the labels, is for training alone. `kernel`, where there is one, does the same.
    """

    head: Head
    form: Form
    settings: dict[str, Tensor]
    smoothing: Smoothing | None
    kernel: CrossEntropy | None = None

    def loss_and_gradient(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Mean losses (k,) of a batch and their gradient at the logits (k, C, B); of smoothed labels."""
        if self.kernel is not None and self.kernel.takes(z):
            return self.kernel.loss_and_gradient(z, target)
        if self.smoothing is not None:
            target = self.smoothing(target)
        loss, grad = self._each(z.mT, target)
        return loss.mean(1), grad.mT / z.shape[2]

    def _each(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (k, B) and the gradient of their sum at logits (k, B, C)."""
        if self.head.backward is not None and self.form.gradient is not None:
            f, loss = self.loss(z, target)
            return loss, self.head.backward(self.form.gradient(f, target, **self.settings), f)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            _, loss = self.loss(z, target)
            (grad,) = torch.autograd.grad(loss.sum(), z)
        return loss.detach(), grad

    def loss(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Output (k, B, C) and losses (k, B) of logits (k, B, C) against a target (B, C) or (k, B, C)."""
        f = self.head.forward(z)
        return f, self.form.forward(f, target, **self.settings)

    def judge(self, z: Tensor, y: Tensor, metrics: Sequence[Metric], *, keep: bool) -> Judged:
        """Logits (k, C, B) against labels y (B,); with `keep`, also what was predicted."""
        if self.kernel is not None and self.kernel.takes(z) and not metrics:
            return Judged(*self.kernel.judge(z, y, keep=keep))
        target = torch.nn.functional.one_hot(y, z.shape[1]).to(z.dtype)
        f, loss = self.loss(z.mT, target)
        best, wide = first_largest(f), exact(z.device)
        p = probabilities(self.head, f) if metrics else f
        measured = [metric.function(p, target.expand_as(p)).to(wide).sum(1) for metric in metrics]
        sums = (loss.to(wide).sum(1), (best == y).sum(1), measured)
        return Judged(*sums, best, probability(self.head, f, best)) if keep else Judged(*sums)


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

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        """Each output's members' part of (K, ...)."""
        if len(self.parts) == 1:
            return [x]
        x = x.index_select(0, self.places) if self.moved else x
        return torch.split_with_sizes(x, self.sizes)

    def _gather(self, pieces: Sequence[Tensor]) -> Tensor:
        together = joined(pieces)
        return together.index_select(0, self.back) if self.moved else together

    def loss_and_gradient(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Mean losses (K,) of a batch, and their gradient at the logits z (K, C, B).

        The target is (B, C), or (K, B, C) where members see batches of their own.
        """
        targets = [target] * len(self.parts) if target.ndim == 2 else self._split(target)
        pieces = zip(self.parts, self._split(z), targets, strict=True)
        results = [output.loss_and_gradient(piece, own) for output, piece, own in pieces]
        return self._gather([loss for loss, _ in results]), self._gather([grad for _, grad in results])

    def judge(self, z: Tensor, y: Tensor, metrics: Sequence[Metric] = (), *, keep: bool) -> Judged:
        """Logits (K, C, B) against labels y (B,); with `keep`, also what was predicted."""
        pieces = zip(self.parts, self._split(z), strict=True)
        each = [output.judge(piece, y, metrics, keep=keep) for output, piece in pieces]

        def gathered(take: Callable[[Judged], Any]) -> Tensor:
            return self._gather([take(one) for one in each])

        return Judged(
            gathered(lambda one: one.loss),
            gathered(lambda one: one.right),
            [self._gather([one.metrics[i] for one in each]) for i in range(len(metrics))],
            gathered(lambda one: one.best) if keep else None,
            gathered(lambda one: one.sure) if keep else None,
        )


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
    known = (
        device.type == "cpu" and kernels_support_output(trials[0].arm.settings) and not kernels.why_not(dtype)
    )
    kernel = CrossEntropy(label_smoothing(trials), classes, dtype) if known else None
    return Output(head, form, settings, smoothing(trials, classes, device, dtype), kernel)


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
