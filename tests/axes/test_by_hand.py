"""Layers by hand: what they give, their gradients and their running statistics are PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from harness.axes import formulas
from harness.axes.by_hand.convolution import ConvolutionLayer
from harness.axes.by_hand.layers import ActivationLayer, DropoutLayer, FlattenLayer, LayerByHand, LinearLayer
from harness.axes.by_hand.normalisation import BatchNormLayer, LayerNormLayer
from harness.axes.by_hand.pooling import AveragePoolingLayer, GlobalAveragePoolingLayer, MaxPoolingLayer

if TYPE_CHECKING:
    from harness.axes.formulas import Array

IMAGES, ROWS = (4, 3, 7, 6), (5, 6)
LAYERS: dict[str, tuple[Callable[[], LayerByHand], Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: LinearLayer(6, 4), lambda: nn.Linear(6, 4), ROWS),
    "flatten": (FlattenLayer, nn.Flatten, IMAGES),
    "tanh": (lambda: ActivationLayer(formulas.ACTIVATIONS["tanh"]), nn.Tanh, IMAGES),
    "convolution": (lambda: ConvolutionLayer(3, 5, 3), lambda: nn.Conv2d(3, 5, 3), IMAGES),
    "padded": (
        lambda: ConvolutionLayer(3, 2, 3, padding=(2, 1)), lambda: nn.Conv2d(3, 2, 3, padding=(2, 1)), IMAGES
    ),
    "stride 2": (
        lambda: ConvolutionLayer(3, 2, 3, stride=2, padding=(1, 1), bias=False),
        lambda: nn.Conv2d(3, 2, 3, stride=2, padding=1, bias=False),
        IMAGES,
    ),
    "one pixel": (lambda: ConvolutionLayer(3, 2, 1, stride=2), lambda: nn.Conv2d(3, 2, 1, stride=2), IMAGES),
    "average": (lambda: AveragePoolingLayer(2), lambda: nn.AvgPool2d(2), IMAGES),
    "max": (lambda: MaxPoolingLayer(2), lambda: nn.MaxPool2d(2), IMAGES),
    "max of 3": (lambda: MaxPoolingLayer(3), lambda: nn.MaxPool2d(3), IMAGES),
    "global": (GlobalAveragePoolingLayer, lambda: nn.AdaptiveAvgPool2d(1), IMAGES),
    "batch norm": (lambda: BatchNormLayer(3), lambda: nn.BatchNorm2d(3), IMAGES),
    "batch norm of rows": (lambda: BatchNormLayer(6), lambda: nn.BatchNorm1d(6), ROWS),
    "layer norm": (lambda: LayerNormLayer(3), lambda: nn.GroupNorm(1, 3), IMAGES),
    "layer norm of rows": (lambda: LayerNormLayer(6), lambda: nn.LayerNorm(6), ROWS),
}  # fmt: skip


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def filled(layer: LayerByHand, module: nn.Module) -> None:
    """Give both the same parameters, drawn."""
    assert list(layer.state_dict()) == list(module.state_dict())
    for i, (array, parameter) in enumerate(
        zip(layer.named_parameters().values(), module.parameters(), strict=True)
    ):
        assert array.shape == tuple(parameter.shape)
        array[...] = noise(*array.shape, seed=9 + i)
        parameter.data = torch.from_numpy(array.copy())


def assert_close(got: Array, expected: Any) -> None:
    np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_and_its_gradients_are_pytorchs(name: str) -> None:
    """Two batches, as the second one's gradients and statistics come on top in neither."""
    make, of_torch, shape = LAYERS[name]
    layer, module = make(), of_torch().double()
    filled(layer, module)
    for seed in (0, 1):
        x = noise(*shape, seed=seed).round(1)  # rounded: some windows have two largest values
        variable = torch.from_numpy(x.copy()).requires_grad_()
        expected = module(variable)
        got = layer.forward(x, seed + 1)
        assert_close(got, expected)
        g = noise(*got.shape, seed=5 + seed)
        module.zero_grad()
        expected.backward(torch.from_numpy(g))
        assert_close(layer.backward(g), variable.grad)
        for gradient, parameter in zip(layer.named_gradients().values(), module.parameters(), strict=True):
            assert_close(gradient, parameter.grad)
    for array, tensor in zip(layer.state_dict().values(), module.state_dict().values(), strict=True):
        assert_close(array, tensor)
    module.eval()
    x = noise(*shape, seed=3)
    assert_close(layer.forward(x), module(torch.from_numpy(x)))


def test_running_statistics_worked_by_hand() -> None:
    """Of 1, 2, 3, 6: mean 3, variance 14/4 for the batch itself, 14/3 for the running estimate."""
    layer = BatchNormLayer(1)
    x = np.array([[1.0], [2.0], [3.0], [6.0]])
    y = layer.forward(x, 1)
    np.testing.assert_allclose(y, (x - 3) / np.sqrt(3.5 + 1e-5), rtol=1e-14)
    assert layer.buffers["running_mean"][0] == pytest.approx(0.3)
    assert layer.buffers["running_var"][0] == pytest.approx(0.9 + 0.1 * 14 / 3)
    assert layer.buffers["num_batches_tracked"] == 1
    before = layer.buffers["running_var"].copy()
    np.testing.assert_allclose(layer.forward(x), (x - 0.3) / np.sqrt(before + 1e-5), rtol=1e-14)
    assert layer.buffers["running_var"] == before


def test_a_convolution_worked_by_hand() -> None:
    layer = ConvolutionLayer(1, 1, 2)
    layer.parameters["weight"][...] = [[[[1, 2], [3, 4]]]]
    layer.parameters["bias"][...] = 10
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    assert layer.forward(x).tolist() == [[[[37, 47], [67, 77]]]]  # 0 + 2 + 9 + 16 + 10 first
    at_x = layer.backward(np.ones((1, 1, 2, 2)))
    assert at_x.tolist() == [[[[1, 3, 2], [4, 10, 6], [3, 7, 4]]]]
    assert layer.gradients["weight"].tolist() == [[[[8, 12], [20, 24]]]]
    assert layer.gradients["bias"].tolist() == [4]


def test_the_first_of_equal_pixels_has_the_gradient_of_a_max() -> None:
    layer = MaxPoolingLayer(2)
    layer.forward(np.zeros((1, 1, 2, 2)), 1)
    assert layer.backward(np.ones((1, 1, 1, 1))).ravel().tolist() == [1, 0, 0, 0]


def test_dropout_leaves_values_of_each_sample_out_while_training_alone() -> None:
    u = np.array([[0.1, 0.9], [0.9, 0.1]], np.float32)  # (values, samples)
    layer = DropoutLayer(0.5, lambda step, width, batch: u * (step == 3) * (width == batch))
    x = np.ones((2, 2))
    assert layer.forward(x, 3).tolist() == [[0, 2], [2, 0]]
    assert layer.backward(np.ones((2, 2))).tolist() == [[0, 2], [2, 0]]
    assert layer.forward(x).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_stay_in_the_type_they_are_given(name: str) -> None:
    make, _, shape = LAYERS[name]
    layer = make()
    layer.parameters = {key: array.astype(np.float32) for key, array in layer.parameters.items()}
    y = layer.forward(noise(*shape).astype(np.float32), 1)
    assert {y.dtype, layer.backward(y).dtype} == {np.dtype(np.float32)}
    assert {array.dtype for array in layer.gradients.values()} <= {np.dtype(np.float32)}
