"""Convolutional networks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.axes.architectures.mlp import Activations
from harness.axes.architectures.norms import norm_of_images, norm_of_units
from harness.axes.architectures.registry import Shape, architectures
from harness.system.lazy import torch
from harness.text import as_text

if TYPE_CHECKING:
    from torch import nn


def _fits(*_: object) -> str:
    """Say that a network fits all images with height and width."""
    return ""


@architectures.register("lenet5", misfit=_fits)
def lenet5(shape: Shape, classes: int, activation: Activations) -> nn.Module:
    """LeNet-5 as it is taught: two convolutions 5x5 (6 and 16 channels) with average pooling, 120-84 behind.

    Images of less than 32 pixels are padded to 32, as the paper's are; each kernel of the second convolution
    sees all six channels, and the output layer is linear.

    Source: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition".
    """
    channels, height, width = shape
    pad = max(0, (32 - height + 1) // 2), max(0, (32 - width + 1) // 2)
    rows, columns = (((n + 2 * p - 4) // 2 - 4) // 2 for n, p in zip((height, width), pad, strict=True))
    layers = torch.nn
    return layers.Sequential(
        layers.Conv2d(channels, 6, 5, padding=pad), activation(), layers.AvgPool2d(2),
        layers.Conv2d(6, 16, 5), activation(), layers.AvgPool2d(2), layers.Flatten(),
        layers.Linear(16 * rows * columns, 120), activation(),
        layers.Linear(120, 84), activation(), layers.Linear(84, classes),
    )  # fmt: skip


def _of_dense(settings: Mapping[str, Any]) -> Collection[str]:
    """Name what has no effect without a dense readout, or without equal channels behind each other."""
    layers = _layout((1, 1, 1), settings["channels"], settings["pooling"])
    idle = () if settings["readout"] == "dense" else ("hidden",)
    return idle if any(layer.skipped for layer in layers) else (*idle, "skip")


@dataclass(frozen=True)
class _CnnLayer:
    """A layer of a cnn: channels, its convolution's stride, what is behind and around it, the image then."""

    before: int
    after: int
    stride: int
    pooled: bool
    skipped: bool
    size: tuple[int, int]


