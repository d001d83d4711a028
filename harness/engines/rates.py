"""Learning rates: what every engine's optimizer is given at each step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.axes.schedules import Clock, factors, schedules
from harness.batches import Budget
from harness.engines.outcome import Floats
from harness.trials import Trial


def learning_rates(trials: Sequence[Trial], budget: Budget) -> Floats:
    """The learning rate of every step and trial, (S, K)."""
    clock = Clock.of(budget.steps, budget.steps_per_epoch)
    columns: dict[str, Floats] = {}
    rates = np.empty((budget.steps, len(trials)))
    for k, trial in enumerate(trials):
        settings = trial.arm.settings
        schedule = schedules[settings.schedule]
        own = {name: settings[name] for name in schedule.settings}
        key = f"{schedule.name} {own}"
        if key not in columns:
            columns[key] = factors(schedule, clock, own)
        rates[:, k] = settings.lr * columns[key]
    return rates
