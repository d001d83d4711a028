"""Parts of a trial for a person's own training loop: network, loss, optimizer, schedule.

They are the loop engine's own, so that a loop over them reaches a trial's numbers to the last digit
(docs/own-loop.md).

Example:
    >>> import harness
    >>> harness.count_parameters(harness.model(dataset="mnist", hidden=[32], activation="sigmoid"))
    25450
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from harness import notes
from harness.data.batches import Budget
from harness.data.samples import shape_of, train_size
from harness.engines.base import schedule_factors
from harness.engines.classifier import Classifier
from harness.engines.loop import LossFunction, first_random_state, make_optimizer
from harness.engines.regularisation import SeededDropout, seed_dropout
from harness.errors import UsageError
from harness.exporting import models
from harness.exporting.untrained import Given, untrained
from harness.planning.checks import misfit
from harness.results.trained import trained
from harness.study.trials import Trial

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LambdaLR


def model(given: Given = None, /, **settings: Any) -> Classifier:
    """Return an untrained network, with the weights that a trial of these settings and seed begins with.

    It is an ordinary torch.nn.Module in training mode: pixels (B, D) in floats -> the head's output (B, C).
    `print(model)` shows its layers and widths. Its dropout leaves out what the trial's does, step by step: a
    step is over with its backward pass.

    Args:
        given: a study of one arm; a trial of `harness.plan(study).trials`; a trained trial, whose start is
            meant; or nothing.
        settings: settings as in a study file, such as dataset="mnist", hidden=[196], activation="sigmoid",
            and seed=0; in place of those of `given`, where there is one.

    Raises:
        UsageError: a setting or its value is wrong, or a study has several arms.

    Example:
        >>> model = harness.model(trial)  # doctest: +SKIP
        >>> harness.model(dataset="digits", hidden=[16], activation="sigmoid")(torch.zeros(2, 64)).shape
        torch.Size([2, 10])
    """
    trial = untrained(given, settings)
    if trial.arm.settings.parent_steps:
        raise UsageError(
            f"trial {trial.trial_id} continues another, so it did not begin untrained: its start is "
            'harness.open_checkpoint(results.folder / "start.safetensors"). Take the network of that other '
            "trial, and load it: .load_into(model, optimizer)"
        )
    facts = trial.arm.settings.facts
    network = Classifier(trial, shape_of(trial.arm.settings), len(facts.classes)).float()
    if layers := seed_dropout(network.net, trial):
        steps = _DropoutSteps(layers)
        network.net.register_forward_pre_hook(steps.begin)
        network.net.register_forward_hook(steps.end)
    if trial.arm.settings.architecture != "mlp":
        draws = _Draws(first_random_state(trial))
        network.net.register_forward_pre_hook(draws.begin)
        network.net.register_forward_hook(draws.end, always_call=True)
    return network


class _DropoutSteps:
    """The steps of a network's dropout in an own loop: over with a backward pass.

    A pass that is only looked at uses no step up: the next one leaves out the same.
    """

    def __init__(self, layers: Sequence[SeededDropout]) -> None:
        self.layers = layers
        self._go_on(1)

    def _go_on(self, step: int) -> None:
        for layer in self.layers:
            layer.begin(step)

    def begin(self, *_: object) -> None:
        """Begin a pass over the network, at the step that its layers have."""
        for layer in self.layers:
            layer.begin(layer.step)

    def end(self, net: nn.Module, _: object, output: Any) -> None:
        """Go on to the next step when a gradient has come back."""
        if net.training and isinstance(output, Tensor) and output.requires_grad:
            following = self.layers[0].step + 1
            output.register_hook(lambda _: self._go_on(following))


class _Draws:
    """The draws of a network whose dropout knows only torch's global generator, which is left as it was.

    They go on from where the last step left them, as in a trial; a step is over with its backward pass.
    """

    def __init__(self, state: Tensor) -> None:
        self.state, self.outside = state, state

    def begin(self, net: nn.Module, _: object) -> None:
        """Take the network's own random state."""
        if net.training:
            self.outside = torch.get_rng_state()
            torch.set_rng_state(self.state)

    def end(self, net: nn.Module, _: object, output: Any) -> None:
        """Put the state of all others back, and keep the network's own once a gradient has come."""
        if net.training:
            after = torch.get_rng_state()
            torch.set_rng_state(self.outside)
            if isinstance(output, Tensor) and output.requires_grad:
                output.register_hook(lambda _: setattr(self, "state", after))


