"""The stacked engine: compatible trials train as one; those of a seed on the same batches.

Here is the run: epochs, evaluations, divergence. Steps are taken in steps.py, or in captured.py on a GPU; the
arithmetic is in stack.py and updates.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from harness.axes.metrics import metrics
from harness.batches import Budget, epoch_order
from harness.data import TRAINED_ON, Data
from harness.engines import captured
from harness.engines import outcome as outcomes
from harness.engines import updates as optimizing
from harness.engines.outcome import UNWATCHED, Outcome, Watch
from harness.engines.stack import Stack
from harness.engines.states import State
from harness.engines.steps import Feed, eager
from harness.engines.updates import shape, update_key, updates_of
from harness.trials import Trial


@torch.no_grad()
def train(
    trials: Sequence[Trial],
    data: Data,
    device: str = "cpu",
    dtype: Any = np.float32,
    watch: Watch = UNWATCHED,
) -> Outcome:
    """Train trials of one group as one stack, and observe them.

    Args:
        trials: of one budget and data, of one seed or several; those of one shape side by side, and those
            of one optimizer, activation and so on among them.
        data: what they train on, in `dtype`.
        device: a torch device.
        dtype: a NumPy float type; float64 for checks.
        watch: what the run wants besides; told now and then how far the stack is.
    """
    where = torch.device(device)
    with captured.streaming(where):
        return _train(trials, data, where, torch.from_numpy(np.empty(0, dtype)).dtype, watch)


def _train(
    trials: Sequence[Trial], data: Data, where: torch.device, dtype: torch.dtype, watch: Watch
) -> Outcome:
    settings = trials[0].arm.settings
    budget = Budget.of(settings, len(data.train.y))
    stack = Stack(trials, data, updates_of(trials, budget, where), where, dtype)
    outcome = Outcome(
        diverged_step=np.zeros(len(trials), np.int64),
        parameters=np.repeat([block.parameters for block in stack.blocks], stack.sizes),
        epochs_done=budget.epoch_of(watch.stop(budget)),
        steps_done=watch.stop(budget),
    )
    run = _Run(stack, data, budget, outcome, watch)
    run.train(settings.sampling)
    return run.finish()


def select(state: State, trials: Sequence[Trial], keep: Sequence[int]) -> State:
    """The state of some members: `train([trials[k] for k in keep], ...)` goes on from it without the others.

    Args:
        state: of a stack of `trials`.
        trials: its members, in their order.
        keep: places in `trials`, ascending.
    """
    keys: dict[str, list[Any]] = {
        "block": [shape(trial) for trial in trials],
        "update": [update_key(trial) for trial in trials],
    }
    kept = {
        f"{what}.{name}": value
        for what, own in keys.items()
        for name, value in optimizing.select(state.under(f"{what}."), own, keep).items()
    }
    return State(state.step, {**kept, **outcomes.select(state.values, keep)})


class _Run:
    """A stack in training: data on the device, and what has been seen so far."""

    def __init__(
        self,
        stack: Stack,
        data: Data,
        budget: Budget,
        outcome: Outcome,
        watch: Watch,
    ) -> None:
        self.stack, self.data, self.budget = stack, data, budget
        self.outcome, self.watch = outcome, watch
        self.metrics = [metrics[name] for name in watch.metrics]
        self.due, self.stop = frozenset(budget.eval_steps), watch.stop(budget)
        self.images = {split: stack.first.images(data[split]) for split in TRAINED_ON}
        feed = Feed.of(stack, data, self.images["train"], budget)
        self.losses, self.kept = feed.losses, feed.kept
        self.steps = captured.steps(stack, data, feed, outcome.notes.append) or eager(stack, feed)

    def train(self, sampling: str) -> None:
        """Take all steps up to the last that is wanted, or stop when every member has diverged."""
        step, per_epoch = self.begin(), self.budget.steps_per_epoch
        while step < self.stop:
            epoch = step // per_epoch
            orders = [epoch_order(seed, epoch, self.budget, sampling) for seed in self.stack.seeds]
            self.steps.begin(np.stack(orders), step)
            while step < (epoch + 1) * per_epoch:
                step += self.steps.advance(step)
                if (step in self.due or step % self.kept == 0) and not self.look(step):
                    return

    def look(self, step: int) -> bool:
        """Look up from the steps; False where there are no more to take."""
        self.look_at_losses(step)
        self.watch.tell(step / self.budget.steps, self.outcome)
        if step in self.due:
            self.observe(step)
        if (self.outcome.diverged_step > 0).all():
            return False
        if step == self.stop:
            self.pause(step)
            return False
        if self.watch.checkpoints.due(step, self.budget):
            self.watch.checkpoints.save(step, self.values())
        return True

    def pause(self, step: int) -> None:
        """Keep the state for those who go on from here, unless the budget ends here."""
        if step < self.budget.steps:
            self.watch.checkpoints.save(step, self.values())

    def begin(self) -> int:
        """Start with an evaluation, or go on from a checkpoint; gives the steps already taken."""
        state = self.watch.checkpoints.load()
        if state is None:
            self.observe(0)
            return 0
        self.go_on(state)
        return state.step

    def values(self) -> dict[str, Any]:
        """All that it takes to go on from here, once the losses were looked at."""
        stack, first = self.stack, self.stack.first
        values: dict[str, Any] = {}
        for i, block in enumerate(stack.blocks):
            values |= {f"block.{i}.first": first.weights(i), f"block.{i}.rest": block.rest}
        for i, part in enumerate(first.parts):
            for name, kept in part.update.values().items():
                of_first = name.startswith("0.") and np.shape(kept) == part.first.shape
                values[f"update.{i}.{name}"] = first.plain(part, kept) if of_first else kept
        return {**values, **self.outcome.values()}

    def go_on(self, state: State) -> None:
        """Be where the run was whose state this is."""
        stack, first = self.stack, self.stack.first
        for i, block in enumerate(stack.blocks):
            weights = torch.from_numpy(state.values[f"block.{i}.first"])
            first.set_weights(i, weights.to(stack.device))
            block.rest.copy_(torch.from_numpy(state.values[f"block.{i}.rest"]))
        for i, part in enumerate(first.parts):
            layout = partial(first.laid, part)
            part.update.go_on(state.under(f"update.{i}."), [part.first, part.rest], layout)
        self.outcome.go_on(state)

    def look_at_losses(self, step: int) -> None:
        """Find out which members' batch losses stopped being finite since the last look."""
        count = (step - 1) % self.kept + 1
        kept = self.losses[:count].cpu().numpy()
        for i in np.flatnonzero(~np.isfinite(kept).all(1)):
            self.outcome.note_divergence(step - count + 1 + int(i), kept[i])

    def observe(self, step: int) -> None:
        """Evaluate train and val; the last time for good."""
        last = step == self.budget.steps
        for split in self.watch.splits:
            images = self.images[split]
            if len(images):
                seen = self.stack.evaluate(self.data[split], images, self.metrics, keep=last)
                self.outcome.observe(self.budget.epoch_of(step), step, split, seen, last=last)

    def finish(self) -> Outcome:
        """Open the test set at the end, once, unless it is sealed, and take the weights along."""
        ended = self.stop == self.budget.steps
        if ended and not self.watch.sealed and not (self.outcome.diverged_step > 0).all():
            images = self.stack.first.images(self.data.test)
            seen = self.stack.evaluate(self.data.test, images, self.metrics, keep=True)
            self.outcome.final["test"] = seen
        self.outcome.weights = self.stack.weights()
        return self.outcome
