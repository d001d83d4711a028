"""The harness's architectures made of layers by hand; harness/axes/architectures/ makes them of modules."""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from harness.axes import formulas
from harness.axes.architectures import (
    MLPS,
    UNIFORM_FAN_IN,
    Shape,
    architectures,
    fan_in_draws,
    initial_layers,
)
from harness.axes.by_hand.composition import BlockLayer, LayersInRow, ShortcutLayer
from harness.axes.by_hand.convolution import ConvolutionLayer
from harness.axes.by_hand.layers import (
    ActivationLayer,
    DropoutLayer,
    FlattenLayer,
    IdentityLayer,
    LayerByHand,
    LinearLayer,
)
from harness.axes.by_hand.normalisation import BatchNormLayer, LayerNormLayer
from harness.axes.by_hand.pooling import AveragePoolingLayer, GlobalAveragePoolingLayer, MaxPoolingLayer
from harness.rng import stream

NORMS: dict[str, Callable[[int], LayerByHand]] = {"batch": BatchNormLayer, "layer": LayerNormLayer}
POOLINGS: dict[str, Callable[[int], LayerByHand]] = {"max": MaxPoolingLayer, "average": AveragePoolingLayer}
NamedLayers: TypeAlias = "dict[str, LayerByHand]"


@dataclass(frozen=True)
class Builder:
    """A maker of the layers of one network, for images of a shape (C, H, W), by a trial's settings.

    `draw`: (dropout layer, step, width, batch) -> dropout's uniform numbers (width, batch), where it trains.
    """

    shape: Shape
    classes: int
    settings: Mapping[str, Any]
    draw: Callable[[int, int, int, int], Any] | None = None
    dropouts: Iterator[int] = field(default_factory=itertools.count)

    def setting(self, name: str) -> Any:
        """Return a setting of the architecture, at its default where it has no effect beside the others."""
        default = architectures[self.settings["architecture"]].settings[name].default
        return self.settings.get(name, default)

    @property
    def norm(self) -> str:
        """The normalisation: "none", "batch" or "layer"."""
        return str(self.setting("norm"))

    @property
    def bias(self) -> bool:
        """Tell whether layers before a norm have a bias: batch norm would take it off again."""
        return self.norm != "batch"

    def activation(self) -> LayerByHand:
        """Make an activation."""
        return ActivationLayer(formulas.ACTIVATIONS[self.settings["activation"]])

    def dropout(self, name: str = "dropout") -> NamedLayers:
        """Make a dropout layer with numbers of its own, under a name; none where the setting is 0."""
        share = self.setting("dropout")
        if not share:
            return {}
        draw = None if self.draw is None else functools.partial(self.draw, next(self.dropouts))
        return {name: DropoutLayer(share, draw)}

    def normalisation(self, channels: int, name: str = "norm") -> NamedLayers:
        """Make a norm, under a name; none where the setting is "none"."""
        return {} if self.norm == "none" else {name: NORMS[self.norm](channels)}

    def convolution(self, before: int, after: int, kernel: int, stride: int = 1) -> LayerByHand:
        """Make convolution, norm and activation."""
        padding = kernel // 2, kernel // 2
        conv = ConvolutionLayer(before, after, kernel, stride=stride, padding=padding, bias=self.bias)
        return LayersInRow({"conv": conv, **self.normalisation(after), "activation": self.activation()})


def linear(make: Builder) -> LayerByHand:
    """Make softmax regression: one linear layer."""
    channels, height, width = make.shape
    return LinearLayer(channels * height * width, make.classes)


def mlp(make: Builder) -> LayerByHand:
    """Make a multilayer perceptron with norms or skip connections."""
    channels, height, width = make.shape
    widths = [channels * height * width, *make.setting("hidden")]
    built: NamedLayers = {}
    skips = set()
    for number, (before, after) in enumerate(itertools.pairwise(widths), 1):
        first = LinearLayer(before, after, bias=make.bias)
        built[f"layer{number}"] = LayersInRow(
            {
                "linear": first, **make.normalisation(after), "activation": make.activation(),
                **make.dropout(),
            }
        )  # fmt: skip
        if make.setting("skip") and before == after and number > 1:  # the image is not added
            skips.add(f"layer{number}")
    return LayersInRow({**built, "output": LinearLayer(widths[-1], make.classes)}, skips)


