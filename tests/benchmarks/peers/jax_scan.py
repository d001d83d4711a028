"""JAX on a GPU: an epoch is one jitted scan over batches gathered there, its step vmapped over the trials.

Float32 products ("highest"), donated buffers; optimizers written by hand as optax has them. Compiled ahead,
outside of the clock.
"""

from __future__ import annotations

import functools
import itertools
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cells import Cell

from harness.data.samples import Data, Split
from peers import groups
from peers.shares import Share, Timing

jax.config.update("jax_default_matmul_precision", "highest")
EVALUATED = 1_000  # images at once; MNIST's splits are multiples of it
CHUNK = 100  # steps of a short try
Arrays = Any  # a pytree of arrays, the members in front


def logits(layers: Arrays, x: Any) -> Any:
    """One member's outputs (B, C)."""
    for w, b in layers[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = layers[-1]
    return x @ w + b


def losses(layers: Arrays, x: Any, y: Any) -> Any:
    """One member's cross-entropy of every image (B,)."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits(layers, x)), y[:, None], 1)[:, 0]


gradients = jax.vmap(jax.grad(lambda layers, x, y: losses(layers, x, y).mean()), (0, None, None))


def update(name: str, state: Arrays, g: Arrays, rates: Any) -> Arrays:
    """One step of all members; state is (layers, first moment, second moment, steps done)."""
    layers, m, v, t = state

    def scaled(direction: Any) -> Any:
        return rates.reshape(-1, *[1] * (direction.ndim - 1)) * direction

    t = t + 1
    if name == "sgd":
        return jax.tree.map(lambda p, d: p - scaled(d), layers, g), m, v, t
    if name == "momentum":
        m = jax.tree.map(lambda old, d: 0.9 * old + d, m, g)
        return jax.tree.map(lambda p, d: p - scaled(d), layers, m), m, v, t
    m = jax.tree.map(lambda old, d: 0.9 * old + 0.1 * d, m, g)
    v = jax.tree.map(lambda old, d: 0.999 * old + 0.001 * d * d, v, g)
    first, second = 1 - 0.9**t, 1 - 0.999**t
    layers = jax.tree.map(lambda p, a, b: p - scaled(a / first / (jnp.sqrt(b / second) + 1e-8)), layers, m, v)
    return layers, m, v, t


def epoch(work: Cell, state: Arrays, order: Any, x: Any, y: Any, rates: Any) -> Arrays:
    """Train on the batches of `order` (N,), the last of them short where it is."""

    def step(state: Arrays, batch: Any) -> tuple[Arrays, None]:
        return update(work.optimizer, state, gradients(state[0], x[batch], y[batch]), rates), None

    full = len(order) // work.batch_size * work.batch_size
    state, _ = jax.lax.scan(step, state, order[:full].reshape(-1, work.batch_size))
    return step(state, order[full:])[0] if full < len(order) else state


def judge(layers: Arrays, x: Any, y: Any) -> tuple[Any, Any]:
    """Every member's mean loss and accuracy (K,)."""
    n = len(y)
    size = EVALUATED if n % EVALUATED == 0 else n

    def piece(part: tuple[Any, Any]) -> tuple[Any, Any]:
        images, labels = part
        each = jax.vmap(losses, (0, None, None))(layers, images, labels)
        right = jax.vmap(logits, (0, None))(layers, images).argmax(-1) == labels
        return each.sum(-1), right.sum(-1)

    loss, right = jax.lax.map(piece, (x.reshape(-1, size, x.shape[-1]), y.reshape(-1, size)))
    return loss.sum(0) / n, right.sum(0) / n


@dataclass(frozen=True)
class Compiled:
    """The two functions of a share, and how long it took to compile them."""

    epoch: Callable[..., Arrays]
    judge: dict[int, Callable[..., tuple[Any, Any]]]
    seconds: float


def begin(work: Cell, members: int) -> Arrays:
    """Weights of torch.nn's default distribution, no momentum, no step done."""
    rng = np.random.default_rng(0)
    layers = []
    for i, o in itertools.pairwise(work.widths):
        w, b = (rng.uniform(-(i**-0.5), i**-0.5, shape) for shape in ((members, i, o), (members, o)))
        layers.append((jnp.asarray(w, jnp.float32), jnp.asarray(b, jnp.float32)))
    m, v = (jax.tree.map(jnp.zeros_like, layers) for _ in range(2))
    return layers, m, v, jnp.zeros((), jnp.float32)


@functools.lru_cache
def compiled(work: Cell, members: int, steps: int) -> Compiled:
    """Compile an epoch of so many steps, and the evaluation of every split."""
    before = clock.perf_counter()
    state = jax.eval_shape(lambda: begin(work, members))
    inputs, (train, *_) = work.widths[0], work.sizes
    floats, ints = (
        functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32),
        functools.partial(jax.ShapeDtypeStruct, dtype=jnp.int32),
    )
    order = ints((min(steps * work.batch_size, train),))
    train_epoch = jax.jit(functools.partial(epoch, work), donate_argnums=0)
    sized = {n: (floats((n, inputs)), ints((n,))) for n in work.sizes}
    return Compiled(
        train_epoch.lower(state, order, *sized[train], floats((members,))).compile(),
        {n: jax.jit(judge).lower(state[0], *pair).compile() for n, pair in sized.items()},
        clock.perf_counter() - before,
    )


class Members:
    """K trials in training, as one."""

    def __init__(self, data: Data, share: Share) -> None:
        splits: tuple[Split, ...] = ("train", "val", "test")
        self.data = {s: (jnp.asarray(data[s].x), jnp.asarray(data[s].y, jnp.int32)) for s in splits}
        self.work, self.members = share.work, len(share.first)
        self.state = begin(share.work, self.members)
        self.rates = jnp.asarray(share.first, jnp.float32)
        self.compiled = compiled(share.work, self.members, _steps(share))
        self.rng = np.random.default_rng(0)

    def train(self, steps: int) -> None:
        """As many steps as were compiled; `steps` is at most that."""
        x, y = self.data["train"]
        order = self.rng.permutation(len(y))[: steps * self.work.batch_size]
        batches = jnp.asarray(order, jnp.int32)
        self.state = self.compiled.epoch(self.state, batches, x, y, self.rates)
        jax.block_until_ready(self.state)

    def evaluate(self, split: Split) -> Sequence[float]:
        """Loss and accuracy of every member."""
        x, y = self.data[split]
        _, right = jax.block_until_ready(self.compiled.judge[len(y)](self.state[0], x, y))
        return [float(one) for one in right]


def _steps(share: Share) -> int:
    epoch = share.work.steps_per_epoch
    return min(CHUNK, epoch) if share.extent == "parts" else epoch


def prepare(share: Share) -> None:
    """Compile; for a GPU where JAX has one and it is wanted."""
    if share.device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    compiled(share.work, len(share.first), _steps(share))


def time(share: Share) -> Timing:
    """One group, whole; or in parts, for a try."""
    return groups.time(share, Members, CHUNK, warm_up=CHUNK)
