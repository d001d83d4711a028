"""Losses: per sample, from the head's output and the target distribution.

A loss maps an output (..., B, C) and a target (..., B, C), whose rows are distributions (one-hot, or
smoothed), to losses (..., B). It says which kinds of output it `takes` as they are; `also` gives the form
for other kinds. A head of a kind it has no form for does not fit, and the plan skips the trial (unless
match = "ignore": then the first form is applied to whatever comes in, as PyTorch would).

Keyword-only parameters are settings. They arrive as tensors that broadcast against the losses (..., B).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from harness.axes.heads import KINDS, Kind, softmax
from harness.errors import UsageError
from harness.registry import Registry
from harness.settings import Setting, Value, check_declared, declared
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Form:
    """A loss on one kind of output.

    `gradient(output, target, **settings)`, optional, is d loss / d output in closed form: (..., B, C).
    """

    forward: Callable[..., Tensor]
    gradient: Callable[..., Tensor] | None = None


@dataclass(frozen=True)
class Loss:
    """A registered loss: its form for each kind of output it takes, the first one first."""

    name: str
    function: Callable[..., Tensor]
    takes: str | tuple[str, ...]
    gradient: Callable[..., Tensor] | None = None
    also: Mapping[str, Form] = field(default_factory=dict)
    default: Mapping[str, Callable[[int], float]] = field(default_factory=dict)
    """Defaults that depend on the number of classes."""

    def __post_init__(self) -> None:
        check_declared(self.function, self.default, only_numbers=True)
        unknown = set(self.forms) - set(KINDS)
        if unknown:
            raise UsageError(f"loss {self.name!r} takes {sorted(unknown)}; the kinds are {', '.join(KINDS)}")

    @property
    def forms(self) -> dict[str, Form]:
        """Kind -> form, first listed first."""
        kinds = (self.takes,) if isinstance(self.takes, str) else self.takes
        return {kind: Form(self.function, self.gradient) for kind in kinds} | dict(self.also)

    @property
    def settings(self) -> dict[str, Setting]:
        """The settings this loss declares."""
        return declared(self.function)

    def default_of(self, setting: str, classes: int) -> Value | None:
        """Return the default of one of its settings for so many classes."""
        if setting in self.default:
            return self.default[setting](classes)
        return self.settings[setting].default

    def form(self, kind: Kind, match: str = "kind") -> Form | None:
        """Return the form for a kind of output, or None."""
        if match == "ignore":
            return next(iter(self.forms.values()))
        return self.forms.get(kind)


losses: Registry[Loss] = Registry("loss", Loss)
Function = TypeVar("Function", bound=Callable[..., Any])
SQUARED = ("logits", "scores", "probabilities")


def _negative_log(p: Tensor, target: Tensor) -> Tensor:
    """Compute -log p_y as the textbooks write it: inf where p_y underflows to 0."""
    # where() keeps log(0) of the other classes, and its NaN derivative, out of the sum.
    return -(target * torch.where(target > 0, p, 1).log()).sum(-1)


def _negative_log_gradient(p: Tensor, target: Tensor) -> Tensor:
    return -target / torch.where(target > 0, p, 1)


@losses.register(
    "ce",
    takes="logits",
    gradient=lambda z, target: softmax(z) - target,
    also={"probabilities": Form(_negative_log, _negative_log_gradient)},
)
def ce(z: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy: -z_y + logsumexp(z) of logits, -log p_y of probabilities."""
    shifted = z - z.amax(-1, keepdim=True)
    return shifted.exp().sum(-1).log() - (target * shifted).sum(-1)


@losses.register("nll", takes="log_probabilities", gradient=lambda f, target: torch.zeros_like(f) - target)
def nll(f: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood: -f_y of log-probabilities."""
    return -(target * f).sum(-1)


def _of_exp(loss: Callable[..., Tensor], gradient: Callable[..., Tensor]) -> Form:
    """Derive the form for log-probabilities of a loss that is written for probabilities."""

    def forward(f: Tensor, target: Tensor, **settings: Any) -> Tensor:
        return loss(torch.exp(f), target, **settings)

    def chain(f: Tensor, target: Tensor, **settings: Any) -> Tensor:
        p = torch.exp(f)
        return p * gradient(p, target, **settings)

    return Form(forward, chain)


def _squared(name: str, gradient: Callable[..., Tensor], **facts: Any) -> Callable[[Function], Function]:
    """Register a squared error: it takes every head's output as it is, of log-probabilities their exp."""

    def decorate(function: Function) -> Function:
        facts["also"] = {"log_probabilities": _of_exp(function, gradient)}
        return losses.register(name, takes=SQUARED, gradient=gradient, **facts)(function)

    return decorate


@_squared("mse", lambda f, target: (f - target) * (2 / f.shape[-1]))
def mse(f: Tensor, target: Tensor) -> Tensor:
    """Mean over classes of (f - e_y)^2."""
    # sum over a class-strided axis is ten times faster than mean.
    return (f - target).square().sum(-1) / f.shape[-1]


@_squared("ql", lambda f, target: f - target)
def ql(f: Tensor, target: Tensor) -> Tensor:
    """Quadratic loss: half the sum over classes of (f - e_y)^2 (Demirkaya et al. 2020)."""
    return (f - target).square().sum(-1) / 2


def _ccql_gradient(f: Tensor, target: Tensor, *, ccql_weight: Tensor) -> Tensor:
    missing = 1 - (f * target).sum(-1)
    return f - target - (ccql_weight * missing)[..., None] * target


@_squared("ccql", _ccql_gradient, default={"ccql_weight": lambda classes: math.sqrt(classes - 1) - 1})
def ccql(f: Tensor, target: Tensor, *, ccql_weight: Tensor) -> Tensor:
    """Correct-class quadratic loss: QL + w/2 (1 - f_y)^2, w = ccql_weight, sqrt(C-1) - 1 by default.

    After Demirkaya, Chen, Oymak, "Exploring the Role of Loss Functions in Multiclass Classification"
    (CISS 2020). The paper's body was not available to us: the form follows its abstract ("encouraging
    quadratic loss to focus on the correct class") and the one public restatement found, which calls
    w = sqrt(C-1) - 1 a good value. It does not claim to reproduce the paper's tables. It equals C/2 times
    Hui & Belkin's (2021) rescaled square loss with k = 1 + w, M = 1.
    """
    missing = 1 - (f * target).sum(-1)
    return ql(f, target) + ccql_weight / 2 * missing.square()
