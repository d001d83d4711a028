"""The NumPy engine trains a network with nothing but NumPy, its gradients derived by hand.

It is there to be read, and to check the other engines by: it shares their start, their batches and their
run (driver.py), and none of their arithmetic. For a batch x (B, D) and layers i = 0 .. L-1 of weights W_i
(out, in) and biases b_i, the network computes

    y_0 = x,   z_i = y_i W_i^T + b_i,   y_(i+1) = m_i phi(z_i),   f = head(z_(L-1)),   loss = mean of l(f, t),

and, by the chain rule from the back, with d_i the gradient of the loss at z_i,

    d_(L-1) = head'(l'(f, t)) / B,   d_(i-1) = phi'(m_(i-1) d_i W_i),   dW_i = d_i^T y_i,   db_i = d_i's sum.

m_i is dropout's mask and t the target: while training, the smoothed labels. An evaluation is without either.
That is `NumpyNetwork`. Any other architecture is a `LayeredNetwork`, whose convolutions, pooling, norms and
skip connections are in harness/axes/by_hand/: there each layer has its own forward and backward pass.
phi, head, l and the optimizers are in harness/axes/formulas.py. PyTorch is not imported.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from harness.axes import by_hand, formulas
from harness.axes.architectures import Shape, architectures, initial_layers
from harness.axes.formulas import Array
from harness.axes.heads import Kind, heads
from harness.axes.losses import losses
from harness.axes.optimizers import optimizers
from harness.data.arm_settings import Settings
from harness.data.batches import Budget
from harness.data.samples import Data, Split
from harness.engines import driver
from harness.engines.augmentation import augmented
from harness.engines.base import (
    DEFAULT_OPTIONS,
    EngineOptions,
    batch_indices,
    learning_rates,
    steps_before,
    uniforms,
)
from harness.engines.outcome import EVALUATION_BATCH, Evaluation, Floats, Outcome
from harness.engines.states import State, join_alone, numbered, select_alone
from harness.rng import stream
from harness.settings import Value
from harness.study.trials import Trial

select = select_alone
join = join_alone

IMAGES_AT_ONCE = 200
"""So many images go through layers at once in an evaluation: each pixel's patch is copied, for a product."""


class ForwardPass(NamedTuple):
    """The results of a forward pass, layer by layer, for backpropagation: see the module's docstring.

    `y[i]` (B, in) went into layer i, `z[i]` (B, out) came out of it, and `a[i]` (B, out) is phi of that;
    `m[i]` (B, out) is dropout's mask on it, if there is any. `f` (B, C) is the network's output.
    """

    y: list[Array]
    z: list[Array]
    a: list[Array]
    m: Sequence[Array]
    f: Array


class Trainable(Protocol):
    """A network and its loss, as `NumpyTraining` trains and evaluates one.

    `kind` is that of its output; `parameters` are the arrays that an optimizer changes in place.
    """

    kind: Kind

    @property
    def parameters(self) -> list[Array]:
        """Return the arrays that are trained: the very ones, in the order of their gradients."""

    def named(self) -> dict[str, Array]:
        """Return the parameters by the names under which they are kept."""

    def output(self, x: Array) -> Array:
        """Compute the output (B, C) for a batch x (B, D), in inference mode."""

    def losses(self, f: Array, t: Array) -> Array:
        """Compute the loss of each sample (B,), of outputs f (B, C) against targets t (B, C)."""

    def loss_and_gradients(self, step: int, x: Array, t: Array) -> tuple[float, list[Array]]:
        """Compute a training step's mean loss and its gradients, in the order of `parameters`."""


class LossOfLogits:
    """A trial's head and loss, which are behind any network, and their derivative."""

    def __init__(self, settings: Settings) -> None:
        self.head = formulas.HEADS[settings.head]
        self.kind: Kind = heads[settings.head].kind
        self.loss = formulas.loss_of(settings)
        self.loss_settings = {name: settings[name] for name in losses[settings.loss].settings}

    def losses(self, f: Array, t: Array) -> Array:
        """Compute the loss of each sample (B,), of outputs f (B, C) against targets t (B, C)."""
        return self.loss.forward(f, t, **self.loss_settings)

    def at_logits(self, f: Array, t: Array) -> Array:
        """Compute the gradient of the batch's mean loss at the logits (B, C)."""
        return self.head.backward(self.loss.backward(f, t, **self.loss_settings), f) / len(t)


