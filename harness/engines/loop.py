"""The loop engine: one nn.Module, one DataLoader, one torch.optim at a time, as a course writes it.

It is the reference that the stacked engine is checked against, and it trains what cannot be stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from harness.axes.activations import activations
from harness.axes.architectures import architectures, initial_layers
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import Optimizer, State, optimizers
from harness.batches import Budget, epoch_order
from harness.data import TRAINED_ON, Data, Samples
from harness.engines.outcome import UNWATCHED, Evaluation, Floats, Outcome, Watch
from harness.engines.rates import learning_rates
from harness.engines.stack import probabilities, probability
from harness.streams import stream
from harness.trials import Trial

EVALUATION_BATCH = 2000
TELL_EVERY = 64  # steps between two words to `watch`


class Function(nn.Module):
    """A registered function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.function(x)


class Classifier(nn.Module):
    """A trial's network: `net` gives logits (B, C), `head` the output (B, C)."""

    def __init__(self, trial: Trial, inputs: int, classes: int) -> None:
        super().__init__()
        settings = trial.arm.settings
        architecture = architectures[str(settings["architecture"])]
        own = {name: settings[name] for name in architecture.settings}
        activation = activations[str(settings.get("activation", "identity"))]
        # torch's initialisers know only the global generator: it is forked, and left as it was.
        with torch.random.fork_rng():
            torch.manual_seed(int(stream(trial.seed, "weights").integers(2**63)))
            self.net = architecture.build(inputs, classes, lambda: Function(activation.forward), **own)
        self.output = heads[str(settings["head"])]
        self.head = Function(self.output.forward)
        if architecture.name == "mlp":
            self._start(trial, [inputs, *settings["hidden"], classes])  # type: ignore[misc]

    @torch.no_grad()
    def _start(self, trial: Trial, widths: Sequence[int]) -> None:
        linear = [module for module in self.net.modules() if isinstance(module, nn.Linear)]
        layers = initial_layers(widths, stream(trial.seed, "weights"))
        for module, layer in zip(linear, layers, strict=True):
            module.to(torch.float64)
            module.weight.copy_(torch.from_numpy(layer.weight))
            module.bias.copy_(torch.from_numpy(layer.bias))

    def forward(self, x: Tensor) -> Tensor:
        """The output (B, C) for pixels (B, D)."""
        output: Tensor = self.head(self.net(x))
        return output


class LossFunction(nn.Module):
    """A trial's loss: per-sample losses (B,) of outputs (B, C) and labels (B,)."""

    def __init__(self, trial: Trial, classes: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        settings = trial.arm.settings
        loss = losses[str(settings["loss"])]
        form = loss.form(heads[str(settings["head"])].kind, str(settings["match"]))
        assert form is not None  # noqa: S101 (the plan skips what does not fit)
        self.function = form.forward
        self.classes, self.dtype = classes, dtype
        self.settings = {
            name: torch.tensor(settings[name], dtype=dtype, device=device) for name in loss.settings
        }

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        """Apply it."""
        target = nn.functional.one_hot(y, self.classes).to(self.dtype)
        return self.function(output, target, **self.settings)


class SplitDataset(Dataset[tuple[Tensor, Tensor]]):
    """One split as PyTorch's own Dataset: (pixels (D,), label) by index."""

    def __init__(self, samples: Samples) -> None:
        self.x, self.y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


class SeededBatches:
    """A batch sampler: the batches of every epoch, from the trial's own stream."""

    def __init__(self, trial: Trial, budget: Budget) -> None:
        self.trial, self.budget = trial, budget

    def __iter__(self) -> Iterator[list[int]]:
        sampling, size = str(self.trial.arm.settings["sampling"]), self.budget.batch_size
        for epoch in range(self.budget.epochs):
            indices = epoch_order(self.trial.seed, epoch, self.budget, sampling).tolist()
            for i in range(0, len(indices), size):
                yield indices[i : i + size]


class UpdateOptimizer(torch.optim.Optimizer):
    """A registered update rule as a torch.optim.Optimizer: for optimizers torch.optim does not have."""

    def __init__(self, params: Any, optimizer: Optimizer, lr: float, settings: dict[str, Any]) -> None:
        super().__init__(params, {"lr": lr})
        self.optimizer, self.settings, self.t = optimizer, settings, 0
        self.states: dict[Tensor, State] = {}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override] # noqa: ARG002
        """Update every parameter tensor, in its natural shape."""
        self.t += 1
        for group in self.param_groups:
            for param in group["params"]:
                state = self.states.setdefault(param, {})
                self.optimizer.update(param, param.grad, state, self.t, lr=group["lr"], **self.settings)


