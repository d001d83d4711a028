from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.axes.architectures import Architecture, architectures, initial_layers, inverse_root
from harness.check import component
from harness.rng import stream

steady = settings(deadline=None, max_examples=40)  # time depends on the machine
every = pytest.mark.parametrize("name", [entry.name for entry in architectures])


@every
def test_contract(name: str) -> None:
    assert component("architecture", name)


@every
@pytest.mark.parametrize(("shape", "classes"), [((1, 8, 8), 3), ((3, 12, 10), 10)])
def test_gives_logits_for_any_image_shape_and_class_count(
    name: str, shape: tuple[int, int, int], classes: int
) -> None:
    architecture = architectures[name]
    network = architecture.network(shape, classes, nn.ReLU, {})
    x = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
    z = network(x if architecture.takes_images else x.flatten(1))
    assert z.shape == (6, classes)
    z.square().sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_a_function_is_given_what_its_parameters_name() -> None:
    given_to: dict[str, object] = {}

    def without_activation(shape: tuple[int, int, int], classes: int) -> nn.Module:
        given_to.update(shape=shape, classes=classes)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, classes))

    def in_another_order(classes: int, activation: type[nn.Module], inputs: int) -> nn.Module:
        given_to.update(classes=classes, activation=activation, inputs=inputs)
        return nn.Linear(inputs, classes)

    Architecture("mine", without_activation).network((1, 3, 4), 5, nn.ReLU, {})
    assert given_to == {"shape": (1, 3, 4), "classes": 5}
    given_to.clear()
    Architecture("mine", in_another_order).network((1, 3, 4), 5, nn.ReLU, {})
    assert given_to == {"classes": 5, "activation": nn.ReLU, "inputs": 12}


@steady
@given(hidden=st.lists(st.integers(1, 20), max_size=4))
def test_mlps_layers(hidden: list[int]) -> None:
    network = architectures["mlp"].build(9, 4, nn.Tanh, hidden=hidden)
    widths = [9, *hidden, 4]
    kinds = [type(module) for module in network]  # type: ignore[attr-defined]
    assert kinds == [nn.Linear, *[nn.Tanh, nn.Linear] * len(hidden)]
    assert sum(p.numel() for p in network.parameters()) == sum(
        (i + 1) * o for i, o in itertools.pairwise(widths)
    )


def test_mlp_is_a_composition_of_its_layers() -> None:
    network = architectures["mlp"].build(5, 3, nn.Sigmoid, hidden=[4])
    first, _, last = network.children()
    x = torch.ones(2, 5)
    torch.testing.assert_close(network(x), last(torch.sigmoid(first(x))))


def test_initial_weights_are_distributed_as_torchs() -> None:
    """Uniform within 1/sqrt(fan_in), as nn.Linear's default, weights and biases."""
    layers = initial_layers([400, 300, 10], np.random.default_rng(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = nn.Linear(400, 300)
    for layer, shape, fan_in in zip(layers, [(300, 400), (10, 300)], [400, 300], strict=True):
        assert layer.weight.shape == shape
        assert layer.bias.shape == shape[:1]
        for array in (layer.weight, layer.bias):
            assert np.abs(array).max() <= fan_in**-0.5
    weight = layers[0].weight
    assert weight.std() == pytest.approx(reference.weight.std().item(), rel=0.01)
    assert np.abs(weight).max() == pytest.approx(reference.weight.abs().max().item(), rel=0.001)
    assert weight.mean() == pytest.approx(0, abs=3e-4)


def test_deeper_networks_of_one_start_share_no_more_than_they_must() -> None:
    """The first layers of [8] and [8, 8] are the same draw: arms of one shape start alike."""
    shallow, again = (initial_layers([6, 8, 3], stream(4, "weights")) for _ in range(2))
    assert all(
        (a.weight == b.weight).all() and (a.bias == b.bias).all() for a, b in zip(shallow, again, strict=True)
    )
    other = initial_layers([6, 8, 3], stream(5, "weights"))
    assert (shallow[0].weight != other[0].weight).all()


@given(n=st.integers(1, 2**24))
@steady
def test_bounds_are_correctly_rounded(n: int) -> None:
    """No float64 is nearer to 1/sqrt(n), which lies between the middles to the neighbours."""
    bound = inverse_root(n)
    below, above = (Fraction(bound) + Fraction(float(np.nextafter(bound, end))) for end in (0, 1))
    assert (below / 2) ** 2 * n <= 1 <= (above / 2) ** 2 * n


def test_initial_weights_are_numpys_uniform_numbers() -> None:
    for layer, i in zip(initial_layers([784, 32, 10], stream(3, "weights")), (784, 32), strict=True):
        assert np.abs(layer.weight).max() <= i**-0.5
    rng, (first, second) = stream(3, "weights"), initial_layers([784, 32, 10], stream(3, "weights"))
    for layer, i in ((first, 784), (second, 32)):
        for values in (layer.weight, layer.bias):
            assert (values == rng.uniform(-(i**-0.5), i**-0.5, values.shape)).all()
