"""The run of every engine: steps, evaluations, divergence, checkpoints, and the test set once.

An engine gives what is its own as a `Training`: it takes steps, evaluates, and saves and restores its state.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.data.batches import Budget
from harness.data.samples import Data, Split
from harness.engines.base import LOOK_EVERY, LOOK_SECONDS, EngineOptions
from harness.engines.outcome import Evaluation, Floats, Outcome, observed
from harness.engines.states import State, copied
from harness.errors import MachineError


class Training(Protocol):
    """K trials in training: their networks, optimizers and batches.

    `parameters` (K,) counts those of each trial; `notes` say to a person what was done otherwise than
    expected, and may grow.
    """

    data: Data
    budget: Budget
    parameters: NDArray[np.int64]
    notes: list[str]

    def take_steps(self, step: int, until: int) -> Floats:
        """Take the steps after `step` up to `until`; return their mean batch losses (T, K).

        An engine of one trial may stop early, after a step whose loss is not finite.
        """

    def evaluate(self, split: Split, *, keep: bool) -> Evaluation:
        """Evaluate a split in inference mode; predictions may be left out without `keep`."""

    def weights(self) -> list[dict[str, Floats]]:
        """Return each trial's weights by name."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that it takes to resume from here, as the values of a State; views, not copies."""

    def load_state_dict(self, state: State) -> None:
        """Restore weights, optimizer state and the place among the batches."""


def run(training: Training, options: EngineOptions) -> Outcome:
    """Train up to the last step that is wanted, and observe it; open the test set at the end, once."""
    budget, stop = training.budget, options.last_step(training.budget)
    diverged = np.zeros(len(training.parameters), np.int64)
    outcome = Outcome(diverged, training.parameters, budget.epoch_of(stop), stop, notes=training.notes)
    _Run(training, options, outcome).train()
    if options.keep_state and stop == budget.steps and not outcome.all_diverged:
        outcome.state = State(stop, copied({**training.state_dict(), **outcome.state_dict()}))
    if stop == budget.steps and not options.sealed and not outcome.all_diverged:
        outcome.final["test"] = training.evaluate("test", keep=True)
    outcome.weights = training.weights()
    return outcome


@dataclass(frozen=True)
class _Run:
    training: Training
    options: EngineOptions
    outcome: Outcome

    def train(self) -> None:
        """Take all steps up to the last that is wanted, or stop when every trial has diverged."""
        evaluations = self.training.budget.eval_steps
        due, step, most = frozenset(evaluations), self._begin(), LOOK_EVERY
        while step < self.outcome.steps_done:
            until = evaluations[bisect_right(evaluations, step)]
            until = min(until, step - step % LOOK_EVERY + LOOK_EVERY, step + most)
            start = time.perf_counter()
            losses = self.training.take_steps(step, until)
            seconds = time.perf_counter() - start
            most = min(LOOK_EVERY, max(1, int(LOOK_SECONDS * len(losses) / max(seconds, 1e-9))))
            self.outcome.note_losses(step, losses)
            step += len(losses)
            if not self._look(step, due=step in due):
                return

    def _begin(self) -> int:
        """Evaluate for the first time, or resume from a checkpoint; return the steps already taken."""
        state, first = self.options.checkpoints.load(), self.training.budget.first
        if state is None and first:
            raise MachineError(
                "this trial continues another one, whose state is not there: call harness.continue_training "
                "with that one again"
            )
        if state is not None:
            self.training.load_state_dict(state)
        if state is None or not observed(state):
            self._observe(first)
            return first
        self.outcome.load_state_dict(state)
        return state.step

    def _look(self, step: int, *, due: bool) -> bool:
        """Evaluate and save a checkpoint where they are due; return whether training goes on."""
        budget, checkpoints = self.training.budget, self.options.checkpoints
        if due and not self.outcome.all_diverged:
            self._observe(step)
        self.options.tell(step / budget.steps, self.outcome)
        if self.outcome.all_diverged:
            return False
        paused = step == self.outcome.steps_done < budget.steps
        if paused or (step < self.outcome.steps_done and checkpoints.due(step, budget)):
            checkpoints.save(step, {**self.training.state_dict(), **self.outcome.state_dict()})
        return True

    def _observe(self, step: int) -> None:
        """Evaluate train and val; the last evaluation is final."""
        training, last = self.training, step == self.training.budget.steps
        for split in self.options.splits:
            if len(training.data[split].y):
                evaluation = training.evaluate(split, keep=last)
                epoch = training.budget.epoch_of(step)
                self.outcome.observe(epoch, step, split, evaluation, last=last)
