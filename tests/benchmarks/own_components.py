"""A person's own activation, loss and optimizer, a few lines each, for `component_cells`."""

import torch

from harness.axes.activations import activations
from harness.axes.losses import losses
from harness.axes.optimizers import optimizers


@activations.register("bench_mish")
def mish(x):  # type: ignore[no-untyped-def]
    """x tanh(softplus(x)) (Misra 2019)."""
    return x * torch.tanh(torch.nn.functional.softplus(x))


@losses.register("bench_hinge", takes="logits")
def hinge(z, target):  # type: ignore[no-untyped-def]
    """Squared hinge, each class against the rest."""
    return torch.relu(1 - z * (2 * target - 1)).square().sum(-1)


@optimizers.register("bench_lion")
def lion(param, grad, state, _t, *, lr=3e-4, b1=0.9, b2=0.99):  # type: ignore[no-untyped-def]
    """The sign of a running mean (Chen et al. 2023)."""
    mean = state.setdefault("mean", torch.zeros_like(param))
    param.sub_((lr * torch.sign(mean * b1 + grad * (1 - b1))).to(param.dtype))
    mean.mul_(b2).add_(grad * (1 - b2))
