"""Initial weights: drawn in NumPy from a trial's own stream, so that all engines start from the same bits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
