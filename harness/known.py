"""Known: the components that the engine's kernels know, and what these are told of them. Needs no torch.

A component that is not named here is none the worse for it: its own function computes it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.optimizers import optimizers
from harness.registry import Registry
from harness.settings import Value

if TYPE_CHECKING:
    from harness.trials import Trial

ACTIVATIONS: Mapping[str, int] = {
    "identity": 0, "relu": 1, "leaky_relu": 2, "sigmoid": 3, "tanh": 4, "silu": 5,
}  # fmt: skip
"""`enum activation` in C."""
CROSS_ENTROPIES = {("identity", "ce"), ("log_softmax", "nll")}
"""Head and loss that together are the softmax cross-entropy of the logits."""
ZEROS_KEPT = {"unit", "raw"}
"""Preprocessings that leave a pixel of zero at zero."""
SWITCH = "HARNESS_KERNELS"
"""The environment variable that switches the kernels off,"""
OFF = {"off", "0", "no"}
"""and how,"""
ON = {"on", "1", "yes"}
"""or has them used without a self-test."""
NARROW = 128
"""Hidden units of a layer, at most: PyTorch's products are the faster ones beyond."""

GRADIENT = 0
"""The rule that only writes down the gradient, for an optimizer that the kernels do not know."""


@dataclass(frozen=True)
class Rule:
    """`enum rule` in C: its number, the states it keeps, and its settings in the kernel's order.

    The states' names are those of the optimizer's function, which does the same in PyTorch.
    """

    number: int
    states: tuple[str, ...]
    settings: tuple[str, ...]


RULES: Mapping[str, Rule] = {
    "sgd": Rule(1, (), ("weight_decay",)),
    "momentum": Rule(2, ("velocity",), ("momentum", "dampening", "weight_decay")),
    "nesterov": Rule(3, ("velocity",), ("momentum", "weight_decay")),
    "adam": Rule(4, ("mean", "square"), ("betas", "eps", "weight_decay")),
    "adamw": Rule(5, ("mean", "square"), ("betas", "eps", "weight_decay")),
}


def _ours(registry: Registry[Any], name: str) -> bool:
    """Whether a component is the harness's own, which the kernels may know."""
    return not registry.entry(name).third_party


def rule_of(settings: Mapping[str, Value]) -> Rule | None:
    """The kernels' rule for an optimizer and its switches; None where they have none."""
    name = str(settings["optimizer"])
    if name not in RULES or not _ours(optimizers, name) or settings.get("amsgrad"):
        return None
    return RULES[name]


def knows_layers(settings: Mapping[str, Value]) -> bool:
    """Whether the kernels know the layers behind the first one."""
    name = str(settings.get("activation", "identity"))
    narrow = all(width <= NARROW for width in settings.get("hidden", []))  # type: ignore[union-attr, operator]
    return narrow and name in ACTIVATIONS and _ours(activations, name)


def knows_output(settings: Mapping[str, Value]) -> bool:
    """Whether the kernels know a head with a loss."""
    head, loss = str(settings["head"]), str(settings["loss"])
    return (head, loss) in CROSS_ENTROPIES and _ours(heads, head) and _ours(losses, loss)


def knows(settings: Mapping[str, Value]) -> bool:
    """Whether the kernels know all of a trial, so that it may train in stretches of steps."""
    if settings.get("dropout") or str(settings["preprocessing"]) not in ZEROS_KEPT:
        return False
    if os.environ.get(SWITCH, "").lower() in OFF:
        return False
    return rule_of(settings) is not None and knows_layers(settings) and knows_output(settings)


def table(rule: Rule, trials: Sequence[Trial]) -> NDArray[np.float64]:
    """The settings (k, n) of a rule, a row a trial, pairs side by side."""
    return np.array([_row(rule, trial.arm.settings) for trial in trials], np.float64)


def _row(rule: Rule, settings: Mapping[str, Value]) -> list[float]:
    values = [settings[name] for name in rule.settings]
    return [float(x) for value in values for x in (value if isinstance(value, (list, tuple)) else [value])]
