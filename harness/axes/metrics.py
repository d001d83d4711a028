"""Metrics: what is measured beside loss and accuracy. They decide nothing: no result, and no trial's id.

A metric maps probabilities p (..., B, C) and one-hot targets of the same shape to values (..., B), one a
sample; a run records their mean over each split. The probabilities are the softmax of logits, the exp of
log-probabilities, scores divided by their sum, and probabilities as they are, so that a metric means the
same under every head. In front may be the members of a stack, each of which a metric treats by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.registry import Registry
from harness.settings import CORE
from harness.settings.schema import TAKEN, metric_columns

if TYPE_CHECKING:
    from torch import Tensor

NAME = r"[A-Za-z][A-Za-z0-9_]*"


@dataclass(frozen=True)
class Metric:
    """values (..., B) = function(p, target), of probabilities and one-hot rows (..., B, C)."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]

    def __post_init__(self) -> None:
        if not re.fullmatch(NAME, self.name):
            raise UsageError(
                f"metric {self.name!r}: it names columns of the results; allowed: a letter, then letters, "
                "digits, _. Rename it."
            )
        clash = taken(self.name, (*CORE, *TAKEN))
        if clash:
            raise UsageError(f"metric {self.name!r} would be a second column {clash!r}: rename it.")


def taken(name: str, columns: Iterable[str]) -> str:
    """Return the first of a metric's columns that is already among `columns`, or ""."""
    there = set(columns)
    return next((column for column in (name, *metric_columns([name])) if column in there), "")


metrics: Registry[Metric] = Registry("metric", Metric)


@metrics.register("top3")
def top3(p: Tensor, target: Tensor) -> Tensor:
    """The true class is among the three most probable; of equal ones the first is, as for accuracy."""
    true = (p * target).sum(-1, keepdim=True)
    # Counted are classes that are not ahead, so that a NaN, which compares to nothing, is a miss.
    behind = (p < true) | ((p == true) & (target.cumsum(-1) > 0))
    return behind.sum(-1) >= p.shape[-1] - 2


@metrics.register("true_probability")
def true_probability(p: Tensor, target: Tensor) -> Tensor:
    """The probability given to the true class."""
    return (p * target).sum(-1)


@metrics.register("nll")
def nll(p: Tensor, target: Tensor) -> Tensor:
    """The negative log-likelihood -log p_y; inf where p_y underflows to 0."""
    return -(p * target).sum(-1).log()


@metrics.register("brier")
def brier(p: Tensor, target: Tensor) -> Tensor:
    """Brier's score, the sum over classes of (p - e_y)^2, in 0..2 (Brier 1950)."""
    return (p - target).square().sum(-1)
