"""Multilayer perceptrons."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.axes.architectures.initial_weights import UNIFORM_FAN_IN
from harness.axes.architectures.norms import norm_of_units
from harness.axes.architectures.registry import architectures
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import nn


Activations: TypeAlias = "Callable[[], nn.Module]"
"""What makes one activation module."""
MLPS = ("mlp", "linear")
"""Architectures of linear layers on flattened pixels, which start from `initial_layers`."""


def _without_layers(settings: Mapping[str, Any]) -> Collection[str]:
    """Name what has no effect without hidden layers, or without two equal ones behind each other."""
    hidden = settings["hidden"]
    if not hidden:
        return "activation", "dropout", "norm", "skip"
    skipped = any(before == after for before, after in itertools.pairwise(hidden))
    return ("skip",) if settings["skip"] and not skipped else ()


@architectures.register("mlp", idle=_without_layers)
def mlp(  # noqa: PLR0913 (each is a setting)
    inputs: int,
    classes: int,
    activation: Activations,
    *,
    hidden: Sequence[int] = (32, 32),
    dropout: float = 0.0,
    norm: str = "none",
    skip: bool = False,
    initial_weights: str = UNIFORM_FAN_IN,  # noqa: ARG001 (drawn in NumPy, for all engines: `initial_layers`)
) -> nn.Module:
    """Multilayer perceptron on flattened pixels; hidden = [] is softmax regression.

    `dropout` is the share of each hidden layer's activations that is set to zero while training; those that
    stay are divided by 1 - dropout (Srivastava et al. 2014). A `norm` is between a hidden layer and its
    activation; with `skip` what a hidden layer behind another gets is added to its activations, where widths
    agree. `initial_weights` is the rule by which they are drawn (`RULES`).
    """
    widths = [inputs, *hidden, classes]
    if norm != "none" or skip:
        return _layered(widths, activation, dropout, norm, skip=skip)
    layers: list[nn.Module] = [torch.nn.Linear(widths[0], widths[1])]
    for i, o in itertools.pairwise(widths[1:]):
        left_out = [torch.nn.Dropout(dropout)] if dropout else []
        layers += [activation(), *left_out, torch.nn.Linear(i, o)]
    return torch.nn.Sequential(*layers)


def _layered(
    widths: Sequence[int], activation: Activations, dropout: float, norm: str, *, skip: bool
) -> nn.Module:
    """Make an mlp of these widths with norms or skip connections."""
    from harness.axes.architectures.modules import NetworkLayers  # which imports torch

    built: dict[str, nn.Module] = {}
    skips: set[str] = set()
    for number, (i, o) in enumerate(itertools.pairwise(widths[:-1]), 1):
        # Batch norm takes a bias off again: it would never be learned.
        linear = torch.nn.Linear(i, o, bias=norm != "batch")
        left_out = {"dropout": torch.nn.Dropout(dropout)} if dropout else {}
        built[f"layer{number}"] = NetworkLayers(
            {"linear": linear, **norm_of_units(norm, o), "activation": activation(), **left_out}
        )
        if skip and i == o and number > 1:
            skips.add(f"layer{number}")
    return NetworkLayers({**built, "output": torch.nn.Linear(widths[-2], widths[-1])}, frozenset(skips))


@architectures.register("linear", idle=lambda _: ("activation",))
def linear(inputs: int, classes: int, activation: Activations) -> nn.Module:  # noqa: ARG001
    """Softmax regression: one linear layer on flattened pixels, as an mlp without hidden layers."""
    return torch.nn.Sequential(torch.nn.Linear(inputs, classes))
