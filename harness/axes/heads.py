"""Heads: what turns logits into the network's output, and of which kind that output is.

A head maps logits (..., C) to an output (..., C). Its kind decides which losses fit it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from harness.errors import UsageError
from harness.registry import Registry
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["logits", "scores", "probabilities", "log_probabilities"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Head:
    """f = forward(z); grad_z = backward(grad_f, f), optional, the closed form of autograd's answer."""

    name: str
    forward: Callable[[Tensor], Tensor]
    kind: Kind
    backward: Callable[[Tensor, Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"head {self.name!r} has kind {self.kind!r}; allowed: {', '.join(KINDS)}")


heads: Registry[Head] = Registry("head", Head)


@heads.register("identity", kind="logits", backward=lambda grad, _: grad)
def identity(z: Tensor) -> Tensor:
    """The logits as they are."""
    return z


@heads.register("sigmoid", kind="scores", backward=lambda grad, f: grad * f * (1 - f))
def sigmoid(z: Tensor) -> Tensor:
    """1 / (1 + e^-z), each class on its own."""
    return torch.sigmoid(z)


@heads.register(
    "softmax", kind="probabilities", backward=lambda grad, f: f * (grad - (grad * f).sum(-1, keepdim=True))
)
def softmax(z: Tensor) -> Tensor:
    """e^z / sum e^z, stable by subtracting the maximum."""
    # Written out: torch.softmax copies a stack's class-strided logits and is ten times slower on them.
    e = torch.exp(z - z.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


@heads.register(
    "log_softmax",
    kind="log_probabilities",
    backward=lambda grad, f: grad - torch.exp(f) * grad.sum(-1, keepdim=True),
)
def log_softmax(z: Tensor) -> Tensor:
    """The logits minus their logsumexp."""
    shifted = z - z.amax(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


def probabilities(head: Head, f: Tensor) -> Tensor:
    """Return the probabilities (..., B, C) that an output (..., B, C) stands for.

    Softmax of logits, exp of log-probabilities, scores divided by their sum.
    """
    if head.kind == "logits":
        return softmax(f)
    if head.kind == "log_probabilities":
        return f.exp()
    return f / f.sum(-1, keepdim=True) if head.kind == "scores" else f


def probability(head: Head, f: Tensor, chosen: Tensor) -> Tensor:
    """Return the probability (..., B) that an output (..., B, C) gives to the chosen classes (..., B).

    It is that of `probabilities`, without computing those of the other classes.
    """
    return probability_at(head, f, f.gather(-1, chosen[..., None])[..., 0])


def probability_at(head: Head, f: Tensor, at: Tensor) -> Tensor:
    """Return the probabilities (..., B) of classes with outputs `at` (..., B), of an output (..., B, C)."""
    if head.kind == "logits":
        return 1 / (f - at[..., None]).exp().sum(-1)
    if head.kind == "log_probabilities":
        return at.exp()
    return at / f.sum(-1) if head.kind == "scores" else at
