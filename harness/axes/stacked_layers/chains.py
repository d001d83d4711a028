"""Chains: a convolution with the norm, activation and pooling behind it, which an engine may do as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from harness.axes.stacked_layers import layers
from harness.axes.stacked_layers.graphs import MemberActivation
from harness.axes.stacked_layers.layers import ChainForm, Pass
from harness.axes.stacked_layers.normalisation import Pairs, Rule

RECTIFIERS = {F.relu, torch.relu, "relu"}
"""Functions and methods that are ReLU."""
Named: TypeAlias = "tuple[str, Any]"
"""A layer's name in its network, and the module."""


@dataclass
class Chain:
    """The nodes of a chain, and its layers; `activation` is a MemberActivation, or a name for ReLU."""

    nodes: list[fx.Node]
    convolution: Named
    norm: Named | None = None
    activation: bool = False
    rectifies: bool = False
    pooling: Named | None = None

    def __call__(self, done: Pass, x: Tensor) -> Tensor:
        """Compute (K, B, O, H', W') of images (K, B, C, H, W), or (1, B, C, H, W) of all members."""
        name, module = self.convolution
        weight, bias = done.of(name, "weight"), done.of(name, "bias")
        assert weight is not None  # noqa: S101 (each Conv2d has one)
        affine: Pairs = (None, None)
        running: Pairs = (None, None)
        rule: Rule | None = None
        if self.norm is not None:
            affine, running, rule = layers.batch_norm_of(done, *reversed(self.norm))
            if not rule.by_batch:
                weight, bias = _folded(weight, bias, affine, running, rule.eps)
                affine, rule = (None, None), None
        rectified = self.rectifies or (self.activation and done.parts.rectifies)
        whole = rectified or not self.activation
        kind, window = layers.pooling_of(self.pooling[1]) if self.pooling else (None, (1, 1))
        stride, padding = layers.strides_of(module)
        form = ChainForm(stride, padding, rule, rectified, kind if whole else None, window)
        if not whole and rule is None:
            out = done.parts.convolve(x, weight, bias, stride, padding)
            out = done.parts.activate(out, last=True)
        else:
            out = done.parts.chain(x, (weight, bias, *affine), running, form)
            if whole:
                return out
            out = done.parts.activate(out, last=False)
        return out if kind is None else done.parts.pool(out, window, kind)


def _folded(
    weight: Tensor, bias: Tensor | None, affine: Any, running: Any, eps: float
) -> tuple[Tensor, Tensor]:
    """Return the kernels and biases of a convolution followed by a norm by running statistics."""
    (scale, shift), (mean, variance) = affine, running
    scale = scale * (variance + eps).rsqrt()
    shift = shift - mean * scale
    return weight * scale[:, :, None, None, None], shift if bias is None else shift + bias * scale


def chains(graph: fx.Graph, net: nn.Module) -> list[Chain]:
    """Find the chains of a network's graph that have more than a convolution: each value has one reader."""
    found = []
    for node in graph.nodes:
        module = _module(node, net)
        if type(module) is nn.Conv2d and layers.plain(module):
            chain = Chain([node], (str(node.target), module))
            _extend(chain, net)
            if len(chain.nodes) > 1:
                found.append(chain)
    return found


def _extend(chain: Chain, net: nn.Module) -> None:
    """Add to a chain what follows."""
    following, module = _next(chain, net)
    if type(module) is nn.BatchNorm2d and module.affine and module.track_running_stats:
        chain.norm = (str(following.target), module)
        chain.nodes.append(following)
        following, module = _next(chain, net)
    if following is not None and (
        following.target in RECTIFIERS or type(module) in {nn.ReLU, MemberActivation}
    ):
        chain.activation, chain.rectifies = True, type(module) is not MemberActivation
        chain.nodes.append(following)
        following, module = _next(chain, net)
    if type(module) in {nn.MaxPool2d, nn.AvgPool2d} and layers.beside(module):
        chain.pooling = (str(following.target), module)
        chain.nodes.append(following)


def _next(chain: Chain, net: nn.Module) -> Any:
    """Return the only reader of a chain's value, if it reads nothing else, and its module; else None."""
    users = list(chain.nodes[-1].users)
    if len(users) != 1 or users[0].all_input_nodes != [chain.nodes[-1]] or len(users[0].args) != 1:
        return None, None
    return users[0], _module(users[0], net)


def _module(node: fx.Node, net: nn.Module) -> nn.Module | None:
    return net.get_submodule(str(node.target)) if node.op == "call_module" else None
