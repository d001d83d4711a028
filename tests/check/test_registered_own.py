"""Checks against a component that a person registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from registering import register
from torch import Tensor

from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import Scalar, State, optimizers
from harness.check import activation, head, loss, metric, optimizer

__all__ = ["register"]


def hinge(f: Tensor, target: Tensor, *, margin: Tensor = 1.0) -> Tensor:  # type: ignore[assignment]
    """Hinge."""
    true = (f * target).sum(-1, keepdim=True)
    return ((f - true + margin).clamp(min=0) * (1 - target)).sum(-1)


def signs(param: Tensor, grad: Tensor, state: State, t: int, *, lr: Scalar = 0.1, fade: Scalar = 0.5) -> None:  # noqa: ARG001
    """Sign descent, less from step to step."""
    param.sub_(lr * fade**t * grad.sign())


def test_a_loss_like_a_registered_one(register: Callable[..., None]) -> None:
    register(losses, hinge, takes="logits")

    def own(f: Any, y: Any) -> Any:
        rows = np.arange(len(y))
        terms = np.maximum(f - f[rows, y][:, None] + 0.5, 0)
        terms[rows, y] = 0
        return terms.sum(1)

    assert loss("mine", "mine")
    assert loss(own, "mine", margin=0.5)
    assert not loss(own, "mine")
    assert "the sign is wrong" in loss(lambda f, y: -own(f, y), "mine", margin=0.5).problems[0]


def test_functions_like_registered_ones(register: Callable[..., None]) -> None:
    register(activations, lambda x: x**3)
    register(heads, lambda z: z.softmax(-1) ** 2, kind="scores")
    register(metrics, lambda p, target: (p * target).sum(-1) ** 2)
    assert activation("mine", "mine")
    assert activation(lambda x: x**3, "mine", backward=lambda x: 3 * x**2)
    assert "2 times" in activation(lambda x: 2 * x**3, "mine").problems[0]
    assert head(lambda z: z.softmax(1) ** 2, "mine")
    assert not head(lambda z: z.softmax(1), "mine")
    assert metric(lambda p, y: p[np.arange(len(y)), y] ** 2, "mine")
    assert not metric(lambda p, y: p[np.arange(len(y)), y], "mine")


def test_an_optimizer_like_a_registered_one(register: Callable[..., None]) -> None:
    register(optimizers, signs)

    def own(p: Any, g: Any, t: int, lr: float, fade: float) -> None:
        p -= lr * fade**t * np.sign(g)

    assert optimizer("mine", "mine")
    assert optimizer(own, "mine", fade=0.3)
    assert "it goes up" in optimizer(lambda p, g, t, lr, fade: own(p, -g, t, lr, fade), "mine").problems[0]
