"""The harness's architectures, made of layers by hand; names of weights are those of their nn.Modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from numpy.typing import DTypeLike

from harness.axes import formulas
from harness.axes.architectures import Shape
from harness.axes.by_hand.composition import Sequential
from harness.axes.by_hand.convolution import Convolution
from harness.axes.by_hand.layers import Activation, Draw, Dropout, Flatten, Layer, Linear
from harness.axes.by_hand.pooling import AveragePooling


class Parts(NamedTuple):
    """What an architecture is made for: the images' shape (C, H, W), the classes, its settings.

    `activation` makes an activation, and `dropout` a dropout layer of a share, with numbers of its own.
    """

    shape: Shape
    classes: int
    settings: Mapping[str, Any]
    activation: Callable[[], Layer]
    dropout: Callable[[float], Layer]


def lenet5(parts: Parts) -> Layer:
    """LeNet-5, as harness/axes/architectures/convolutional.py has it."""
    channels, height, width = parts.shape
    rows, columns = max(0, (32 - height + 1) // 2), max(0, (32 - width + 1) // 2)
    left = [((n + 2 * pad - 4) // 2 - 4) // 2 for n, pad in ((height, rows), (width, columns))]
    activation = parts.activation
    return Sequential([
        Convolution(channels, 6, 5, padding=(rows, columns)), activation(), AveragePooling(2),
        Convolution(6, 16, 5), activation(), AveragePooling(2), Flatten(),
        Linear(16 * left[0] * left[1], 120), activation(),
        Linear(120, 84), activation(), Linear(84, parts.classes),
    ])  # fmt: skip


NETWORKS: dict[str, Callable[[Parts], Layer]] = {"lenet5": lenet5}
"""Architecture -> its network; a plain mlp is written out in harness/engines/numpy_engine.py instead."""


def network(
    settings: Mapping[str, Any], shape: Shape, classes: int, dtype: DTypeLike, draw: Callable[..., Any]
) -> Layer:
    """Build the network of these settings for images (C, H, W), all weights zero.

    Args:
        settings: of a trial: its architecture, its activation, and the architecture's own.
        shape: channels, height and width.
        classes: the width of its output.
        dtype: of its arrays.
        draw: (dropout layer, step, width, batch) -> uniform numbers (width, batch).
    """
    count = iter(range(1 << 30))

    def dropout(p: float) -> Layer:
        number = next(count)
        of_layer: Draw = lambda step, width, batch: draw(number, step, width, batch)  # noqa: E731
        return Dropout(p, of_layer)

    def activation() -> Layer:
        return Activation(formulas.ACTIVATIONS[settings["activation"]])

    built = NETWORKS[settings["architecture"]](Parts(shape, classes, settings, activation, dropout))
    for _, layer in built.walk():
        layer.parameters = {name: array.astype(dtype) for name, array in layer.parameters.items()}
        layer.buffers = {
            name: array.astype(dtype) if array.dtype.kind == "f" else array
            for name, array in layer.buffers.items()
        }
    return built
