"""Networks of layers in NumPy: each layer's forward pass, and its backward pass derived by hand.

A layer is a small class (`layers.LayerByHand`); one file a topic: layers (linear, activation, dropout),
convolution, pooling, normalisation, composition (one layer after another, and skip connections). `networks`
has the harness's architectures made of them, with their initial weights. PyTorch is not imported; weights
have the names and shapes of its state_dict.
"""

from harness.axes.by_hand.layers import LayerByHand
from harness.axes.by_hand.networks import NETWORKS, Builder, count, network

__all__ = ["NETWORKS", "Builder", "LayerByHand", "count", "network"]