class NumpyNetwork(LossOfLogits):
    """A trial's multilayer perceptron and its loss: `weights[i]` (out, in) and `biases[i]` (out,)."""

    def __init__(self, trial: Trial, inputs: int, classes: int, dtype: DTypeLike) -> None:
        settings = trial.arm.settings
        super().__init__(settings)
        widths = [inputs, *settings.hidden, classes]
        start = initial_layers(widths, stream(trial.start_seed, "weights"), settings.initial_weights)
        self.weights: list[Array] = [layer.weight.astype(dtype) for layer in start]
        self.biases: list[Array] = [layer.bias.astype(dtype) for layer in start]
        self.activation = formulas.ACTIVATIONS[settings.activation]
        self.dropout = settings.dropout
        self.seed = trial.step_seed

    @property
    def parameters(self) -> list[Array]:
        """Return all weights and biases, layer by layer: the very arrays, which an optimizer changes."""
        return [array for layer in zip(self.weights, self.biases, strict=True) for array in layer]

    def named(self) -> dict[str, Array]:
        """Return the parameters under torch.nn.Linear's names, in the order of its layers."""
        names = (f"{i}.{kind}" for i in range(len(self.weights)) for kind in ("weight", "bias"))
        return dict(zip(names, self.parameters, strict=True))

    def masks(self, step: int, batch: int) -> list[Array]:
        """Return dropout's masks (B, out) of a training step, one a hidden layer; empty without dropout."""
        if not self.dropout:
            return []
        return [
            formulas.dropout_mask(uniforms(self.seed, i, step, len(bias), batch).T, self.dropout, bias.dtype)
            for i, bias in enumerate(self.biases[:-1])
        ]

    def forward(self, x: Array, m: Sequence[Array] = ()) -> ForwardPass:
        """Compute the output for a batch x (B, D), and everything on the way to it; m are the masks."""
        y, a = [x], []
        z: list[Array] = [x @ self.weights[0].T + self.biases[0]]
        for i, (weight, bias) in enumerate(zip(self.weights[1:], self.biases[1:], strict=True)):
            a.append(self.activation.forward(z[-1]))
            y.append(a[-1] * m[i] if m else a[-1])
            z.append(y[-1] @ weight.T + bias)
        return ForwardPass(y, z, a, m, self.head.forward(z[-1]))

    def output(self, x: Array) -> Array:
        """Compute the output (B, C) for a batch x (B, D), in inference mode."""
        return self.forward(x).f

    def loss_and_gradients(self, step: int, x: Array, t: Array) -> tuple[float, list[Array]]:
        """Compute a training step's mean loss and its gradients, in the order of `parameters`."""
        done = self.forward(x, self.masks(step, len(x)))
        return float(self.losses(done.f, t).mean()), self.backward(done, t)

    def backward(self, done: ForwardPass, t: Array) -> list[Array]:
        """Compute the gradients of the batch's mean loss, in the order of `parameters`: backpropagation."""
        gradients: list[Array] = []
        d: Array = self.at_logits(done.f, t)
        for i in reversed(range(len(self.weights))):
            gradients = [d.T @ done.y[i], d.sum(0), *gradients]
            if i > 0:
                d = d @ self.weights[i]
                d = d * done.m[i - 1] if done.m else d
                d = self.activation.backward(d, done.z[i - 1], done.a[i - 1])
        return gradients


