"""Architectures: from an image's shape and a class count to a network that gives logits."""

from harness.axes.architectures.convolutional import cnn, lenet5, resnet, smallest_map
from harness.axes.architectures.initial_weights import (
    NORMAL,
    RULES,
    UNIFORM_FAN_IN,
    Layer,
    fan_in_draws,
    initial_layers,
    initialise,
    inverse_root,
)
from harness.axes.architectures.mlp import MLPS, linear, mlp
from harness.axes.architectures.registry import Architecture, Shape, architectures

__all__ = [
    "MLPS", "NORMAL", "RULES", "UNIFORM_FAN_IN", "Architecture", "Layer", "Shape", "architectures", "cnn",
    "fan_in_draws", "initial_layers", "initialise", "inverse_root", "lenet5", "linear", "mlp", "resnet",
    "smallest_map",
]  # fmt: skip
