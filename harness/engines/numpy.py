"""The numpy engine: a network trained with nothing but NumPy, its gradients derived by hand.

It is there to be read, and to check the other engines by: it shares their start, their batches and their
observations, and none of their arithmetic. For a batch x (B, D) and layers i = 0 .. L-1 of weights W_i
(out, in) and biases b_i, the network computes

    y_0 = x,   z_i = y_i W_i^T + b_i,   y_(i+1) = m_i phi(z_i),   f = head(z_(L-1)),   loss = mean of l(f, t),

and, by the chain rule from the back, with d_i the gradient of the loss at z_i,

    d_(L-1) = head'(l'(f, t)) / B,   d_(i-1) = phi'(m_(i-1) d_i W_i),   dW_i = d_i^T y_i,   db_i = d_i's sum.

m_i is dropout's mask and t the target: while training, the smoothed labels. An evaluation is without either.
phi, head, l and the optimizers are in harness/formulas.py. PyTorch is not imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from harness import formulas
from harness.axes.architectures import initial_layers
from harness.axes.heads import Kind, heads
from harness.axes.losses import losses
from harness.axes.optimizers import optimizers
from harness.batches import Budget, epoch_order
from harness.data import Data, Samples
from harness.dropout import uniforms
from harness.engines import states
from harness.engines.outcome import EVALUATION_BATCH, TELL_EVERY, UNWATCHED, Evaluation, Outcome, Watch
from harness.engines.rates import learning_rates
from harness.engines.states import select_alone
from harness.formulas import Array, State
from harness.settings import Value
from harness.streams import stream
from harness.trials import Trial

select = select_alone


class Pass(NamedTuple):
    """What a forward pass computed, layer by layer, as backpropagation needs it: see the module's docstring.

    `y[i]` (B, in) went into layer i, `z[i]` (B, out) came out of it, and `a[i]` (B, out) is phi of that;
    `m[i]` (B, out) is dropout's mask on it, if there is any. `f` (B, C) is the network's output.
    """

    y: list[Array]
    z: list[Array]
    a: list[Array]
    m: Sequence[Array]
    f: Array


class Network:
    """A trial's multilayer perceptron and its loss: `weights[i]` (out, in) and `biases[i]` (out,)."""

    def __init__(self, trial: Trial, inputs: int, classes: int, dtype: DTypeLike) -> None:
        settings = trial.arm.settings
        widths: list[int] = [inputs, *settings.hidden, classes]
        start = initial_layers(widths, stream(trial.seed, "weights"))
        self.weights: list[Array] = [layer.weight.astype(dtype) for layer in start]
        self.biases: list[Array] = [layer.bias.astype(dtype) for layer in start]
        self.activation = formulas.ACTIVATIONS[settings.activation]
        self.head = formulas.HEADS[settings.head]
        self.kind: Kind = heads[settings.head].kind
        self.loss = formulas.loss_of(settings)
        self.loss_settings = {name: settings[name] for name in losses[settings.loss].settings}
        # Weights of before there was dropout do not say it.
        self.dropout = settings.dropout
        self.seed = trial.seed

    @property
    def parameters(self) -> list[Array]:
        """All weights and biases, layer by layer: the arrays themselves, which an optimizer changes."""
        return [array for layer in zip(self.weights, self.biases, strict=True) for array in layer]

    def named(self) -> dict[str, Array]:
        """The parameters under torch.nn.Linear's names, in the order of its layers."""
        names = (f"{i}.{what}" for i in range(len(self.weights)) for what in ("weight", "bias"))
        return dict(zip(names, self.parameters, strict=True))

    def masks(self, step: int, batch: int) -> list[Array]:
        """Dropout's masks (B, out) of a training step, one a hidden layer; none without dropout."""
        if not self.dropout:
            return []
        return [
            formulas.dropout_mask(uniforms(self.seed, i, step, len(bias), batch).T, self.dropout, bias.dtype)
            for i, bias in enumerate(self.biases[:-1])
        ]

    def forward(self, x: Array, m: Sequence[Array] = ()) -> Pass:
        """The network's output for a batch x (B, D), and everything on the way to it; m are the masks."""
        y, a = [x], []
        z: list[Array] = [x @ self.weights[0].T + self.biases[0]]
        for i, (weight, bias) in enumerate(zip(self.weights[1:], self.biases[1:], strict=True)):
            a.append(self.activation.forward(z[-1]))
            y.append(a[-1] * m[i] if m else a[-1])
            z.append(y[-1] @ weight.T + bias)
        return Pass(y, z, a, m, self.head.forward(z[-1]))

    def losses(self, f: Array, t: Array) -> Array:
        """The loss of each sample (B,), of outputs f (B, C) against targets t (B, C)."""
        return self.loss.forward(f, t, **self.loss_settings)

    def backward(self, done: Pass, t: Array) -> list[Array]:
        """The gradients of the batch's mean loss, in the order of `parameters`: backpropagation."""
        gradients: list[Array] = []
        d: Array = self.head.backward(self.loss.backward(done.f, t, **self.loss_settings), done.f) / len(t)
        for i in reversed(range(len(self.weights))):
            gradients = [d.T @ done.y[i], d.sum(0), *gradients]
            if i > 0:
                d = d @ self.weights[i]
                d = d * done.m[i - 1] if done.m else d
                d = self.activation.backward(d, done.z[i - 1], done.a[i - 1])
        return gradients


