"""Rules: the optimizers' steps that the kernels know, and what they are told of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.axes.optimizers import optimizers
from harness.settings import Value
from harness.trials import Trial

GRADIENT = 0
"""The rule that only writes down the gradient, for an optimizer that the kernels do not know."""


@dataclass(frozen=True)
class Rule:
    """`enum rule` of kernels.c: its number, the states it keeps, and its settings in the kernel's order.

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


def rule_of(trials: Sequence[Trial]) -> Rule | None:
    """The kernels' rule for trials of one optimizer and equal switches; None where they have none."""
    settings = trials[0].arm.settings
    name = str(settings["optimizer"])
    theirs = name not in RULES or optimizers.entry(name).source_digest
    return None if theirs or settings.get("amsgrad") else RULES[name]


def table(rule: Rule, trials: Sequence[Trial]) -> NDArray[np.float64]:
    """The settings (k, n) of a rule, a row a trial, pairs side by side."""
    return np.array([_row(rule, trial.arm.settings) for trial in trials], np.float64)


def _row(rule: Rule, settings: Mapping[str, Value]) -> list[float]:
    values = [settings[name] for name in rule.settings]
    return [float(x) for value in values for x in (value if isinstance(value, (list, tuple)) else [value])]
