"""Mistakes in layers written by hand: the values, or the gradient at x, that each makes, and its sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from harness.axes.by_hand.convolution import ConvolutionLayer
from harness.axes.by_hand.layers import LayerByHand
from harness.axes.by_hand.normalisation import EPS, BatchNormLayer, LayerNormLayer
from harness.axes.by_hand.pooling import AveragePoolingLayer, MaxPoolingLayer
from harness.check.calling import Array


@dataclass(frozen=True)
class LayerMistake:
    """A wrong formula of a layer's arguments (of a derivative: g, and these), and what is said of it."""

    words: str
    values: Callable[..., Array]


@dataclass(frozen=True)
class RightLayer:
    """A layer as it should be.

    `make` builds the layer by hand that x, and then its parameters, are given to; `arguments` say in words
    what a function gets; `cases` are shapes of those, of which the first must work.
    """

    make: Callable[..., LayerByHand]
    arguments: str
    cases: Sequence[tuple[tuple[int, ...], ...]]
    mistakes: Sequence[LayerMistake]
    of_gradient: Sequence[LayerMistake]

    def values(self, x: Array, *parameters: Array) -> Array:
        """Compute what it gives."""
        return self.filled(x, *parameters).forward(x, 1)

    def gradient(self, g: Array, x: Array, *parameters: Array) -> Array:
        """Compute the gradient at x, of the gradient g at what it gives."""
        layer = self.filled(x, *parameters)
        layer.forward(x, 1)
        return layer.backward(g)

    def filled(self, x: Array, *parameters: Array) -> LayerByHand:
        """Build it with these parameters."""
        layer = self.make(x, *parameters)
        for name, array in zip(layer.parameters, parameters, strict=True):
            layer.parameters[name] = array
        return layer


def _convolution(_: Array, w: Array, b: Array) -> ConvolutionLayer:
    return ConvolutionLayer(w.shape[1], len(b), w.shape[2])


def _convolved(x: Array, w: Array, b: Array) -> Array:
    return CONVOLUTION.values(x, w, b)


def _flipped(w: Array) -> Array:
    return w[:, :, ::-1, ::-1]


def _padded(x: Array, w: Array) -> Array:
    side = w.shape[2] // 2
    return np.pad(x, ((0, 0), (0, 0), (side, side), (side, side)))


CONVOLUTION: RightLayer = RightLayer(
    _convolution,
    "x (B, C, H, W), w (O, C, k, k) and b (O,); no padding, stride 1",
    [((3, 2, 7, 6), (4, 2, 3, 3), (4,))],
    [
        LayerMistake(
            "the kernels are turned by 180 degrees, as mathematics and scipy.signal.convolve do; networks "
            "slide them over the image as they are",
            lambda x, w, b: _convolved(x, _flipped(w), b),
        ),
        LayerMistake(
            "rows and columns of the kernels are swapped",
            lambda x, w, b: _convolved(x, w.transpose(0, 1, 3, 2), b),
        ),
        LayerMistake("the bias is missing", lambda x, w, b: _convolved(x, w, 0 * b)),
        LayerMistake(
            "it is the mean over the channels, not their sum",
            lambda x, w, b: _convolved(x, w / w.shape[1], b),
        ),
        LayerMistake(
            "only the first channel is convolved: sum over all C",
            lambda x, w, b: _convolved(x[:, :1], w[:, :1], b),
        ),
        LayerMistake(
            "the bias is added once for each channel of x",
            lambda x, w, b: _convolved(x, w, b * w.shape[1]),
        ),
        LayerMistake(
            "x is padded with zeros, so that y is as large as x: here without padding",
            lambda x, w, b: _convolved(_padded(x, w), w, b),
        ),
        LayerMistake(
            "the channels come last, (B, H', W', O): y is (B, O, H', W')",
            lambda x, w, b: _convolved(x, w, b).transpose(0, 2, 3, 1),
        ),
    ],
    [
        LayerMistake(
            "passes back through kernels that are turned by 180 degrees: y's pixel (i, j) saw x at "
            "(i + u, j + v) through w[u, v], and back it goes the same way",
            lambda g, x, w, b: CONVOLUTION.gradient(g, x, _flipped(w), b),
        ),
    ],
)


def _windows(x: Array) -> Array:
    """View 2 x 2 windows that overlap."""
    return sliding_window_view(x, (2, 2), axis=(2, 3))


def _spread(g: Array, x: Array) -> Array:
    """Give each pixel the whole gradient of its window."""
    at_x = np.zeros_like(x)
    at_x[:, :, : 2 * g.shape[2], : 2 * g.shape[3]] = g.repeat(2, 2).repeat(2, 3)
    return at_x


def _largest(x: Array) -> Array:
    return MaxPoolingLayer(2).forward(x)


def _mean(x: Array) -> Array:
    return AveragePoolingLayer(2).forward(x)


POOLED = [((3, 2, 6, 8),), ((2, 2, 5, 7),)]
_PIXELS = "x (B, C, H, W); windows 2 x 2 side by side"
MAX_POOLING = RightLayer(
    lambda _: MaxPoolingLayer(2),
    _PIXELS,
    POOLED,
    [
        LayerMistake("it is the mean of each window", _mean),
        LayerMistake("the windows overlap: their stride is 2", lambda x: _windows(x).max((4, 5))),
        LayerMistake("it is the largest absolute value of each window", lambda x: _largest(np.abs(x))),
    ],
    [
        LayerMistake(
            "gives every pixel of a window its gradient: only the largest one made y",
            _spread,
        ),
        LayerMistake(
            "shares the gradient among the pixels of a window: the largest one has all of it",
            lambda g, x: _spread(g, x) / 4,
        ),
    ],
)
AVERAGE_POOLING = RightLayer(
    lambda _: AveragePoolingLayer(2),
    _PIXELS,
    POOLED,
    [
        LayerMistake("it is the largest value of each window", _largest),
        LayerMistake("it is the sum of each window: divide by its 4 pixels", lambda x: 4 * _mean(x)),
        LayerMistake("the windows overlap: their stride is 2", lambda x: _windows(x).mean((4, 5))),
    ],
    [
        LayerMistake("gives every pixel of a window all of its gradient: a quarter of it", _spread),
    ],
)