class Optimizer:
    """A trial's optimizer over a network's parameters: its settings, and what it keeps of each array."""

    def __init__(self, trial: Trial, parameters: Sequence[Array]) -> None:
        settings = trial.arm.settings
        name = settings.optimizer
        self.update = formulas.OPTIMIZERS[name]
        self.settings: dict[str, Value] = {
            key: settings[key] for key in optimizers[name].settings if key != "lr"
        }
        self.parameters = parameters
        self.states: list[State] = [{} for _ in parameters]

    def step(self, k: int, lr: float, gradients: Sequence[Array]) -> None:
        """Take step k, counted from 1, with learning rate lr."""
        for p, g, state in zip(self.parameters, gradients, self.states, strict=True):
            self.update(p, g, state, k, lr=lr, **self.settings)

    def values(self) -> dict[str, Array]:
        """What it keeps, by the array's place and the name it is kept under."""
        return {f"{i}.{name}": value for i, state in enumerate(self.states) for name, value in state.items()}

    def go_on(self, values: Mapping[str, Array]) -> None:
        """Keep what `values` gave."""
        for name, value in values.items():
            place, _, kept = name.partition(".")
            self.states[int(place)][kept] = value


def train(
    trials: Sequence[Trial],
    data: Data,
    device: str = "cpu",  # noqa: ARG001 (the engines' common signature; NumPy computes on the CPU)
    dtype: Any = np.float32,
    watch: Watch = UNWATCHED,
) -> Outcome:
    """Train one trial in NumPy; the arguments are those of the stacked engine."""
    (trial,) = trials
    network = Network(trial, data.inputs, len(data.classes), dtype)
    budget = Budget.of(trial.arm.settings, len(data.train.y))
    outcome = Outcome(
        diverged_step=np.zeros(1, np.int64),
        parameters=np.array([sum(array.size for array in network.parameters)]),
        epochs_done=budget.epoch_of(watch.stop(budget)),
        steps_done=watch.stop(budget),
    )
    # Numbers that overflow are not warned of: the loss shows them, and the trial is marked as diverged.
    with np.errstate(all="ignore"):
        _run(trial, network, data, budget, outcome, watch)
    outcome.weights = [network.named()]
    return outcome


def _run(
    trial: Trial,
    network: Network,
    data: Data,
    budget: Budget,
    outcome: Outcome,
    watch: Watch,
) -> None:
    """Take the steps of the budget, or up to where the loss is not finite; then open the test set, once."""
    optimizer = Optimizer(trial, network.parameters)
    rates = learning_rates([trial], budget)[:, 0].tolist()
    share = trial.arm.settings.label_smoothing
    due, stop = frozenset(budget.eval_steps), watch.stop(budget)
    start = _go_on(watch.checkpoints.load(), network, optimizer, outcome)
    if start == 0:
        _observe(0, network, data, budget, outcome, watch)
    for step, index in zip(range(start + 1, stop + 1), batches(trial, budget, start), strict=False):
        t = one_hot(data.train.y[index], len(data.classes), data.train.x.dtype)
        t = formulas.smoothed(t, share) if share else t
        done = network.forward(data.train.x[index], network.masks(step, len(index)))
        outcome.note_divergence(step, network.losses(done.f, t).mean(keepdims=True))
        optimizer.step(step, rates[step - 1], network.backward(done, t))
        if step in due and not outcome.diverged_step[0]:
            _observe(step, network, data, budget, outcome, watch)
        if step % TELL_EVERY == 0:
            watch.tell(step / budget.steps, outcome)
        if outcome.diverged_step[0]:
            return
        paused = step == stop < budget.steps
        if paused or ((step in due or step % TELL_EVERY == 0) and watch.checkpoints.due(step, budget)):
            watch.checkpoints.save(step, _values(network, optimizer, outcome))
    if stop == budget.steps and not watch.sealed:
        outcome.final["test"] = evaluate(network, data.test, watch.metrics)