def _layout(shape: Shape, channels: Sequence[int], pooling: str) -> list[_CnnLayer]:
    """Lay out the layers of a cnn for images of a shape."""
    before, *sides = shape
    layers = []
    for i, after in enumerate(channels):
        last = i + 1 == len(channels) or channels[i + 1] != after  # of those with equal channels
        stride = 2 if last and pooling == "stride" else 1
        pooled = last and pooling in {"max", "average"}
        sides = [n // 2 if pooled else -(-n // stride) for n in sides]
        around = i > 0 and before == after and stride == 1
        layers.append(_CnnLayer(before, after, stride, pooled, around, (sides[0], sides[1])))
        before = after
    return layers


def smallest_map(architecture: str, shape: Shape, settings: Mapping[str, Any]) -> int:
    """Count the pixels of the smallest map that a norm of a cnn or a resnet is of, for images of a shape."""
    sides = tuple(shape[1:])
    if architecture == "resnet":
        return math.prod(-(-n // 4) for n in sides)
    found = [math.prod(sides)]
    for layer in _layout(shape, settings["channels"], settings["pooling"]):
        found.append(math.prod(-(-n // layer.stride) for n in sides))  # before pooling
        sides = layer.size
    return min(found)


def _misfit(shape: Shape, settings: Mapping[str, Any]) -> str:
    """Say why there is no cnn of these settings for images of a shape."""
    _, height, width = shape
    kernel, channels, pooling = settings["kernel"], settings["channels"], settings["pooling"]
    if kernel > max(height, width):
        return f"kernel = {kernel} is larger than its images, {height} x {width}; allowed: up to their side"
    for i, layer in enumerate(_layout(shape, channels, pooling), 1):
        if 0 in layer.size:
            return (
                f"channels = {as_text(channels)} with pooling = {pooling!r} halves images of {height} x "
                f"{width} below one pixel at layer {i}. Allowed: fewer changes of channels (pooling is "
                "behind the last of layers with equal channels), or pooling = 'stride' or 'none'"
            )
    return ""


@architectures.register("cnn", idle=_of_dense, misfit=_misfit)
def cnn(  # noqa: PLR0913 (each is a setting)
    shape: Shape,
    classes: int,
    activation: Activations,
    *,
    channels: Sequence[int] = (16, 32),
    kernel: int = 3,
    pooling: str = "max",
    norm: str = "none",
    skip: bool = False,
    dropout: float = 0.0,
    readout: str = "global",
    hidden: Sequence[int] = (),
) -> nn.Module:
    """Convolutional network: a layer for each of `channels`, each padded, then a readout.

    A layer is convolution, norm, activation; with `skip` what a layer behind another gets is added to what
    it gives, where channels agree. The image is halved behind the last of layers with equal channels: by
    pooling, or by the stride of that layer. The readout is the mean of each channel (global), or all values
    and `hidden` layers (dense), then a linear layer; `dropout` is before each linear layer.
    """
    built: dict[str, nn.Module] = {}
    skips: set[str] = set()
    layout = _layout(shape, channels, pooling)
    for i, layer in enumerate(layout, 1):
        built[f"layer{i}"] = _convolution(layer.before, layer.after, kernel, layer.stride, norm, activation)
        if skip and layer.skipped:
            skips.add(f"layer{i}")
        if layer.pooled:
            built[f"pool{i}"] = (torch.nn.MaxPool2d if pooling == "max" else torch.nn.AvgPool2d)(2)
    if readout == "global":
        built["mean"] = torch.nn.AdaptiveAvgPool2d(1)
    inputs = channels[-1] * (1 if readout == "global" else math.prod(layout[-1].size))
    built["flatten"] = torch.nn.Flatten()
    widths = [inputs, *(hidden if readout == "dense" else ()), classes]
    built |= _readout(widths, norm, dropout, activation)
    from harness.axes.architectures.modules import NetworkLayers  # which imports torch

    return NetworkLayers(built, frozenset(skips))


def _convolution(
    before: int, after: int, kernel: int, stride: int, norm: str, activation: Activations
) -> nn.Module:
    """Make a layer: convolution, norm, activation. Batch norm takes a bias off again, so there is none."""
    from harness.axes.architectures.modules import NetworkLayers

    bias = norm != "batch"
    convolution = torch.nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=bias)
    return NetworkLayers({"conv": convolution, **norm_of_images(norm, after), "activation": activation()})


def _readout(
    widths: Sequence[int], norm: str, dropout: float, activation: Activations
) -> dict[str, nn.Module]:
    """Make the linear layers behind the convolutions."""
    built: dict[str, nn.Module] = {}
    for i, (before, after) in enumerate(itertools.pairwise(widths), 1):
        if dropout:
            built[f"dropout{i}"] = torch.nn.Dropout(dropout)
        if i == len(widths) - 1:
            built["output"] = torch.nn.Linear(before, after)
            continue
        built[f"hidden{i}"] = torch.nn.Linear(before, after, bias=norm != "batch")
        built |= {f"{name}{i}": module for name, module in norm_of_units(norm, after).items()}
        built[f"activation{i}"] = activation()
    return built


@architectures.register("resnet", misfit=_fits)
def resnet(  # noqa: PLR0913 (each is a setting)
    shape: Shape,
    classes: int,
    activation: Activations,
    *,
    channels: int = 16,
    blocks: int = 1,
    norm: str = "batch",
    skip: bool = True,
) -> nn.Module:
    """Residual network of the CIFAR papers: 3 stages of `blocks` blocks, 6 * blocks + 2 layers.

    A stage has twice the channels of the one before, and half the image; shortcuts have no parameters (option
    A). Without `skip` it is their plain network.

    Source: He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition".
    """
    from harness.axes.architectures.modules import NetworkLayers, ResidualBlock, Shortcut

    built: dict[str, nn.Module] = {"first": _convolution(shape[0], channels, 3, 1, norm, activation)}
    before = channels
    for stage, block in itertools.product(range(3), range(blocks)):
        after, stride = channels * 2**stage, 2 if stage and not block else 1
        bias = norm != "batch"
        body: dict[str, nn.Module] = {
            "layer1": _convolution(before, after, 3, stride, norm, activation),
            "conv": torch.nn.Conv2d(after, after, 3, padding=1, bias=bias),
            **norm_of_images(norm, after),
        }
        around: nn.Module | None = None
        if skip:
            around = torch.nn.Identity() if before == after else Shortcut(after - before, stride)
        built[f"stage{stage + 1}_block{block + 1}"] = ResidualBlock(body, activation(), around)
        before = after
    built |= {"mean": torch.nn.AdaptiveAvgPool2d(1), "flatten": torch.nn.Flatten()}
    return NetworkLayers({**built, "output": torch.nn.Linear(before, classes)})