class LayeredNetwork(LossOfLogits):
    """A trial's network of layers (harness/axes/by_hand) and its loss."""

    def __init__(self, trial: Trial, shape: Shape, classes: int, dtype: DTypeLike) -> None:
        settings = trial.arm.settings
        super().__init__(settings)
        draw = functools.partial(uniforms, trial.step_seed)
        self.net = by_hand.network(by_hand.Builder(shape, classes, settings, draw), trial.start_seed, dtype)
        self.shape = shape if architectures[settings.architecture].takes_images else None

    @property
    def parameters(self) -> list[Array]:
        """Return the trained arrays of all layers: the very ones, which an optimizer changes."""
        return list(self.net.named_parameters().values())

    def named(self) -> dict[str, NDArray[Any]]:
        """Return parameters and buffers under the names of the nn.Module's state_dict.

        Of a network of linear layers alone they are numbered by layer, as an mlp's.
        """
        state = self.net.state_dict()
        if any(layer.kind not in ("", "Linear") for _, layer in self.net.walk()):
            return state
        names = (f"{i // 2}.{name.rpartition('.')[2]}" for i, name in enumerate(state))
        return dict(zip(names, state.values(), strict=True))

    def output(self, x: Array) -> Array:
        """Compute the output (B, C) for a batch x (B, D), in inference mode, some images at once."""
        parts = [x[i : i + IMAGES_AT_ONCE] for i in range(0, len(x), IMAGES_AT_ONCE)]
        return np.concatenate([self.head.forward(self.net.forward(self.images(part))) for part in parts])

    def images(self, x: Array) -> Array:
        """View rows of pixels (B, D) as images (B, C, H, W), where the network is for images."""
        return x if self.shape is None else x.reshape(-1, *self.shape)

    def loss_and_gradients(self, step: int, x: Array, t: Array) -> tuple[float, list[Array]]:
        """Compute a training step's mean loss and its gradients, in the order of `parameters`."""
        f = self.head.forward(self.net.forward(self.images(x), step))
        self.net.backward(self.at_logits(f, t))
        return float(self.losses(f, t).mean()), list(self.net.named_gradients().values())


def network_of(trial: Trial, data: Data, dtype: DTypeLike) -> NumpyNetwork | LayeredNetwork:
    """Build a trial's network with its initial weights."""
    classes = len(data.classes)
    if trial.arm.settings.plain_mlp:
        return NumpyNetwork(trial, data.inputs, classes, dtype)
    return LayeredNetwork(trial, data.shape, classes, dtype)


class Stepping(Protocol):
    """An optimizer, as `NumpyTraining` takes steps with one."""

    def step(self, k: int, lr: float, gradients: Sequence[Array]) -> None:
        """Take step k, counted from 1, with learning rate lr."""

    def state_dict(self) -> dict[str, Array]:
        """Return what it keeps between steps."""

    def load_state_dict(self, values: Mapping[str, Array]) -> None:
        """Restore what `state_dict` gave."""


class NumpyOptimizer:
    """A trial's optimizer over a network's parameters: its settings, and its state of each array."""

    def __init__(self, trial: Trial, parameters: Sequence[Array]) -> None:
        settings = trial.arm.settings
        name = settings.optimizer
        self.update = formulas.OPTIMIZERS[name]
        self.settings: dict[str, Value] = {
            key: settings[key] for key in optimizers[name].settings if key != "lr"
        }
        self.parameters = parameters
        self.states: list[formulas.State] = [{} for _ in parameters]

    def step(self, k: int, lr: float, gradients: Sequence[Array]) -> None:
        """Take step k, counted from 1, with learning rate lr."""
        for p, g, state in zip(self.parameters, gradients, self.states, strict=True):
            self.update(p, g, state, k, lr=lr, **self.settings)

    def state_dict(self) -> dict[str, Array]:
        """Return the optimizer's state, by the array's place and the state's name."""
        return numbered(self.states)

    def load_state_dict(self, values: Mapping[str, Array]) -> None:
        """Restore what `state_dict` gave."""
        for key, value in values.items():
            place, _, name = key.partition(".")
            self.states[int(place)][name] = value


