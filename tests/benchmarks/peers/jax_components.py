"""JAX with the components that `cells` names: one process of as many as there are cores, on one of them.

    python tests/benchmarks/peers/jax_components.py '{"images": FOLDER, "settings": {..}, "rates": [..], ..}'

An epoch is one jitted scan over batches that are gathered from images in memory, with the weights donated.
Three layouts of the members compete, and how many train as one: `images` is `jax.vmap` of one member's step,
a row an image; `members` is the same with a column an image; `rows` keeps layer one of all members as one
matrix (K h, D), so that it is one product and nothing is transposed. JAX 0.4.31 is fast in the first alone:
it fuses a batched product with the bias behind it, and computes what comes before it over and over.

Printed is one line of JSON: processor seconds and seconds by what they were spent on, and test accuracies;
or, of a short try, the processor seconds that a member would take with each form.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import sys
import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_default_prng_impl", "unsafe_rbg")  # the fastest on a CPU
PIECE = 250  # images that are evaluated at once, at most
LEAST_PIECE = 50  # smaller pieces cost more than they save
CLASSES = 10
TRIES, ENOUGH = 4, 1.0  # calls of a short try, or processor seconds after which there is no other
TRY = 60  # steps of a short try
BITS = 16  # of a random number that decides whether a unit is dropped
Arrays = Any  # a pytree of arrays, the members in front

ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "relu": jax.nn.relu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
}


def cross_entropy(z: Any, target: Any) -> Any:
    """Softmax cross-entropy of logits (.., C, B)."""
    return -(jax.nn.log_softmax(z, -2) * target).sum(-2)


def quadratic(z: Any, target: Any) -> Any:
    """Half the squared error of probabilities."""
    return jnp.square(jax.nn.softmax(z, -2) - target).sum(-2) / 2


def squared(z: Any, target: Any) -> Any:
    """The mean squared error of sigmoid scores."""
    return jnp.square(jax.nn.sigmoid(z) - target).mean(-2)


def correct_class(z: Any, target: Any) -> Any:
    """The correct-class quadratic loss of logits, with the weight for their number of classes."""
    missing = 1 - (z * target).sum(-2)
    return jnp.square(z - target).sum(-2) / 2 + ((z.shape[-2] - 1) ** 0.5 - 1) / 2 * jnp.square(missing)


LOSSES: Mapping[tuple[str, str], Callable[[Any, Any], Any]] = {
    ("identity", "ce"): cross_entropy,
    ("softmax", "ql"): quadratic,
    ("sigmoid", "mse"): squared,
    ("identity", "ccql"): correct_class,
}


def step_of(name: str, g: Any, states: tuple[Any, ...], t: Any) -> tuple[Any, tuple[Any, ...]]:
    """The direction of one parameter's step, before its learning rate, and the new states."""
    if name == "sgd":
        return g, states
    if name == "momentum":
        v = 0.9 * states[0] + g
        return v, (v,)
    if name == "adam":
        m, v = 0.9 * states[0] + 0.1 * g, 0.999 * states[1] + 0.001 * g * g
        unbiased = jnp.sqrt(1 - 0.999**t)
        return (unbiased / (1 - 0.9**t)) * m / (jnp.sqrt(v) + 1e-8 * unbiased), (m, v)
    if name == "rmsprop":
        v = 0.99 * states[0] + 0.01 * g * g
        return g / (jnp.sqrt(v) + 1e-8), (v,)
    total = states[0] + g * g  # adagrad
    return g / (jnp.sqrt(total) + 1e-10), (total,)


STATES = {"sgd": 0, "momentum": 1, "adam": 2, "rmsprop": 1, "adagrad": 1}


@dataclass(frozen=True)
class Task:
    """What a process trains: settings of all its trials, their learning rates, and where the images lie."""

    images: str
    scale: float
    shift: float
    settings: Mapping[str, Any]
    rates: Sequence[float]
    epochs: int
    form: str = ""
    """Layout and members that train as one, such as `rows 16`."""
    tries: Sequence[str] = ()
    """Forms of which some steps are timed, instead of all that."""
    core: int = -1
    inputs: int = 784

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.inputs, *self.settings["hidden"], CLASSES)

    @property
    def mlp(self) -> bool:
        return str(self.settings.get("architecture", "mlp")) == "mlp"


