"""A third party's components, in a few lines each: which are compiled, and why others are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from calling import Array, Compiled
from test_templates import compare_output, in_both, near
from torch import Tensor

from harness.axes.activations import Activation
from harness.axes.heads import heads
from harness.axes.losses import Form
from harness.axes.metrics import Metric
from harness.axes.optimizers import Optimizer
from harness.lowering import templates
from harness.lowering.refusals import NotLoweredError


class Step(torch.autograd.Function):
    """An older style of torch's: forward has the context."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x > 0, 1.0, 0.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return grad * (x.abs() < 1)


def straight_through(x: Tensor) -> Tensor:
    return x + (torch.sign(x) - x).detach()


def in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y[:] += 1
    return y.mul_(2).clamp_(-1, 3)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mish": F.mish,
    "hardswish": F.hardswish,
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "selu": F.selu,
    "log-sigmoid": F.logsigmoid,
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "snake": lambda x: x + torch.sin(x) ** 2,
    "powers": lambda x: x**3 - 2 * x**-2 + torch.relu(x) ** 1.5,
    "whole power": lambda x: torch.tanh(x) ** 7,
    "prelu": lambda x: F.prelu(x, torch.full((1,), 0.1, dtype=x.dtype)),
    "where": lambda x: torch.where(x > 1, 1 + x.log(), x),
    "constant": lambda x: x * (torch.tensor(0.25) * 3) + torch.full((1,), 2.0).to(x.dtype),
    "in place": in_place,
    "straight-through": straight_through,
    "autograd.Function": Step.apply,
    "no gradient": torch.round,
    "mask": lambda x: x * ((x > -1) & ~(x > 2) | (x < -3)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_third_partys_activation(name: str, dtype: str) -> None:
    compiled = Compiled(templates.activation(Activation("own", ACTIVATIONS[name])), dtype)
    rng = np.random.default_rng(1)
    x, grad = rng.normal(0, 2, 640).astype(np.float32), rng.normal(size=640).astype(np.float32)
    x = np.where(np.abs(x) < 0.2, np.float32(0.2), x)  # x ** -2

    def both(precision: Any) -> tuple[Tensor, ...]:
        leaf = torch.tensor(x, dtype=precision).requires_grad_()
        y = ACTIVATIONS[name](leaf)
        if not y.requires_grad:
            return y, torch.zeros_like(y)
        return y, *torch.autograd.grad(y, leaf, torch.tensor(grad, dtype=precision))

    exact, single = in_both(both)
    y = compiled.activate(x)
    near(y, exact[0], single[0], dtype)
    near(compiled.derive(grad, x, y), exact[1], single[1], dtype)


def test_a_straight_through_sign_passes_gradients_on() -> None:
    compiled = Compiled(templates.activation(Activation("own", straight_through)))
    x = np.linspace(-2, 2, 32, dtype=np.float32)
    assert set(compiled.activate(x)) == {-1, 1}
    assert (compiled.derive(np.full(32, 3, np.float32), x, x) == 3).all()


WEIGHTS = torch.linspace(0.5, 1.5, 10)


def hinge(f: Tensor, target: Tensor) -> Tensor:
    return (torch.relu(1 + f - (f * target).sum(-1, keepdim=True)) * (1 - target)).sum(-1)


def focal(f: Tensor, target: Tensor, *, power: Tensor) -> Tensor:
    return -(target * (1 - f) ** power[..., None] * torch.log(f.clamp_min(1e-7))).sum(-1)


LOSSES: dict[str, tuple[str, Callable[..., Tensor]]] = {
    "hinge": ("identity", hinge),
    "focal": ("softmax", focal),
    "weights by class, in place": (
        "softmax",
        lambda f, target: ((f - target).square() * torch.arange(1.0, 11.0)).sum(-1),
    ),
    "weights by class, outside": (
        "identity",
        lambda f, target: F.cross_entropy(f, target, weight=WEIGHTS.to(f.dtype), reduction="none"),
    ),
    "weights by class, of the true one": (
        "identity",
        lambda f, target: (target * WEIGHTS.to(f.dtype)).sum(-1) * (f - target).square().sum(-1),
    ),
    "torch's own": ("identity", lambda f, target: F.cross_entropy(f, target, reduction="none")),
    "variance": ("identity", lambda f, target: (f - target).var(-1) + (f - target).std(-1, correction=0)),
    "cosine": ("identity", lambda f, target: 1 - F.cosine_similarity(f, target, dim=-1)),
    "largest wrong": (
        "identity",
        lambda f, target: torch.relu(1 + (f - 1e3 * target).amax(-1) - (f * target).sum(-1)),
    ),
    "distance": ("softmax", lambda f, target: (f - target).norm(dim=-1)),
    "transposed": ("identity", lambda f, target: (f.T - target.T).square().sum(0)),
    "constant gradient": ("identity", lambda f, target: 5 - f.sum(-1) + 0 * target.sum(-1)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_third_partys_loss(name: str, dtype: str) -> None:
    head, function = LOSSES[name]
    settings = {"power": 2.0} if name == "focal" else {}
    text = templates.output(heads[head], Form(function), 10, list(settings))
    compare_output(text, heads[head], Form(function), 10, dtype, settings)


def test_a_third_partys_metric() -> None:
    def margin(p: Tensor, target: Tensor) -> Tensor:
        return (p * target).sum(-1) - (p - 2 * target).amax(-1)

    compiled = Compiled(templates.metric(heads["softmax"], Metric("own", margin), 10))
    z, label = np.random.default_rng(0).normal(size=(21, 10)), np.arange(21) % 10
    p = torch.from_numpy(z).softmax(-1)
    expected = margin(p, F.one_hot(torch.from_numpy(label), 10).double()).sum()
    assert compiled.measure(z, label) == pytest.approx(float(expected), rel=1e-5)


def lion(
    param: Any, grad: Any, state: Any, _t: Any, *, lr: Any = 1e-2, b1: Any = 0.9, b2: Any = 0.99
) -> None:
    m = state.setdefault("m", torch.zeros_like(param))
    param.sub_((lr * torch.sign(m * b1 + grad * (1 - b1))).to(param.dtype))
    m.mul_(b2).add_(grad * (1 - b2))


def yogi(
    param: Any, grad: Any, state: Any, t: Any, *, lr: Any = 1e-2, b1: Any = 0.9, b2: Any = 0.999
) -> None:
    m, v = (state.setdefault(name, torch.full_like(param, 1e-3)) for name in ("m", "v"))
    m.mul_(b1).add_(grad * (1 - b1))
    v.sub_((1 - b2) * torch.sign(v - grad * grad) * grad * grad)
    param.sub_(lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + 1e-3))


def first_step_apart(param: Any, grad: Any, state: Any, t: Any, *, lr: Any = 0.1) -> None:
    if t == 1:
        state["v"] = grad.clone()
    else:
        state["v"].mul_(0.9).add_(grad)
    param.sub_(lr * state["v"] / t)


def asks_its_settings(
    param: Any, grad: Any, _state: Any, _t: Any, *, lr: Any = 0.1, pull: Any = 0.01
) -> None:
    if pull:
        grad = grad + pull * param
    param.sub_(lr * grad.clamp(-1, 1))


def moves_states(param: Any, grad: Any, state: Any, _t: Any, *, lr: Any = 0.1) -> None:
    last, before = (state.setdefault(name, torch.zeros_like(param)) for name in ("last", "before"))
    state["before"], state["last"] = last, grad.clone()
    param.sub_(lr * (grad + last - before))


@pytest.mark.parametrize("function", [lion, yogi, first_step_apart, asks_its_settings, moves_states])
def test_a_third_partys_optimizer(function: Callable[..., None]) -> None:
    optimizer = Optimizer("own", function)
    numbers: dict[str, Any] = {name: setting.default for name, setting in optimizer.settings.items()}
    rng = np.random.default_rng(2)
    start, grads = rng.normal(size=50), rng.normal(size=(5, 50))
    for dtype, close in (("float64", 1e-12), ("float32", 1e-5)):
        compiled, w, states = (
            Compiled(templates.optimizer(optimizer, {}, ()), dtype),
            start.astype(dtype),
            list[Array](),
        )
        param, state = torch.from_numpy(start[None].copy()), dict[str, Tensor]()
        for t, grad in enumerate(grads, 1):
            compiled.step_rows(w, grad.astype(dtype), states, t, numbers)
            function(param, torch.from_numpy(grad[None].copy()), state, t, **numbers)
        np.testing.assert_allclose(w, param[0].numpy(), rtol=close, atol=close)


def every_tenth(param: Any, grad: Any, _state: Any, t: Any, *, lr: Any = 0.1) -> None:
    if t % 10 == 0:
        param.sub_(lr * grad)


def warms_up(param: Any, grad: Any, _state: Any, t: Any, *, lr: Any = 0.1) -> None:
    param.sub_((lr * t / 100 if t < 100 else lr) * grad)


def by_norm(param: Any, grad: Any, _state: Any, _t: Any, *, lr: Any = 0.1) -> None:
    param.sub_(lr * grad / (grad.norm(dim=-1, keepdim=True) + 1e-6))


def noisy(param: Any, grad: Any, _state: Any, _t: Any, *, lr: Any = 0.1) -> None:
    param.sub_(lr * (grad + 0.01 * torch.randn_like(grad)))


def counts(param: Any, grad: Any, state: Any, _t: Any, *, lr: Any = 0.1) -> None:
    count = state.setdefault("count", torch.zeros(()))
    count.add_(1)
    param.sub_(lr / count.sqrt() * grad)


def five_states(param: Any, grad: Any, state: Any, _t: Any, *, lr: Any = 0.1) -> None:
    for name in "abcde":
        state.setdefault(name, torch.zeros_like(param)).add_(grad)
    param.sub_(lr * state["e"])


def late_state(param: Any, grad: Any, state: Any, t: Any, *, lr: Any = 0.1) -> None:
    if t > 1:
        state.setdefault("late", torch.zeros_like(param)).add_(grad)
    param.sub_(lr * grad)


def whole_number(param: Any, grad: Any, _state: Any, t: Any, *, lr: Any = 0.1) -> None:
    param.sub_(lr / int(t) * grad)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (every_tenth, "aten.remainder"),
        (warms_up, "t compared with 100"),
        (by_norm, "over units or parameters"),
        (noisy, "aten.randn_like: random numbers"),
        (counts, r"its state 'count' is of shape \(\)"),
        (five_states, r"5 states \(a, b, c, d, e\); allowed: 4"),
        (late_state, r"its states after a later step are \['late'\]"),
        (whole_number, "Python asks for the value of t"),
    ],
)
def test_an_optimizer_that_is_refused(function: Callable[..., None], reason: str) -> None:
    with pytest.raises(NotLoweredError, match=reason):
        templates.optimizer(Optimizer("own", function), {}, ())


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: F.dropout(x, 0.5), "random numbers"),
        (lambda x: torch.softmax(x, 0), "over units or parameters"),
        (lambda x: x - x.mean(-1, keepdim=True), "aten.mean over units or parameters"),
        (lambda x: x.cumsum(0), "aten.cumsum over"),
        (lambda x: x if x.mean() > 0 else -x, "Python branches on the value of a tensor"),
        (lambda x: x * float(x.max()), "aten._local_scalar_dense"),
        (lambda x: torch.from_numpy(np.tanh(x.detach().numpy())) * x, "the values leave PyTorch"),
        (lambda x: x * torch.linspace(0, 1, x.shape[-1]), "a constant tensor of shape"),
        (lambda x: x.sort(-1).values, "aten.sort"),
        (lambda x: torch.fft.fft(x).real, "aten"),
        (lambda _: 1 / 0, "it cannot be traced: ZeroDivisionError"),
    ],
)
def test_an_activation_that_is_refused(function: Callable[[Tensor], Tensor], reason: str) -> None:
    with pytest.raises(NotLoweredError, match=reason):
        templates.activation(Activation("own", function))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda f, target: (f - f.mean(0)).square().sum(-1) + target.sum(-1), "aten.mean over samples"),
        (lambda f, target: F.cross_entropy(f, target.argmax(-1), reduction="none"), "aten.argmax"),
        (lambda f, target: f.topk(2, -1).values.sum(-1) - (f * target).sum(-1), "aten.topk"),
        (
            lambda f, target: (f.view(-1, 2, 5) * target.view(-1, 2, 5)).sum((1, 2)),
            "axes may not be cut or joined",
        ),
        (lambda f, target: (f.cumsum(-1) - target.cumsum(-1)).square().sum(-1), "aten.flip"),
        (lambda f, target: f[..., 0] * target.sum(-1), "aten.select"),
    ],
)
def test_a_loss_that_is_refused(function: Callable[..., Tensor], reason: str) -> None:
    with pytest.raises(NotLoweredError, match=reason):
        templates.output(heads["identity"], Form(function), 10, ())
