"""The loop engine: one nn.Module, one DataLoader, one torch.optim at a time, as a course writes it.

It is the reference that the stacked engine is checked against, and it trains what cannot be stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from harness.axes.activations import activations
from harness.axes.architectures import architectures, initial_layers
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import Optimizer, optimizers
from harness.batches import Budget, epoch_order
from harness.data import Data, Samples, Split
from harness.engines.outcome import (
    EVALUATION_BATCH,
    TELL_EVERY,
    UNWATCHED,
    Evaluation,
    Floats,
    Outcome,
    Watch,
)  # fmt: skip
from harness.engines.outputs import probabilities, probability
from harness.engines.rates import learning_rates
from harness.engines.regularisation import seed_dropout, smoothing
from harness.engines.states import State, select_alone
from harness.engines.updates import restored
from harness.errors import UsageError
from harness.streams import stream
from harness.torch_dataset import SplitDataset, collate
from harness.trials import Trial

select = select_alone


class Function(nn.Module):
    """A registered function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.function(x)

    def extra_repr(self) -> str:
        """Its name, for print(model)."""
        return str(getattr(self.function, "__name__", ""))


class Classifier(nn.Module):
    """A trial's network: `net` gives logits (B, C), `head` the output (B, C).

    Its state_dict has the names that `net` gives its weights, for an mlp those of a plain
    torch.nn.Sequential, as an exported model.pt has them. One of an earlier version, with "net." before its
    names, is loaded too.
    """

    def __init__(self, trial: Trial, inputs: int, classes: int) -> None:
        super().__init__()
        settings = trial.arm.settings
        architecture = architectures[settings.architecture]
        # What an older export does not say, or does not apply, is at its default.
        own = {name: settings[name] for name in architecture.settings if name in settings}
        activation = activations[settings.activation]
        # torch's initialisers know only the global generator: it is forked, and left as it was.
        with torch.random.fork_rng():
            torch.manual_seed(int(stream(trial.seed, "weights").integers(2**63)))
            self.net = architecture.build(inputs, classes, lambda: Function(activation.forward), **own)
        self.output = heads[settings.head]
        self.head = Function(self.output.forward)
        nn.Module.register_load_state_dict_pre_hook(self, _under_net)
        if architecture.name == "mlp":
            self._start(trial, [inputs, *settings.hidden, classes])

    @torch.no_grad()
    def _start(self, trial: Trial, widths: Sequence[int]) -> None:
        linear = [module for module in self.net.modules() if isinstance(module, nn.Linear)]
        layers = initial_layers(widths, stream(trial.seed, "weights"))
        for module, layer in zip(linear, layers, strict=True):
            module.to(torch.float64)
            module.weight.copy_(torch.from_numpy(layer.weight))
            module.bias.copy_(torch.from_numpy(layer.bias))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The state of `net`, under its own names; arguments as torch.nn.Module's."""
        return self.net.state_dict(*args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """The output (B, C) for pixels (B, D)."""
        output: Tensor = self.head(self.net(x))
        return output


def _under_net(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Put the names of a Classifier's state, in place, where its weights are: below `net`."""
    own = dict(model.net.state_dict()) if isinstance(model.net, nn.Module) else {}
    given = [name.removeprefix(prefix) for name in state if name.startswith(prefix)]
    if set(given) == {f"net.{name}" for name in own}:
        return
    for name in given:
        state[f"{prefix}net.{name}"] = state.pop(prefix + name)


class LossFunction(nn.Module):
    """A trial's loss: per-sample losses (B,) of outputs (B, C) and labels (B,).

    In training mode, labels are smoothed as the trial says; an evaluation is of the plain ones.
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
        """Apply it."""
        target = nn.functional.one_hot(y, self.classes).to(self.dtype)
        if self.training and self.smoothing is not None:
            target = self.smoothing(target)
        return self.function(output, target, **self.settings)


class SeededBatches:
    """A batch sampler: the batches of every epoch after step `start`, from the trial's own stream."""

    def __init__(self, trial: Trial, budget: Budget, start: int = 0) -> None:
        self.trial, self.budget, self.start = trial, budget, start

    def __iter__(self) -> Iterator[list[int]]:
        sampling, size = self.trial.arm.settings.sampling, self.budget.batch_size
        begun, skipped = divmod(self.start, self.budget.steps_per_epoch)
        for epoch in range(begun, self.budget.epochs):
            indices = epoch_order(self.trial.seed, epoch, self.budget, sampling).tolist()
            for i in range(skipped * size if epoch == begun else 0, len(indices), size):
                yield indices[i : i + size]


class UpdateOptimizer(torch.optim.Optimizer):
    """A registered update rule as a torch.optim.Optimizer: for optimizers torch.optim does not have."""

    def __init__(self, params: Any, optimizer: Optimizer, lr: float, settings: dict[str, Any]) -> None:
        super().__init__(params, {"lr": lr})
        self.optimizer, self.settings, self.t = optimizer, settings, 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override] # noqa: ARG002
        """Update every parameter tensor, in its natural shape."""
        self.t += 1
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:  # nothing that the loss sees; torch's own leave it, too
                    continue
                state = self.state[param]
                self.optimizer.update(param, param.grad, state, self.t, lr=group["lr"], **self.settings)


def make_optimizer(trial: Trial, model: nn.Module) -> torch.optim.Optimizer:
    """The trial's optimizer over a model's parameters: torch.optim's own where it has one."""
    settings = trial.arm.settings
    optimizer = optimizers[settings.optimizer]
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
        run = _Run(trial, data, torch.device(device), dtype, watch)
        run.train()
        return run.finish()


class _Run:
    """A trial in training: its network, its optimizer, and what has been seen so far."""

    def __init__(self, trial: Trial, data: Data, where: torch.device, dtype: Any, watch: Watch) -> None:
        self.trial, self.data, self.where, self.watch = trial, data, where, watch
        kind = torch.from_numpy(np.empty(0, dtype)).dtype
        self.model = Classifier(trial, data.inputs, len(data.classes)).to(where, kind)
        self.dropout = seed_dropout(self.model.net, trial)
        self.loss_function = LossFunction(trial, len(data.classes), kind, where)
        self.optimizer = make_optimizer(trial, self.model)
        self.budget = Budget.of(trial.arm.settings, len(data.train.y))
        self.stop = watch.stop(self.budget)
        self.outcome = Outcome(
            diverged_step=np.zeros(1, np.int64),
            parameters=np.array([sum(p.numel() for p in self.model.parameters())]),
            epochs_done=self.budget.epoch_of(self.stop),
            steps_done=self.stop,
        )

    def train(self) -> None:
        """Take all steps up to the last that is wanted, or stop where the loss is not finite."""
        budget, watch = self.budget, self.watch
        due = frozenset(budget.eval_steps)
        rates = learning_rates([self.trial], budget)[:, 0].tolist()
        start, batches = self.begin()
        for step, (x, y) in zip(range(start + 1, self.stop + 1), batches, strict=False):
            for group in self.optimizer.param_groups:
                group["lr"] = rates[step - 1]
            for module in self.dropout:
                module.step = step
            loss = self.loss_function(self.model(x.to(self.where)), y.to(self.where)).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.outcome.note_divergence(step, loss.detach().cpu().numpy().reshape(1))
            if step in due and not self.outcome.diverged_step[0]:
                self.observe(step)
            if step % TELL_EVERY == 0:
                watch.tell(step / budget.steps, self.outcome)
            if self.outcome.diverged_step[0]:
                return
            paused = step == self.stop < budget.steps
            if paused or ((step in due or step % TELL_EVERY == 0) and watch.checkpoints.due(step, budget)):
                watch.checkpoints.save(step, self.values())

    def begin(self) -> tuple[int, Iterator[Any]]:
        """Start, or go on from a checkpoint: the steps already taken, and the batches to come."""
        state = self.watch.checkpoints.load()
        if state is None:
            self.observe(0)
        start = state.step if state else 0
        sampler = SeededBatches(self.trial, self.budget, start)
        batches = iter(DataLoader(SplitDataset(self.data.train), batch_sampler=sampler, collate_fn=collate))
        if state:  # now, because a DataLoader draws from the random state when it begins
            self.go_on(state)
        return start, batches

    def observe(self, step: int) -> None:
        """Evaluate train and val; the last time for good."""
        last = step == self.budget.steps
        for split in self.watch.splits:
            if len(self.data[split].y):
                seen = self.evaluate(split)
                self.outcome.observe(self.budget.epoch_of(step), step, split, seen, last=last)

    def evaluate(self, split: Split) -> Evaluation:
        """Look at one split."""
        return evaluate(self.model, self.loss_function, self.data[split], self.where, self.watch.metrics)

    def finish(self) -> Outcome:
        """Open the test set at the end, once, unless it is sealed, and take the weights along."""
        ended = self.stop == self.budget.steps
        if ended and not self.watch.sealed and not self.outcome.diverged_step[0]:
            self.outcome.final["test"] = self.evaluate("test")
        self.outcome.weights = [weights(self.model)]
        return self.outcome

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, running statistics among them."""
        return dict((*self.model.named_parameters(), *self.model.named_buffers()))

    def values(self) -> dict[str, Any]:
        """All that it takes to go on from here; a dropout layer draws from the random states."""
        model = {f"model.{name}": tensor for name, tensor in self.tensors().items()}
        random = {f"random.{name}": state for name, state in random_states(self.where).items()}
        return {**model, **optimizer_values(self.optimizer), **random, **self.outcome.values()}

    @torch.no_grad()
    def go_on(self, state: State) -> None:
        """Be where the run was whose state this is."""
        for name, tensor in self.tensors().items():
            tensor.copy_(torch.from_numpy(state.values[f"model.{name}"]))
        self.model.train()  # as an evaluation leaves it
        restore_optimizer(self.optimizer, state)
        self.outcome.go_on(state)
        torch.set_rng_state(torch.from_numpy(state.values["random.cpu"]))
        if self.where.type == "cuda":
            torch.cuda.set_rng_state(torch.from_numpy(state.values["random.cuda"]), self.where)
        elif self.where.type == "mps":
            torch.mps.set_rng_state(torch.from_numpy(state.values["random.mps"]))


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's global generators: the CPU's, and the device's."""
    if device.type == "cuda":
        return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state(device)}
    if device.type == "mps":
        return {"cpu": torch.get_rng_state(), "mps": torch.mps.get_rng_state()}
    return {"cpu": torch.get_rng_state()}


