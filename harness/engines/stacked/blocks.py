"""Blocks: the members of a stack that have one shape, and their layers behind layer one.

Activations are (K, h, B) and layers are small batched products over (K, h, B); see network.py for the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.axes.activations import Activation, activations
from harness.axes.architectures import initial_layers
from harness.engines.members import runs
from harness.engines.outcome import Floats
from harness.engines.regularisation import Masks
from harness.engines.stacked.products import multiply
from harness.engines.tensors import joined
from harness.rng import stream
from harness.study.trials import Trial


class Activations:
    """The activation between layers: forward and backward over runs of members that share a function.

    All tensors are (K, h, B); the plan has made sure that the functions are elementwise.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.functions: list[Activation] = []
        self.sizes: list[int] = []
        for members, name in runs(names):
            self.functions.append(activations[name])
            self.sizes.append(len(members))

    def forward(self, z: Tensor) -> Tensor:
        """Compute activations of pre-activations."""
        if len(self.functions) == 1:
            return self.functions[0].forward(z)
        pieces = z.split(self.sizes)
        return joined([phi.forward(piece) for phi, piece in zip(self.functions, pieces, strict=True)])

    def backward(self, grad: Tensor, z: Tensor, a: Tensor) -> Tensor:
        """Compute the gradient at z from the gradient at a."""
        if len(self.functions) == 1:
            return self.functions[0].gradient(grad, z, a)
        pieces = zip(
            self.functions, grad.split(self.sizes), z.split(self.sizes), a.split(self.sizes), strict=True
        )
        return joined([phi.gradient(*piece) for phi, *piece in pieces])


class BlockPass(NamedTuple):
    """The results of a forward pass, each (K, h, B): pre-activations z, their activations a, and y.

    `y[i]` went into the layer behind: a[i], less what dropout left out by its `masks`.
    """

    z: list[Tensor]
    a: list[Tensor]
    y: list[Tensor]
    masks: Sequence[Tensor]


class LayerBlock:
    """Some members of a stack, K networks of one shape: their parameters, and the layers behind the first.

    Parameters per member are layer one's weights (first_layer.py), and everything behind them, `rest` (K, n),
    so that an optimizer's update is two calls whatever the depth.
    """

    def __init__(self, members: range, trials: Sequence[Trial], widths: Sequence[int], masks: Masks) -> None:
        """Initialise trials of these widths (inputs, hidden .., classes), where their masks are.

        `members` are their places in the stack.
        """
        self.members, self.widths, self.masks = members, widths, masks
        self.seeds = [trial.start_seed for trial in trials]
        rules = [trial.arm.settings.initial_weights for trial in trials]
        self.starts = list(zip(self.seeds, rules, strict=True))
        self.initial = {start: _initial_parameters(widths, *start) for start in self.starts}
        rest = torch.stack([torch.from_numpy(self.initial[start][1]) for start in self.starts])
        self.rest = rest.to(masks.scales.device, masks.scales.dtype)
        self.grad_rest = torch.empty_like(self.rest)
        self.weights, self.biases = self._views(self.rest)
        self.grad_weights, self.grad_biases = self._views(self.grad_rest)
        self.activations = Activations([trial.arm.settings.activation for trial in trials])

    def _views(self, rest: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return weights (K, out, in) of the layers behind the first, and biases (K, out, 1) of all."""
        weights, biases, at = [], [rest[:, : self.widths[1], None]], self.widths[1]
        for i, o in itertools.pairwise(self.widths[1:]):
            weights.append(rest[:, at : at + o * i].view(-1, o, i))
            biases.append(rest[:, at + o * i : at + o * i + o, None])
            at += o * i + o
        return weights, biases

    @property
    def parameters(self) -> int:
        """Count the parameters of a member."""
        return self.widths[0] * self.widths[1] + self.rest.shape[1]

    def initial_first(self) -> Tensor:
        """Return the weights (K, h*D) that layer one starts from."""
        return torch.stack([torch.from_numpy(self.initial[start][0]) for start in self.starts])

    def forward(self, product: Tensor, masks: Sequence[Tensor] = ()) -> BlockPass:
        """Compute all layers from layer one's product (K, h, B), which becomes its pre-activations.

        `masks` (K, h, B), one a hidden layer, are dropout's; without them nothing is left out.
        """
        done = BlockPass([product.add_(self.biases[0])], [], [], masks)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases[1:], strict=True)):
            a = self.activations.forward(done.z[-1])
            done.a.append(a)
            done.y.append(a * masks[i] if masks else a)
            done.z.append(multiply("forward", weight, done.y[-1]).add_(bias))
        return done

    def backward(self, done: BlockPass, grad: Tensor) -> Tensor:
        """Compute the gradient at layer one's pre-activations (K, h, B) from that at the logits (K, C, B).

        The gradients of `rest` go into `grad_rest`.
        """
        for i in reversed(range(len(self.weights))):
            self.grad_weights[i].copy_(multiply("gradient", grad, done.y[i].mT))
            torch.sum(grad, 2, keepdim=True, out=self.grad_biases[i + 1])
            grad = multiply("forward", self.weights[i].mT, grad)
            if done.masks:
                grad.mul_(done.masks[i])
            grad = self.activations.backward(grad, done.z[i], done.a[i])
        torch.sum(grad, 2, keepdim=True, out=self.grad_biases[0])
        return grad

    def member_weights(self, k: int, first: Tensor) -> dict[str, Floats]:
        """Return a member's weights under torch.nn.Linear's names, layer by layer; `first` are (h*D,)."""
        weights = [first.view(self.widths[1], -1), *(w[k] for w in self.weights)]
        named = {}
        for i, (weight, bias) in enumerate(zip(weights, self.biases, strict=True)):
            named[f"{i}.weight"] = weight.cpu().numpy().copy()
            named[f"{i}.bias"] = bias[k, :, 0].cpu().numpy().copy()
        return named


def _initial_parameters(widths: Sequence[int], seed: int, rule: str) -> tuple[Floats, Floats]:
    """Return a seed's initial weights by a rule: layer one's, all others in `LayerBlock.rest`'s order."""
    first, *others = initial_layers(widths, stream(seed, "weights"), rule)
    rest = [first.bias, *(x.ravel() for layer in others for x in (layer.weight, layer.bias))]
    return first.weight.ravel(), np.concatenate(rest)
