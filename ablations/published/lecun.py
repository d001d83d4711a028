"""What the multilayer networks of LeCun, Bottou, Bengio and Haffner (1998) are made of, beside their start.

Source: "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86(11): pixels from
-0.1 (background) to 1.175 (ink), units 1.7159 tanh(2 a / 3) (appendix A), and a mean squared error whose
targets are +1 for the class and -1 for the others.
"""

import torch
from torch import Tensor

from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.preprocessing import preprocessings
from harness.data.preprocessing import Pixels, PixelStatistics

BACKGROUND, INK = -0.1, 1.175
HEIGHT, SLOPE = 1.7159, 2 / 3


@preprocessings.register("lecun_pixels")
def lecun_pixels(x: Pixels, pixels: PixelStatistics) -> Pixels:
    """-0.1 of background to 1.175 of ink, so that the mean is about 0 and the variance about 1."""
    return BACKGROUND + x / pixels.max * (INK - BACKGROUND)


@activations.register("scaled_tanh")
def scaled_tanh(x: Tensor) -> Tensor:
    """1.7159 tanh(2x/3): its value at 1 is 1, at -1 is -1."""
    return HEIGHT * torch.tanh(SLOPE * x)


@heads.register("scaled_tanh", kind="logits")
def scaled_tanh_outputs(z: Tensor) -> Tensor:
    """1.7159 tanh(2z/3) of each class on its own; the largest is the class."""
    return HEIGHT * torch.tanh(SLOPE * z)


@losses.register("signed_ql", takes="logits", gradient=lambda f, target: f - (2 * target - 1))
def signed_ql(f: Tensor, target: Tensor) -> Tensor:
    """Half the sum over classes of (f - t)^2, where t is 1 for the class and -1 for the others."""
    return 0.5 * ((f - (2 * target - 1)) ** 2).sum(-1)