def _along(values: Array, x: Array) -> Array:
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


def _normal(x: Array, gamma: Array, beta: Array, axes: tuple[int, ...], **how: Any) -> Array:
    """Normalise over axes; `ddof`, `eps`, `outside`, `power` are the ways in which that may go wrong."""
    variance = x.var(axes, keepdims=True, ddof=how.get("ddof", 0))
    eps = how.get("eps", EPS)
    root = np.sqrt(variance) + eps if how.get("outside") else (variance + eps) ** how.get("power", 0.5)
    return np.asarray(_along(gamma, x) * (x - x.mean(axes, keepdims=True)) / root + _along(beta, x))


def _of_batch(x: Array) -> tuple[int, ...]:
    return tuple(axis for axis in range(x.ndim) if axis != 1)


def _of_sample(x: Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim))


def _norm_mistakes(
    axes: Callable[[Array], tuple[int, ...]], others: Callable[[Array], tuple[int, ...]], swapped: str
) -> list[LayerMistake]:
    return [
        LayerMistake(swapped, lambda x, gamma, beta: _normal(x, gamma, beta, others(x))),
        LayerMistake(
            "the variance is of n - 1 (ddof=1, as torch.var gives it): networks divide by n",
            lambda x, gamma, beta: _normal(x, gamma, beta, axes(x), ddof=1),
        ),
        LayerMistake(
            "it divides by the variance, not by its root",
            lambda x, gamma, beta: _normal(x, gamma, beta, axes(x), power=1.0),
        ),
        LayerMistake("gamma and beta are swapped", lambda x, gamma, beta: _normal(x, beta, gamma, axes(x))),
        LayerMistake(
            "gamma is missing: y = gamma x^ + beta",
            lambda x, gamma, beta: _normal(x, np.ones_like(gamma), beta, axes(x)),
        ),
        LayerMistake(
            "beta is missing: y = gamma x^ + beta",
            lambda x, gamma, beta: _normal(x, gamma, 0 * beta, axes(x)),
        ),
        LayerMistake(
            f"eps = {EPS:g} is missing under the root: a variance of 0 would give NaN",
            lambda x, gamma, beta: _normal(x, gamma, beta, axes(x), eps=0.0),
        ),
        LayerMistake(
            f"eps = {EPS:g} is added to the root: it belongs under it",
            lambda x, gamma, beta: _normal(x, gamma, beta, axes(x), outside=True),
        ),
        LayerMistake(
            "it is the mean that is missing: x - mu is divided by the root",
            lambda x, gamma, beta: (
                _normal(x, gamma, beta, axes(x))
                + _along(gamma, x)
                * x.mean(axes(x), keepdims=True)
                / np.sqrt(x.var(axes(x), keepdims=True) + EPS)
            ),
        ),
    ]


def _norm_gradients(axes: Callable[[Array], tuple[int, ...]]) -> list[LayerMistake]:
    def scaled(g: Array, x: Array, gamma: Array) -> tuple[Array, Array]:
        return _along(gamma, x) * g, np.sqrt(x.var(axes(x), keepdims=True) + EPS)

    def constant(g: Array, x: Array, gamma: Array, _: Array) -> Array:
        h, root = scaled(g, x, gamma)
        return h / root

    def no_variance(g: Array, x: Array, gamma: Array, _: Array) -> Array:
        h, root = scaled(g, x, gamma)
        return np.asarray((h - h.mean(axes(x), keepdims=True)) / root)

    def no_mean(g: Array, x: Array, gamma: Array, _: Array) -> Array:
        h, root = scaled(g, x, gamma)
        normal = (x - x.mean(axes(x), keepdims=True)) / root
        return np.asarray((h - normal * (h * normal).mean(axes(x), keepdims=True)) / root)

    return [
        LayerMistake("takes mean and variance for constants: they depend on every x, too", constant),
        LayerMistake("takes the variance for a constant: it depends on every x, too", no_variance),
        LayerMistake("takes the mean for a constant: it depends on every x, too", no_mean),
    ]


_NORMED = "x (B, C) or (B, C, H, W), gamma (C,) and beta (C,)"
_ROWS_AND_IMAGES = [((7, 5), (5,), (5,)), ((4, 3, 5, 6), (3,), (3,))]
LAYERS: dict[str, RightLayer] = {
    "convolution": CONVOLUTION,
    "max_pooling": MAX_POOLING,
    "average_pooling": AVERAGE_POOLING,
    "batch_norm": RightLayer(
        lambda _, gamma, __: BatchNormLayer(len(gamma)),
        f"{_NORMED}, in training",
        _ROWS_AND_IMAGES,
        _norm_mistakes(
            _of_batch, _of_sample, "it normalises each sample over its own values: a layer norm. Here axis 0"
        ),
        _norm_gradients(_of_batch),
    ),
    "layer_norm": RightLayer(
        lambda _, gamma, __: LayerNormLayer(len(gamma)),
        _NORMED,
        _ROWS_AND_IMAGES,
        _norm_mistakes(
            _of_sample, _of_batch, "it normalises over the batch: a batch norm. Here each sample by itself"
        ),
        _norm_gradients(_of_sample),
    ),
}
"""Name -> the layer."""
