"""Pooling and batch normalisation of a stack against PyTorch's of one network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.engines.modules.batch_norm import normalise
from harness.engines.modules.pooling import Kind, pool

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
SHAPES = [(2, 16, 3, 8, 8), (1, 5, 2, 5, 7), (3, 37, 1, 4, 4), (2, 64, 6, 9, 6)]


def near(found: Tensor, right: Tensor, dtype: torch.dtype) -> bool:
    return (found.double() - right).abs().max().item() <= TOLERANCE[dtype] * max(
        1.0, right.abs().max().item()
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("kind", ["average", "max"])
@pytest.mark.parametrize("window", [2, (3, 2)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pools_as_pytorch(
    shape: tuple[int, ...], window: int | tuple[int, int], kind: Kind, rectified: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=dtype).round(decimals=1)  # so that some pixels of a window are alike
    ours, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    function = functional.max_pool2d if kind == "max" else functional.avg_pool2d
    images = theirs.flatten(0, 1)
    expected = function(images.relu() if rectified else images, window).unflatten(0, shape[:2])
    out = pool(ours, window, kind, rectified=rectified)
    assert near(out, expected, dtype)
    g = torch.randn_like(expected)
    (found,) = torch.autograd.grad((out * g.to(dtype)).sum(), ours)
    (right,) = torch.autograd.grad((expected * g).sum(), theirs)
    assert near(found, right, dtype)


def test_a_nan_is_the_largest_pixel_and_takes_the_gradient() -> None:
    x = torch.randn(1, 16, 1, 2, 2)
    x[0, 3, 0, 0, 1] = float("nan")
    ours, theirs = x.clone().requires_grad_(), x[0].clone().requires_grad_()
    out, expected = pool(ours, 2, "max")[0], functional.max_pool2d(theirs, 2)
    torch.testing.assert_close(out, expected, equal_nan=True)
    found, right = torch.autograd.grad(out.sum(), ours)[0][0], torch.autograd.grad(expected.sum(), theirs)[0]
    torch.testing.assert_close(found, right)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (2, 33, 4, 1, 1)], ids=str)
def test_normalises_as_pytorch(shape: tuple[int, ...], rectified: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    k, c = shape[0], shape[2]
    given = [3 * torch.randn(shape) + 2, torch.rand(k, c) + 0.5, torch.randn(k, c)]
    ours = [each.to(dtype).requires_grad_() for each in given]
    theirs = [each.double().requires_grad_() for each in given]
    out, mean, variance = normalise(ours[0], ours[1], ours[2], 1e-5, rectified=rectified)
    nets = [nn.BatchNorm2d(c, momentum=1.0).double() for _ in range(k)]
    members = []
    for net, x, weight, bias in zip(nets, *theirs, strict=True):
        members.append(torch.func.functional_call(net, {"weight": weight, "bias": bias}, (x,)))
    expected = torch.stack(members)
    expected = expected.relu() if rectified else expected
    assert [side.requires_grad for side in (out, mean, variance)] == [True, False, False]
    n = shape[1] * shape[3] * shape[4]
    assert near(out, expected, dtype)
    assert near(mean, torch.stack([net.state_dict()["running_mean"] for net in nets]), dtype)
    assert near(variance * n / (n - 1), torch.stack([net.state_dict()["running_var"] for net in nets]), dtype)
    g = torch.randn_like(expected)
    found = torch.autograd.grad((out * g.to(dtype)).sum(), ours)
    right = torch.autograd.grad((expected * g).sum(), theirs)
    assert all(near(one, other, dtype) for one, other in zip(found, right, strict=True))


def test_a_diverged_member_stays_alone() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(3, 32, 2, 4, 4), torch.ones(3, 2), torch.zeros(3, 2)
    together, *_ = normalise(x, weight, bias)
    x[1, 0] = float("nan")
    beside, mean, _ = normalise(x, weight, bias)
    assert torch.equal(beside[[0, 2]], together[[0, 2]])
    assert beside[1].isnan().all()
    assert mean[1].isnan().all()
    assert torch.equal(pool(beside, 2, "max")[[0, 2]], pool(together, 2, "max")[[0, 2]])
