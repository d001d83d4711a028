"""Architectures: from an image's shape and a class count to a network that gives logits."""

from harness.axes.architectures.convolutional import lenet5
from harness.axes.architectures.initial_weights import Layer, initial_layers, inverse_root
from harness.axes.architectures.mlp import mlp
from harness.axes.architectures.registry import Architecture, Shape, architectures

__all__ = [
    "Architecture", "Layer", "Shape", "architectures", "initial_layers", "inverse_root", "lenet5", "mlp",
]  # fmt: skip
