"""The cost function of Nielsen's "Neural networks and deep learning" (2015), chapter 3."""

import torch
from torch import Tensor

from harness.axes.losses import losses


@losses.register("binary_ce", takes="logits", gradient=lambda z, target: torch.sigmoid(z) - target)
def binary_ce(z: Tensor, target: Tensor) -> Tensor:
    """Sum over classes of the cross-entropy of a sigmoid: each output is a class or not, on its own."""
    return (torch.clamp(z, min=0) - z * target + torch.log1p(torch.exp(-torch.abs(z)))).sum(-1)