def optimizer_values(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What an optimizer keeps, by the parameter's place and the name it is kept under."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    return {
        f"optimizer.{i}.{name}": value
        for i, param in enumerate(params)
        for name, value in optimizer.state.get(param, {}).items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, state: State) -> None:
    """Give an optimizer what `optimizer_values` had of it after the state's step."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    kept: dict[int, dict[str, Any]] = {}
    for i, param in enumerate(params):
        values = state.under(f"optimizer.{i}.")
        if values:
            kept[i] = {
                name: restored(value, param) if isinstance(value, np.ndarray) else value
                for name, value in values.items()
            }
    if isinstance(optimizer, UpdateOptimizer):
        optimizer.t = state.step
        for i, values in kept.items():
            optimizer.state[params[i]] = {
                name: value.to(params[i].device) if isinstance(value, Tensor) else value
                for name, value in values.items()
            }
    else:  # torch's own: it knows which of its states live on which device
        optimizer.load_state_dict({"state": kept, "param_groups": optimizer.state_dict()["param_groups"]})


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
    loss_function.eval()
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
    loss_function.train()
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


@torch.no_grad()
def load_weights(model: Classifier, named: Mapping[str, Floats]) -> None:
    """Give a model the weights that `weights` took from one like it.

    Raises:
        UsageError: their names or shapes are another network's.
    """
    linear = [name for name, module in model.net.named_modules() if isinstance(module, nn.Linear)]
    own = dict(model.net.state_dict())
    names = {
        f"{i}.{what}": f"{layer}.{what}" for i, layer in enumerate(linear) for what in ("weight", "bias")
    }
    if set(names.values()) != set(own):  # not linear layers alone: the network's own names
        names = {name: name for name in own}
    shapes = {name: tuple(own[names[name]].shape) for name in names}
    if shapes != {name: array.shape for name, array in named.items()}:
        raise UsageError(
            f"the weights are another network's: {_shapes({n: a.shape for n, a in named.items()})}; "
            f"this one has {_shapes(shapes)}"
        )
    model.net.load_state_dict({names[name]: torch.from_numpy(array.copy()) for name, array in named.items()})


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))