def module_of(given: Any, where: str = "") -> Classifier:
    """Return a trained trial's network with its final weights, in inference mode.

    Its weights are read from the results folder where they were kept; if not, the trial's stack is trained
    once more, which gives the same bits on the same machine.

    Args:
        given: a trained trial (`results.trial()`); or results or their folder: then the best by val accuracy.
        where: conditions that the best one meets, such as "dataset=mnist".

    Returns:
        A torch.nn.Module: pixels (B, D) -> the head's output (B, C).

    Raises:
        UsageError: there is no such trial, or it is not in its study any more.
        MachineError: the weights cannot be read.

    Example:
        >>> harness.module_of("results/choices", where="dataset=mnist")  # doctest: +SKIP
    """
    trial = trained(given, where)
    return models.restore(trial.results, trial.row).classifier


def count_parameters(model: nn.Module) -> int:
    """Count the trainable parameters of a network: all weights and biases.

    Args:
        model: any torch.nn.Module.

    Example:
        >>> harness.count_parameters(harness.model(dataset="mnist", hidden=[32, 32]))
        26506
    """
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"got {type(model).__name__}; allowed: a torch.nn.Module, such as harness.model(trial)"
        )
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


class TrialLoss(LossFunction):
    """A trial's loss as torch.nn.CrossEntropyLoss is one: (output, y) -> the mean over a batch.

    In training mode labels are smoothed as the trial says; after `eval()` they are not.
    """

    def __init__(self, trial: Trial, reduction: Literal["mean", "none"]) -> None:
        super().__init__(trial, len(trial.arm.settings.facts.classes), torch.float32, torch.device("cpu"))
        self.name, self.reduction = trial.arm.settings.loss, reduction

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        """Compute the loss of outputs (B, C) and labels (B,), or targets (B, C) of an augmentation."""
        self._check(output, y)
        self.dtype = output.dtype
        losses = super().forward(output, y)
        return losses.mean() if self.reduction == "mean" else losses

    def _check(self, output: Any, y: Any) -> None:
        """Raise UsageError unless these are outputs and labels, or outputs and targets."""
        both = (output, y)
        if all(isinstance(tensor, Tensor) for tensor in both):
            fits = output.dim() == 2 and output.shape[1] == self.classes and output.is_floating_point()
            if fits and y.shape == output.shape[:1] and y.dtype == torch.int64:
                if not len(y) or 0 <= y.min() <= y.max() < self.classes:
                    return
                raise UsageError(
                    f"loss {self.name!r} got labels {y.min()} to {y.max()}; allowed: 0 to {self.classes - 1}"
                )
            if fits and y.shape == output.shape and _are_distributions(y):
                return
        got = " and ".join(map(_in_words, both))
        swapped = isinstance(y, Tensor) and y.is_floating_point() and y.dim() == 2
        hint = (
            "; are the two swapped?" if swapped and isinstance(output, Tensor) and output.dim() == 1 else ""
        )
        raise UsageError(
            f"loss {self.name!r} got {got}; allowed: outputs (B, {self.classes}) in floats, then "
            f"labels (B,) in int64{hint}"
        )

    def extra_repr(self) -> str:
        """Return the loss's name and reduction, for print(loss)."""
        return f"{self.name}, reduction={self.reduction!r}"


def _are_distributions(y: Tensor) -> bool:
    """Tell whether rows are targets: shares of the classes, such as mixup gives."""
    return y.is_floating_point() and bool(
        (y >= 0).all() and torch.allclose(y.sum(1), y.new_ones(()), atol=1e-4)
    )


def _in_words(given: Any) -> str:
    if isinstance(given, Tensor):
        return f"{str(given.dtype).removeprefix('torch.')} {tuple(given.shape)}"
    return type(given).__name__


