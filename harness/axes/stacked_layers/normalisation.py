"""Batch normalisation of K members: each by its own batch, its own running statistics updated in place."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from torch import Tensor, nn

Pairs: TypeAlias = "tuple[Tensor | None, Tensor | None]"
"""Two of a layer's values (K, C), or None."""


class Rule(NamedTuple):
    """The rule of a batch norm: by the batch's statistics, which move running ones by `factor`, or by these.

    eps is added to variances.
    """

    by_batch: bool
    factor: float
    eps: float


def batch_norms(x: Tensor, affine: Pairs, running: Pairs, rule: Rule) -> Tensor:
    """Normalise each member's (B, C, ..) of x (K, B, C, ..) as torch.nn.functional.batch_norm.

    K batch norms of C channels are one of K * C.

    Args:
        x: (K, B, C) or (K, B, C, H, W).
        affine: weight and bias (K, C), or None.
        running: mean and variance (K, C), or None; by the batch, those are updated in place.
        rule: by which statistics.
    """
    members, batch, channels, *size = x.shape
    if not rule.by_batch:
        return _by_running(x, affine, running, rule.eps)
    together = x.transpose(0, 1).reshape(batch, members * channels, *size)
    weight, bias = (None if value is None else value.reshape(-1) for value in affine)
    mean, variance = (None if value is None else value.view(-1) for value in running)
    normal = nn.functional.batch_norm(together, mean, variance, weight, bias, True, rule.factor, rule.eps)
    return normal.view(batch, members, channels, *size).transpose(0, 1)


def _by_running(x: Tensor, affine: Pairs, running: Pairs, eps: float) -> Tensor:
    """Scale and shift by running statistics, in whatever layout x has."""
    mean, variance = running
    assert mean is not None  # noqa: S101 (without them a batch norm is by the batch)
    assert variance is not None  # noqa: S101
    weight, bias = affine
    scale = (variance + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    shape = (*scale.shape[:1], 1, scale.shape[1], *[1] * (x.dim() - 3))
    return shift.view(shape).addcmul(x, scale.view(shape))
