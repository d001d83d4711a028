"""Modules that the built-in architectures are made of; each of them works on any leading dimensions.

This is the one module here that needs torch when it is imported: an architecture imports it when it builds.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


class NetworkLayers(nn.Sequential):
    """Modules in a row, by name; the input of each in `skips` is added to what it gives."""

    def __init__(self, layers: Mapping[str, nn.Module], skips: frozenset[str] = frozenset()) -> None:
        super().__init__()
        for name, module in layers.items():
            self.add_module(name, module)
        self.skips = skips

    def forward(self, x: Tensor) -> Tensor:
        """Apply the modules one after the other."""
        for name, module in self.named_children():
            x = x + module(x) if name in self.skips else module(x)
        return x


class Shortcut(nn.Module):
    """The way around a block that halves the image: every second pixel, and zeros for the new channels.

    It has no parameters. Source: He, Zhang, Ren and Sun 2016, "Deep residual learning for image
    recognition", option A, as for CIFAR-10.
    """

    def __init__(self, new: int, stride: int) -> None:
        super().__init__()
        self.new, self.stride = new, stride

    def forward(self, x: Tensor) -> Tensor:
        """Take (.., C, H, W) to (.., C + new, H / stride, W / stride), rounded up."""
        x = x[..., :: self.stride, :: self.stride]
        return nn.functional.pad(x, (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))

    def extra_repr(self) -> str:
        """Return what it does, for print(model)."""
        return f"new={self.new}, stride={self.stride}"


class ResidualBlock(nn.Module):
    """Two convolutions, around which a shortcut leads; without one they are plain layers.

    Source: He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition".
    """

    def __init__(self, layers: Mapping[str, nn.Module], last: nn.Module, shortcut: nn.Module | None) -> None:
        """Make a block of layers; `last` is the activation after the sum."""
        super().__init__()
        self.body, self.shortcut, self.last = NetworkLayers(layers), shortcut, last

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers, add what the shortcut gives, and apply the last activation."""
        y = self.body(x)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        output: Tensor = self.last(y)
        return output
