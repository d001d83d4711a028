"""Components of a third party's, of which each does one thing that has a compiled form, or has none."""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor

from harness.axes.activations import activations
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import optimizers

SLOPE = 0.2
calls: list[int] = []
counter = torch.zeros(())
numbers = Random(1)  # noqa: S311 (no secret)


@activations.register("own_mish")
def own_mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x))."""
    return x * torch.tanh(torch.nn.functional.softplus(x))


@activations.register("own_slope")
def own_slope(x: Tensor) -> Tensor:
    """Reads a global."""
    return torch.where(x > 0, x, SLOPE * x)


@activations.register("own_noise")
def own_noise(x: Tensor) -> Tensor:
    """Draws random numbers."""
    return x + 0.1 * torch.randn_like(x)


@activations.register("own_python_noise")
def own_python_noise(x: Tensor) -> Tensor:
    """Draws random numbers that torch does not see."""
    return x * numbers.random()


@activations.register("own_branch")
def own_branch(x: Tensor) -> Tensor:
    """Branches on data."""
    return x if x.mean() > 0 else -x


@activations.register("own_size")
def own_size(x: Tensor) -> Tensor:
    """Branches on the number of samples."""
    return x if len(x) < 100 else 2 * x


@activations.register("own_state")
def own_state(x: Tensor) -> Tensor:
    """Counts its calls."""
    calls.append(1)
    return x * len(calls)


@activations.register("own_tensor")
def own_tensor(x: Tensor) -> Tensor:
    """Counts its calls in a tensor."""
    return x * counter.add_(1)


@activations.register("own_others")
def own_others(x: Tensor) -> Tensor:
    """Looks at other samples."""
    return x - x.mean(0)


@losses.register("own_hinge", takes="logits")
def own_hinge(z: Tensor, target: Tensor) -> Tensor:
    """The largest wrong logit is to stay 1 behind."""
    return (torch.relu(1 + z - (z * target).sum(-1, keepdim=True)) * (1 - target)).sum(-1)


@losses.register("own_power", takes="probabilities")
def own_power(p: Tensor, target: Tensor, *, own_exponent: float = 0.7) -> Tensor:
    """(1 - p_y^q) / q."""
    return (1 - (p * target).sum(-1) ** own_exponent) / own_exponent


@metrics.register("own_margin")
def own_margin(p: Tensor, target: Tensor) -> Tensor:
    """The largest probability minus the true one."""
    return p.amax(-1) - (p * target).sum(-1)


@optimizers.register("own_lion")
def own_lion(
    param: Tensor, grad: Tensor, state: dict[str, Tensor], _t: int, *, lr: float = 1e-3, own_beta: float = 0.9
) -> None:
    """Steps of one length."""
    mean = state.setdefault("mean", torch.zeros_like(param))
    param.sub_(lr * torch.sign(mean * own_beta + grad * (1 - own_beta)).to(param.dtype))
    mean.mul_(0.99).add_(grad * 0.01)


@optimizers.register("own_noisy")
def own_noisy(param: Tensor, grad: Tensor, _state: dict[str, Tensor], _t: int, *, lr: float = 0.1) -> None:
    """Draws random numbers."""
    param.sub_(lr * (grad + 0.01 * torch.randn_like(grad)))
