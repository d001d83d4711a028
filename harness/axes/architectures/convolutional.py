"""Convolutional networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.axes.architectures.registry import Shape, architectures
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import nn


@architectures.register("lenet5")
def lenet5(shape: Shape, classes: int, activation: Callable[[], nn.Module]) -> nn.Module:
    """LeNet-5 as it is taught: two convolutions 5x5 (6 and 16 channels) with average pooling, 120-84 behind.

    Images of less than 32 pixels are padded to 32, as the paper's are; each kernel of the second convolution
    sees all six channels, and the output layer is linear.

    Source: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition".
    """
    channels, height, width = shape
    pad = max(0, (32 - height + 1) // 2), max(0, (32 - width + 1) // 2)
    rows, columns = (((n + 2 * p - 4) // 2 - 4) // 2 for n, p in zip((height, width), pad, strict=True))
    layers = torch.nn
    return layers.Sequential(
        layers.Conv2d(channels, 6, 5, padding=pad), activation(), layers.AvgPool2d(2),
        layers.Conv2d(6, 16, 5), activation(), layers.AvgPool2d(2), layers.Flatten(),
        layers.Linear(16 * rows * columns, 120), activation(),
        layers.Linear(120, 84), activation(), layers.Linear(84, classes),
    )  # fmt: skip
