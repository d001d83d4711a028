"""Layers of a person's own: right ones pass, each mistake is named, in NumPy and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch.nn import functional

from harness import check
from harness.check.layer_mistakes import LAYERS
from harness.errors import UsageError


def convolution(x: Any, w: Any, b: Any) -> Any:
    """With loops, as a person begins."""
    k = w.shape[2]
    y = np.zeros((len(x), len(w), x.shape[2] - k + 1, x.shape[3] - k + 1))
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            y[:, :, i, j] = np.tensordot(x[:, :, i : i + k, j : j + k], w, ([1, 2, 3], [1, 2, 3])) + b
    return y


def convolution_back(g: Any, x: Any, w: Any, b: Any) -> Any:  # noqa: ARG001
    k = w.shape[2]
    windows = sliding_window_view(x, (k, k), axis=(2, 3))
    at_x = np.zeros_like(x)
    for i in range(g.shape[2]):
        for j in range(g.shape[3]):
            at_x[:, :, i : i + k, j : j + k] += np.tensordot(g[:, :, i, j], w, (1, 0))
    return at_x, np.einsum("boij,bcijuv->ocuv", g, windows), g.sum((0, 2, 3))


def batch_norm(x: Any, gamma: Any, beta: Any) -> Any:
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) + beta


def batch_norm_back(g: Any, x: Any, gamma: Any, beta: Any) -> Any:  # noqa: ARG001
    root = np.sqrt(x.var(0) + 1e-5)
    normal = (x - x.mean(0)) / root
    h = gamma * g
    return (h - h.mean(0) - normal * (h * normal).mean(0)) / root, (g * normal).sum(0), g.sum(0)


def max_pooling(x: Any) -> Any:
    return sliding_window_view(x, (2, 2), axis=(2, 3))[:, :, ::2, ::2].max((4, 5))


RIGHT: dict[str, Callable[..., Any]] = {
    "convolution": functional.conv2d,
    "max_pooling": lambda x: functional.max_pool2d(x, 2),
    "average_pooling": lambda x: functional.avg_pool2d(x, 2),
    "batch_norm": lambda x, gamma, beta: functional.batch_norm(x, None, None, gamma, beta, training=True),
    "layer_norm": lambda x, gamma, beta: functional.group_norm(x, 1, gamma, beta),
}


@pytest.mark.parametrize("like", LAYERS)
def test_torchs_own_layers_are_right(like: str) -> None:
    result = check.layer(RIGHT[like], like)
    assert result, result
    assert "values of x (" in result.compared[0]


@pytest.mark.parametrize(
    ("fn", "like", "backward"),
    [
        (convolution, "convolution", convolution_back),
        (batch_norm, "batch_norm", batch_norm_back),
        (max_pooling, "max_pooling", None),
    ],
)
def test_layers_in_numpy_are_right_with_their_derivatives(fn: Any, like: str, backward: Any) -> None:
    result = check.layer(fn, like, backward=backward)
    assert result, result
    derived = [compared for compared in result.compared if "derivative by hand" in compared]
    assert bool(derived) is (backward is not None)
    assert ("give backward=" in " ".join(result.notes)) is (backward is None)
    if fn is batch_norm:
        assert "not of x (4, 3, 5, 6)" in result.notes[0]


MISTAKES = [
    pytest.param(like, mistake, id=f"{like}: {mistake.words}")
    for like, right in LAYERS.items()
    for mistake in right.mistakes
]


@pytest.mark.parametrize(("like", "mistake"), MISTAKES)
def test_each_mistake_in_values_is_named(like: str, mistake: Any) -> None:
    assert check.layer(mistake.values, like).problems == (mistake.words,)


@pytest.mark.parametrize(
    ("like", "mistake"),
    [
        pytest.param(like, mistake, id=f"{like}: {mistake.words}")
        for like, right in LAYERS.items()
        for mistake in right.of_gradient
    ],
)
def test_each_mistake_in_a_derivative_is_named(like: str, mistake: Any) -> None:
    right = LAYERS[like]

    def backward(g: Any, x: Any, *parameters: Any) -> Any:
        at_x = mistake.values(g, x, *parameters)
        layer = right.filled(x, *parameters)
        layer.forward(x, 1)
        layer.backward(g)
        return (at_x, *layer.gradients.values()) if parameters else at_x

    def of_two(g: Any, x: Any) -> Any:
        return backward(g, x)

    def of_four(g: Any, x: Any, a: Any, b: Any) -> Any:
        return backward(g, x, a, b)

    result = check.layer(right.values, like, backward=of_two if "pooling" in like else of_four)
    assert result.problems == (f"the derivative by hand {mistake.words}",)


def test_other_mistakes_are_told_by_an_element() -> None:
    (problem,) = check.layer(lambda x: 3 * max_pooling(x), "max_pooling").problems
    assert problem.startswith("of x (3, 2, 6, 8) it gives ")
    (problem,) = check.layer(lambda x: max_pooling(x)[:, :1], "max_pooling").problems
    assert problem == "of x (3, 2, 6, 8) it gives shape (3, 1, 3, 4); max_pooling gives (3, 2, 3, 4)"


def test_a_function_that_raises_and_a_name_that_is_none() -> None:
    (problem,) = check.layer(lambda x, w: torch.zeros(1) + x + w, "convolution").problems
    assert "raises TypeError" in problem
    with pytest.raises(UsageError, match="like = 'convolutoin': did you mean 'convolution'"):
        check.layer(convolution, "convolutoin")
    with pytest.raises(UsageError, match="not a function"):
        check.layer(convolution, backward=3)  # type: ignore[arg-type]


def own_cnn(full: bool) -> Callable[..., Any]:
    """A convolution, a batch norm, a mean over pixels and a softmax, as one function of its parameters."""

    def loss_and_gradients(parameters: Any, x: Any, y: Any) -> Any:
        kernels, bias, w, c = parameters
        patches = sliding_window_view(x.reshape(-1, 8, 8), (3, 3), axis=(1, 2)).reshape(len(x), 36, 9)
        z = patches @ kernels.T + bias
        root = np.sqrt(z.var((0, 1)) + 1e-5)
        normal = (z - z.mean((0, 1))) / root
        f = np.tanh(normal).mean(1)
        e = np.exp(f @ w + c)
        p = e / e.sum(1, keepdims=True)
        d = (p - np.eye(10)[y]) / len(x)
        dn = (d @ w.T)[:, None] / 36 * (1 - np.tanh(normal) ** 2)
        dz = (dn - full * (dn.mean((0, 1)) + normal * (dn * normal).mean((0, 1)))) / root
        loss = -np.log(p[np.arange(len(x)), y]).mean()
        return loss, [np.einsum("bpo,bpi->oi", dz, patches), dz.sum((0, 1)), f.T @ d, d.sum(0)]

    return loss_and_gradients


def test_a_whole_convolutional_network_is_checked_on_images() -> None:
    rng = np.random.default_rng(0)
    start = [rng.normal(size=(4, 9)), np.zeros(4), rng.normal(size=(4, 10)), np.zeros(10)]
    assert check.network(own_cnn(full=True), start, dataset="digits")
    wrong = check.network(own_cnn(full=False), start, dataset="digits")
    assert "the gradient of 'parameter 1 (4, 9)' is wrong" in wrong.problems[0]
    assert "parameter 3 (4, 10) and parameter 4 (10,) are right" in wrong.notes[0]
