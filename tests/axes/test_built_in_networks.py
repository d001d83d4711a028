"""Built-in networks other than plain mlps: their layers, by hand and by the papers' counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from harness.axes.architectures import Shape, architectures

LINEAR: list[tuple[str, dict[str, Any]]] = [("linear", {}), ("mlp", {"hidden": []})]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp norm": ("mlp", {"norm": "batch", "hidden": [6, 6]}),
    "mlp all": ("mlp", {"norm": "layer", "hidden": [6, 6, 5], "skip": True, "dropout": 0.2}),
    "linear": ("linear", {}),
    "lenet5": ("lenet5", {}),
    "cnn": ("cnn", {}),
    "cnn dense": ("cnn", {"readout": "dense", "hidden": [9], "norm": "batch", "dropout": 0.1}),
    "cnn deep": ("cnn", {"channels": [4, 4, 6], "skip": True, "norm": "layer", "pooling": "average"}),
    "cnn stride": ("cnn", {"channels": [4, 4, 6], "skip": True, "pooling": "stride", "kernel": 5}),
    "cnn none": ("cnn", {"channels": [3], "pooling": "none", "kernel": 1}),
    "resnet": ("resnet", {"channels": 4}),
    "resnet plain": ("resnet", {"channels": 4, "blocks": 2, "skip": False, "norm": "none"}),
    "resnet layer": ("resnet", {"channels": 4, "norm": "layer"}),
}


def built(case: str, shape: Shape, classes: int = 10) -> nn.Module:
    name, settings = CASES[case]
    return architectures[name].network(shape, classes, nn.Tanh, settings)


def images(name: str, *shape: int) -> torch.Tensor:
    x = torch.rand(*shape, generator=torch.Generator().manual_seed(0))
    return x if architectures[name].takes_images else x.flatten(1)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 10)])
def test_every_network_takes_any_image_and_every_parameter_learns(case: str, shape: Shape) -> None:
    network = built(case, shape, 7)
    z = network(images(CASES[case][0], 5, *shape))
    assert z.shape == (5, 7)
    z.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("case", CASES)
def test_every_network_can_be_traced(case: str) -> None:
    network = built(case, (1, 9, 9)).eval()
    x = images(CASES[case][0], 3, 1, 9, 9)
    assert torch.equal(torch.fx.symbolic_trace(network)(x), network(x))


def test_names_are_those_of_layers_whatever_the_norm() -> None:
    plain, normed = (
        dict(architectures["cnn"].network((1, 8, 8), 3, nn.ReLU, {"norm": norm}).named_parameters())
        for norm in ("none", "batch")
    )
    assert list(plain) == [
        "layer1.conv.weight", "layer1.conv.bias", "layer2.conv.weight", "layer2.conv.bias", "output.weight",
        "output.bias",
    ]  # fmt: skip
    assert {name for name in plain if "weight" in name} <= set(normed)
    assert "layer1.conv.bias" not in normed  # which batch norm takes off again


def test_a_cnn_is_convolution_norm_activation_pooling_and_a_mean() -> None:
    network = architectures["cnn"].network(
        (2, 6, 6), 3, nn.Tanh, {"channels": [4, 5], "norm": "layer", "pooling": "max"}
    )
    p, functional = dict(network.named_parameters()), nn.functional
    x = images("cnn", 3, 2, 6, 6)
    h = x
    for i, channels in ((1, 4), (2, 5)):
        h = functional.conv2d(h, p[f"layer{i}.conv.weight"], p[f"layer{i}.conv.bias"], padding=1)
        flat = h.flatten(1)
        flat = (flat - flat.mean(1, keepdim=True)) / (flat.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
        scale, shift = p[f"layer{i}.norm.weight"], p[f"layer{i}.norm.bias"]
        h = flat.view_as(h) * scale[:, None, None] + shift[:, None, None]
        assert h.shape[1] == channels
        h = functional.max_pool2d(h.tanh(), 2)
    z = h.mean((2, 3)) @ p["output.weight"].T + p["output.bias"]
    torch.testing.assert_close(network(x), z)


def test_pooling_is_behind_the_last_of_equal_channels_and_skips_are_around_those_before() -> None:
    network = architectures["cnn"].network(
        (1, 16, 16), 3, nn.ReLU, {"channels": [4, 4, 4, 8, 8], "skip": True, "readout": "dense"}
    )
    named = dict(network.named_children())
    assert [name for name in named if name.startswith("pool")] == ["pool3", "pool5"]
    assert network.skips == {"layer2", "layer3", "layer5"}
    assert named["output"].in_features == 8 * 4 * 4
    settings: dict[str, Any] = {"channels": [4, 4, 8], "skip": True, "pooling": "stride", "readout": "dense"}
    strided = architectures["cnn"].network((1, 15, 15), 3, nn.ReLU, settings)
    strides = [m.stride for m in strided.modules() if isinstance(m, nn.Conv2d)]
    assert strides == [(1, 1), (2, 2), (2, 2)]
    assert strided.skips == frozenset()  # what halves the image has other shapes around it
    assert dict(strided.named_children())["output"].in_features == 8 * 4 * 4


def test_a_skip_adds_what_a_layer_got() -> None:
    with_skip, without = (
        architectures["mlp"].network((1, 2, 2), 3, nn.Tanh, {"hidden": [4, 4], "skip": skip, "norm": "layer"})
        for skip in (True, False)
    )
    without.load_state_dict(with_skip.state_dict())
    x = images("mlp", 5, 1, 2, 2)
    named = dict(without.named_children())
    first = named["layer1"](x)
    second = named["layer2"](first)
    torch.testing.assert_close(without(x), named["output"](second))
    torch.testing.assert_close(with_skip(x), named["output"](first + second))


@pytest.mark.parametrize(
    ("blocks", "parameters"), [(3, 269_722), (5, 464_154), (7, 658_586), (9, 853_018), (18, 1_727_962)]
)
def test_resnets_have_the_papers_sizes(blocks: int, parameters: int) -> None:
    """0.27, 0.46, 0.66, 0.85 and 1.7 million in He et al. 2016, table 6; exactly as option A gives them."""
    with torch.device("meta"):
        network = architectures["resnet"].network((3, 32, 32), 10, nn.ReLU, {"blocks": blocks})
    assert sum(p.numel() for p in network.parameters()) == parameters
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 6 * blocks + 2


def test_a_shortcut_takes_every_second_pixel_and_adds_channels_of_zeros() -> None:
    from harness.axes.architectures.modules import Shortcut

    x = torch.arange(2 * 2 * 5 * 4.0).view(2, 2, 5, 4)
    y = Shortcut(3, 2)(x)
    assert y.shape == (2, 5, 3, 2)
    assert torch.equal(y[:, 1:3], x[:, :, ::2, ::2])
    assert not y[:, [0, 3, 4]].any()
    stacked = Shortcut(3, 2)(torch.stack([x, -x]))  # (K, B, C, H, W)
    assert torch.equal(stacked[1], -y)


def test_a_block_is_two_convolutions_and_what_leads_around_them() -> None:
    network = architectures["resnet"].network((1, 8, 8), 3, nn.ReLU, {"channels": 4}).eval()
    block = dict(network.named_children())["stage1_block1"]
    x = images("resnet", 2, 4, 8, 8)
    body: Any = block.body
    y = body.norm(body.conv(torch.relu(body.layer1.norm(body.layer1.conv(x)))))
    torch.testing.assert_close(block(x), torch.relu(x + y))


def test_linear_is_an_mlp_without_hidden_layers() -> None:
    linear, mlp = (architectures[name].network((1, 3, 3), 4, nn.ReLU, settings) for name, settings in LINEAR)
    mlp.load_state_dict(linear.state_dict())
    x = images("mlp", 5, 1, 3, 3)
    assert torch.equal(linear(x), mlp(x))
