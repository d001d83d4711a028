"""Layers made of layers: one after another, and a sum of two paths (a skip connection)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.axes.by_hand.layers import Layer
from harness.axes.formulas import Array


class Sequential(Layer):
    """y = the last layer of (.. the second of (the first of x)); numbered names, as torch.nn.Sequential's."""

    def __init__(self, layers: Sequence[Layer] | Mapping[str, Layer]) -> None:
        super().__init__()
        named = layers if isinstance(layers, Mapping) else {str(i): layer for i, layer in enumerate(layers)}
        self.inside = dict(named)

    def forward(self, x: Array, step: int | None = None) -> Array:
        """Go through the layers from first to last."""
        for layer in self.inside.values():
            x = layer.forward(x, step)
        return x

    def backward(self, g: Array) -> Array:
        """The chain rule: from the last layer back to the first, each given the gradient at its output."""
        for layer in reversed(self.inside.values()):
            g = layer.backward(g)
        return g
