"""The engines that train the trials of a stack; base.py has what they share, driver.py their run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from harness.axes.own_networks import is_own
from harness.data.samples import Data
from harness.engines.base import Engine
from harness.study.trials import Trial

WITHOUT_TORCH = {"numpy", "stacked"}
"""Engines whose own modules do not import torch before a stack needs it."""
Arithmetic: TypeAlias = Literal["torch", "numpy", "compiled"]
"""Library that computes a stack."""


def engine(name: str) -> Engine:
    """Return an engine by its name; only that one is imported."""
    if name == "stacked":
        from harness.engines import stack_engine

        return stack_engine
    if name == "loop":
        from harness.engines import loop

        return loop
    if name == "numpy":
        from harness.engines import numpy_engine

        return numpy_engine
    if is_own(name):
        from harness.engines.own import OwnEngine

        return OwnEngine(name)
    raise KeyError(name)


def arithmetic(
    name: str, trials: Sequence[Trial], data: Data, device: str = "cpu", metrics: Sequence[str] = ()
) -> Arithmetic:
    """Tell which library computes a stack of an engine."""
    if name == "numpy" or is_own(name):
        return "numpy"
    if name == "stacked":
        from harness.engines.compiled import engine as compiled

        if not compiled.why_not(trials, data, device, metrics):
            return "compiled"
    return "torch"
