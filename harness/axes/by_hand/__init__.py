"""Networks of layers in NumPy: each layer's forward pass, and its backward pass derived by hand.

A layer is a small class (`layers.Layer`); one file a topic: layers (linear, activation, dropout),
convolution, pooling, normalisation, composition (one layer after another, and addition). `networks` has the
harness's architectures made of them. PyTorch is not imported, and names and shapes of weights are its own.
"""

from harness.axes.by_hand.layers import Layer
from harness.axes.by_hand.networks import NETWORKS, network

__all__ = ["NETWORKS", "Layer", "network"]
