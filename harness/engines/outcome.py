"""The observations of K trials that trained together, in NumPy: what every engine returns."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.data.samples import Split
from harness.engines.states import State

EVALUATION_BATCH = 2000
"""Images in a forward pass of one network."""
PER_MEMBER = ("curve.loss", "curve.accuracy")
"""Entries of a state's curve that have a column a member, (P, K), beside the metrics."""
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Point:
    """Mean loss (K,), accuracy (K,) and metrics (K,) on one split after so many steps, in inference mode."""

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

    @classmethod
    def of_one(
        cls, y: NDArray[np.int64], predicted: NDArray[np.int64], confidence: Floats, sums: Mapping[str, float]
    ) -> Evaluation:
        """Return the evaluation of one network: (n,) arrays, and sums over samples of loss and metrics."""
        means = {name: np.array([value / len(y)]) for name, value in sums.items()}
        accuracy = np.array([(predicted == y).mean()])
        return cls(means.pop("loss"), accuracy, predicted[None], confidence[None], means)


Observed = TypeVar("Observed", Point, Evaluation)


@dataclass
class Outcome:
    """Everything observed of K trials.

    `diverged_step` (K,) is 0, or the first step (from 1) whose batch's loss, or after which an evaluated
    loss, was not finite. `weights` holds one {name: array} a trial, `parameters` (K,) counts them.
    `epochs_done` and `steps_done` are where the engine stopped; where that was before the budget's end,
    `final` is empty. `notes` say to a person what was done otherwise than expected, and why. `kernels` names
    what decides each trial's float bits (engines.bits), and `hosts` the machines that trained it, once a run
    has said so; `steps` is the way in which a stack in PyTorch took its steps, of which that depends on a
    GPU. `state` is the engine's after the last step, where it was to be kept and not all trials diverged.
    """

    diverged_step: NDArray[np.int64]
    parameters: NDArray[np.int64]
    epochs_done: float
    steps_done: int
    curve: list[Point] = field(default_factory=list)
    final: dict[Split, Evaluation] = field(default_factory=dict)
    weights: list[dict[str, Floats]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kernels: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    steps: str = ""
    state: State | None = None

    @property
    def all_diverged(self) -> bool:
        """Return whether no trial is left that could be trained further."""
        return bool((self.diverged_step > 0).all())

    def observe(self, epoch: float, step: int, split: Split, evaluation: Evaluation, *, last: bool) -> None:
        """Add an evaluation of train or val after so many steps to the curve; the last one is final."""
        self.note_divergence(step, evaluation.loss)
        self.curve.append(Point(epoch, step, split, evaluation.loss, evaluation.accuracy, evaluation.metrics))
        if last:
            self.final[split] = evaluation

    def note_losses(self, step: int, losses: Floats) -> None:
        """Mark the trials whose batch losses (T, K) of the steps after `step` are not all finite."""
        for i in np.flatnonzero(~np.isfinite(losses).all(1)):
            self.note_divergence(step + 1 + int(i), losses[i])

    def note_divergence(self, step: int, loss: Floats) -> None:
        """Mark the trials whose loss (K,) is not finite, unless they are marked already."""
        new = ~np.isfinite(loss) & (self.diverged_step == 0)
        self.diverged_step[new] = max(step, 1)

    def of(self, keep: Sequence[int]) -> Outcome:
        """Return the observations of some of the trials, without weights."""
        members = np.asarray(keep, np.int64)
        return replace(
            self,
            diverged_step=self.diverged_step[members],
            parameters=self.parameters[members],
            curve=[_select_members(point, members) for point in self.curve],
            final={split: _select_members(evaluation, members) for split, evaluation in self.final.items()},
            weights=[],
            kernels=[self.kernels[k] for k in keep] if self.kernels else [],
            hosts=[self.hosts[k] for k in keep] if self.hosts else [],
        )

    @classmethod
    def joined(cls, outcomes: Sequence[Outcome]) -> Outcome:
        """Return what was observed of stacks that went equally far as one's, without weights and state.

        Raises:
            ValueError: they were not observed after the same steps.
        """
        first, *others = outcomes
        if any(not _observed_alike(first, other) for other in others):
            raise ValueError(
                f"stacks were observed after other steps, up to {[o.steps_done for o in outcomes]}"
            )
        return replace(
            first,
            diverged_step=np.concatenate([outcome.diverged_step for outcome in outcomes]),
            parameters=np.concatenate([outcome.parameters for outcome in outcomes]),
            curve=[_join_members(points) for points in zip(*(o.curve for o in outcomes), strict=True)],
            final={split: _join_members([o.final[split] for o in outcomes]) for split in first.final},
            weights=[],
            notes=list(dict.fromkeys(note for outcome in outcomes for note in outcome.notes)),
            kernels=[kernels for outcome in outcomes for kernels in outcome.kernels],
            hosts=[hosts for outcome in outcomes for hosts in outcome.hosts],
            state=None,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the observations as a State holds them: the curve of P points by columns (P,) and (P, K)."""
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

    def load_state_dict(self, state: State) -> None:
        """Restore the learning curve and divergence flags."""
        self.diverged_step[:] = state.values["diverged_step"]
        curve, measured = state.under("curve."), state.under("metrics.")
        rows = zip(
            curve["epoch"].tolist(), curve["step"].tolist(), curve["split"], curve["loss"], curve["accuracy"],
            strict=True,
        )  # fmt: skip
        self.curve = [
            Point(*row, {name: values[i] for name, values in measured.items()}) for i, row in enumerate(rows)
        ]


def _select_members(observed: Observed, members: NDArray[np.int64]) -> Observed:
    """Return what was observed of some of the networks."""
    fields = vars(observed).items()
    arrays: dict[str, Any] = {name: v[members] for name, v in fields if isinstance(v, np.ndarray)}
    metrics = {name: values[members] for name, values in observed.metrics.items()}
    return replace(observed, **arrays, metrics=metrics)


def _join_members(observed: Sequence[Observed]) -> Observed:
    """Return what was observed of several stacks of networks as one's."""
    first = observed[0]
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in observed])
        for name, value in vars(first).items()
        if isinstance(value, np.ndarray)
    }
    metrics = {name: np.concatenate([one.metrics[name] for one in observed]) for name in first.metrics}
    return replace(first, **arrays, metrics=metrics)


