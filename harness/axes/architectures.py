"""Architectures: from an input size and a class count to a network that gives logits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.registry import Registry
from harness.settings import Setting, check_declared, declared
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Architecture:
    """A registered architecture.

    `build(inputs, classes, activation, **settings)` gives an nn.Module that maps (B, inputs) to
    logits (B, classes); `activation()` makes one activation module. The stacked engine knows `mlp`; any other
    architecture trains in the loop engine, from its own initial weights under a forked, seeded generator.
    """

    name: str
    build: Callable[..., nn.Module]

    def __post_init__(self) -> None:
        check_declared(self.build)

    @property
    def settings(self) -> dict[str, Setting]:
        """The settings this architecture declares."""
        return declared(self.build)


architectures: Registry[Architecture] = Registry("architecture", Architecture)


@architectures.register("mlp")
def mlp(
    inputs: int,
    classes: int,
    activation: Callable[[], nn.Module],
    *,
    hidden: Sequence[int] = (32, 32),
    dropout: float = 0.0,
) -> nn.Module:
    """Multilayer perceptron on flattened pixels; hidden = [] is softmax regression.

    `dropout` is the share of each hidden layer's activations that is set to zero while training; those that
    stay are divided by 1 - dropout (Srivastava et al. 2014).
    """
    widths = [inputs, *hidden, classes]
    layers: list[nn.Module] = [torch.nn.Linear(widths[0], widths[1])]
    for i, o in itertools.pairwise(widths[1:]):
        left_out = [torch.nn.Dropout(dropout)] if dropout else []
        layers += [activation(), *left_out, torch.nn.Linear(i, o)]
    return torch.nn.Sequential(*layers)


@dataclass(frozen=True)
class Layer:
    """One fully connected layer: weight (out, in) and bias (out,), as torch.nn.Linear has them."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


def initial_layers(widths: Sequence[int], rng: np.random.Generator) -> list[Layer]:
    """Draw initial weights of an mlp with these widths (inputs, hidden .., classes).

    Uniform within 1/sqrt(fan_in), weights and biases: torch.nn.Linear's default distribution.
    """
    layers = []
    for i, o in itertools.pairwise(widths):
        bound = inverse_root(i)
        layers.append(Layer(_uniform(rng, bound, (o, i)), _uniform(rng, bound, (o,))))
    return layers


def _uniform(rng: np.random.Generator, bound: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw as rng.uniform(-bound, bound, shape), product and sum each rounded by itself.

    In NumPy's own C they are one rounding on processors for which it is built with fused operations.
    """
    drawn = rng.random(shape)
    drawn *= 2 * bound
    drawn += -bound
    return drawn


def inverse_root(n: int) -> float:
    """Return 1/sqrt(n), correctly rounded; C libraries differ in the last bit of n**-0.5.

    >>> inverse_root(4), inverse_root(784) == 1 / 28
    (0.5, True)
    """
    return math.isqrt((1 << 400) // n) / (1 << 200)
