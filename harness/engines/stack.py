"""A stack: K multilayer perceptrons of one shape as one, and their training step.

Layout is what makes it fast. Everything is feature-major and member by member: layer one's weights are
one matrix (K*h, D), so that all members' first layers are one wide GEMM with the batch they share; behind it,
activations are (K, h, B) and layers are small batched products. Nothing is ever copied to change its layout,
and class-wise reductions run along contiguous samples. A network sees its output as (K, B, C), a view.

No autograd touches the big matrices. Where a component has a closed-form derivative it is used; where it has
none, autograd differentiates that component alone. Settings that differ between members are tensors over
members; components that differ are applied to contiguous slices of the stack. Nothing is ever summed over
members, so that what happens to one changes no bit of another.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.axes.activations import Activation, activations
from harness.axes.architectures import initial_layers
from harness.axes.heads import Head, heads, softmax
from harness.axes.losses import Form, losses
from harness.axes.metrics import Metric
from harness.data import Data, Samples
from harness.engines.outcome import Evaluation, Floats
from harness.engines.regularisation import Masks, Smoothing, smoothing
from harness.engines.updates import Updates, exact, slices
from harness.streams import stream
from harness.trials import Trial

EVALUATED_AT_ONCE = 2**19  # values of layer one in flight: keeps an evaluation's activations in cache


class Activations:
    """The activation between layers: forward and backward over the slices of a stack.

    All tensors are (K, h, B); the plan has made sure that the functions are elementwise.
    """

    def __init__(self, names: Sequence[str]) -> None:
        runs = list(slices(names))
        self.parts: list[Activation] = [activations[name] for _, name in runs]
        self.sizes = [part.size for part, _ in runs]

    def forward(self, z: Tensor) -> Tensor:
        """Activations of pre-activations."""
        pieces = z.split(self.sizes)
        return _joined([part.forward(piece) for part, piece in zip(self.parts, pieces, strict=True)])

    def backward(self, grad: Tensor, z: Tensor, a: Tensor) -> Tensor:
        """Gradient at z from the gradient at a."""
        pieces = zip(
            self.parts, grad.split(self.sizes), z.split(self.sizes), a.split(self.sizes), strict=True
        )
        return _joined(
            [
                part.backward(g, x, y) if part.backward is not None else _derivative(part.forward, x, g)
                for part, g, x, y in pieces
            ]
        )


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)  # type: ignore[arg-type]


def _derivative(function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (result,) = torch.autograd.grad(function(x), x, grad)
    return result


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
        return x.split(self.sizes)  # type: ignore[no-any-return]

    def _gather(self, pieces: Sequence[Tensor]) -> Tensor:
        joined = _joined(pieces)
        return joined.index_select(0, self.back) if self.moved else joined

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


class Pass(NamedTuple):
    """What a forward pass computed, each (K, h, B): pre-activations z, their activations a, and y.

    `y[i]` went into the layer behind: a[i], less what dropout left out.
    """

    z: list[Tensor]
    a: list[Tensor]
    y: list[Tensor]


class Stack:
    """K networks, their parameters and one training step.

    Parameters per member are layer one's weights, `first` (K, h*D), and everything behind them, `rest`
    (K, n), so that an optimizer's update is two calls whatever the depth.
    """

    def __init__(self, trials: Sequence[Trial], data: Data, device: torch.device, dtype: torch.dtype) -> None:
        self.trials = trials
        self.widths = widths(trials[0], data)
        self.device, self.dtype = device, dtype
        k = len(trials)
        starts = {trial.seed: _start(self.widths, trial.seed) for trial in trials}
        self.first, self.rest = (
            torch.stack([torch.from_numpy(starts[trial.seed][part]) for trial in trials]).to(device, dtype)
            for part in (0, 1)
        )
        self.grad_rest = torch.empty_like(self.rest)
        self.grad_first = torch.empty(0, device=device, dtype=dtype)
        self.wide = self.first.view(k * self.widths[1], self.widths[0])
        self.weights, self.biases = self._views(self.rest)
        self.grad_weights, self.grad_biases = self._views(self.grad_rest)
        settings = [trial.arm.settings for trial in trials]
        self.activations = Activations([str(s.get("activation", "identity")) for s in settings])
        self.masks = Masks(trials, self.widths[1:-1], device, dtype)
        self.outputs = Outputs(trials, self.widths[-1], device, dtype)

    def _views(self, rest: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Weights (K, out, in) of the layers behind the first, and biases (K, out, 1) of all."""
        weights, biases, at = [], [rest[:, : self.widths[1], None]], self.widths[1]
        for i, o in itertools.pairwise(self.widths[1:]):
            weights.append(rest[:, at : at + o * i].view(-1, o, i))
            biases.append(rest[:, at + o * i : at + o * i + o, None])
            at += o * i + o
        return weights, biases

    def forward(self, x: Tensor, masks: Sequence[Tensor] = ()) -> Pass:
        """All layers for a batch x: (B, D) where all members see the same, (K, B, D) where each sees its own.

        `masks` (K, h, B), one a hidden layer, are dropout's; without them nothing is left out.
        """
        k = len(self.trials)
        if x.ndim == 2:
            z = torch.mm(self.wide, x.t()).view(k, self.widths[1], len(x))
        else:
            z = torch.bmm(self.wide.view(k, self.widths[1], -1), x.mT)
        z.add_(self.biases[0])
        done = Pass([z], [], [])
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases[1:], strict=True)):
            a = self.activations.forward(done.z[-1])
            done.a.append(a)
            done.y.append(a * masks[i] if masks else a)
            done.z.append(torch.bmm(weight, done.y[-1]).add_(bias))
        return done

    def step(self, t: int, x: Tensor, target: Tensor, updates: Sequence[Updates]) -> Tensor:
        """Train on one batch x (B, D), target (B, C), or on one a member: x (K, B, D), target (K, B, C).

        Step t counts from 1. Gives the mean losses (K,).
        """
        masks = self.masks.at(t, x.shape[-2])
        done = self.forward(x, masks)
        loss, grad = self.outputs.loss_and_gradient(done.z[-1], target)
        for i in reversed(range(len(self.weights))):
            self.grad_weights[i].copy_(torch.bmm(grad, done.y[i].mT))
            torch.sum(grad, 2, keepdim=True, out=self.grad_biases[i + 1])
            grad = torch.bmm(self.weights[i].mT, grad)
            if masks:
                grad.mul_(masks[i])
            grad = self.activations.backward(grad, done.z[i], done.a[i])
        torch.sum(grad, 2, keepdim=True, out=self.grad_biases[0])
        self._update(t, x, grad, updates)
        return loss

    def _update(self, t: int, x: Tensor, grad: Tensor, updates: Sequence[Updates]) -> None:
        """Update all parameters from the gradient at layer one's pre-activations (K, h, B)."""
        for update in updates:
            m = update.part.members
            g, seen, first = self._layer_one(grad, x, self.first, m)
            if update.folds:
                update.apply(t, [self.rest[m]], [self.grad_rest[m]])
                rate = update.rate(t)
                if not isinstance(rate, float):
                    g = (grad[m] * rate[..., None].to(self.dtype)).view_as(g)
                accumulate = torch.Tensor.addmm_ if x.ndim == 2 else torch.Tensor.baddbmm_
                accumulate(first, g, seen, alpha=-rate if isinstance(rate, float) else -1)
            else:
                if self.grad_first.numel() == 0:
                    self.grad_first = torch.empty_like(self.first)
                grad_first = self.grad_first[m]
                torch.matmul(g, seen, out=grad_first.view_as(first))
                update.apply(t, [self.first[m], self.rest[m]], [grad_first, self.grad_rest[m]])

    def _layer_one(
        self, grad: Tensor, x: Tensor, first: Tensor, members: slice
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What a product of layer one needs of some members: gradient, batch, and weights as their product.

        As matrices (k*h, B), (B, D), (k*h, D) where all see the same batch, else a member a time.
        """
        g, weights = grad[members], first[members]
        if x.ndim == 2:
            return g.reshape(-1, len(x)), x, weights.view(-1, self.widths[0])
        return g, x[members], weights.view(len(g), self.widths[1], self.widths[0])

    def evaluate(
        self, samples: Samples, x: Tensor, metrics: Sequence[Metric] = (), *, keep: bool
    ) -> Evaluation:
        """Losses, accuracies, metrics and (with `keep`) predictions on a split of pixels `x` (N, D)."""
        k, n = len(self.trials), len(samples.y)
        classes = self.widths[-1]
        y = torch.from_numpy(samples.y).to(self.device)
        loss = torch.zeros(k, dtype=exact(self.device), device=self.device)
        right = torch.zeros(k, dtype=torch.int64, device=self.device)
        sums = [torch.zeros_like(loss) for _ in metrics]
        predicted, confidence = [], []
        chunk = max(64, EVALUATED_AT_ONCE // (k * self.widths[1]))
        for x_chunk, y_chunk in zip(x.split(chunk), y.split(chunk), strict=True):
            z = self.forward(x_chunk).z[-1]
            target = torch.nn.functional.one_hot(y_chunk, classes).to(self.dtype)
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

    def member_weights(self, k: int) -> dict[str, Floats]:
        """One member's weights under torch.nn.Linear's names, in the order of its layers."""
        weights = [self.first[k].view(self.widths[1], self.widths[0]), *(w[k] for w in self.weights)]
        named = {}
        for i, (weight, bias) in enumerate(zip(weights, self.biases, strict=True)):
            named[f"{i}.weight"] = weight.cpu().numpy().copy()
            named[f"{i}.bias"] = bias[k, :, 0].cpu().numpy().copy()
        return named


def _start(widths: Sequence[int], seed: int) -> tuple[Floats, Floats]:
    """A seed's initial weights: layer one's, and everything behind them in the order of `Stack.rest`."""
    first, *others = initial_layers(widths, stream(seed, "weights"))
    rest = [first.bias, *(x.ravel() for layer in others for x in (layer.weight, layer.bias))]
    return first.weight.ravel(), np.concatenate(rest)


def widths(trial: Trial, data: Data) -> list[int]:
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
