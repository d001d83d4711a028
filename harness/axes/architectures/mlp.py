"""Multilayer perceptrons."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.axes.architectures.registry import architectures
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import nn


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
