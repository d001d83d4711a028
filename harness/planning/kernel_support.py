"""Kernel support: the components that the C kernels can compute, and the numbers these know them by.

A component that is not named here trains all the same: its own function computes it, in PyTorch. This module
needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.optimizers import optimizers
from harness.data.arm_settings import Settings
from harness.lowering import compiler
from harness.registry import Registry
from harness.study.trials import Trial

ACTIVATIONS: Mapping[str, int] = {
    "identity": 0, "relu": 1, "leaky_relu": 2, "sigmoid": 3, "tanh": 4, "silu": 5,
}  # fmt: skip
"""`enum activation` in C."""
CROSS_ENTROPIES = {("identity", "ce"), ("log_softmax", "nll")}
"""Pairs of head and loss that are the softmax cross-entropy of the logits."""
ZEROS_KEPT = {"unit", "raw"}
"""Preprocessings that leave a pixel of zero at zero."""
NARROW = 128
"""Hidden units of a layer that the kernels compute, at most; PyTorch's products are faster beyond."""

GRADIENT = 0
"""The rule that only stores the gradient, for an optimizer that the kernels do not support."""


@dataclass(frozen=True)
class Rule:
    """An optimizer's `enum rule` in C: its number, its states, and its settings in the kernel's order.

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


def _is_own(registry: Registry[Any], name: str) -> bool:
    """Tell whether a component is the harness's own, which the kernels may support."""
    return not registry.entry(name).third_party


def rule_of(settings: Settings) -> Rule | None:
    """Give the kernels' rule for an optimizer and its switches; None where they have none."""
    name = settings.optimizer
    if name not in RULES or not _is_own(optimizers, name) or settings.get("amsgrad"):
        return None
    return RULES[name]


def kernels_support_layers(settings: Settings) -> bool:
    """Tell whether the kernels can compute the layers behind the first one."""
    name, narrow = settings.activation, max(settings.hidden, default=0) <= NARROW
    return narrow and name in ACTIVATIONS and _is_own(activations, name)


def kernels_support_output(settings: Settings) -> bool:
    """Tell whether the kernels can compute a head with a loss."""
    head, loss = settings.head, settings.loss
    return (head, loss) in CROSS_ENTROPIES and _is_own(heads, head) and _is_own(losses, loss)


def kernels_support(settings: Settings) -> bool:
    """Tell whether the kernels can compute all of a trial, so that one call takes many steps."""
    if settings.dropout or settings.preprocessing not in ZEROS_KEPT:
        return False
    if compiler.switched_off():
        return False
    return (
        rule_of(settings) is not None
        and kernels_support_layers(settings)
        and kernels_support_output(settings)
    )


def rule_settings(rule: Rule, trials: Sequence[Trial]) -> NDArray[np.float64]:
    """Give the settings (k, n) of a rule, a row for each trial, pairs side by side."""
    return np.array([_row(rule, trial.arm.settings) for trial in trials], np.float64)


def _row(rule: Rule, settings: Settings) -> list[float]:
    values = [settings[name] for name in rule.settings]
    return [float(x) for value in values for x in (value if isinstance(value, (list, tuple)) else [value])]
