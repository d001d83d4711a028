"""A study's target beside its plan: whether arms can be looked at for it, and how finely."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from harness.axes.losses import losses
from harness.data.arm_settings import Settings
from harness.data.batches import Budget
from harness.data.samples import train_size
from harness.errors import UsageError
from harness.study.study import Study
from harness.study.trials import Trial
from harness.text import between, count


def check(study: Study, trials: Sequence[Trial]) -> None:
    """Raise UsageError where no trial can reach its study's target: it has no images, or no such loss."""
    target, arms = study.target, list(_arms(trials))
    if target is None:
        return
    if target.metric == "loss" and target.level < 0 and arms and not any(map(_may_be_negative, arms)):
        raise UsageError(
            f"study.until = {{ {target.column} = {target.level:g} }}: the losses of this study are never "
            "below 0, so it is never reached; allowed: a loss of 0 or more"
        )
    if target.split != "val":
        return
    for arm in arms:
        if arm.val_fraction == 0:
            raise UsageError(
                f"study.until = {{ {target.column} = {target.level:g} }}: an arm has val_fraction = 0, so no "
                f"val images to look for it on; allowed: a val_fraction above 0, or train_{target.metric}"
            )


def _may_be_negative(arm: Settings) -> bool:
    """Tell whether an arm's loss may be negative: a person's own, or one that does not fit its head."""
    return arm.match == "ignore" or losses.entry(arm.loss).third_party


def warnings(study: Study, trials: Sequence[Trial]) -> list[str]:
    """Say where all that can be known of a target is whether a trial's end has reached it."""
    if study.target is None or all(len(_budget(arm).eval_steps) > 2 for arm in _arms(trials)):
        return []
    known = f"whether {study.target.words} was reached is known, but not when"
    return [f"eval_every is as long as a trial: {known}. Evaluate more often"]


def words(study: Study, trials: Sequence[Trial]) -> list[str]:
    """Put into words what a study looks for, how often, and how finely its time is known; [] for nothing."""
    target = study.target
    budgets = [] if target is None else [_budget(arm) for arm in _arms(trials)]
    if target is None or not budgets:
        return []
    looks = sorted({len(budget.eval_steps) - 1 for budget in budgets})
    steps = sorted({max(_gaps(budget)) for budget in budgets})
    epochs = sorted({max(_gaps(budget)) / budget.steps_per_epoch for budget in budgets})
    times = count(looks[0], "time") if len(looks) == 1 else f"{between([str(n) for n in looks])} times"
    every = between([f"{n:,}" for n in steps]) + (" step" if steps == [1] else " steps")
    passes = between([f"{n:.3g}" for n in epochs]) + (" epoch" if epochs == [1] else " epochs")
    known = f"when it was reached is known to {passes} ({every})"
    return [f"target: {target.words}, looked for {times} a trial: {known}"]


def _gaps(budget: Budget) -> list[int]:
    steps = budget.eval_steps
    return [later - earlier for earlier, later in itertools.pairwise(steps)] or [budget.steps]


def _budget(settings: Settings) -> Budget:
    return Budget.of(settings, train_size(settings))


def _arms(trials: Sequence[Trial]) -> Iterable[Settings]:
    return {id(trial.arm): trial.arm.settings for trial in trials}.values()
