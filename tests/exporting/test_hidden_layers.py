"""Layers of trained networks: dead units, saturation, means and first weights of networks made by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from harness.axes.architectures import architectures
from harness.data.samples import prepare
from harness.engines.classifier import Classifier
from harness.errors import UsageError
from harness.exporting import hidden_layers
from harness.exporting.models import Model
from harness.study.trials import Arm, Trial, resolve

if TYPE_CHECKING:
    from harness.exporting.hidden_layers import FirstWeights


def model(change: Callable[[nn.Module], None] = lambda _: None, **settings: Any) -> Model:
    """An untrained network on digits, changed."""
    trial = Trial("t", Arm("a", resolve({"dataset": "digits", "steps": 10, **settings})), 0)
    classifier = Classifier(trial, (1, 8, 8), 10).float().eval()
    with torch.no_grad():
        change(classifier.net)
    return Model(pd.Series(dtype=object), trial, classifier, kept=True)


def biased(weight: float, *bias: float) -> Callable[[nn.Module], None]:
    """Give the first layer a constant weight, and these biases."""

    def change(net: nn.Module) -> None:
        first = next(m for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))
        first.weight.fill_(weight)
        assert first.bias is not None
        first.bias.copy_(torch.tensor(bias))

    return change


@pytest.fixture
def register() -> Iterator[Callable[[str, Any], None]]:
    added: list[str] = []

    def third_party(name: str, build: Any) -> None:
        architectures.register(name)(build)
        added.append(name)

    yield third_party
    for name in added:
        architectures.remove(name)


def test_a_dead_unit_is_found_and_the_numbers_are_those_of_the_activations() -> None:
    """Two of four ReLUs are off on every image, one is always 2, one always 4."""
    table = hidden_layers.activation_statistics(model(biased(0.0, -1, -3, 2, 4), hidden=[4, 3]))
    assert list(table["depth"]) == [1, 2]
    first = table.iloc[0]
    assert (first["activation"], first["units"], first["dead"], first["saturated"]) == ("relu", 4, 0.5, 0.5)
    values = np.array([0, 0, 2, 4])
    assert first["mean"] == pytest.approx(values.mean())
    assert first["sd"] == pytest.approx(values.std())
    assert table.attrs["images"] == 144


def test_a_unit_that_one_image_wakes_is_not_dead() -> None:
    """The weight is 1 on the sum of pixels, and the bias lets the brightest image alone through."""
    x = prepare(model(hidden=[2]).trial.arm.settings)["val"].x
    sums = np.sort(x.astype(np.float64).sum(1))
    between = float((sums[-1] + sums[-2]) / 2)
    network = model(biased(1.0, -between, -float(sums[-1] + 1)), hidden=[2])
    (row,) = hidden_layers.activation_statistics(network).to_dict("records")
    assert row["dead"] == 0.5
    assert row["saturated"] == pytest.approx(1 - 1 / (2 * len(x)))
    fewer = hidden_layers.activation_statistics(network, "val", int(x.sum(1).argmax()))
    assert fewer["dead"].item() == 1


@pytest.mark.parametrize(("name", "edge"), [("tanh", math.atanh(math.sqrt(0.9))), ("sigmoid", 3.6368)])
def test_saturation_is_a_slope_of_a_tenth_of_the_steepest(name: str, edge: float) -> None:
    """Slope of tanh 1 - y^2 <= 0.1; of the sigmoid s (1 - s) <= 0.025. At 20 there is none left: dead."""
    network = model(biased(0.0, edge + 0.01, edge - 0.01, -edge - 0.01, 20.0), hidden=[4], activation=name)
    (row,) = hidden_layers.activation_statistics(network).to_dict("records")
    assert row["saturated"] == 0.75
    assert row["dead"] == 0.25


def test_a_leaky_unit_is_flat_and_not_dead() -> None:
    network = model(biased(0.0, -1, 1), hidden=[2], activation="leaky_relu")
    (row,) = hidden_layers.activation_statistics(network).to_dict("records")
    assert (row["dead"], row["saturated"]) == (0, 0.5)


def test_a_unit_of_a_convolution_is_a_channel() -> None:
    network = model(biased(0.0, -1, 5), architecture="cnn", channels=[2, 3])
    table = hidden_layers.activation_statistics(network)
    assert list(table["layer"]) == ["layer1.activation", "layer2.activation"]
    assert list(table["units"]) == [2, 3]
    assert table["dead"][0] == 0.5
    assert table["mean"][0] == 2.5


def test_an_own_networks_torch_activations_are_seen_each_time_they_are_used(
    register: Callable[[str, Any], None],
) -> None:
    class Twice(nn.Module):
        def __init__(self, inputs: int, classes: int) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(inputs, 4), nn.Linear(4, classes)
            self.relu = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.last(self.relu(self.relu(self.first(x)) - 1))
            return output

    register("twice", lambda inputs, classes, activation: Twice(inputs, classes))  # noqa: ARG005
    network = model(biased(0.0, -1, 0.5, 2, 3), architecture="twice")
    table = hidden_layers.activation_statistics(network)
    assert list(table["layer"]) == ["relu", "relu (2)"]
    assert list(table["dead"]) == [0.25, 0.5]
    assert not network.classifier.net.get_submodule("relu")._forward_hooks


def test_activations_that_work_in_place_are_measured_at_what_they_are_given(
    register: Callable[[str, Any], None],
) -> None:
    """SiLU's slope is 0.07 at -1 and at most 1.1; at -0.27, which it gives there, it is 0.37."""

    def build(inputs: int, classes: int, activation: Any, *, own: bool = True) -> nn.Module:  # noqa: ARG001
        first, last = nn.Linear(inputs, 3), nn.Linear(3, classes)
        return nn.Sequential(first, nn.SiLU(inplace=own), nn.PReLU(3), last)

    register("in_place", build)
    network, plain = (
        model(biased(0.0, -1, -1.278, 2), architecture="in_place", own=own) for own in (True, False)
    )
    table = hidden_layers.activation_statistics(network)
    pd.testing.assert_frame_equal(table, hidden_layers.activation_statistics(plain))
    assert list(table["activation"]) == ["SiLU", "PReLU"]
    assert table["saturated"][0] == pytest.approx(2 / 3)
    assert vars(network.classifier.net.get_submodule("1"))["inplace"]