def make_optimizer(trial: Trial, model: nn.Module) -> torch.optim.Optimizer:
    """The trial's optimizer over a model's parameters: torch.optim's own where it has one."""
    settings = trial.arm.settings
    optimizer = optimizers[str(settings["optimizer"])]
    own: dict[str, Any] = {
        name: tuple(value) if isinstance(value := settings[name], list) else value
        for name in optimizer.settings
    }
    if optimizer.torch_class is not None:
        factory = getattr(torch.optim, optimizer.torch_class)
        made: torch.optim.Optimizer = factory(model.parameters(), **own, **optimizer.torch_settings)
        return made
    return UpdateOptimizer(model.parameters(), optimizer, own.pop("lr"), own)


def train(
    trials: Sequence[Trial],
    data: Data,
    device: str = "cpu",
    dtype: Any = np.float32,
    watch: Watch = UNWATCHED,
) -> Outcome:
    """Train one trial with plain PyTorch; the arguments are those of the stacked engine."""
    (trial,) = trials
    # A dropout layer and DataLoader know only the global generator: it is forked, and left as it was.
    with torch.random.fork_rng():
        torch.manual_seed(int(stream(trial.seed, "weights").integers(2**63, size=2)[1]))
        return _train(trial, data, torch.device(device), dtype, watch)


def _train(
    trial: Trial,
    data: Data,
    where: torch.device,
    dtype: Any,
    watch: Watch,
) -> Outcome:
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    model = Classifier(trial, data.inputs, len(data.classes)).to(where, kind)
    loss_function = LossFunction(trial, len(data.classes), kind, where)
    budget = Budget.of(trial.arm.settings, len(data.train.y))
    outcome = Outcome(
        diverged_step=np.zeros(1, np.int64),
        parameters=sum(p.numel() for p in model.parameters()),
        epochs_done=budget.epoch_of(budget.steps),
        steps_done=budget.steps,
    )

    def observe(step: int) -> None:
        last = step == budget.steps
        for split in TRAINED_ON:
            if len(data[split].y):
                seen = evaluate(model, loss_function, data[split], where, watch.metrics)
                outcome.observe(budget.epoch_of(step), step, split, seen, last=last)

    observe(0)
    optimizer = make_optimizer(trial, model)
    due = frozenset(budget.eval_steps)
    rates = learning_rates([trial], budget)[:, 0].tolist()
    loader = DataLoader(SplitDataset(data.train), batch_sampler=SeededBatches(trial, budget))
    for step, (x, y) in zip(range(1, budget.steps + 1), loader, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = rates[step - 1]
        loss = loss_function(model(x.to(where)), y.to(where)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        outcome.note_divergence(step, loss.detach().cpu().numpy().reshape(1))
        if step in due and not outcome.diverged_step[0]:
            observe(step)
        if step % TELL_EVERY == 0:
            watch.tell(step / budget.steps, outcome)
        if outcome.diverged_step[0]:
            break
    if not outcome.diverged_step[0]:
        seen = evaluate(model, loss_function, data.test, where, watch.metrics)
        outcome.final["test"] = seen
    outcome.weights = [weights(model)]
    return outcome


@torch.no_grad()
def evaluate(
    model: Classifier,
    loss_function: LossFunction,
    samples: Samples,
    device: torch.device,
    tracked: Sequence[str] = (),
) -> Evaluation:
    """Per-sample mean loss, accuracy and tracked metrics, and predictions on one split, in inference mode."""
    model.eval()
    total, predicted, confidence = 0.0, [], []
    sums = dict.fromkeys(tracked, 0.0)
    x, y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)
    for x_chunk, y_chunk in zip(x.split(EVALUATION_BATCH), y.split(EVALUATION_BATCH), strict=True):
        output = model(x_chunk.to(device))
        total += loss_function(output, y_chunk.to(device)).double().sum().item()
        predicted.append(output.argmax(1))
        confidence.append(probability(model.output, output, predicted[-1]))
        if tracked:
            p = probabilities(model.output, output)
            target = nn.functional.one_hot(y_chunk.to(device), p.shape[-1]).to(p.dtype)
            for name in tracked:
                sums[name] += metrics[name].function(p, target).double().sum().item()
    model.train()
    chosen = torch.cat(predicted).cpu()
    return Evaluation(
        np.array([total / len(y)]),
        np.array([(chosen == y).double().mean().item()]),
        chosen.numpy()[None],
        torch.cat(confidence).cpu().numpy()[None],
        {name: np.array([value / len(y)]) for name, value in sums.items()},
    )


def weights(model: Classifier) -> dict[str, Floats]:
    """The weights by layer for an mlp (as the stacked engine names them), else the network's own state."""
    linear = [module for module in model.net.modules() if isinstance(module, nn.Linear)]
    own = model.net.state_dict()
    if sum(p.numel() for layer in linear for p in layer.parameters()) != sum(v.numel() for v in own.values()):
        return {name: value.cpu().numpy() for name, value in own.items()}
    named = {}
    for i, layer in enumerate(linear):
        named[f"{i}.weight"] = layer.weight.detach().cpu().numpy()
        named[f"{i}.bias"] = layer.bias.detach().cpu().numpy()
    return named
