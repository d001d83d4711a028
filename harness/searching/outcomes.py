"""Results of trials and suggestions: from a round that was just trained, or from a part on disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from optuna.trial import TrialState

from harness.engines.outcome import Outcome
from harness.searching.ask_tell import SuggestionResult
from harness.searching.costs import Costs
from harness.searching.rounds import Round, curve, rounded
from harness.study.searches import COSTS, Search
from harness.study.trials import Trial


@dataclass(frozen=True)
class TrialResult:
    """The result of one trial: its status, why, its objectives on val by evaluation, and its parameters."""

    status: str
    reason: str = ""
    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    parameters: int = 0


def of_round(trained: Round, objectives: Sequence[str]) -> dict[str, TrialResult]:
    """Return the result of each trial of a round that has ended, by trial_id."""
    results = {trial_id: TrialResult("failed", message) for trial_id, (_, message) in trained.failed.items()}
    for _, share in trained.shares:
        results |= _of_members(share.trials, share.outcome, objectives, share.reasons)
    return results


def so_far(trained: Round, objectives: Sequence[str]) -> dict[str, TrialResult]:
    """Return the result of each trial of a round, by trial_id: of one in training, when all arrived last.

    A trial that has not arrived anywhere yet is left out.
    """
    results = of_round(trained, objectives)
    for result in trained.in_training:
        if result.outcome is not None:
            results |= _of_members(result.stage.stack.trials, result.outcome, objectives, {})
    return results


def _of_members(
    trials: Sequence[Trial], outcome: Outcome, objectives: Sequence[str], reasons: Mapping[str, str]
) -> Iterator[tuple[str, TrialResult]]:
    """Yield the trial_id and the result of each trial of a stack."""
    for k, trial in enumerate(trials):
        step = int(outcome.diverged_step[k])
        reason = reasons.get(trial.trial_id, "")
        curves = {name: curve(outcome, k, name) for name in objectives if name.startswith("val_")}
        status = "diverged" if step else "pruned" if reason else "ok"
        why = f"the loss was not finite at step {step}" if step else reason  # as in trials.csv
        yield trial.trial_id, TrialResult(status, why, curves, int(outcome.parameters[k]))


def of_part(tables: Mapping[str, pd.DataFrame], objectives: Sequence[str]) -> dict[str, TrialResult]:
    """Return the result of each trial of a batch that an earlier run trained, from its part, as text."""
    epochs = tables["epochs"]
    val = dict(list(epochs[epochs["split"] == "val"].groupby("trial_id", sort=False)))
    results = {}
    for row in tables["trials"].to_dict("records"):
        evaluations = val.get(row["trial_id"])
        curves = {
            name: {} if evaluations is None else dict(_curve(evaluations[name.removeprefix("val_")]))
            for name in objectives
            if name.startswith("val_")
        }
        parameters = int(float(row["parameters"] or 0))
        results[str(row["trial_id"])] = TrialResult(row["status"], row["reason"], curves, parameters)
    return results


def _curve(values: pd.Series[str]) -> Iterator[tuple[int, float]]:
    for evaluation, value in enumerate(values):
        if evaluation:
            yield evaluation, rounded(float(value)) if value else math.nan


def combine(
    trials: Sequence[Trial], results: Mapping[str, TrialResult], search: Search, costs: Costs | None = None
) -> SuggestionResult:
    """Combine the results, by trial_id, of a suggestion's trials: the mean over seeds, or what stopped it."""
    seeds = [results[trial.trial_id] for trial in trials]
    first = next((name for name in search.objective if name.startswith("val_")), "")
    curves = [dict(seed.curves.get(first, {})) for seed in seeds]
    single = len(search.objective) == 1
    common = sorted(set.intersection(*(set(curve) for curve in curves))) if single else []
    means = {i: float(np.mean([curve[i] for curve in curves])) for i in common}
    reached = max((max(curve, default=0) for curve in curves), default=0)
    for status in ("failed", "diverged"):
        at = next((i for i, seed in enumerate(seeds) if seed.status == status), None)
        if at is None:
            continue
        reason = f"seed {trials[at].seed} {status}: {seeds[at].reason}"
        if status == "diverged":
            return _lost(search, means, reached, reason)
        return SuggestionResult(TrialState.FAIL, [], means, reached, reason)
    pruned = next((seed for seed in seeds if seed.status == "pruned"), None)
    values = {first: means[max(means)]} if pruned is not None and means else {}
    if pruned is None:
        costs = costs or Costs(search)
        values = {name: _value(name, trials[0], seeds, costs) for name in search.objective}
    for name, value in values.items():
        if not math.isfinite(value):
            return _lost(search, means, reached, f"{name} is {value}, not finite")
    if pruned is not None:
        return SuggestionResult(TrialState.PRUNED, [], means, reached, pruned.reason)
    return SuggestionResult(TrialState.COMPLETE, list(values.values()), means, reached)


def _lost(search: Search, intermediate: Mapping[int, float], reached: int, reason: str) -> SuggestionResult:
    """Return the result of a suggestion without a number: failed, or the declared worst value."""
    if search.diverged == "fail":
        return SuggestionResult(TrialState.FAIL, [], intermediate, reached, reason)
    return SuggestionResult(TrialState.COMPLETE, [float(search.diverged)], intermediate, reached, reason)


def _value(name: str, trial: Trial, seeds: Sequence[TrialResult], costs: Costs) -> float:
    if name == "parameters":
        return float(seeds[0].parameters)
    if name in COSTS:
        return costs.of(name, trial.arm.settings)
    return float(np.mean([seed.curves[name][max(seed.curves[name])] for seed in seeds]))
