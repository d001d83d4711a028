"""JAX with networks that are no MLPs: `jax.vmap` of one member's step, in the scan of `jax_components`.

Two layouts compete. `grouped` leaves convolutions to XLA, for which those of several members are one with
groups; `unfold` writes each as a product of the pixels under the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from peers import jax_components as components

MOMENTUM, EPSILON = 0.1, 1e-5
SHAPES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "lenet5": {"c1": (5, 5, 1, 6), "c2": (5, 5, 6, 16), "l1": (400, 120), "l2": (120, 84), "l3": (84, 10)},
    "cnn": {"c1": (3, 3, 1, 16), "c2": (3, 3, 16, 32), "l1": (32, 10)},
}
"""The weights of each network that is known here; a bias beside each, and batch norms in the cnn."""


def convolve(layout: str, x: Any, w: Any, pad: int) -> Any:
    """Images (B, H, W, C) under kernels (rows, columns, C, O)."""
    rows, columns, before, after = w.shape
    if layout == "grouped":
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, w, (1, 1), [(pad, pad)] * 2, dimension_numbers=numbers)
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    seen = [x[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
    product = jnp.concatenate(seen, -1).reshape(-1, rows * columns * before) @ w.reshape(-1, after)
    return product.reshape(len(x), height, width, after)


def windows(x: Any) -> Any:
    """Windows of two by two pixels, side by side: (B, H / 2, 2, W / 2, 2, C)."""
    b, height, width, channels = x.shape
    return x.reshape(b, height // 2, 2, width // 2, 2, channels)


def lenet5(layout: str, p: Any, x: Any, _kept: Any) -> tuple[Any, Any]:
    """Logits (B, classes), and no statistics."""
    for name, pad in (("c1", 2), ("c2", 0)):
        x = windows(jax.nn.relu(convolve(layout, x, p[name][0], pad) + p[name][1])).mean((2, 4))
    x = x.reshape(len(x), -1)
    for name in ("l1", "l2"):
        x = jax.nn.relu(x @ p[name][0] + p[name][1])
    return x @ p["l3"][0] + p["l3"][1], {}


def cnn(layout: str, p: Any, x: Any, kept: Any) -> tuple[Any, Any]:
    """Logits (B, classes), and the batch's statistics; with `kept` ones, these take their place."""
    found = {}
    for name in ("c1", "c2"):
        w, scale, shift = p[name]
        x = convolve(layout, x, w, 1)
        mean, variance = kept[name] if kept else (x.mean((0, 1, 2)), x.var((0, 1, 2)))
        found[name] = mean, variance * (1 if kept else x[..., 0].size / (x[..., 0].size - 1))
        x = (x - mean) * jax.lax.rsqrt(variance + EPSILON) * scale + shift
        x = windows(jax.nn.relu(x)).max((2, 4))
    return x.mean((1, 2)) @ p["l1"][0] + p["l1"][1], found


NETWORKS = {"lenet5": lenet5, "cnn": cnn}


class NetworkMembers(components.Members):
    """K trials of a network in training, as one; what it keeps beside weights goes with their states."""

    def __init__(self, task: Any, form: str, k: int) -> None:
        super().__init__(task, form, k)
        self.name = task.settings["architecture"]
        self.network = NETWORKS[self.name]

    def begin(self) -> Any:
        """Weights of torch.nn's default distribution, statistics that nothing has moved, no step done."""
        rng = np.random.default_rng(0)
        layers: dict[str, tuple[Any, ...]] = {}
        kept: dict[str, tuple[Any, Any]] = {}
        for name, shape in SHAPES[self.name].items():
            bound = math.prod(shape[:-1]) ** -0.5
            sizes = ((self.k, *shape), (self.k, shape[-1]))
            w, b = (rng.uniform(-bound, bound, size).astype(np.float32) for size in sizes)
            layers[name] = (jnp.asarray(w), jnp.asarray(b))
            if self.name == "cnn" and name.startswith("c"):
                layers[name] = (jnp.asarray(w), jnp.ones(b.shape), jnp.zeros(b.shape))
                kept[name] = (jnp.zeros(b.shape), jnp.ones(b.shape))  # anew: each is donated
        return (layers, kept), [], jnp.zeros((), jnp.float32)

    def step(self, state: Any, x: Any, target: Any, _key: Any, rates: Any) -> Any:
        """One step of all members, by gradient descent."""
        (layers, kept), states, t = state

        def total(p: Any) -> tuple[Any, Any]:
            z, found = self.network(self.layout, p, self.images(x), None)
            return self.loss(z.T, target).mean(), found

        gradients, found = jax.vmap(jax.grad(total, has_aux=True))(layers)
        layers = jax.tree.map(lambda p, g: p - rates.reshape(-1, *[1] * (p.ndim - 1)) * g, layers, gradients)
        kept = jax.tree.map(lambda old, new: (1 - MOMENTUM) * old + MOMENTUM * new, kept, found)
        return (layers, kept), states, t + 1

    def judge(self, values: Any, x: Any, y: Any) -> tuple[Any, Any]:
        """Every member's mean loss and accuracy (K,)."""
        size = components.piece_of(len(y))

        def piece(part: tuple[Any, Any]) -> tuple[Any, Any]:
            images, labels = part
            of = lambda p, kept: self.network(self.layout, p, self.images(images), kept)[0]  # noqa: E731
            z = jax.vmap(of)(*values).swapaxes(1, 2)
            target = (jnp.arange(components.CLASSES)[:, None] == labels).astype(jnp.float32)
            return self.loss(z, target).sum(-1), (z.argmax(-2) == labels).sum(-1)

        loss, right = jax.lax.map(piece, (x.reshape(-1, size, x.shape[-1]), y.reshape(-1, size)))
        return loss.sum(0) / len(y), right.sum(0) / len(y)

    def images(self, x: Any) -> Any:
        """Rows of pixels as square images (B, H, W, 1)."""
        side = math.isqrt(x.shape[-1])
        return x.reshape(-1, side, side, 1)
