"""A compiled stack in training: batches, steps and evaluations of all its members."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.batches import Budget, epoch_order
from harness.data.samples import Data, Samples, Split
from harness.engines import kernels
from harness.engines.base import LOOK_EVERY, uniforms
from harness.engines.compiled import forms
from harness.engines.compiled.group import MemberGroup, StackContext, parameters
from harness.engines.compiled.images import Expander, Stored, Transposer, in_full, sparse_form, stored
from harness.engines.compiled.memory import address, zeros
from harness.engines.members import SeedIndex, as_slice, runs, shape, update_key
from harness.engines.outcome import Evaluation, Floats
from harness.engines.states import State
from harness.lowering.components import TrialComponents
from harness.rng import StreamSeed
from harness.study.trials import Trial

STRETCH_VALUES = 2**22
"""Values of all batches of a stretch, at most, zeros included."""

EXPANDED = 4 * kernels.EVALUATED
"""Images that an evaluation lays out in full at a time, for all members."""


@functools.lru_cache(maxsize=6)
def labels(samples: Samples, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a split's labels as the kernels read them, and more for the images that fill up batches."""
    y = samples.y.astype(np.int32 if dtype == np.float32 else np.int64)
    return np.append(y, np.zeros(kernels.EVALUATED, y.dtype))


