"""The loop engine: one nn.Module, one DataLoader, one torch.optim at a time, as a course writes it.

It is the reference that the stacked engine is checked against, and it trains what cannot be stacked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from harness.axes.heads import heads, probabilities, probability
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import Optimizer, optimizers
from harness.data.batches import Budget
from harness.data.samples import Data, Split
from harness.data.torch_dataset import SplitDataset, collate
from harness.engines import driver
from harness.engines.augmentation import AugmentedTrain, augmented
from harness.engines.base import (
    DEFAULT_OPTIONS,
    EngineOptions,
    batch_indices,
    learning_rates,
    steps_before,
)  # fmt: skip
from harness.engines.classifier import Classifier, weights
from harness.engines.outcome import EVALUATION_BATCH, Evaluation, Floats, Outcome
from harness.engines.regularisation import seed_dropout, smoothing
from harness.engines.states import State, join_alone, numbered, select_alone
from harness.engines.tensors import restored, restored_value, torch_dtype
from harness.rng import StreamSeed, stream
from harness.study.trials import Trial

select = select_alone
join = join_alone


class LossFunction(nn.Module):
    """A trial's loss: per-sample losses (B,) of outputs (B, C) and labels (B,), or a target (B, C).

    In training mode, labels are smoothed as the trial says; an evaluation uses the plain labels.
    """

    def __init__(self, trial: Trial, classes: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        settings = trial.arm.settings
        loss = losses[settings.loss]
        form = loss.form(heads[settings.head].kind, settings.match)
        assert form is not None  # noqa: S101 (the plan skips what does not fit)
        self.function = form.forward
        self.classes, self.dtype = classes, dtype
        self.smoothing = smoothing([trial], classes, device, dtype)
        self.settings = {
            name: torch.tensor(settings[name], dtype=dtype, device=device) for name in loss.settings
        }

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        """Compute the losses of a batch."""
        target = y if y.ndim == 2 else nn.functional.one_hot(y, self.classes).to(self.dtype)
        if self.training and self.smoothing is not None:
            target = self.smoothing(target)
        return self.function(output, target, **self.settings)


class UpdateOptimizer(torch.optim.Optimizer):
    """A registered update rule as a torch.optim.Optimizer: for optimizers torch.optim does not have."""

    def __init__(self, params: Any, optimizer: Optimizer, lr: float, settings: dict[str, Any]) -> None:
        super().__init__(params, {"lr": lr, "t": 0})
        self.optimizer, self.settings = optimizer, settings

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # noqa: ARG002 (torch's signature)
        """Update every parameter tensor, in its natural shape."""
        for group in self.param_groups:
            group["t"] += 1
            for param in group["params"]:
                if param.grad is None:  # the loss does not depend on it; torch.optim skips it, too
                    continue
                state = self.state[param]
                self.optimizer.update(param, param.grad, state, group["t"], lr=group["lr"], **self.settings)


def make_optimizer(trial: Trial, model: nn.Module | Iterable[Tensor]) -> torch.optim.Optimizer:
    """Return the trial's optimizer over a model's parameters: torch.optim's own where it has one."""
    parameters = model.parameters() if isinstance(model, nn.Module) else model
    settings = trial.arm.settings
    optimizer = optimizers[settings.optimizer]
    arguments: dict[str, Any] = {
        name: tuple(value) if isinstance(value := settings[name], list) else value
        for name in optimizer.settings
    }
    differs = any(arguments[name] for name in optimizer.torch_differs)
    if optimizer.torch_class is not None and not differs:
        factory = getattr(torch.optim, optimizer.torch_class)
        torch_optimizer: torch.optim.Optimizer = factory(parameters, **arguments, **optimizer.torch_settings)
        return torch_optimizer
    return UpdateOptimizer(parameters, optimizer, arguments.pop("lr"), arguments)