def _observe(step: int, network: Network, data: Data, budget: Budget, outcome: Outcome, watch: Watch) -> None:
    """Evaluate train and val; the last time for good."""
    for split in watch.splits:
        if len(data[split].y):
            seen = evaluate(network, data[split], watch.metrics)
            outcome.observe(budget.epoch_of(step), step, split, seen, last=step == budget.steps)


def _values(network: Network, optimizer: Optimizer, outcome: Outcome) -> dict[str, Any]:
    """All that it takes to go on from here."""
    weights = {f"network.{name}": array for name, array in network.named().items()}
    kept = {f"optimizer.{name}": array for name, array in optimizer.values().items()}
    return {**weights, **kept, **outcome.values()}


def _go_on(state: states.State | None, network: Network, optimizer: Optimizer, outcome: Outcome) -> int:
    """Be where the run was whose state this is, if there is one. Gives the steps already taken."""
    if state is None:
        return 0
    for name, array in network.named().items():
        array[:] = state.values[f"network.{name}"]
    optimizer.go_on(state.under("optimizer."))
    outcome.go_on(state)
    return state.step


def batches(trial: Trial, budget: Budget, start: int = 0) -> Iterator[NDArray[np.int64]]:
    """The images of every step after step `start`, as indices into the train split."""
    sampling, step, size = trial.arm.settings.sampling, start, budget.batch_size
    for epoch in range(start // budget.steps_per_epoch, budget.epochs):
        order = epoch_order(trial.seed, epoch, budget, sampling)
        for i in range(step % budget.steps_per_epoch * size, len(order), size):
            if step == budget.steps:
                return
            yield order[i : i + size]
            step += 1


def one_hot(labels: NDArray[np.int64], classes: int, dtype: DTypeLike) -> Array:
    """Targets (B, C): 1 at each sample's label, 0 elsewhere."""
    return np.eye(classes, dtype=dtype)[labels]


def evaluate(network: Network, samples: Samples, metrics: Sequence[str] = ()) -> Evaluation:
    """Per-sample mean loss, accuracy and metrics, and predictions on one split."""
    total, predicted, confident = 0.0, [], []
    sums = dict.fromkeys(metrics, 0.0)
    classes = len(network.biases[-1])
    for i in range(0, len(samples.y), EVALUATION_BATCH):
        f = network.forward(samples.x[i : i + EVALUATION_BATCH]).f
        t = one_hot(samples.y[i : i + EVALUATION_BATCH], classes, f.dtype)
        total += float(network.losses(f, t).sum(dtype=np.float64))
        predicted.append(f.argmax(1))
        confident.append(confidence(network.kind, f, predicted[-1]))
        for name in metrics:
            values = formulas.METRICS[name](probabilities(network.kind, f), t)
            sums[name] += float(values.sum(dtype=np.float64))
    chosen = np.concatenate(predicted)
    return Evaluation(
        np.array([total / len(samples.y)]),
        np.array([(chosen == samples.y).mean()]),
        chosen[None],
        np.concatenate(confident)[None],
        {name: np.array([value / len(samples.y)]) for name, value in sums.items()},
    )


def confidence(kind: Kind, f: Array, chosen: NDArray[np.int64]) -> Array:
    """The probability (B,) that outputs f (B, C) give to the chosen classes (B,)."""
    return probabilities(kind, f)[np.arange(len(f)), chosen]


def probabilities(kind: Kind, f: Array) -> Array:
    """The probability of each class (B, C) that outputs f (B, C) stand for.

    Softmax of logits, exp of log-probabilities, scores divided by their sum.
    """
    if kind == "logits":
        return formulas.softmax(f)
    if kind == "log_probabilities":
        return np.exp(f)
    return np.asarray(f / f.sum(1, keepdims=True)) if kind == "scores" else f