def _observed_alike(a: Outcome, b: Outcome) -> bool:
    """Tell whether two outcomes have the same points, and whatever else has an entry a member."""
    points = [[(point.step, point.split) for point in outcome.curve] for outcome in (a, b)]
    return points[0] == points[1] and a.steps_done == b.steps_done and a.final.keys() == b.final.keys()


def observed(state: State) -> bool:
    """Tell whether a state holds what was observed of its trials, and not only how they are."""
    return "diverged_step" in state.values


def at_steps(values: Mapping[str, Any], steps: Container[int]) -> dict[str, Any]:
    """Return what `Outcome.state_dict` gave, among other values, with the curve's points at some steps."""
    keep = [i for i, step in enumerate(values["curve.step"].tolist()) if step in steps]
    curve = {
        name: [value[i] for i in keep] if isinstance(value, list) else value[keep]
        for name, value in values.items()
        if name.startswith(("curve.", "metrics."))
    }
    return {**values, **curve}


def select(values: Mapping[str, Any], keep: Sequence[int]) -> dict[str, Any]:
    """Return what `Outcome.state_dict` gave, for the members `keep` alone."""
    curves = {
        name: value[:, keep]
        for name, value in values.items()
        if name in PER_MEMBER or name.startswith("metrics.")
    }
    shared = {name: values[name] for name in ("curve.epoch", "curve.step", "curve.split")}
    return {"diverged_step": values["diverged_step"][keep], **curves, **shared}


def join(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what `Outcome.state_dict` gave of several stacks as one's: the inverse of `select`.

    Raises:
        ValueError: they were not observed after the same steps.
    """
    first = values[0]
    if any(
        not np.array_equal(first[name], other[name])
        for name in ("curve.step", "curve.split")
        for other in values
    ):
        raise ValueError("states of stacks that were observed after other steps: they cannot be joined")
    per_member = [name for name in first if name in PER_MEMBER or name.startswith("metrics.")]
    curves = {name: np.concatenate([each[name] for each in values], axis=1) for name in per_member}
    shared = {name: first[name] for name in ("curve.epoch", "curve.step", "curve.split")}
    return {"diverged_step": np.concatenate([each["diverged_step"] for each in values]), **curves, **shared}
