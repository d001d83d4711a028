"""A convolution as one matrix product ("im2col"), and its derivatives."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from harness.axes.by_hand.layers import LayerByHand, zeros
from harness.axes.formulas import Array


class ConvolutionLayer(LayerByHand):
    """A layer that slides kernels W (O, C, k, k) over images x (B, C, H, W), and adds a bias b (O,).

    With stride s, y[n, o, i, j] = b[o] + the sum over c, u, v of W[o, c, u, v] x[n, c, s i + u, s j + v],
    where x has a frame of `padding` zeros. (Mathematics calls it a cross-correlation: nothing is flipped.)

    The patch of x under each of y's pixels becomes the row of a matrix, (B H' W', C k k): then the
    convolution is that matrix times the kernels, one a column.
    """

    kind = "Conv2d"

    def __init__(
        self, channels: int, kernels: int, kernel: int, *, stride: int = 1, padding: tuple[int, int] = (0, 0),
        bias: bool = True,
    ) -> None:  # fmt: skip
        """Prepare `kernels` kernels of size `kernel`; `padding` are rows and columns of zeros a side."""
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.parameters = {"weight": zeros(kernels, channels, kernel, kernel)}
        if bias:
            self.parameters["bias"] = np.zeros(kernels)

    def forward(self, x: Array, step: int | None = None) -> Array:  # noqa: ARG002 (as LayerByHand's)
        """Compute y (B, O, H', W')."""
        rows, columns = self.padding
        x = np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
        patches = sliding_window_view(x, (self.kernel, self.kernel), axis=(2, 3))  # (B, C, H', W', k, k)
        patches = patches[:, :, :: self.stride, :: self.stride].transpose(0, 2, 3, 1, 4, 5)
        batch, height, width = patches.shape[:3]
        self.padded, self.patches = x.shape, patches.reshape(batch * height * width, -1)
        weight = self.parameters["weight"]
        y = self.patches @ weight.reshape(len(weight), -1).T  # (B H' W', O)
        if "bias" in self.parameters:
            y += self.parameters["bias"]
        return np.ascontiguousarray(y.reshape(batch, height, width, -1).transpose(0, 3, 1, 2))

    def backward(self, g: Array) -> Array:
        """Those of `Linear` with patches for samples; then each patch's gradient is added where it lay."""
        weight = self.parameters["weight"]
        batch, _, height, width = g.shape
        by_pixel = g.transpose(0, 2, 3, 1).reshape(-1, len(weight))  # (B H' W', O)
        self.gradients = {"weight": (by_pixel.T @ self.patches).reshape(weight.shape)}
        if "bias" in self.parameters:
            self.gradients["bias"] = by_pixel.sum(0)
        in_patches = by_pixel @ weight.reshape(len(weight), -1)  # (B H' W', C k k)
        in_patches = in_patches.reshape(batch, height, width, *weight.shape[1:])
        at_x: Array = np.zeros(self.padded, g.dtype)
        s = self.stride
        for u in range(self.kernel):
            for v in range(
                self.kernel
            ):  # at (u, v) of all patches: y's pixel (i, j) saw x at (s i + u, s j + v)
                seen = at_x[:, :, u : u + s * height : s, v : v + s * width : s]
                seen += in_patches[..., u, v].transpose(0, 3, 1, 2)
        rows, columns = self.padding
        _, _, high, wide = self.padded
        return at_x[:, :, rows : high - rows, columns : wide - columns]

    def operations(self) -> int:
        """Two for each weight and patch."""
        return 2 * len(self.patches) * self.parameters["weight"].size
