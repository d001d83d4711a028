from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.axes.activations import activations
from harness.check import component

steady = settings(deadline=None, max_examples=40)  # time depends on the machine
TORCH: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU,
    "gelu": nn.GELU, "silu": nn.SiLU, "softplus": nn.Softplus, "identity": nn.Identity,
}  # fmt: skip
AT_ONE = {
    "sigmoid": 0.7310586, "tanh": 0.7615942, "relu": 1, "leaky_relu": 1, "elu": 1, "gelu": 0.8413447,
    "silu": 0.7310586, "softplus": 1.3132617, "identity": 1,
}  # fmt: skip
AT_MINUS_TWO = {
    "sigmoid": 0.1192029, "tanh": -0.9640276, "relu": 0, "leaky_relu": -0.02, "elu": -0.8646647,
    "gelu": -0.0455003, "silu": -0.2384058, "softplus": 0.1269280, "identity": -2,
}  # fmt: skip
every = pytest.mark.parametrize("name", [entry.name for entry in activations])


def spread() -> Tensor:
    """Numbers of every size, 0 and the corners of softplus and of float32's exponential among them."""
    x = torch.linspace(-6, 6, 241, dtype=torch.float64)
    return torch.cat([x, torch.tensor([0.0, -0.0, 20.0, 20.1, 90.0, -90.0, 1e4, -1e4])]).to(torch.float64)


def test_the_registry_has_the_components_of_the_readme() -> None:
    assert {entry.name for entry in activations} >= set(TORCH)


@every
def test_contract(name: str) -> None:
    assert component("activation", name)


@pytest.mark.parametrize("name", TORCH)
def test_is_torchs_forward_and_backward(name: str) -> None:
    x, reference = spread().requires_grad_(), spread().requires_grad_()
    y, expected = activations[name].forward(x), TORCH[name]()(reference)
    grad = torch.linspace(-1, 2, len(x), dtype=torch.float64)
    expected.backward(grad)
    assert torch.equal(y, expected)
    backward = activations[name].backward
    assert backward is not None
    assert reference.grad is not None
    torch.testing.assert_close(backward(grad, x.detach(), y.detach()), reference.grad, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", TORCH)
def test_worked_values(name: str) -> None:
    y = activations[name].forward(torch.tensor([1.0, -2.0], dtype=torch.float64))
    assert y.tolist() == pytest.approx([AT_ONE[name], AT_MINUS_TWO[name]], abs=1e-7)


@every
def test_a_closed_form_equals_finite_differences(name: str) -> None:
    # Away from the corners at 0, where a difference quotient knows no derivative.
    x = torch.tensor([-3.0, -1.1, -0.2, 0.3, 0.9, 4.0], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(activations[name].forward, (x,))
    backward = activations[name].backward
    if backward is not None:
        step = 1e-6
        forward, at = activations[name].forward, x.detach()
        slope = (forward(at + step) - forward(at - step)) / (2 * step)
        torch.testing.assert_close(
            backward(torch.ones_like(at), at, forward(at)), slope, rtol=1e-7, atol=1e-7
        )


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_at_1e4(name: str, dtype: torch.dtype) -> None:
    x = torch.tensor([-1e4, 0.0, 1e4], dtype=dtype)
    y = activations[name].forward(x)
    assert y.isfinite().all()
    assert y.dtype is dtype
    backward = activations[name].backward
    if backward is not None:
        assert backward(torch.ones_like(x), x, y).isfinite().all()


def test_relu_has_derivative_0_at_0() -> None:
    x = torch.zeros(1)
    relu = activations["relu"]
    assert relu.backward is not None
    assert relu.backward(torch.ones(1), x, relu.forward(x)).item() == 0


@every
@steady
@given(values=st.lists(st.floats(-50, 50), min_size=2, max_size=6))
def test_elementwise_whatever_the_layout(name: str, values: list[float]) -> None:
    forward = activations[name].forward
    x = torch.tensor([values, values[::-1]], dtype=torch.float64)
    one_by_one = torch.stack([torch.stack([forward(v) for v in row]) for row in x])
    torch.testing.assert_close(forward(x.T).T, one_by_one, rtol=1e-12, atol=1e-14)
