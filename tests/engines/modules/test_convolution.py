"""Convolutions of a stack against PyTorch's of one network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.engines.modules.convolution import convolve

CASES: list[dict[str, Any]] = [
    {"k": 1, "b": 1, "c": 1, "o": 1, "image": (3, 3), "kernel": (3, 3)},
    {"k": 3, "b": 4, "c": 2, "o": 5, "image": (7, 9), "kernel": (3, 2)},
    {"k": 2, "b": 5, "c": 3, "o": 16, "image": (8, 8), "kernel": (3, 3), "padding": 1},
    {"k": 2, "b": 3, "c": 4, "o": 7, "image": (9, 11), "kernel": (5, 3), "stride": (2, 3), "padding": (2, 1)},
    {"k": 3, "b": 16, "c": 1, "o": 6, "image": (28, 28), "kernel": (5, 5), "padding": 2},
    {"k": 2, "b": 17, "c": 6, "o": 16, "image": (14, 14), "kernel": (5, 5)},
    {"k": 2, "b": 33, "c": 16, "o": 32, "image": (8, 8), "kernel": (3, 3), "stride": 2, "padding": 1},
    {"k": 2, "b": 2, "c": 17, "o": 33, "image": (5, 6), "kernel": (1, 1), "stride": 2},
    {"k": 1, "b": 2, "c": 3, "o": 2, "image": (2, 2), "kernel": (3, 3), "padding": 3},
]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}


def made_up(case: dict[str, Any], dtype: torch.dtype, shared: bool) -> tuple[list[Tensor], dict[str, Any]]:
    """Return x, weight, bias of a case, and the rest of its arguments."""
    torch.manual_seed(0)
    k, c, o = (case[name] for name in "kco")
    x = torch.randn(1 if shared else k, case["b"], c, *case["image"], dtype=dtype)
    weight = torch.randn(k, o, c, *case["kernel"], dtype=dtype)
    tensors = [x, weight, torch.randn(k, o, dtype=dtype)]
    return tensors, {name: case[name] for name in ("stride", "padding") if name in case}


def convolved(of: Sequence[Tensor], **rest: Any) -> Tensor:
    x, weight, bias = of
    return convolve(x, weight, bias, **rest)


def one_by_one(x: Tensor, weight: Tensor, bias: Tensor | None, **rest: Any) -> Tensor:
    """Convolve with PyTorch, member by member."""
    biases = bias if bias is not None else [None] * len(weight)
    return torch.stack(
        [
            torch.nn.functional.conv2d(x[k if len(x) > 1 else 0], weight[k], biases[k], **rest)
            for k in range(len(weight))
        ]
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_is_pytorchs_member_by_member(case: dict[str, Any], shared: bool, dtype: torch.dtype) -> None:
    tensors, rest = made_up(case, dtype, shared)
    ours = [tensor.clone().requires_grad_() for tensor in tensors]
    theirs = [tensor.double().requires_grad_() for tensor in tensors]
    out, expected = convolved(ours, **rest), one_by_one(*theirs, **rest)
    assert out.shape == expected.shape
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((out * weights.to(dtype)).sum(), ours)
    oracle = torch.autograd.grad((expected * weights).sum(), theirs)
    for found, right in zip((out, *gradients), (expected, *oracle), strict=True):
        size = right.abs().max().item()
        assert (found.double() - right).abs().max().item() <= TOLERANCE[dtype] * max(1.0, size)


@pytest.mark.parametrize("shared", [False, True])
def test_gradients_are_those_of_differences(shared: bool) -> None:
    case = {"k": 2, "b": 2, "c": 2, "o": 3, "image": (5, 4), "kernel": (3, 2), "stride": (1, 2), "padding": 1}
    tensors, rest = made_up(case, torch.float64, shared)
    assert torch.autograd.gradcheck(lambda *of: convolve(*of, **rest), [t.requires_grad_() for t in tensors])


def test_without_bias_and_without_a_gradient_of_the_images() -> None:
    (x, weight, _), rest = made_up(CASES[2], torch.float64, shared=True)
    weight.requires_grad_()
    out = convolve(x, weight, None, **rest)
    torch.testing.assert_close(out, one_by_one(x, weight, None, **rest))
    out.sum().backward()
    assert x.grad is None
    assert weight.grad is not None


@pytest.mark.parametrize("case", CASES[1:], ids=str)
def test_bits_of_a_member_depend_on_nobody_beside_it(case: dict[str, Any]) -> None:
    tensors, rest = made_up(case, torch.float32, shared=False)

    def trained(*of: Tensor) -> list[Tensor]:
        given = [tensor.clone().requires_grad_() for tensor in of]
        out = convolved(given, **rest)
        return [out, *torch.autograd.grad((out * out.detach()).sum(), given)]

    together, alone = trained(*tensors), trained(*(tensor[:1] for tensor in tensors))
    for whole, one in zip(together, alone, strict=True):
        assert torch.equal(whole[:1], one)
    tensors[1][-1, 0, 0, 0, 0] = float("nan")
    beside = trained(*tensors)
    for whole, one in zip(beside, together, strict=True):
        assert torch.equal(whole[:1], one[:1]) or len(whole) == 1
        assert whole[-1].isnan().any()