class NumpyTraining:
    """A trial in training (`driver.Training`): a network, and the optimizer of its parameters."""

    def __init__(
        self, trial: Trial, data: Data, network: Trainable, optimizer: Stepping, metrics: Sequence[str]
    ) -> None:
        self.trial, self.data, self.metrics = trial, data, metrics
        self.network, self.optimizer = network, optimizer
        self.budget = Budget.of(trial.arm.settings, len(data.train.y))
        self.batches = batch_indices(trial, self.budget)
        self.rates: list[float] = learning_rates([trial], self.budget)[:, 0].tolist()
        self.before = steps_before(trial)
        self.smoothing = trial.arm.settings.label_smoothing
        self.augmented = augmented(trial.arm.settings, data)
        self.parameters = np.array([sum(array.size for array in self.network.parameters)])
        self.notes: list[str] = []

    def take_steps(self, step: int, until: int) -> Floats:
        """Take steps as `Training.take_steps`, up to a loss that is not finite."""
        taken: list[float] = []
        for k, index in zip(range(step + 1, until + 1), self.batches, strict=False):
            taken.append(self._take_step(k, index))
            if not math.isfinite(taken[-1]):
                break
        return np.array(taken)[:, None]

    def _take_step(self, k: int, index: NDArray[np.int64]) -> float:
        train = self.data.train
        if self.augmented is None:
            x, t = train.x[index], one_hot(train.y[index], len(self.data.classes), train.x.dtype)
        else:
            x, t = self.augmented.batch(self.trial.step_seed, k, index)
        t = formulas.smoothed(t, self.smoothing) if self.smoothing else t
        loss, gradients = self.network.loss_and_gradients(k, x, t)
        self.optimizer.step(k - self.before, self.rates[k - 1], gradients)
        return loss

    def evaluate(self, split: Split, *, keep: bool) -> Evaluation:  # noqa: ARG002 (they cost nothing here)
        """Evaluate a split: per-sample mean loss, accuracy and metrics, and predictions."""
        samples, network = self.data[split], self.network
        predicted, confident, sums = [], [], dict.fromkeys(("loss", *self.metrics), 0.0)
        for i in range(0, len(samples.y), EVALUATION_BATCH):
            f = network.output(samples.x[i : i + EVALUATION_BATCH])
            t = one_hot(samples.y[i : i + EVALUATION_BATCH], len(self.data.classes), f.dtype)
            sums["loss"] += float(network.losses(f, t).sum(dtype=np.float64))
            p = probabilities(network.kind, f)
            predicted.append(f.argmax(1))
            confident.append(p[np.arange(len(f)), predicted[-1]])
            for name in self.metrics:
                values = formulas.METRICS[name](p, t)
                sums[name] += float(values.sum(dtype=np.float64))
        return Evaluation.of_one(samples.y, np.concatenate(predicted), np.concatenate(confident), sums)

    def weights(self) -> list[dict[str, Floats]]:
        """Return the parameters under torch.nn.Linear's names."""
        return [{**self.network.named()}]

    def state_dict(self) -> dict[str, Array]:
        """Return weights and optimizer state."""
        weights = {f"network.{name}": array for name, array in self.network.named().items()}
        return {**weights, **{f"optimizer.{key}": v for key, v in self.optimizer.state_dict().items()}}

    def load_state_dict(self, state: State) -> None:
        """Restore weights, optimizer state and the place among the batches."""
        for name, array in self.network.named().items():
            array[...] = state.values[f"network.{name}"]
        self.optimizer.load_state_dict(state.under("optimizer."))
        self.batches = batch_indices(self.trial, self.budget, state.step)


def train(
    trials: Sequence[Trial], data: Data, device: str = "cpu",  # noqa: ARG001 (the engines' common signature)
    dtype: DTypeLike = np.float32, options: EngineOptions = DEFAULT_OPTIONS,
) -> Outcome:  # fmt: skip
    """Train one trial in NumPy; the arguments are those of `base.Engine.train`."""
    (trial,) = trials
    network = network_of(trial, data, dtype)
    optimizer = NumpyOptimizer(trial, network.parameters)
    # Numbers that overflow are not warned of: the loss shows them, and the trial is marked as diverged.
    with np.errstate(all="ignore"):
        return driver.run(NumpyTraining(trial, data, network, optimizer, options.metrics), options)


def one_hot(labels: NDArray[np.int64], classes: int, dtype: DTypeLike) -> Array:
    """Return targets (B, C): 1 at each sample's label, 0 elsewhere."""
    return np.eye(classes, dtype=dtype)[labels]


def probabilities(kind: Kind, f: Array) -> Array:
    """Return the probability of each class (B, C) that outputs f (B, C) stand for.

    Softmax of logits, exp of log-probabilities, scores divided by their sum.
    """
    if kind == "logits":
        return formulas.softmax(f)
    if kind == "log_probabilities":
        return np.exp(f)
    return np.asarray(f / f.sum(1, keepdims=True)) if kind == "scores" else f
