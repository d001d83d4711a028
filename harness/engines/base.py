"""The common ground of the engines: their protocol, lookup and options, and what all are given alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from harness.axes.schedules import Clock, factors, schedules
from harness.data.arm_settings import Settings
from harness.data.batches import Budget, epoch_order
from harness.data.samples import TRAINED_ON, Data, Split
from harness.engines.outcome import Floats, Outcome
from harness.engines.states import NEVER, Checkpoints, State
from harness.rng import StreamSeed, stream
from harness.study.trials import Trial

LOOK_EVERY = 64
"""Steps between two looks at the batch losses, at most: a look costs a stack as much as a step."""

LOOK_SECONDS = 2.0
"""Seconds between two looks, at most, where no step takes longer: a checkpoint may be wanted at once."""


@dataclass(frozen=True)
class EngineOptions:
    """Options and callbacks of one training.

    Args:
        tell: called at every look with the share of the steps that is done and the observations so far.
        metrics: measured at every evaluation, beside loss and accuracy.
        checkpoints: keep the engine's state, to resume from.
        sealed: keep the test set closed, because something will be chosen by these trials.
        until: the step, one of evaluation, after which the engine stops, saves its state and opens no test
            set, so that trials can be resumed from there; 0: the end.
        splits: evaluated during training.
        keep_state: keep the state after the last step in the outcome, so that training can go on from it.
    """

    tell: Callable[[float, Outcome], None] = lambda _fraction, _outcome: None
    metrics: Sequence[str] = ()
    checkpoints: Checkpoints = NEVER
    sealed: bool = False
    until: int = 0
    splits: Sequence[Split] = TRAINED_ON
    keep_state: bool = False

    def last_step(self, budget: Budget) -> int:
        """Return the step after which the engine stops; raise ValueError if it is not one of evaluation."""
        if self.until and self.until not in budget.eval_steps[1:]:
            allowed = ", ".join(map(str, budget.eval_steps[1:]))
            raise ValueError(f"until = {self.until}: allowed are 0 and the evaluations, {allowed}")
        return self.until or budget.steps


DEFAULT_OPTIONS = EngineOptions()
"""Train to the end, tell nobody, keep nothing."""


class Engine(Protocol):
    """A module that trains the trials of a stack."""

    def train(
        self, trials: Sequence[Trial], data: Data, device: str = "cpu", dtype: DTypeLike = np.float32,
        options: EngineOptions = DEFAULT_OPTIONS,
    ) -> Outcome:  # fmt: skip
        """Train trials that share a budget and data, and observe them.

        Args:
            trials: of one group; an engine that does not stack takes exactly one.
            data: train, val and test, in `dtype`.
            device: a torch device.
            dtype: a NumPy float type; float64 for checks.
            options: what the run wants besides.
        """

    def select(self, state: State, trials: Sequence[Trial], keep: Sequence[int]) -> State:
        """Return the state of some members, from which `train([trials[k] for k in keep], ...)` resumes.

        `state` is of the training of `trials`; `keep` are ascending.
        """

    def join(
        self, states: Sequence[State], trials: Sequence[Sequence[Trial]], order: Sequence[int] = ()
    ) -> State:
        """Return the states of several stacks as one's, the inverse of `select`.

        `states[i]` is of the training of `trials[i]`. `order` are the places that the members are to have, as
        they count through all stacks; as they come if it is empty. From the result `train` resumes with the
        trials in that order.

        Raises:
            ValueError: the states are not of one step, or differ in what all members share.
        """


def schedule_factors(settings: Settings, budget: Budget) -> Floats:
    """Return the factor of an arm's schedule on its learning rate, at every step (S,).

    The schedule of a trial that continues another begins with its own first step; before, factors are 0.
    """
    schedule = schedules[settings.schedule]
    arguments = {name: settings[name] for name in schedule.settings}
    clock = Clock.of(budget.steps - budget.first, budget.steps_per_epoch)
    return np.concatenate([np.zeros(budget.first), factors(schedule, clock, arguments)])


def learning_rates(trials: Sequence[Trial], budget: Budget) -> Floats:
    """Return the learning rate of every step and trial, (S, K)."""
    known: dict[str, Floats] = {}
    rates = np.empty((budget.steps, len(trials)))
    for k, trial in enumerate(trials):
        settings = trial.arm.settings
        key = schedule_key(settings)
        if key not in known:
            known[key] = schedule_factors(settings, budget)
        rates[:, k] = settings.lr * known[key]
    return rates


def schedule_key(settings: Settings) -> str:
    """Name a trial's schedule with its settings: trials of one name have the same factors."""
    return f"{settings.schedule} {[settings[name] for name in schedules[settings.schedule].settings]}"


def steps_before(trial: Trial) -> int:
    """Return the steps that came before the first one that a trial's optimizer has counted; 0 is usual.

    An optimizer that begins afresh, in a trial that continues another, counts its updates from 1.
    """
    return trial.arm.settings.parent_steps - trial.arm.settings.parent_updates


def batch_indices(trial: Trial, budget: Budget, start: int = 0) -> Iterator[NDArray[np.int64]]:
    """Yield the images of every step after step `start`, as indices into the train split."""
    sampling, step, size = trial.arm.settings.sampling, start, budget.batch_size
    for epoch in range(start // budget.steps_per_epoch, budget.epochs):
        order = epoch_order(trial.step_seed, epoch, budget, sampling)
        for i in range(step % budget.steps_per_epoch * size, len(order), size):
            if step == budget.steps:
                return
            yield order[i : i + size]
            step += 1


def uniforms(seed: StreamSeed, layer: int, step: int, width: int, batch: int) -> NDArray[np.float32]:
    """Draw dropout's uniform numbers in [0, 1) for one hidden layer and step, (width, batch).

    A unit stays where its number is >= p. The numbers depend on no p and on no stack, so that arms of a seed
    are paired in what they leave out, and a larger p leaves out the same units and others besides. They are
    drawn row by row: a narrower layer's are the first rows of a wider one's. They are always float32, also
    where a check trains in float64. Hidden layers count from 0, steps from 1.
    """
    return stream(seed, "dropout", layer, step).random((width, batch), dtype=np.float32)
