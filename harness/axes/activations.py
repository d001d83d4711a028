"""Activations: elementwise functions between layers.

To add one, write its forward: it is differentiated by autograd. `backward(grad, x, y)`, with x the
input and y the output, is an optional closed form of the same derivative that saves time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.registry import Registry
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """y = forward(x), any shape, elementwise; grad_x = backward(grad_y, x, y)."""

    name: str
    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None

    def gradient(self, grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Compute the gradient at x from that at y: by the closed form, or else by autograd."""
        if self.backward is not None:
            return self.backward(grad, x, y)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (result,) = torch.autograd.grad(self.forward(x), x, grad)
        return result


activations: Registry[Activation] = Registry("activation", Activation)


@activations.register("sigmoid", backward=lambda grad, _, y: torch.ops.aten.sigmoid_backward(grad, y))
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return torch.sigmoid(x)


@activations.register("tanh", backward=lambda grad, _, y: torch.ops.aten.tanh_backward(grad, y))
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(x)


@activations.register("relu", backward=lambda grad, _, y: torch.ops.aten.threshold_backward(grad, y, 0))
def relu(x: Tensor) -> Tensor:
    """max(x, 0); its derivative at 0 is 0."""
    return torch.relu(x)


@activations.register(
    "leaky_relu", backward=lambda grad, x, _: torch.ops.aten.leaky_relu_backward(grad, x, 0.01, False)
)
def leaky_relu(x: Tensor) -> Tensor:
    """x where positive, 0.01 x elsewhere (Maas et al. 2013)."""
    return torch.nn.functional.leaky_relu(x, 0.01)


@activations.register("elu", backward=lambda grad, x, _: torch.ops.aten.elu_backward(grad, 1, 1, 1, False, x))
def elu(x: Tensor) -> Tensor:
    """x where positive, e^x - 1 elsewhere (Clevert et al. 2016)."""
    return torch.nn.functional.elu(x)


@activations.register("gelu", backward=lambda grad, x, _: torch.ops.aten.gelu_backward(grad, x))
def gelu(x: Tensor) -> Tensor:
    """x times the normal distribution function, exact form (Hendrycks & Gimpel 2016)."""
    return torch.nn.functional.gelu(x)


@activations.register("silu", backward=lambda grad, x, _: torch.ops.aten.silu_backward(grad, x))
def silu(x: Tensor) -> Tensor:
    """x times sigmoid(x), also called swish (Elfwing et al. 2018)."""
    return torch.nn.functional.silu(x)


@activations.register(
    "softplus", backward=lambda grad, x, _: torch.ops.aten.softplus_backward(grad, x, 1, 20)
)
def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), a smooth ReLU (Dugas et al. 2001)."""
    return torch.nn.functional.softplus(x)


@activations.register("identity", backward=lambda grad, _x, _y: grad)
def identity(x: Tensor) -> Tensor:
    """The input itself: the network stays linear."""
    return x
