"""Normalisation: values less their mean, over their standard deviation; then a scale and a shift, learnt.

    x^ = (x - mu) / sqrt(v + eps),    y = gamma x^ + beta,

mu and v being mean and variance (of the n values themselves: the sum of squares over n, not n - 1) of a set
of values that each value belongs to. As mu and v depend on every x of the set, the chain rule gives

    at x:  (h - mean(h) - x^ mean(h x^)) / sqrt(v + eps),   h = gamma g,   means over the set.
"""

from __future__ import annotations

import numpy as np

from harness.axes.by_hand.layers import LayerByHand
from harness.axes.formulas import Array

EPS = 1e-5


class NormalisationLayer(LayerByHand):
    """The formulas of the module, with one gamma ("weight") and one beta ("bias") a channel, axis 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.parameters = {"weight": np.ones(channels), "bias": np.zeros(channels)}

    def per_channel(self, values: Array, x: Array) -> Array:
        """View values (C,) so that they stand along axis 1 of x."""
        return values.reshape(1, -1, *[1] * (x.ndim - 2))

    def scaled(self, x: Array, mean: Array, variance: Array) -> Array:
        """Compute y, given mean and variance."""
        self.root = np.sqrt(variance + EPS)
        self.normal = (x - mean) / self.root  # x^
        gamma, beta = (self.per_channel(self.parameters[name], x) for name in ("weight", "bias"))
        return np.asarray(gamma * self.normal + beta)

    def at_x(self, g: Array, axes: tuple[int, ...]) -> Array:
        """Compute the gradient at x, where a set is what lies along these axes; note gamma's and beta's."""
        others = tuple(axis for axis in range(g.ndim) if axis != 1)
        self.gradients = {"weight": (g * self.normal).sum(others), "bias": g.sum(others)}
        h = self.per_channel(self.parameters["weight"], g) * g
        mean, slope = (values.mean(axes, keepdims=True) for values in (h, h * self.normal))
        return np.asarray((h - mean - self.normal * slope) / self.root)


class BatchNormLayer(NormalisationLayer):
    """A set is a channel's values in all samples (and pixels) of the batch.

    Inference has no batch: it takes running statistics, which training moves a tenth of the way to those of
    each batch. The running variance is of n - 1, as estimates of a variance are.

    Source: Ioffe and Szegedy 2015, "Batch Normalization".
    """

    kind = "BatchNorm"
    momentum = 0.1

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.buffers = {
            "running_mean": np.zeros(channels),
            "running_var": np.ones(channels),
            "num_batches_tracked": np.array(0),
        }

    def forward(self, x: Array, step: int | None = None) -> Array:
        """Compute y, of x's shape, (B, C) or (B, C, H, W)."""
        self.axes = tuple(axis for axis in range(x.ndim) if axis != 1)
        running_mean, running_var = self.buffers["running_mean"], self.buffers["running_var"]
        if step is None:
            return self.scaled(x, self.per_channel(running_mean, x), self.per_channel(running_var, x))
        mean, variance = x.mean(self.axes, keepdims=True), x.var(self.axes, keepdims=True)
        n = x.size // x.shape[1]
        running_mean += self.momentum * (mean.ravel() - running_mean)
        running_var += self.momentum * (variance.ravel() * (n / (n - 1)) - running_var)
        self.buffers["num_batches_tracked"] += 1
        return self.scaled(x, mean, variance)

    def backward(self, g: Array) -> Array:
        """See the module."""
        return self.at_x(g, self.axes)


class LayerNormLayer(NormalisationLayer):
    """A set is all values of a sample: its channels and pixels; training and inference are the same.

    PyTorch calls that of images GroupNorm, of one group.

    Source: Ba, Kiros and Hinton 2016, "Layer Normalization".
    """

    kind = "LayerNorm"

    def forward(self, x: Array, step: int | None = None) -> Array:  # noqa: ARG002 (as LayerByHand's)
        """Compute y, of x's shape, (B, C) or (B, C, H, W)."""
        axes = tuple(range(1, x.ndim))
        return self.scaled(x, x.mean(axes, keepdims=True), x.var(axes, keepdims=True))

    def backward(self, g: Array) -> Array:
        """See the module."""
        return self.at_x(g, tuple(range(1, g.ndim)))
