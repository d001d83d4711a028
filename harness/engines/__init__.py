"""The engines that train the trials of a stack; base.py has what they share, driver.py their run."""

from __future__ import annotations

from harness.engines.base import Engine

WITHOUT_TORCH = {"numpy"}
"""Engines that do not import torch."""


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
    raise KeyError(name)
