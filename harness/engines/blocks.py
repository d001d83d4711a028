"""Blocks: the members of a stack that have one shape, and all of them that is behind layer one.

Activations are (K, h, B) and layers are small batched products over (K, h, B); see stack.py for the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.axes.activations import Activation, activations
from harness.axes.architectures import initial_layers
from harness.engines.outcome import Floats
from harness.engines.regularisation import Draws, Masks
from harness.engines.updates import Slice, slices
from harness.streams import stream
from harness.trials import Trial


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
        if len(self.parts) == 1:
            return self.parts[0].forward(z)
        pieces = z.split(self.sizes)
        return joined([part.forward(piece) for part, piece in zip(self.parts, pieces, strict=True)])

    def backward(self, grad: Tensor, z: Tensor, a: Tensor) -> Tensor:
        """Gradient at z from the gradient at a."""
        if len(self.parts) == 1:
            return _backward(self.parts[0], grad, z, a)
        pieces = zip(
            self.parts, grad.split(self.sizes), z.split(self.sizes), a.split(self.sizes), strict=True
        )
        return joined([_backward(*piece) for piece in pieces])


def _backward(part: Activation, grad: Tensor, z: Tensor, a: Tensor) -> Tensor:
    return part.backward(grad, z, a) if part.backward is not None else _derivative(part.forward, z, grad)


def joined(pieces: Sequence[Tensor]) -> Tensor:
    """Side by side along the first dimension; one alone as it is."""
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))


def _derivative(function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (result,) = torch.autograd.grad(function(x), x, grad)
    return result


class Pass(NamedTuple):
    """What a forward pass computed, each (K, h, B): pre-activations z, their activations a, and y.

    `y[i]` went into the layer behind: a[i], less what dropout left out by its `masks`.
    """

    z: list[Tensor]
    a: list[Tensor]
    y: list[Tensor]
    masks: Sequence[Tensor]


class Block:
    """Members `part` of a stack, K networks of one shape: their parameters, and the layers behind the first.

    Parameters per member are layer one's weights (layer_one.py), and everything behind them, `rest` (K, n),
    so that an optimizer's update is two calls whatever the depth.
    """

    def __init__(
        self,
        part: Slice,
        trials: Sequence[Trial],
        widths: Sequence[int],
        draws: Draws,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Start trials of these widths (inputs, hidden .., classes)."""
        self.part, self.widths = part, widths
        self.seeds = [trial.seed for trial in trials]
        self.starts = {seed: _start(widths, seed) for seed in self.seeds}
        rest = torch.stack([torch.from_numpy(self.starts[seed][1]) for seed in self.seeds])
        self.rest = rest.to(device, dtype)
        self.grad_rest = torch.empty_like(self.rest)
        self.weights, self.biases = self._views(self.rest)
        self.grad_weights, self.grad_biases = self._views(self.grad_rest)
        named = [trial.arm.settings.activation for trial in trials]
        self.activations = Activations(named)
        self.masks = Masks(trials, widths[1:-1], device, dtype, draws)

    def _views(self, rest: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Weights (K, out, in) of the layers behind the first, and biases (K, out, 1) of all."""
        weights, biases, at = [], [rest[:, : self.widths[1], None]], self.widths[1]
        for i, o in itertools.pairwise(self.widths[1:]):
            weights.append(rest[:, at : at + o * i].view(-1, o, i))
            biases.append(rest[:, at + o * i : at + o * i + o, None])
            at += o * i + o
        return weights, biases

    @property
    def parameters(self) -> int:
        """How many each member has."""
        return self.widths[0] * self.widths[1] + self.rest.shape[1]

    def first_start(self) -> Tensor:
        """The weights (K, h*D) that layer one starts from."""
        return torch.stack([torch.from_numpy(self.starts[seed][0]) for seed in self.seeds])

    def forward(self, product: Tensor, masks: Sequence[Tensor] = ()) -> Pass:
        """All layers for layer one's product (K, h, B), which becomes its pre-activations.

        `masks` (K, h, B), one a hidden layer, are dropout's; without them nothing is left out.
        """
        done = Pass([product.add_(self.biases[0])], [], [], masks)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases[1:], strict=True)):
            a = self.activations.forward(done.z[-1])
            done.a.append(a)
            done.y.append(a * masks[i] if masks else a)
            done.z.append(torch.bmm(weight, done.y[-1]).add_(bias))
        return done

    def backward(self, done: Pass, grad: Tensor) -> Tensor:
        """The gradient at layer one's pre-activations (K, h, B) from that at the logits (K, C, B).

        Those of `rest` go into `grad_rest`.
        """
        for i in reversed(range(len(self.weights))):
            self.grad_weights[i].copy_(torch.bmm(grad, done.y[i].mT))
            torch.sum(grad, 2, keepdim=True, out=self.grad_biases[i + 1])
            grad = torch.bmm(self.weights[i].mT, grad)
            if done.masks:
                grad.mul_(done.masks[i])
            grad = self.activations.backward(grad, done.z[i], done.a[i])
        torch.sum(grad, 2, keepdim=True, out=self.grad_biases[0])
        return grad

    def member_weights(self, k: int, first: Tensor) -> dict[str, Floats]:
        """One member's weights under torch.nn.Linear's names, in the order of its layers; `first` (h*D,)."""
        weights = [first.view(self.widths[1], -1), *(w[k] for w in self.weights)]
        named = {}
        for i, (weight, bias) in enumerate(zip(weights, self.biases, strict=True)):
            named[f"{i}.weight"] = weight.cpu().numpy().copy()
            named[f"{i}.bias"] = bias[k, :, 0].cpu().numpy().copy()
        return named


def _start(widths: Sequence[int], seed: int) -> tuple[Floats, Floats]:
    """A seed's initial weights: layer one's, and everything behind them in the order of `Block.rest`."""
    first, *others = initial_layers(widths, stream(seed, "weights"))
    rest = [first.bias, *(x.ravel() for layer in others for x in (layer.weight, layer.bias))]
    return first.weight.ravel(), np.concatenate(rest)
