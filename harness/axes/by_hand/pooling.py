"""Pooling: a window of each channel becomes one number, its mean or its largest value."""

from __future__ import annotations

import numpy as np

from harness.axes.by_hand.layers import LayerByHand
from harness.axes.formulas import Array


class PoolingLayer(LayerByHand):
    """Windows k x k side by side; rows and columns that fill no window are left out, as in PyTorch."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def windows(self, x: Array) -> Array:
        """View images x (B, C, H, W) as windows (B, C, H // k, W // k, k * k)."""
        self.shape, k = x.shape, self.window
        batch, channels, height, width = x.shape[0], x.shape[1], x.shape[2] // k, x.shape[3] // k
        whole = x[:, :, : height * k, : width * k].reshape(batch, channels, height, k, width, k)
        return whole.transpose(0, 1, 2, 4, 3, 5).reshape(batch, channels, height, width, k * k)

    def images(self, windows: Array) -> Array:
        """Lay windows (B, C, H // k, W // k, k * k) side by side: the reverse of `windows`."""
        k, (batch, channels, height, width, _) = self.window, windows.shape
        x = np.zeros(self.shape, windows.dtype)
        whole = windows.reshape(batch, channels, height, width, k, k).transpose(0, 1, 2, 4, 3, 5)
        x[:, :, : height * k, : width * k] = whole.reshape(batch, channels, height * k, width * k)
        return x


class AveragePoolingLayer(PoolingLayer):
    """y = the mean of each window."""

    def forward(self, x: Array, step: int | None = None) -> Array:  # noqa: ARG002 (as LayerByHand's)
        """Compute y (B, C, H // k, W // k)."""
        return np.asarray(self.windows(x).mean(-1))

    def backward(self, g: Array) -> Array:
        """Each pixel of a window has an equal share of its gradient."""
        size = self.window**2
        return self.images(np.repeat((g / size)[..., None], size, axis=-1))


class MaxPoolingLayer(PoolingLayer):
    """y = the largest value of each window."""

    def forward(self, x: Array, step: int | None = None) -> Array:  # noqa: ARG002 (as LayerByHand's)
        """Compute y (B, C, H // k, W // k)."""
        windows = self.windows(x)
        self.largest = windows.argmax(-1)[..., None]
        return np.take_along_axis(windows, self.largest, -1)[..., 0]

    def backward(self, g: Array) -> Array:
        """The largest value has all of the gradient; of equal ones, as zeros after a ReLU are, the first."""
        windows = np.zeros((*g.shape, self.window**2), g.dtype)
        np.put_along_axis(windows, self.largest, g[..., None], -1)
        return self.images(windows)


class GlobalAveragePoolingLayer(LayerByHand):
    """y = the mean of each channel: (B, C, H, W) becomes (B, C, 1, 1)."""

    def forward(self, x: Array, step: int | None = None) -> Array:  # noqa: ARG002 (as LayerByHand's)
        """Compute y (B, C, 1, 1)."""
        self.shape = x.shape
        return np.asarray(x.mean((2, 3), keepdims=True))

    def backward(self, g: Array) -> Array:
        """Each pixel of a channel has an equal share of its gradient."""
        return np.broadcast_to(g / (self.shape[2] * self.shape[3]), self.shape)