def train(
    trials: Sequence[Trial], data: Data, device: str = "cpu", dtype: DTypeLike = np.float32,
    options: EngineOptions = DEFAULT_OPTIONS,
) -> Outcome:  # fmt: skip
    """Train one trial with plain PyTorch; the arguments are those of `base.Engine.train`."""
    (trial,) = trials
    # A dropout layer and DataLoader know only the global generator: it is forked, and left as it was.
    with torch.random.fork_rng():
        torch.manual_seed(_seed_of_draws(trial))
        training = LoopTraining(trial, data, torch.device(device), torch_dtype(dtype), options.metrics)
        return driver.run(training, options)


def _seed_of_draws(trial: Trial) -> int:
    """Return the seed of what is drawn from torch's global generator while a trial trains."""
    return int(stream(trial.dropout_seed, "weights").integers(2**63, size=2)[1])


def first_random_state(trial: Trial) -> Tensor:
    """Return the global generator's state at a trial's first step: a DataLoader has drawn its seed."""
    generator = torch.Generator().manual_seed(_seed_of_draws(trial))
    torch.empty((), dtype=torch.int64).random_(generator=generator)
    return generator.get_state()


class AugmentedSteps(Dataset[tuple[Tensor, Tensor]]):
    """A seed's augmented batches as a Dataset: (pixels (B, D), target (B, C)) by (step, places in train)."""

    def __init__(self, batches: AugmentedTrain, seed: StreamSeed) -> None:
        self.batches, self.seed = batches, seed

    def __getitem__(self, key: tuple[int, NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
        x, target = self.batches.batch(self.seed, *key)
        return torch.from_numpy(x), torch.from_numpy(target)


class LoopTraining:
    """A trial in training (`driver.Training`): its network, its optimizer, and the batches to come."""

    def __init__(
        self, trial: Trial, data: Data, device: torch.device, dtype: torch.dtype, metrics: Sequence[str]
    ) -> None:
        self.trial, self.data, self.device, self.metrics = trial, data, device, metrics
        self.model = Classifier(trial, data.shape, len(data.classes)).to(device, dtype)
        self.dropout = seed_dropout(self.model.net, trial)
        self.loss_function = LossFunction(trial, len(data.classes), dtype, device)
        self.optimizer = make_optimizer(trial, self.model)
        self.budget = Budget.of(trial.arm.settings, len(data.train.y))
        self.rates: list[float] = learning_rates([trial], self.budget)[:, 0].tolist()
        self.batches: Iterator[Any] | None = None
        self.augmented = augmented(trial.arm.settings, data)
        self.parameters = np.array([sum(p.numel() for p in self.model.parameters() if p.requires_grad)])
        self.notes: list[str] = []

    def take_steps(self, step: int, until: int) -> Floats:
        """Take steps as `Training.take_steps`, up to a loss that is not finite."""
        taken: list[float] = []
        if self.batches is None:
            self.batches = self._batches_after(step)
        for k, (x, y) in zip(range(step + 1, until + 1), self.batches, strict=False):
            for group in self.optimizer.param_groups:
                group["lr"] = self.rates[k - 1]
            for module in self.dropout:
                module.begin(k)
            loss = self.loss_function(self.model(x.to(self.device)), y.to(self.device)).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            taken.append(loss.item())
            if not math.isfinite(taken[-1]):
                break
        return np.array(taken)[:, None]

    def _batches_after(self, step: int) -> Iterator[Any]:
        """Begin to load batches, for which a DataLoader draws from the random state at once."""
        indices = batch_indices(self.trial, self.budget, step)
        if self.augmented is not None:
            steps = AugmentedSteps(self.augmented, self.trial.step_seed)
            return iter(DataLoader(steps, sampler=enumerate(indices, step + 1), batch_size=None))
        batches = (index.tolist() for index in indices)
        return iter(DataLoader(SplitDataset(self.data.train), batch_sampler=batches, collate_fn=collate))

    @torch.no_grad()
    def evaluate(self, split: Split, *, keep: bool) -> Evaluation:  # noqa: ARG002 (accuracy needs them)
        """Evaluate a split in inference mode: mean loss, accuracy and metrics, and predictions."""
        model, loss_function, samples = self.model.eval(), self.loss_function.eval(), self.data[split]
        predicted, confidence, sums = [], [], dict.fromkeys(("loss", *self.metrics), 0.0)
        x, y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)
        for x_chunk, y_chunk in zip(x.split(EVALUATION_BATCH), y.split(EVALUATION_BATCH), strict=True):
            output, labels = model(x_chunk.to(self.device)), y_chunk.to(self.device)
            sums["loss"] += loss_function(output, labels).double().sum().item()
            predicted.append(output.argmax(1))
            confidence.append(probability(model.output, output, predicted[-1]))
            if self.metrics:
                p = probabilities(model.output, output)
                target = nn.functional.one_hot(labels, p.shape[-1]).to(p.dtype)
                for name in self.metrics:
                    sums[name] += metrics[name].function(p, target).double().sum().item()
        model.train()
        loss_function.train()
        chosen, sure = torch.cat(predicted).cpu().numpy(), torch.cat(confidence).cpu().numpy()
        return Evaluation.of_one(samples.y, chosen, sure, sums)

    def weights(self) -> list[dict[str, Floats]]:
        """Return the weights by layer, as `weights` names them."""
        return [weights(self.model)]

    def _tensors(self) -> dict[str, Tensor]:
        """Return parameters and buffers by name, running statistics among them."""
        return dict((*self.model.named_parameters(), *self.model.named_buffers()))

    def state_dict(self) -> dict[str, Any]:
        """Return weights, optimizer state, and the random states that a dropout layer draws from."""
        model = {f"model.{name}": tensor for name, tensor in self._tensors().items()}
        optimizer = {f"optimizer.{key}": value for key, value in optimizer_state(self.optimizer).items()}
        random = {f"random.{name}": state for name, state in random_states(self.device).items()}
        return {**model, **optimizer, **random}

    @torch.no_grad()
    def load_state_dict(self, state: State) -> None:
        """Restore weights, optimizer state, batches and random states."""
        self.batches = self._batches_after(state.step)
        for name, tensor in self._tensors().items():
            tensor.copy_(torch.from_numpy(state.values[f"model.{name}"]))
        self.model.train()  # as an evaluation leaves it
        restore_optimizer(self.optimizer, state, steps_before(self.trial))
        random = {name: torch.from_numpy(array) for name, array in state.under("random.").items()}
        if "cpu" in random:  # a trial that continues another's weights alone has none
            torch.set_rng_state(random["cpu"])
        if self.device.type == "cuda" and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"], self.device)
        elif self.device.type == "mps" and "mps" in random:
            torch.mps.set_rng_state(random["mps"])


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's global generators: the CPU's, and the device's."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return an optimizer's state, by the parameter's place and the state's name."""
    return numbered([optimizer.state.get(parameter, {}) for parameter in _parameters(optimizer)])


def restore_optimizer(optimizer: torch.optim.Optimizer, state: State, before: int = 0) -> None:
    """Restore what `optimizer_state` gave after the state's step, `before` of which it has not counted."""
    parameters = _parameters(optimizer)
    states = {i: state.under(f"optimizer.{i}.") for i in range(len(parameters))}
    states = {i: values for i, values in states.items() if values}
    if isinstance(optimizer, UpdateOptimizer):
        for group in optimizer.param_groups:
            group["t"] = state.step - before
        for i, values in states.items():
            like = parameters[i]
            optimizer.state[like] = {name: restored_value(value, like) for name, value in values.items()}
        return
    for i, values in states.items():
        for name, value in values.items():
            values[name] = restored(value, parameters[i]) if isinstance(value, np.ndarray) else value
    # torch's own knows which of its states live on which device.
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
