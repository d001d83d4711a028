"""Outcomes: what came of suggestions, from what was just trained or from the part of a batch on disk."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from optuna.trial import TrialState

from harness.batches import Budget
from harness.data import train_size
from harness.searches import Search
from harness.searching.asking import Told
from harness.searching.rounds import Round, curve, rounded
from harness.stacks import widths_of
from harness.trials import Trial


@dataclass(frozen=True)
class Ended:
    """What came of one trial: its status, why, its objective on val by evaluation, and its parameters."""

    status: str
    reason: str = ""
    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    parameters: int = 0


def of_round(found: Round, objectives: Sequence[str]) -> dict[str, Ended]:
    """What came of each trial of a batch that was trained, by trial_id."""
    ended = {trial_id: Ended("failed", message) for trial_id, (_, message) in found.failed.items()}
    for _, share in found.shares:
        outcome = share.outcome
        for k, trial in enumerate(share.trials):
            step = int(outcome.diverged_step[k])
            reason = share.reasons.get(trial.trial_id, "")
            curves = {name: curve(outcome, k, name) for name in objectives if name.startswith("val_")}
            parameters = int(outcome.parameters[k])
            status = "diverged" if step else "pruned" if reason else "ok"
            ended[trial.trial_id] = Ended(status, diverged(step) if step else reason, curves, parameters)
    return ended


def diverged(step: int) -> str:
    """Why a trial has no outcome, in the words of trials.csv."""
    return f"the loss was not finite at step {step}"


def of_part(tables: Mapping[str, pd.DataFrame], objectives: Sequence[str]) -> dict[str, Ended]:
    """What came of each trial of a batch that an earlier run trained, from its part, as text."""
    epochs = tables["epochs"]
    val = dict(list(epochs[epochs["split"] == "val"].groupby("trial_id", sort=False)))
    ended = {}
    for row in tables["trials"].to_dict("records"):
        own = val.get(row["trial_id"])
        curves = {
            name: {} if own is None else dict(_curve(own[name.removeprefix("val_")]))
            for name in objectives
            if name.startswith("val_")
        }
        parameters = int(float(row["parameters"] or 0))
        ended[str(row["trial_id"])] = Ended(row["status"], row["reason"], curves, parameters)
    return ended


def _curve(values: pd.Series[str]) -> Iterator[tuple[int, float]]:
    for evaluation, value in enumerate(values):
        if evaluation:
            yield evaluation, rounded(float(value)) if value else math.nan


def told(trials: Sequence[Trial], ended: Mapping[str, Ended], search: Search) -> Told:
    """What came of a suggestion: the mean over its seeds, or what stopped it.

    Args:
        trials: the suggestion's, one a seed.
        ended: what came of each, by trial_id.
        search: says what is sought, and what a suggestion that diverged counts as.
    """
    own = [ended[trial.trial_id] for trial in trials]
    first = next((name for name in search.objective if name.startswith("val_")), "")
    curves = [dict(one.curves.get(first, {})) for one in own]
    common = sorted(set.intersection(*(set(one) for one in curves))) if len(search.objective) == 1 else []
    means = {i: float(np.mean([one[i] for one in curves])) for i in common}
    reached = max((max(one, default=0) for one in curves), default=0)
    for status in ("failed", "diverged"):
        at = next((i for i, one in enumerate(own) if one.status == status), None)
        if at is None:
            continue
        reason = f"seed {trials[at].seed} {status}: {own[at].reason}"
        if status == "diverged":
            return _lost(search, means, reached, reason)
        return Told(TrialState.FAIL, [], means, reached, reason)
    pruned = next((one for one in own if one.status == "pruned"), None)
    if pruned is not None and means and not math.isfinite(last := means[max(means)]):
        return _lost(search, means, reached, f"{first} is {last}, not finite")
    if pruned is not None:
        return Told(TrialState.PRUNED, [], means, reached, pruned.reason)
    values = [_value(name, trials[0], own) for name in search.objective]
    for name, value in zip(search.objective, values, strict=True):
        if not math.isfinite(value):
            return _lost(search, means, reached, f"{name} is {value}, not finite")
    return Told(TrialState.COMPLETE, values, means, reached)


def _lost(search: Search, intermediate: Mapping[int, float], reached: int, reason: str) -> Told:
    """What is told of a suggestion that came to no number: that it failed, or the declared worst value."""
    if search.diverged == "fail":
        return Told(TrialState.FAIL, [], intermediate, reached, reason)
    return Told(TrialState.COMPLETE, [float(search.diverged)], intermediate, reached, reason)


def _value(name: str, trial: Trial, own: Sequence[Ended]) -> float:
    if name == "parameters":
        return float(own[0].parameters)
    if name == "training_flops":
        return training_flops(trial)
    return float(np.mean([one.curves[name][max(one.curves[name])] for one in own]))


def training_flops(trial: Trial) -> float:
    """The multiplications and additions of a trial's training, in its products of matrices alone.

    Each weight takes 2 forward and 2 for its own gradient a sample; all but layer one's take 2 more, to
    hand the gradient on. Biases, activations, loss and updates are left out, as is usual.
    """
    settings = trial.arm.settings
    layers = [i * o for i, o in itertools.pairwise(widths_of(settings))]
    n = train_size(settings)
    budget = Budget.of(settings, n)
    full, rest = divmod(budget.steps, budget.steps_per_epoch)
    samples = full * n + rest * budget.batch_size
    return rounded(float(samples * (6 * sum(layers) - 2 * layers[0])))