class CompiledTraining:
    """K trials in training in the kernels (`driver.Training`)."""

    def __init__(
        self, trials: Sequence[Trial], lowered: Sequence[TrialComponents], data: Data, metrics: Sequence[str]
    ) -> None:
        """Start the networks of trials whose components are compiled; evaluations measure `metrics`."""
        self.trials, self.data, self.metrics = trials, data, metrics
        self.budget = Budget.of(trials[0].arm.settings, len(data.train.y))
        self.dtype, self.form = data.train.dtype, sparse_form(data.train)
        self.seeds = SeedIndex.of(trial.step_seed for trial in trials)
        context = StackContext(data.inputs, len(data.classes), self.budget, self.seeds, self.dtype)
        self.groups = [
            MemberGroup(members, trials[as_slice(members)], lowered[as_slice(members)], context)
            for members, _ in runs(list(map(update_key, trials)))
        ]
        counts = [parameters(group.widths) for group in self.groups]
        self.parameters = np.repeat(counts, [group.k for group in self.groups])
        self.notes: list[str] = []
        self.transpose, self.expand = Transposer(data.inputs, self.dtype), Expander(data.inputs, self.dtype)
        self.in_full = in_full(data.train, self.form)
        self.dropout = Dropout.of(self.groups, self.seeds.seeds)
        self.losses = zeros((LOOK_EVERY, len(trials)), self.dtype)
        self.room = zeros((max(group.room(kernels.EVALUATED) for group in self.groups),), self.dtype)
        self.epoch = -1  # none is begun

    def images(self, split: Split) -> Stored:
        """Return the images of a split."""
        return stored(self.data[split], self.form, full=self.in_full)

    def forms(self, batch: int) -> forms.Forms:
        """Return the forms that layer one reads in batches of some size."""
        return forms.Forms(True, True) if self.in_full else forms.chosen(self.form.density, batch)

    def take_steps(self, step: int, until: int) -> Floats:
        """Take steps as `Training.take_steps`."""
        first = step
        while step < until:
            epoch = step // self.budget.steps_per_epoch
            if epoch != self.epoch:
                self._begin_epoch(epoch)
            step += self._stretch(step, until, self.losses[step - first :])
        return self.losses[: until - first].copy()

    def _begin_epoch(self, epoch: int) -> None:
        """Draw the order of the images in an epoch, for each seed."""
        self.epoch = epoch
        sampling = self.trials[0].arm.settings.sampling
        orders = [epoch_order(seed, epoch, self.budget, sampling) for seed in self.seeds.seeds]
        self.orders = np.stack(orders)

    def _stretch(self, step: int, until: int, losses: Floats) -> int:
        """Take the step after `step`, or several within its epoch, in one call; return how many."""
        size, lanes = self.budget.batch_size, self.groups[0].lanes
        first = step % self.budget.steps_per_epoch * size
        seeds, images = self.orders.shape
        filled = size + -size % lanes
        most = max(1, STRETCH_VALUES // (seeds * filled * self.data.inputs))
        count: int = min(most, max((images - first) // size, 1), until - step)
        chosen = self.orders[:, first : first + count * size].reshape(seeds, count, -1).swapaxes(0, 1)
        train = self.images("train")
        b = chosen.shape[2]
        index = np.full((count, seeds, b + -b % lanes), train.size)
        index[:, :, :b] = chosen
        self._run(step + 1, train, index, b, losses)
        return count

    def _run(self, t: int, train: Stored, index: NDArray[np.int64], b: int, losses: Floats) -> None:
        """Take steps t, t + 1, .. of all members on batches (steps, S, b) of train, filled up."""
        steps, seeds, filled = index.shape
        uniform = self.dropout.draw(t, steps, b, filled)
        label, use = labels(self.data.train, self.dtype), self.forms(self.budget.batch_size)
        stretch = kernels.Stretch(
            x=train.struct, occurs=address(train.occurs),
            batches=kernels.Turned() if use.gradients else self.transpose(train, index),
            full=address(self.expand(train, index, b)) if use.either else None,
            full_products=use.products, full_steps=use.gradients, index=address(index), label=address(label),
            uniforms=address(uniform) if uniform.size else None,
            layers=uniform.shape[2], widest=uniform.shape[3],
            t=t - self.groups[0].before, steps=steps, seeds=seeds, b=filled, count=b,
        )  # fmt: skip
        room = max(group.room(filled) for group in self.groups)
        if len(self.room) < room:
            self.room = zeros((room,), self.dtype)
        for group in self.groups:
            group.take_steps(stretch, losses, self.room)

    def evaluate(self, split: Split, *, keep: bool) -> Evaluation:
        """Evaluate a split as `Training.evaluate`."""
        samples, images = self.data[split], self.images(split)
        n, k = len(samples.y), len(self.trials)
        label, index = labels(samples, self.dtype), np.minimum(np.arange(n + kernels.EVALUATED), n)
        loss, hits, measured = np.zeros(k), np.zeros(k, np.int64), np.zeros((k, len(self.metrics)))
        best, sure = np.zeros((k, n if keep else 0), np.int64), np.zeros((k, n if keep else 0), self.dtype)
        full = self.expand.reserve(EXPANDED) if self.forms(kernels.EVALUATED).products else None
        for group in self.groups:
            first = group.members.start
            evaluation = kernels.CEvaluation(
                x=images.struct, index=address(index), label=address(label), n=n, metrics=len(self.metrics),
                loss=address(loss[first:]), measured=address(measured[first:]), hits=address(hits[first:]),
                best=address(best[first:]) if keep else None, sure=address(sure[first:]) if keep else None,
                full=None if full is None else address(full), expanded=EXPANDED,
            )  # fmt: skip
            group.evaluate(evaluation, self.room)
        means = {name: measured[:, i] / n for i, name in enumerate(self.metrics)}
        return Evaluation(loss / n, hits / n, best, sure, means)

    def weights(self) -> list[dict[str, Floats]]:
        """Return each member's weights under torch.nn.Linear's names."""
        return [weights for group in self.groups for weights in group.weights()]

    def _blocks(self) -> list[list[MemberGroup]]:
        """Return the groups of each shape."""
        shapes = [shape(self.trials[group.members.start]) for group in self.groups]
        return [self.groups[as_slice(groups)] for groups, _ in runs(shapes)]

    def state_dict(self) -> dict[str, Any]:
        """Return parameters of members of a shape, and states of an optimizer, as plain (k, h*D)."""
        values: dict[str, Any] = {}
        for i, groups in enumerate(self._blocks()):
            values[f"block.{i}.first"] = np.concatenate([group.from_tiles(group.first) for group in groups])
            values[f"block.{i}.rest"] = np.concatenate([group.rest for group in groups])
        for i, group in enumerate(self.groups):
            values |= {f"update.{i}.{name}": value for name, value in group.optimizer_state().items()}
        return values

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` gave."""
        for i, groups in enumerate(self._blocks()):
            ends = list(itertools.accumulate(group.k for group in groups))[:-1]
            pieces = (np.split(state.values[f"block.{i}.{name}"], ends) for name in ("first", "rest"))
            for group, first, rest in zip(groups, *pieces, strict=True):
                group.first[:], group.rest[:] = group.to_tiles(first), rest
        for i, group in enumerate(self.groups):
            group.load_optimizer_state(state.under(f"update.{i}."))


@dataclass(frozen=True)
class Dropout:
    """The random numbers of a stack's dropout: by seed, hidden layer and step, as in every engine."""

    seeds: Sequence[StreamSeed]
    widths: Sequence[int]

    @classmethod
    def of(cls, groups: Sequence[MemberGroup], seeds: Sequence[StreamSeed]) -> Dropout:
        """Return the dropout of some groups; it has no layers where no member leaves anything out."""
        dropping = [group.widths[1:-1] for group in groups if group.dropout]
        return cls(seeds, [max(layer) for layer in itertools.zip_longest(*dropping, fillvalue=0)])

    def draw(self, t: int, steps: int, batch: int, filled: int) -> NDArray[np.float32]:
        """Draw numbers (steps, S, layers, widest, filled) for steps t, t + 1, .. of batches, filled up."""
        layers, widest = len(self.widths), max(self.widths, default=0)
        drawn = zeros((steps, len(self.seeds), layers, widest, filled), np.float32)
        for step, s in itertools.product(range(steps), range(len(self.seeds))):
            for layer, width in enumerate(self.widths):
                drawn[step, s, layer, :width, :batch] = uniforms(self.seeds[s], layer, t + step, width, batch)
        return drawn
