"""What every engine gives back: the observations of K trials that trained together, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.batches import Budget
from harness.data import TRAINED_ON, Split
from harness.engines.states import NEVER, Checkpoints, State

EVALUATION_BATCH = 2000  # images in a forward pass of one network
TELL_EVERY = 64  # steps between two words to `Watch.tell`, of one network
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Point:
    """Mean loss (K,), accuracy (K,) and metrics on one split after so many steps, in inference mode."""

    epoch: float
    step: int
    split: Split
    loss: Floats
    accuracy: Floats
    metrics: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """K networks on one split of n samples.

    loss (K,), accuracy (K,) and each of the metrics (K,) are per-sample means; predicted (K, n) are classes,
    confidence (K, n) the probability given to them: softmax of logits, exp of log-probabilities, scores over
    their sum.
    """

    loss: Floats
    accuracy: Floats
    predicted: NDArray[np.int64]
    confidence: Floats
    metrics: Mapping[str, Floats] = field(default_factory=dict)


@dataclass
class Outcome:
    """Everything observed of K trials.

    `diverged_step` (K,) is 0, or the first step (from 1) whose batch's loss, or after which an evaluated
    loss, was not finite. `weights` holds one {name: array} a trial, `parameters` (K,) how
    many there are. `epochs_done` and `steps_done` are where
    the engine stopped; where that was before the budget's end, `final` is empty. `notes` say to a person
    what was done otherwise than expected, and why.
    """

    diverged_step: NDArray[np.int64]
    parameters: NDArray[np.int64]
    epochs_done: float
    steps_done: int
    curve: list[Point] = field(default_factory=list)
    final: dict[Split, Evaluation] = field(default_factory=dict)
    weights: list[dict[str, Floats]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def observe(self, epoch: float, step: int, split: Split, seen: Evaluation, *, last: bool) -> None:
        """Add what was seen of train or val after so many steps; the last time it is final."""
        self.note_divergence(step, seen.loss)
        self.curve.append(Point(epoch, step, split, seen.loss, seen.accuracy, seen.metrics))
        if last:
            self.final[split] = seen

    def note_divergence(self, step: int, loss: Floats) -> None:
        """Mark the trials whose loss (K,) is not finite, unless they are marked already."""
        new = ~np.isfinite(loss) & (self.diverged_step == 0)
        self.diverged_step[new] = max(step, 1)

    def of(self, keep: Sequence[int]) -> Outcome:
        """What was observed of some of the trials; without weights."""
        at = np.asarray(keep, np.int64)
        curve = [
            replace(p, loss=p.loss[at], accuracy=p.accuracy[at], metrics=_each(p.metrics, at))
            for p in self.curve
        ]
        final = {
            split: replace(
                seen,
                **{name: getattr(seen, name)[at] for name in ("loss", "accuracy", "predicted", "confidence")},
                metrics=_each(seen.metrics, at),
            )
            for split, seen in self.final.items()
        }
        return replace(
            self,
            diverged_step=self.diverged_step[at],
            parameters=self.parameters[at],
            curve=curve,
            final=final,
            weights=[],
        )

    def values(self) -> dict[str, Any]:
        """What was observed so far, as a State has it: the curve of P points by columns (P,) and (P, K)."""
        columns = {
            f"curve.{name}": np.array([getattr(point, name) for point in self.curve])
            for name in ("epoch", "step", "loss", "accuracy")
        }
        measured = {
            f"metrics.{name}": np.array([point.metrics[name] for point in self.curve])
            for name in (self.curve[0].metrics if self.curve else ())
        }
        splits = [point.split for point in self.curve]
        return {"diverged_step": self.diverged_step, **columns, **measured, "curve.split": splits}

    def go_on(self, state: State) -> None:
        """Have observed what the trials of a state had."""
        self.diverged_step[:] = state.values["diverged_step"]
        curve, measured = state.under("curve."), state.under("metrics.")
        rows = zip(
            curve["epoch"].tolist(), curve["step"].tolist(), curve["split"], curve["loss"], curve["accuracy"],
            strict=True,
        )  # fmt: skip
        self.curve = [
            Point(*row, {name: values[i] for name, values in measured.items()}) for i, row in enumerate(rows)
        ]


def _each(values: Mapping[str, Floats], at: NDArray[np.int64]) -> dict[str, Floats]:
    return {name: value[at] for name, value in values.items()}


def select(values: Mapping[str, Any], keep: Sequence[int]) -> dict[str, Any]:
    """What `Outcome.values` gave, of the members `keep` alone."""
    per_member = ("curve.loss", "curve.accuracy")
    curves = {
        name: value[:, keep]
        for name, value in values.items()
        if name in per_member or name.startswith("metrics.")
    }
    shared = {name: values[name] for name in ("curve.epoch", "curve.step", "curve.split")}
    return {"diverged_step": values["diverged_step"][keep], **curves, **shared}


def _tell_nobody(_fraction: float, _outcome: Outcome) -> None:
    pass


@dataclass(frozen=True)
class Watch:
    """What a run wants of an engine while it trains.

    `tell(fraction, outcome)` is called now and then, with the share of the steps that is done and what has
    been observed so far. `metrics` are measured at every evaluation, beside loss and accuracy. `checkpoints`
    keep the engine's state, to go on from. `sealed`: the test set stays closed, because something will be
    chosen by these trials. `until`: the step, one of evaluation, after which the engine stops, gives its
    state to the checkpoints and opens no test set, so that trials can go on from there; 0: the end. `splits`
    are those that are evaluated while training goes on.
    """

    tell: Callable[[float, Outcome], None] = _tell_nobody
    metrics: Sequence[str] = ()
    checkpoints: Checkpoints = NEVER
    sealed: bool = False
    until: int = 0
    splits: Sequence[Split] = TRAINED_ON

    def stop(self, budget: Budget) -> int:
        """The step after which the engine stops.

        Raises:
            ValueError: no evaluation is due after `until` steps.
        """
        if self.until and self.until not in budget.eval_steps[1:]:
            told = ", ".join(map(str, budget.eval_steps[1:]))
            raise ValueError(f"until = {self.until}: allowed are 0 and the evaluations, {told}")
        return self.until or budget.steps


UNWATCHED = Watch()