def test_networks_without_hidden_layers_and_empty_splits_are_refused() -> None:
    with pytest.raises(UsageError, match="has no hidden layer"):
        hidden_layers.activation_statistics(model(architecture="linear"))
    with pytest.raises(UsageError, match="val has no images"):
        hidden_layers.activation_statistics(model(val_fraction=0.0))


def test_first_weights_are_images_of_the_first_layer() -> None:
    def of(one: Model) -> FirstWeights:
        return hidden_layers.first_weights(one)

    mlp = model(hidden=[5])
    assert not of(mlp).convolution
    expected = mlp.classifier.net.state_dict()["0.weight"].numpy()
    np.testing.assert_array_equal(of(mlp).weights, expected.reshape(5, 1, 8, 8))
    cnn = model(architecture="cnn", channels=[3])
    assert of(cnn).convolution
    assert of(cnn).layer == "layer1.conv"
    np.testing.assert_array_equal(of(cnn).weights, cnn.classifier.net.state_dict()["layer1.conv.weight"])


def test_a_network_whose_first_layer_sees_no_image_is_refused(register: Callable[[str, Any], None]) -> None:
    def build(shape: Any, classes: int, activation: Any) -> nn.Module:  # noqa: ARG001
        return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, classes))

    register("pooled", build)
    with pytest.raises(UsageError, match="first layer of this network"):
        hidden_layers.first_weights(model(architecture="pooled"))
