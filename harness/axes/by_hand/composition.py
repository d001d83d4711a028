"""Layers made of layers: one after another, and sums of two paths (skip connections).

Where x goes two ways, the gradients that come back by both are added; where y is a sum of two, both get all
of the gradient.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from harness.axes.by_hand.layers import LayerByHand
from harness.axes.formulas import Array


class LayersInRow(LayerByHand):
    """Each layer takes what the one before gives; the input of those in `skips` is added to what they give.

    Layers without names are numbered, as torch.nn.Sequential's.
    """

    def __init__(
        self, layers: Sequence[LayerByHand] | Mapping[str, LayerByHand], skips: Collection[str] = ()
    ) -> None:
        super().__init__()
        named = layers if isinstance(layers, Mapping) else {str(i): layer for i, layer in enumerate(layers)}
        self.inside, self.skips = dict(named), skips

    def forward(self, x: Array, step: int | None = None) -> Array:
        """Go through the layers from first to last."""
        for name, layer in self.inside.items():
            x = x + layer.forward(x, step) if name in self.skips else layer.forward(x, step)
        return x

    def backward(self, g: Array) -> Array:
        """The chain rule: from the last layer back to the first, each given the gradient at what it gave."""
        for name, layer in reversed(self.inside.items()):
            g = g + layer.backward(g) if name in self.skips else layer.backward(g)
        return g


class ShortcutLayer(LayerByHand):
    """The way around a block that halves the image: every second pixel, and zeros for the new channels.

    Source: He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", option A.
    """

    def __init__(self, new: int, stride: int) -> None:
        super().__init__()
        self.stride, self.around = stride, (new // 2, new - new // 2)

    def forward(self, x: Array, step: int | None = None) -> Array:  # noqa: ARG002 (as LayerByHand's)
        """(B, C, H, W) becomes (B, C + new, H / stride, W / stride), rounded up."""
        self.shape = x.shape
        return np.pad(x[:, :, :: self.stride, :: self.stride], ((0, 0), self.around, (0, 0), (0, 0)))

    def backward(self, g: Array) -> Array:
        """The pixels that were taken get their gradient, the others none."""
        at_x = np.zeros(self.shape, g.dtype)
        first = self.around[0]
        at_x[:, :, :: self.stride, :: self.stride] = g[:, first : first + self.shape[1]]
        return at_x


class BlockLayer(LayerByHand):
    """y = last(body(x) + shortcut(x)): a residual block. Without a shortcut it is last(body(x))."""

    def __init__(self, body: LayerByHand, last: LayerByHand, shortcut: LayerByHand | None) -> None:
        super().__init__()
        self.body, self.last, self.shortcut = body, last, shortcut
        self.inside = {"body": body} | ({"shortcut": shortcut} if shortcut else {}) | {"last": last}

    def forward(self, x: Array, step: int | None = None) -> Array:
        """Add both ways, and apply the last activation."""
        y = self.body.forward(x, step)
        if self.shortcut is not None:
            y = y + self.shortcut.forward(x, step)
        return self.last.forward(y, step)

    def backward(self, g: Array) -> Array:
        """Both ways get the gradient at the sum; theirs are added."""
        g = self.last.backward(g)
        at_x = self.body.backward(g)
        return at_x if self.shortcut is None else at_x + self.shortcut.backward(g)