def outputs(layout: str, layers: Arrays, x: Any, act: Callable[[Any], Any], masks: Sequence[Any]) -> Any:
    """Logits (K, C, B) of images (B, D); of one member (C, B) in the layouts `members` and `images`."""
    (w, b), *behind = layers
    if layout == "images":
        a = x @ w + b  # (B, h)
        for i, (w, b) in enumerate(behind):
            a = act(a)
            a = (a * masks[i].T if masks else a) @ w + b
        return a.T
    a = w @ x.T + b  # rows: (K h, D); members: (h, D)
    if layout == "rows":
        a = a.reshape(*behind[0][0].shape[::2], x.shape[0])
    for i, (w, b) in enumerate(behind):
        a = act(a)
        if masks:
            a = a * masks[i]
        a = w @ a + b
    return a


def piece_of(images: int) -> int:
    """Images that are evaluated at once: the greatest divisor of all of them up to PIECE.

    Where there are none but small ones, as of a prime number, it is all of them.
    """
    greatest = max(size for size in range(1, min(PIECE, images) + 1) if images % size == 0)
    return greatest if greatest >= LEAST_PIECE else images


class Members:
    """K trials in training, as one."""

    def __init__(self, task: Task, form: str, k: int) -> None:
        self.layout, self.task, self.k = form.split(maxsplit=1)[0], task, k
        self.act = ACTIVATIONS[task.settings["activation"]]
        self.loss = LOSSES[task.settings["head"], task.settings["loss"]]
        self.optimizer, self.dropout = task.settings["optimizer"], task.settings.get("dropout", 0.0)

    def begin(self) -> Arrays:
        """Weights of torch.nn's default distribution, empty states, no step done."""
        rng, layers = np.random.default_rng(0), []
        for n, (i, o) in enumerate(itertools.pairwise(self.task.widths)):
            shapes = ((self.k, o, i), (self.k, o, 1))
            w, b = (rng.uniform(-(i**-0.5), i**-0.5, shape).astype(np.float32) for shape in shapes)
            if n == 0 and self.layout == "rows":
                w, b = w.reshape(-1, i), b.reshape(-1, 1)
            if self.layout == "images":
                w, b = w.swapaxes(1, 2).copy(), b.swapaxes(1, 2).copy()
            layers.append((jnp.asarray(w), jnp.asarray(b)))
        states = [jax.tree.map(jnp.zeros_like, layers) for _ in range(STATES[self.optimizer])]
        return layers, states, jnp.zeros((), jnp.float32)

    def masks(self, key: Any, batch: int) -> list[Any]:
        """Dropout's masks, which the members share, as they have the same seed."""
        if not self.dropout:
            return []
        hidden = self.task.widths[1:-1]
        keys = jax.random.split(key, len(hidden))
        least = round(self.dropout * 2**BITS)
        drawn = [
            jax.random.bits(k, (h, batch), jnp.uint16) >= least for k, h in zip(keys, hidden, strict=True)
        ]
        return [one.astype(jnp.float32) / (1 - self.dropout) for one in drawn]

    def gradients(self, layers: Arrays, x: Any, target: Any, masks: Sequence[Any]) -> Arrays:
        """Of every member's mean loss."""

        def total(layers: Arrays) -> Any:
            z = outputs(self.layout, layers, x, self.act, masks)
            return self.loss(z, target).sum() / x.shape[0]

        gradient = jax.grad(total)
        return gradient(layers) if self.layout == "rows" else jax.vmap(gradient)(layers)

    def step(self, state: Arrays, x: Any, target: Any, key: Any, rates: Any) -> Arrays:
        """One step of all members."""
        layers, states, t = state
        g = self.gradients(layers, x, target, self.masks(key, x.shape[0]))
        t = t + 1
        flat, tree = jax.tree.flatten(layers)
        kept = zip(*(jax.tree.leaves(one) for one in states), strict=True) if states else [()] * len(flat)
        moved = []
        for p, d, old in zip(flat, jax.tree.leaves(g), kept, strict=True):
            rate = jnp.repeat(rates, p.shape[0] // self.k).reshape(-1, *[1] * (p.ndim - 1))
            direction, new = step_of(self.optimizer, d, old, t)
            moved.append((p - rate * direction, new))
        layers = jax.tree.unflatten(tree, [p for p, _ in moved])
        states = [jax.tree.unflatten(tree, [new[i] for _, new in moved]) for i in range(len(states))]
        return layers, states, t

    def epoch(self, state: Arrays, order: Any, key: Any, rates: Any, x: Any, y: Any) -> Arrays:
        """Train on the batches of `order`, the last of them short where it is."""
        size = self.task.settings["batch_size"]

        def on(state: Arrays, batch: Any) -> Arrays:
            target = (jnp.arange(CLASSES)[:, None] == y[batch]).astype(jnp.float32)
            return self.step(state, x[batch], target, jax.random.fold_in(key, batch[0]), rates)

        full = len(order) // size * size
        state, _ = jax.lax.scan(
            lambda state, batch: (on(state, batch), None), state, order[:full].reshape(-1, size)
        )
        return on(state, order[full:]) if full < len(order) else state

    def judge(self, layers: Arrays, x: Any, y: Any) -> tuple[Any, Any]:
        """Every member's mean loss and accuracy (K,)."""
        size = piece_of(len(y))

        def piece(part: tuple[Any, Any]) -> tuple[Any, Any]:
            images, labels = part
            of = functools.partial(outputs, self.layout, x=images, act=self.act, masks=())
            z = of(layers) if self.layout == "rows" else jax.vmap(of)(layers)
            target = (jnp.arange(CLASSES)[:, None] == labels).astype(jnp.float32)
            return self.loss(z, target).sum(-1), (z.argmax(-2) == labels).sum(-1)

        loss, right = jax.lax.map(piece, (x.reshape(-1, size, x.shape[-1]), y.reshape(-1, size)))
        return loss.sum(0) / len(y), right.sum(0) / len(y)


@dataclass
class Spent:
    """Processor seconds and seconds of this process, by what they were spent on."""

    cpu: dict[str, float] = field(default_factory=dict)
    wall: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        before = clock.process_time(), clock.perf_counter()
        yield
        self.cpu[what] = self.cpu.get(what, 0.0) + clock.process_time() - before[0]
        self.wall[what] = self.wall.get(what, 0.0) + clock.perf_counter() - before[1]


def load(task: Task) -> dict[str, tuple[Any, Any]]:
    """Images and labels of every split, from files of bytes, preprocessed into memory."""

    def pixels(x: Any) -> Any:
        return x.astype(np.float32) * np.float32(task.scale) + np.float32(task.shift)

    def read(split: str) -> tuple[Any, Any]:
        x, y = (np.load(Path(task.images) / f"{split}_{what}.npy") for what in "xy")
        return jnp.asarray(pixels(x)), jnp.asarray(y, jnp.int32)

    return {split: read(split) for split in ("train", "val", "test")}


def members(task: Task, form: str, k: int) -> Members:
    """K trials of a task: of an MLP, or of another network."""
    if task.mlp:
        return Members(task, form, k)
    from peers.jax_networks import NetworkMembers

    return NetworkMembers(task, form, k)


class Group:
    """Compiled members."""

    def __init__(self, task: Task, form: str, k: int, data: Any, steps: int) -> None:
        self.members, self.data = members(task, form, k), data
        self.size = task.settings["batch_size"]
        x, y = data["train"]
        order = jax.ShapeDtypeStruct((min(steps * self.size, len(y)),), jnp.int32)
        self.key, self.rates = jax.random.key(0), jnp.zeros(k, jnp.float32)
        state = jax.eval_shape(self.members.begin)
        epoch = jax.jit(self.members.epoch, donate_argnums=0)
        self.epoch = epoch.lower(state, order, self.key, self.rates, x, y).compile()
        self.drawn = order.shape[0]
        self.judges: dict[str, Any] = {}
        self.state: Arrays = None

    def compile_judges(self, splits: Sequence[str] = ("train", "val", "test")) -> None:
        judge, state = jax.jit(self.members.judge), jax.eval_shape(self.members.begin)
        self.judges = {split: judge.lower(state[0], *self.data[split]).compile() for split in splits}

    def compile_small_ones(self, rates: Sequence[float]) -> None:
        """What JAX compiles at its first use: the start's zeros, a key's successor."""
        self.begin(rates)
        jax.block_until_ready(jax.random.fold_in(self.key, 1))

    def begin(self, rates: Sequence[float]) -> None:
        self.rates, self.state = jnp.asarray(rates, jnp.float32), self.members.begin()

    def train(self, rng: np.random.Generator) -> None:
        x, y = self.data["train"]
        self.key = jax.random.fold_in(self.key, 1)
        order = jnp.asarray(rng.permutation(len(y))[: self.drawn], jnp.int32)
        self.state = jax.block_until_ready(self.epoch(self.state, order, self.key, self.rates, x, y))

    def evaluate(self, split: str) -> list[float]:
        _, right = jax.block_until_ready(self.judges[split](self.state[0], *self.data[split]))
        accuracies: list[float] = np.asarray(right).tolist()  # slicing would be compiled
        return accuracies


def seconds_a_member(task: Task, data: Any) -> dict[str, float]:
    """Processor seconds that all steps and evaluations of a member would take, by form."""
    steps = max(TRY, 2 * TRY * 32 // task.settings["batch_size"])
    sizes = {split: len(y) for split, (_, y) in data.items()}
    evaluated = (task.epochs + 1) * (sizes["train"] + sizes["val"]) + sizes["test"]
    wanted = task.epochs * sizes["train"]
    tried = {}
    for form in task.tries:
        size = int(form.split()[1])
        group = Group(task, form, size, data, steps)
        group.compile_judges(("val",))
        rng = np.random.default_rng(0)
        group.begin(task.rates[:size])
        an_image = _least(functools.partial(group.train, rng)) / group.drawn
        an_evaluation = _least(functools.partial(group.evaluate, "val")) / sizes["val"]
        tried[form] = (wanted * an_image + evaluated * an_evaluation) / size
    return tried


def _least(do: Callable[[], object]) -> float:
    """The least processor seconds of some calls, the first left out; a slow one is called once."""
    taken: list[float] = []
    while len(taken) < TRIES and sum(taken) < ENOUGH:
        before = clock.process_time()
        do()
        taken.append(clock.process_time() - before)
    return min(taken[1:] or taken)


def main() -> None:
    """Train a task, or try its forms, and print what it took."""
    begun = clock.process_time()
    sys.path.append(str(Path(__file__).parents[1]))  # of the package `peers`
    task, spent = Task(**json.loads(sys.argv[1])), Spent({"start": begun}, {})
    if task.core >= 0:
        os.sched_setaffinity(0, {task.core})
    with spent.on("load"):
        data = jax.block_until_ready(load(task))
    tried = seconds_a_member(task, data) if task.tries else {}
    accuracies = [] if task.tries else trained(task, data, spent)
    print(json.dumps({"tried": tried, "cpu": spent.cpu, "wall": spent.wall, "accuracies": accuracies}))


def trained(task: Task, data: Any, spent: Spent) -> list[float]:
    """Train all trials, group after group; gives test accuracies."""
    accuracies: list[float] = []
    size = int(task.form.split()[1])
    compiled: dict[int, Group] = {}
    rng = np.random.default_rng(0)
    for i in range(0, len(task.rates), size):
        rates = task.rates[i : i + size]
        with spent.on("compile"):
            if len(rates) not in compiled:
                compiled[len(rates)] = Group(task, task.form, len(rates), data, len(data["train"][1]))
                compiled[len(rates)].compile_judges()
                compiled[len(rates)].compile_small_ones(rates)
            group = compiled[len(rates)]
        with spent.on("train"):
            group.begin(rates)
        for epoch in range(task.epochs + 1):
            if epoch:
                with spent.on("train"):
                    group.train(rng)
            with spent.on("evaluate"):
                group.evaluate("train")
                group.evaluate("val")
        with spent.on("evaluate"):
            accuracies += group.evaluate("test")
    return accuracies


if __name__ == "__main__":
    main()