def loss(
    given: Given = None, /, *, reduction: Literal["mean", "none"] = "mean", **settings: Any
) -> TrialLoss:
    """Return a trial's loss as a torch.nn.Module: (output (B, C), labels (B,)) -> the mean loss of the batch.

    Args:
        given: as for `harness.model`.
        reduction: "mean", or "none" for the loss of each sample, (B,).
        settings: as for `harness.model`, such as dataset="mnist", head="log_softmax", loss="nll".

    Raises:
        UsageError: head and loss do not fit; or as `harness.model`.

    Example:
        >>> loss = harness.loss(trial)  # doctest: +SKIP
        >>> ce = harness.loss(dataset="digits", head="identity", loss="ce")
        >>> round(ce(torch.zeros(2, 10), torch.tensor([3, 4])).item(), 4)  # ln 10
        2.3026
    """
    if reduction not in {"mean", "none"}:
        raise UsageError(f"reduction = {reduction!r}: allowed: 'mean', or 'none' for a loss each sample")
    trial = untrained(given, settings)
    arm = trial.arm.settings
    if reason := misfit(arm.head, arm.loss, arm.match):
        raise UsageError(reason)
    return TrialLoss(trial, reduction)


def optimizer(
    given: Given | nn.Module = None, model: nn.Module | Iterable[Tensor] | None = None, /, **settings: Any
) -> torch.optim.Optimizer:
    """Return a trial's optimizer over a network's parameters: torch.optim's own class where there is one.

    Args:
        given: as for `harness.model`.
        model: the network, or its `parameters()`. With settings alone it comes first:
            `harness.optimizer(model, optimizer="adam")`.
        settings: as for `harness.model`, such as optimizer="adam", lr=0.01.

    Raises:
        UsageError: there is no network; or as `harness.model`.

    Example:
        >>> optimizer = harness.optimizer(trial, model)  # doctest: +SKIP
        >>> net = harness.model(dataset="digits")
        >>> harness.optimizer(net, optimizer="momentum", lr=0.03).defaults["momentum"]
        0.9
    """
    if model is None and isinstance(given, nn.Module):
        given, model = None, given
    if not isinstance(model, nn.Module | Iterable) or isinstance(given, nn.Module):
        raise UsageError(
            "allowed: harness.optimizer(trial, model), or harness.optimizer(model, optimizer='adam')"
        )
    if (threads := torch.get_num_threads()) > 1:
        notes.warn_once(
            f"PyTorch computes in {threads} threads here, and a trial in one: torch.set_num_threads(1) "
            "gives its numbers to the last digit, and is faster with networks as small as these"
        )
    return make_optimizer(untrained(given, settings), model)


def scheduler(
    given: Given | torch.optim.Optimizer = None,
    optimizer: torch.optim.Optimizer | None = None,
    /,
    **settings: Any,
) -> LambdaLR:
    """Return a trial's learning rate schedule; call its `step()` after each batch, not after each epoch.

    It is an ordinary torch.optim.lr_scheduler.LambdaLR. Beyond the trial's last step the rate stays.

    Args:
        given: as for `harness.model`.
        optimizer: the optimizer whose rate changes.
        settings: as for `harness.model`, such as schedule="cosine", epochs=3, batch_size=32.

    Raises:
        UsageError: there is no optimizer; or as `harness.model`.

    Example:
        >>> scheduler = harness.scheduler(trial, optimizer)  # doctest: +SKIP
        >>> adam = torch.optim.Adam(harness.model(dataset="digits").parameters(), lr=0.01)
        >>> harness.scheduler(adam, dataset="digits", schedule="linear", epochs=2).get_last_lr()
        [0.01]
    """
    if optimizer is None and isinstance(given, torch.optim.Optimizer):
        given, optimizer = None, given
    if not isinstance(optimizer, torch.optim.Optimizer) or isinstance(given, torch.optim.Optimizer):
        raise UsageError("allowed: harness.scheduler(trial, optimizer), where optimizer is a torch.optim one")
    arm = untrained(given, settings).arm.settings
    budget = Budget.of(arm, train_size(arm))
    factors = schedule_factors(arm, budget)[budget.first :]
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: float(factors[min(step, len(factors) - 1)])
    )
