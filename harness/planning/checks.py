"""Checks of a study's trials before anything is trained: what no machine could train, or an engine cannot."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.planned_components import misfits
from harness.check.network_stacking import form
from harness.data.samples import train_size
from harness.data.splits import check_blocks
from harness.errors import UsageError
from harness.planning import targets
from harness.planning.cost import evaluations, too_large
from harness.settings import Value, limits
from harness.study.contrasts import pair_problems
from harness.study.study import Study
from harness.study.trials import Arm, Trial, arms_of, settings_of_arms, trials, tries_problems

DECIDING_SIZE = ("dataset", "val_fraction", "batch_size", "epochs", "steps", "eval_every")
"""The settings that decide how long a trial trains and how often it is evaluated; its form is its size."""
MOST_TOLD = 6  # problems of arms that an error lists


def check(study: Study) -> tuple[list[Trial], dict[str, list[str]]]:
    """Give a study's `trials`; raise what `make` would, before anything heavy is imported."""
    everything, merged = trials(study)
    _check_val_splits(everything)
    targets.check(study, everything)
    _check_batch_sizes(everything)
    refuse(study, misfits(settings_of_arms(everything)))
    _check_sizes(study, everything)
    _check_pairs(study, everything, merged)
    _check_tries(study)
    return everything, merged


def misfit(head: str, loss: str, match: str) -> str:
    """Say why a head and a loss do not fit; empty where they do."""
    kind, component = heads[head].kind, losses[loss]
    if component.form(kind, match) is not None:
        return ""
    return (
        f"loss {loss!r} takes {' or '.join(component.forms)}; head {head!r} gives {kind} "
        "(match = 'ignore' trains it anyway)"
    )


def _check_tries(study: Study) -> None:
    """Raise UsageError where an arm cannot tune what it should, or tries fewer settings than another."""
    if study.tune is None or study.about.phase != "fixed":
        return
    tries = trials(study.in_phase("tuning"))[0]
    _check_batch_sizes(tries)
    refuse(study, misfits(settings_of_arms(tries)))
    _check_sizes(study, tries)
    refuse(study, tries_problems(study))


def refuse(study: Study, problems: Sequence[str]) -> None:
    """Raise UsageError if there are problems; of many, tell the first ones and their number."""
    lines = [f"  - {problem}" for problem in problems[:MOST_TOLD]]
    if len(problems) > MOST_TOLD:
        lines.append(f"  - and {len(problems) - MOST_TOLD} more")
    if lines:
        raise UsageError("\n".join([f"{study.name}: nothing was run", *lines]))


def _first_of_each(everything: Iterable[Trial], names: Sequence[str]) -> Iterable[Arm]:
    """Give the first arm of each combination of these settings."""
    first: dict[tuple[Value, ...], Arm] = {}
    for arm in arms_of(everything):
        first.setdefault(arm.settings.values_of(names), arm)
    return first.values()


def _check_val_splits(everything: Sequence[Trial]) -> None:
    for arm in _first_of_each(everything, ("dataset", "val_fraction", "val_split")):
        settings = arm.settings
        if settings.val_fraction:
            check_blocks(settings.val_split, settings.data.blocks)


def _check_batch_sizes(everything: Sequence[Trial]) -> None:
    for arm in _first_of_each(everything, ("dataset", "val_fraction", "batch_size")):
        n = train_size(arm.settings)
        if arm.settings.batch_size > n:
            raise UsageError(
                f"batch_size = {arm.settings.batch_size} (arm {arm.name!r}): {arm.settings.dataset} has {n} "
                f"training images with val_fraction = {arm.settings.val_fraction:g}; allowed: 1 to {n}"
            )


def _check_sizes(study: Study, everything: Sequence[Trial]) -> None:
    """Raise UsageError where an arm, or all trials together, ask for more than anybody waits for."""
    trials_of: dict[tuple[Value, ...], int] = {}
    first: dict[tuple[Value, ...], Arm] = {}
    many = Counter(id(trial.arm) for trial in everything)
    for arm in arms_of(everything):
        size = (form(arm.settings), *arm.settings.values_of(DECIDING_SIZE))
        first.setdefault(size, arm)
        trials_of[size] = trials_of.get(size, 0) + many[id(arm)]
    faults = [f"{fault} (arm {arm.name!r})" for arm in first.values() for fault in too_large(arm.settings)]
    total = sum(evaluations(arm.settings) * trials_of[size] for size, arm in first.items())
    if not faults and total > limits.EVALUATIONS_OF_ALL:
        counted = f"{total:,} evaluations in all {len(everything):,} trials"
        allowed = f"allowed: up to {limits.EVALUATIONS_OF_ALL:,}. Evaluate less often, or train fewer"
        faults = [f"eval_every: {counted}, two rows each in epochs.csv; {allowed}"]
    refuse(study, faults)


def _check_pairs(study: Study, everything: Sequence[Trial], merged: Mapping[str, Sequence[str]]) -> None:
    """Raise UsageError where a declared contrast names an arm or a level that is not trained."""
    if study.about.phase != "fixed" or not study.contrasts.declared:
        return
    trained = {trial.arm.name: trial.arm for trial in everything}
    same = {other: name for name, others in merged.items() for other in others}
    faults = list(pair_problems(study.contrasts, list(trained), same))
    for level in study.contrasts.levels:
        levels = {arm.labels.get(level.axis) for arm in trained.values()}
        if level.axis in study.linked_axes and level.reference not in levels:
            faults.append(
                f"contrasts.levels: the reference {level.reference!r} of {level.axis} means the same as "
                "another level, under whose name it is trained; take that one"
            )
    refuse(study, faults)


def check_formulas(todo: Iterable[Trial], tracked: Sequence[str]) -> None:
    """Raise UsageError with everything that the numpy engine has no formula for."""
    from harness.axes import formulas

    arms = arms_of(todo)
    missing = dict.fromkeys(gap for arm in arms for gap in formulas.missing(arm.settings))
    unmeasured = formulas.missing_metrics(tracked)
    if missing or unmeasured:
        listed = "\n".join(f"  - {gap}" for gap in [*missing, *unmeasured])
        left = [name for name in tracked if name in formulas.METRICS]
        less = f" Or leave the metric out: --set 'metrics={json.dumps(left)}'." if unmeasured else ""
        raise UsageError(
            f"the numpy engine has no formula written by hand for\n{listed}\n"
            f"Take --engine stacked or loop, where PyTorch computes and differentiates any component.{less}"
        )


def check_metrics(tracked: Sequence[str]) -> None:
    """Try a third party's metrics once, because a fault would show in the first evaluation only."""
    theirs = [name for name in tracked if metrics.entry(name).third_party]
    if not theirs:
        return
    from harness.check.components import metric_fault

    faults = {name: fault for name in theirs if (fault := metric_fault(name))}
    if faults:
        listed = "\n".join(
            f"metric {name!r} ({metrics.entry(name).where}) {fault}" for name, fault in faults.items()
        )
        raise UsageError(
            f"{listed}\nAllowed: a function of p and target, both (..., B, C), that gives values (..., B). "
            "Fix it, or leave it out of `metrics` in [study]."
        )