def lenet5(make: Builder) -> LayerByHand:
    """Make LeNet-5."""
    channels, height, width = make.shape
    rows, columns = max(0, (32 - height + 1) // 2), max(0, (32 - width + 1) // 2)
    left = [((n + 2 * pad - 4) // 2 - 4) // 2 for n, pad in ((height, rows), (width, columns))]
    return LayersInRow([
        ConvolutionLayer(channels, 6, 5, padding=(rows, columns)), make.activation(), AveragePoolingLayer(2),
        ConvolutionLayer(6, 16, 5), make.activation(), AveragePoolingLayer(2), FlattenLayer(),
        LinearLayer(16 * left[0] * left[1], 120), make.activation(),
        LinearLayer(120, 84), make.activation(), LinearLayer(84, make.classes),
    ])  # fmt: skip


def cnn(make: Builder) -> LayerByHand:
    """Make a convolutional network: its convolutions, with pooling between, and its readout."""
    channels, kernel, pooling = map(make.setting, ("channels", "kernel", "pooling"))
    before, *size = make.shape
    built: NamedLayers = {}
    skips = set()
    for i, after in enumerate(channels, 1):
        last = i == len(channels) or channels[i] != after  # of those with as many channels
        stride = 2 if last and pooling == "stride" else 1
        built[f"layer{i}"] = make.convolution(before, after, kernel, stride)
        if make.setting("skip") and before == after and stride == 1 and i > 1:  # the image is not added
            skips.add(f"layer{i}")
        size = [(n + 2 * (kernel // 2) - kernel) // stride + 1 for n in size]
        if last and pooling in POOLINGS:
            built[f"pool{i}"] = POOLINGS[pooling](2)
            size = [n // 2 for n in size]
        before = after
    if make.setting("readout") == "global":
        built["mean"], size = GlobalAveragePoolingLayer(), [1, 1]
    hidden = make.setting("hidden") if make.setting("readout") == "dense" else ()
    widths = [before * size[0] * size[1], *hidden, make.classes]
    return LayersInRow({**built, "flatten": FlattenLayer(), **_readout(make, widths)}, skips)


def _readout(make: Builder, widths: Sequence[int]) -> NamedLayers:
    """Make the linear layers behind convolutions."""
    built: NamedLayers = {}
    for i, (before, after) in enumerate(itertools.pairwise(widths), 1):
        built |= make.dropout(f"dropout{i}")
        if i == len(widths) - 1:
            built["output"] = LinearLayer(before, after)
            continue
        built[f"hidden{i}"] = LinearLayer(before, after, bias=make.bias)
        built |= make.normalisation(after, f"norm{i}")
        built[f"activation{i}"] = make.activation()
    return built


def resnet(make: Builder) -> LayerByHand:
    """Make a residual network of three stages."""
    before = make.setting("channels")
    built: NamedLayers = {"first": make.convolution(make.shape[0], before, 3)}
    for stage, block in itertools.product(range(3), range(make.setting("blocks"))):
        after, stride = make.setting("channels") * 2**stage, 2 if stage and not block else 1
        body = LayersInRow(
            {
                "layer1": make.convolution(before, after, 3, stride),
                "conv": ConvolutionLayer(after, after, 3, padding=(1, 1), bias=make.bias),
                **make.normalisation(after),
            }
        )
        around: LayerByHand | None = None
        if make.setting("skip"):
            around = IdentityLayer() if before == after else ShortcutLayer(after - before, stride)
        built[f"stage{stage + 1}_block{block + 1}"] = BlockLayer(body, make.activation(), around)
        before = after
    built |= {"mean": GlobalAveragePoolingLayer(), "flatten": FlattenLayer()}
    return LayersInRow({**built, "output": LinearLayer(before, make.classes)})


NETWORKS: dict[str, Callable[[Builder], LayerByHand]] = {
    "mlp": mlp, "linear": linear, "lenet5": lenet5, "cnn": cnn, "resnet": resnet,
}  # fmt: skip


def network(make: Builder, seed: int, dtype: DTypeLike) -> LayerByHand:
    """Build a network with the initial weights of a seed, its arrays in `dtype`."""
    built = NETWORKS[make.settings["architecture"]](make)
    _start(built, make, seed)
    for _, layer in built.walk():
        layer.parameters = {name: array.astype(dtype) for name, array in layer.parameters.items()}
        layer.buffers = {
            name: array.astype(dtype) if array.dtype.kind == "f" else array
            for name, array in layer.buffers.items()
        }
    return built


def count(settings: Mapping[str, Any], shape: Shape, classes: int, most: int) -> tuple[int, int | None]:
    """Count a network's parameters, and the operations of its products for one image.

    A multiplication and an addition are two operations. None where there are more than `most` parameters, or
    the image is too small for the network.
    """
    # An activation has neither, and may be a person's own.
    built = NETWORKS[settings["architecture"]](
        Builder(shape, classes, {**settings, "activation": "identity"})
    )
    parameters = sum(array.size for array in built.named_parameters().values())
    if parameters > most:  # they are zeros, which have taken no memory yet
        return parameters, None
    flat = settings["architecture"] in MLPS
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            built.forward(np.zeros((1, math.prod(shape)) if flat else (1, *shape)))
    except ValueError:
        return parameters, None
    counts = [layer.operations() for _, layer in built.walk() if layer.kind in ("Linear", "Conv2d")]
    return parameters, sum(counts) if all(counts) else None


def _start(built: LayerByHand, make: Builder, seed: int) -> None:
    """Draw initial weights, as all engines do, into the linear layers and the convolutions."""
    drawn: dict[str, list[LayerByHand]] = {"Linear": [], "Conv2d": []}
    for _, layer in built.walk():
        if layer.kind in drawn:
            drawn[layer.kind].append(layer)
    if make.settings["architecture"] in MLPS:
        weights = [layer.parameters["weight"] for layer in drawn["Linear"]]
        widths = [weights[0].shape[1], *(len(weight) for weight in weights)]
        rule = make.settings.get("initial_weights", UNIFORM_FAN_IN)
        layers = initial_layers(widths, stream(seed, "weights"), rule)
        for layer, start in zip(drawn["Linear"], layers, strict=True):
            for name, array in layer.parameters.items():
                array[...] = getattr(start, name)
        return
    for kind, alike in drawn.items():
        for number, layer in enumerate(alike):
            shapes = [array.shape for array in layer.parameters.values()]
            for array, values in zip(
                layer.parameters.values(), fan_in_draws(kind, number, shapes, seed), strict=True
            ):
                array[...] = values
