"""A person's own activation, loss and optimizer, a few lines each, and a data set of noise, for `cells`."""

import numpy as np
import torch

from harness.axes.activations import activations
from harness.axes.architectures import architectures
from harness.axes.losses import losses
from harness.axes.optimizers import optimizers
from harness.data.datasets import datasets
from harness.data.images import Images

PREFIX = "bench_"  # of every name here
RGB = (32, 3 * 32)  # the three colours of an image stand beside one another
TRAIN, TEST = 12_000, 2_000
SIGNAL = 16  # of 255, by which a class's pattern brightens its pixels


@activations.register("bench_mish")
def mish(x):  # type: ignore[no-untyped-def]
    """x tanh(softplus(x)) (Misra 2019)."""
    return x * torch.tanh(torch.nn.functional.softplus(x))


@losses.register("bench_hinge", takes="logits")
def hinge(z, target):  # type: ignore[no-untyped-def]
    """Squared hinge, each class against the rest."""
    return torch.relu(1 - z * (2 * target - 1)).square().sum(-1)


@optimizers.register("bench_lion")
def lion(param, grad, state, _t, *, lr=3e-4, b1=0.9, b2=0.99):  # type: ignore[no-untyped-def]
    """The sign of a running mean (Chen et al. 2023)."""
    mean = state.setdefault("mean", torch.zeros_like(param))
    param.sub_((lr * torch.sign(mean * b1 + grad * (1 - b1))).to(param.dtype))
    mean.mul_(b2).add_(grad * (1 - b2))


class Centres(torch.nn.Module):
    """Distances to points that are learnt, as scores: no layer that the harness knows."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.points = torch.nn.Parameter(torch.randn(classes, inputs))

    def forward(self, x):  # type: ignore[no-untyped-def]
        return -torch.cdist(x, self.points)


@architectures.register("bench_centres")
def centres(shape, classes, activation):  # type: ignore[no-untyped-def]
    """Two convolutions ahead of distances."""
    layers, (channels, height, width) = torch.nn, shape
    return layers.Sequential(
        layers.Conv2d(channels, 8, 5, stride=2, padding=2), activation(),
        layers.Conv2d(8, 16, 3, stride=2, padding=1), activation(), layers.Flatten(),
        layers.Linear(16 * ((height + 3) // 4) * ((width + 3) // 4), 32), Centres(32, classes),
    )  # fmt: skip


@datasets.register("bench_rgb", classes=tuple("0123456789"), pixel_max=255)
def rgb() -> Images:
    """Noise, a little brighter where its class's own pattern is: no two pixels are alike."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 2, (10, *RGB), np.uint8) * np.uint8(SIGNAL)

    def drawn(n: int):  # type: ignore[no-untyped-def]
        labels = np.arange(n, dtype=np.int64) % 10
        noise = rng.integers(0, 256 - SIGNAL, (n, *RGB), np.uint8)
        return noise + patterns[labels], labels

    return Images(*drawn(TRAIN), *drawn(TEST))
