"""Normalisation as a setting: none, of a batch, or of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import nn

NORMS = ("none", "batch", "layer")
"""Values of the setting `norm`."""


def norm_of_units(norm: str, width: int) -> dict[str, nn.Module]:
    """Make the norm of a linear layer's outputs (B, width), under its name; none without one."""
    if norm == "none":
        return {}
    return {"norm": torch.nn.BatchNorm1d(width) if norm == "batch" else torch.nn.LayerNorm(width)}


def norm_of_images(norm: str, channels: int) -> dict[str, nn.Module]:
    """Make the norm of a convolution's outputs (B, channels, H, W), under its name; none without one.

    Layer norm is over all values of an image, with a weight and a bias a channel: group norm of one group.
    """
    if norm == "none":
        return {}
    return {"norm": torch.nn.BatchNorm2d(channels) if norm == "batch" else torch.nn.GroupNorm(1, channels)}
