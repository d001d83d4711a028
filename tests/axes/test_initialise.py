"""Initial weights of networks of any modules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from harness.axes.architectures import (
    NORMAL,
    RULES,
    UNIFORM_FAN_IN,
    architectures,
    initial_layers,
    initialise,
)
from harness.axes.architectures.registry import Architecture
from harness.engines.classifier import Classifier
from harness.errors import UsageError
from harness.exporting.untrained import untrained
from harness.rng import stream
from harness.settings import TYPES
from harness.study.reading import parse

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(12, 40),
    "convolution": lambda: nn.Conv2d(4, 20, 3),
    "grouped": lambda: nn.Conv2d(8, 24, (3, 5), groups=4),
    "1-d": lambda: nn.Conv1d(3, 30, 4),
    "3-d": lambda: nn.Conv3d(2, 10, 2),
    "transposed": lambda: nn.ConvTranspose2d(6, 8, 3),
    "bilinear": lambda: nn.Bilinear(7, 5, 20),
    "embedding": lambda: nn.Embedding(40, 9, padding_idx=3),
    "bag": lambda: nn.EmbeddingBag(40, 9),
    "lstm": lambda: nn.LSTM(4, 9),
    "gru cell": lambda: nn.GRUCell(5, 8),
    "attention": lambda: nn.MultiheadAttention(12, 2),
    "batch norm": lambda: nn.BatchNorm2d(6),
    "layer norm": lambda: nn.LayerNorm([4, 3]),
    "group norm": lambda: nn.GroupNorm(2, 6),
    "prelu": lambda: nn.PReLU(4),
}
DRAWS = 30


def uniform_within(bound: float) -> Any:
    return stats.uniform(-bound, 2 * bound)


BOTH: list[dict[str, Any]] = [{"architecture": "linear"}, {"hidden": []}]


def started(network: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    initialise(network, seed)
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("layer", LAYERS)
def test_each_module_has_pytorchs_distribution(layer: str) -> None:
    """By Kolmogorov's and Smirnov's test against as many layers that PyTorch itself made."""
    ours: dict[str, list[torch.Tensor]] = {}
    theirs: dict[str, list[torch.Tensor]] = {}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for seed in range(DRAWS):
            made = LAYERS[layer]()
            for name, value in made.state_dict().items():
                theirs.setdefault(name, []).append(value.double().flatten())
            for name, value in started(made, seed).items():
                ours.setdefault(name, []).append(value.double().flatten())
    for name, drawn in ours.items():
        a, b = torch.cat(drawn).numpy(), torch.cat(theirs[name]).numpy()
        assert a.shape == b.shape
        if np.ptp(b) == 0:
            assert (a == b).all(), name
        else:
            assert stats.ks_2samp(a, b).pvalue > 1e-3, name
            assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.25), name


@pytest.mark.parametrize("layer", ["linear", "convolution", "grouped", "transposed", "bilinear"])
def test_bounds_are_pytorchs(layer: str) -> None:
    module = LAYERS[layer]()
    weight: Any = module.weight
    fan_in = weight.shape[1] if layer == "bilinear" else math.prod(weight.shape[1:])
    for seed in range(4):
        state = started(module, seed)
        for name in ("weight", "bias"):
            assert state[name].dtype == torch.float64
            assert state[name].abs().max() <= fan_in**-0.5
    assert state["weight"].abs().max() == pytest.approx(fan_in**-0.5, rel=0.05)


def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_generator() -> None:
    before = torch.get_rng_state()
    networks = [architectures["resnet"].network((1, 8, 8), 10, nn.ReLU, {}) for _ in range(3)]
    torch.set_rng_state(before)
    first, again, other = (started(net, seed) for net, seed in zip(networks, (5, 5, 6), strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["output.weight"], other["output.weight"])
    convolutions = [value for name, value in first.items() if value.dim() == 4]
    assert len({float(value.flatten()[0]) for value in convolutions}) == len(convolutions)


@pytest.mark.parametrize(("name", "settings"), [("cnn", {"channels": [4, 6]}), ("resnet", {"channels": 4})])
def test_arms_with_and_without_norm_and_skip_start_from_the_same_convolutions(
    name: str, settings: dict[str, Any]
) -> None:
    build = architectures[name].network
    starts = [
        started(build((1, 8, 8), 5, nn.ReLU, {**settings, "norm": norm, "skip": skip}), 2)
        for norm in ("none", "batch", "layer")
        for skip in (False, True)
    ]
    shared = set.intersection(*(set(start) for start in starts))
    assert {name for name in shared if "conv.weight" in name or "output" in name} >= {"output.bias"}
    for start in starts[1:]:
        assert all(torch.equal(start[key], starts[0][key]) for key in shared)


def test_an_mlp_with_norm_starts_from_the_plain_mlps_layers() -> None:
    base = {"dataset": "digits", "hidden": [9, 7], "seed": 3}
    layers = initial_layers([64, 9, 7, 10], stream(3, "weights"))
    for norm in ("none", "batch", "layer"):
        net = Classifier(untrained({**base, "norm": norm}), (1, 8, 8), 10).net
        linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
        assert len(linear) == 3
        for module, layer in zip(linear, layers, strict=True):
            assert np.array_equal(module.weight.detach().numpy(), layer.weight)
            if module.bias is not None:
                assert np.array_equal(module.bias.detach().numpy(), layer.bias)


DISTRIBUTIONS: dict[str, tuple[Any, Any]] = {  # of weights and biases of a layer of 300 inputs, 200 units
    "uniform_fan_in": (uniform_within(300**-0.5), uniform_within(300**-0.5)),
    "glorot_uniform": (uniform_within((6 / 500) ** 0.5), None),
    "he_normal": (stats.norm(scale=(2 / 300) ** 0.5), None),
    "lecun_1998": (uniform_within(2.4 / 300), uniform_within(2.4 / 300)),
    "normal": (stats.norm(), stats.norm()),
    "normal_fan_in": (stats.norm(scale=300**-0.5), stats.norm()),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_its_sources_distribution(rule: str) -> None:
    """By Kolmogorov's and Smirnov's test; biases that no distribution is given for are 0."""
    layer = initial_layers([300, 200], stream(7, "weights"), rule)[0]
    assert layer.weight.shape == (200, 300)
    assert layer.bias.shape == (200,)
    for values, distribution in zip((layer.weight, layer.bias), DISTRIBUTIONS[rule], strict=True):
        if distribution is None:
            assert not values.any()
        else:
            assert stats.kstest(values.ravel(), distribution.cdf).pvalue > 1e-3


def test_a_layer_that_is_given_no_rule_has_pytorchs() -> None:
    plain, named = (
        initial_layers([6, 5, 3], stream(1, "weights"), *rule) for rule in ((), (UNIFORM_FAN_IN,))
    )
    assert all(
        np.array_equal(a.weight, b.weight) and np.array_equal(a.bias, b.bias)
        for a, b in zip(plain, named, strict=True)
    )


def test_a_study_may_name_each_rule_and_no_other() -> None:
    assert get_args(TYPES["initial_weights"]) == tuple(RULES)
    assert architectures["mlp"].settings["initial_weights"].default == UNIFORM_FAN_IN
    assert set(NORMAL) < set(RULES)


def test_a_rule_that_is_not_known_is_told() -> None:
    study = {"study": {"name": "rules", "hypothesis": "None."}, "baseline": {"initial_weights": "glorot"}}
    with pytest.raises(UsageError, match=r"baseline\.initial_weights = \"glorot\".*'glorot_uniform'"):
        parse(study)


def test_linear_starts_as_an_mlp_without_hidden_layers() -> None:
    nets = [
        Classifier(untrained({"dataset": "digits", **settings}), (1, 8, 8), 10).net.state_dict()
        for settings in BOTH
    ]
    assert all(torch.equal(nets[0][name], nets[1][name]) for name in nets[1])


def of(build: Callable[[], nn.Module]) -> nn.Module:
    return Architecture("own", lambda shape, classes, activation: build()).network(  # noqa: ARG005
        (1, 6, 6), 3, nn.ReLU, {}
    )


def test_a_networks_own_start_is_kept() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain, self.own = nn.Linear(4, 3), nn.Linear(4, 3)
            self.old, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm1d(3)
            self.free = nn.Parameter(torch.full((3,), 7.0))
            nn.init.constant_(self.own.weight, 0.25)
            self.old.weight.data.fill_(0.5)
            nn.init.zeros_(self.norm.weight)

    network: Any = of(Own)
    built = network.plain.weight.detach().clone()
    state = started(network, 0)
    assert (state["own.weight"] == 0.25).all()
    assert (state["old.weight"] == 0.5).all()
    assert (state["norm.weight"] == 0).all()
    assert (state["free"] == 7).all()
    assert not torch.equal(state["plain.weight"], built.double())
    assert state["own.bias"].abs().max() <= 0.5  # drawn: only the weight was the network's own
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = started(nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3)), 0)
    assert torch.equal(state["own.bias"], fresh["1.bias"])  # and the plain one's stream is not moved
    assert torch.equal(state["plain.weight"], fresh["0.weight"])


def test_a_modules_own_reset_is_called_behind_its_parts() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.scale = nn.Linear(4, 4), nn.Parameter(torch.empty(4))
            self.reset_parameters()

        def reset_parameters(self) -> None:
            nn.init.normal_(self.scale)
            nn.init.zeros_(self.inner.bias)

    first, again, other = (started(of(Own), seed) for seed in (0, 0, 1))
    assert torch.equal(first["scale"], again["scale"])
    assert not torch.equal(first["scale"], other["scale"])
    assert (first["inner.bias"] == 0).all()
    assert first["inner.weight"].abs().max() <= 0.5


def test_lazy_layers_get_their_sizes_and_a_start() -> None:
    network = of(lambda: nn.Sequential(nn.LazyConv2d(2, 3), nn.Flatten(), nn.LazyLinear(3)))
    state = started(network, 4)
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "0.weight": (2, 1, 3, 3), "0.bias": (2,), "2.weight": (3, 32), "2.bias": (3,),
    }  # fmt: skip
    plain = started(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 3)), 4)
    assert torch.equal(state["2.weight"], plain["2.weight"])


def test_classes_of_torch_are_as_before_once_a_network_is_built() -> None:
    reset = nn.Linear.reset_parameters
    of(lambda: nn.Linear(2, 2))
    assert nn.Linear.reset_parameters is reset
    with pytest.raises(ZeroDivisionError):
        of(lambda: nn.Linear(2, 1 // 0))
    assert nn.Linear.reset_parameters is reset
