"""A convolution with the layers behind it, as one, against PyTorch's layers of one network."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness.engines.modules.block import Block, BlockWeights, compute, fits
from harness.engines.modules.pooling import Kind

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-4}
POOLINGS: list[tuple[Kind | None, tuple[int, int]]] = [
    (None, (1, 1)), ("average", (2, 2)), ("max", (2, 2)), ("max", (3, 2)),
]  # fmt: skip
BEHIND = [
    Block((1, 1), (1, 1), normalised, 1e-5, rectified, kind, window)
    for normalised, rectified, (kind, window) in itertools.product((False, True), (False, True), POOLINGS)
] + [
    Block((2, 1), (0, 2), False, 1e-5, True, "average", (2, 2)),
    Block(kind="average", window=(4, 4), rectified=True),
]


def one_by_one(x: Tensor, weights: BlockWeights, block: Block) -> Tensor:
    """Compute with PyTorch, member by member."""
    made = []
    for k, weight in enumerate(weights.weight):
        bias = None if weights.bias is None else weights.bias[k]
        out = functional.conv2d(x[k if len(x) > 1 else 0], weight, bias, block.stride, block.padding)
        if block.normalised and weights.scale is not None and weights.shift is not None:
            sides = (weights.scale[k], weights.shift[k])
            out = functional.batch_norm(out, None, None, *sides, training=True, eps=block.epsilon)
        out = out.relu() if block.rectified else out
        if block.kind:
            function = functional.max_pool2d if block.kind == "max" else functional.avg_pool2d
            out = function(out, block.window)
        made.append(out)
    return torch.stack(made)


def made_up(block: Block, dtype: torch.dtype, batch: int, shared: bool) -> list[Tensor]:
    """Return x, weight, bias, and scale and shift where there is a normalisation."""
    torch.manual_seed(0)
    k, c, o = 3, 2, 5
    shapes = [
        (1 if shared else k, batch, c, 7, 8),
        (k, o, c, 3, 3),
        (k, o),
        *[(k, o)] * (2 * block.normalised),
    ]
    return [torch.randn(shape).to(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("batch", "shared"), [(16, True), (37, False), (3, False)])
@pytest.mark.parametrize("block", BEHIND, ids=str)
def test_is_pytorchs_layer_by_layer(block: Block, batch: int, shared: bool, dtype: torch.dtype) -> None:
    given = made_up(block, dtype, batch, shared)
    ours = [each.clone().requires_grad_(i > 0 or not shared) for i, each in enumerate(given)]
    theirs = [
        each.double().requires_grad_(mine.requires_grad) for each, mine in zip(given, ours, strict=True)
    ]
    out, mean, variance = compute(ours[0], BlockWeights(*ours[1:]), block)
    expected = one_by_one(theirs[0], BlockWeights(*theirs[1:]), block)
    g = torch.randn_like(expected)
    wanted = [[each for each in side if each.requires_grad] for side in (ours, theirs)]
    found = torch.autograd.grad((out * g.to(dtype)).sum(), wanted[0])
    right = torch.autograd.grad((expected * g).sum(), wanted[1])
    for one, other in zip((out, *found), (expected, *right), strict=True):
        assert (one.double() - other).abs().max().item() <= TOLERANCE[dtype] * max(
            1.0, other.abs().max().item()
        )
    assert len(mean) == len(variance) == (3 if block.normalised else 0)


@pytest.mark.parametrize("block", BEHIND, ids=str)
def test_bits_of_a_member_depend_on_nobody_beside_it(block: Block) -> None:
    given = made_up(block, torch.float32, 20, shared=False)

    def trained(*of: Tensor) -> list[Tensor]:
        leaves = [each.clone().requires_grad_() for each in of]
        out, *_ = compute(leaves[0], BlockWeights(*leaves[1:]), block)
        return [out, *torch.autograd.grad((out * out.detach()).sum(), leaves)]

    together, alone = trained(*given), trained(*(each[1:2] for each in given))
    assert all(torch.equal(whole[1:2], one) for whole, one in zip(together, alone, strict=True))
    given[1][0, 0, 0, 0, 0] = float("nan")
    beside = trained(*given)
    assert all(torch.equal(one[1:], other[1:]) for one, other in zip(beside, together, strict=True))
    assert all(one[0].isnan().any() for one in beside)


def test_the_kernels_take_what_fits() -> None:
    x = torch.zeros(2, 64, 1, 4, 4)
    assert not fits(x, Block(kind="average", window=(3, 3)))
    assert not fits(x.half(), Block())
    assert not fits(x[:, :3], Block())
