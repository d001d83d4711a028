"""Syne Tune: its asynchronous BOHB, by its scheduler's interface.

Its own backends start a Python process for every trial, which would cost more than many an epoch here: the
scheduler is asked and told as its Tuner does it, and trials go on from checkpoints. It does not expect NaN: a
training that diverges reports 0.
"""

from __future__ import annotations

import datetime as dt
import math
import sys
from collections import deque
from pathlib import Path
from typing import Any

from asking import Request, search
from problem import Cell, Configuration, Parameter, Problem

RULE = "highest value at any epoch (Tuner.best_config)"
METRIC, TIME = "val_accuracy", "epoch"


def domain(parameter: Parameter) -> Any:
    """Translate a parameter; both ends are possible, and are drawn half as often as their neighbours."""
    from syne_tune import config_space

    low, high = parameter.low, parameter.high
    if parameter.whole:
        kind = config_space.lograndint if parameter.log else config_space.randint
        return kind(int(low), int(high))
    return config_space.loguniform(low, high) if parameter.log else config_space.uniform(low, high)


def space(problem: Problem) -> dict[str, Any]:
    """Translate a problem."""
    return {parameter.name: domain(parameter) for parameter in problem.parameters}


class Trials:
    """Asks Syne Tune's scheduler for trials, and trains each from rung to rung as long as it says so."""

    def __init__(self, cell: Cell, scheduler: Any) -> None:
        self.cell, self.scheduler = cell, scheduler
        self.waiting: deque[Request[Any]] = deque()
        self.best, self.number = -math.inf, 0

    def ask(self) -> Request[Any] | None:
        """Return a trial that goes on, or else a new one."""
        if self.waiting:
            return self.waiting.popleft()
        from syne_tune.backend.trial_status import Trial

        suggestion = self.scheduler.suggest()
        if suggestion is None:
            return None
        trial = Trial(self.number, suggestion.config, dt.datetime.now(dt.UTC))
        self.scheduler.on_trial_add(trial)
        self.number += 1
        return self._request(trial, dict(suggestion.config), 0)

    def tell(self, request: Request[Any], accuracy: float) -> None:
        """Report a rung; go on unless the scheduler stops the trial."""
        value = accuracy if math.isfinite(accuracy) else 0.0
        if value > self.best:
            self.best = value
            self.cell.note_incumbent(request.configuration, value, RULE)
        result = {METRIC: value, TIME: request.until}
        decision = self.scheduler.on_trial_result(request.token, result)
        if decision != "CONTINUE":
            self.scheduler.on_trial_remove(request.token)
        elif math.isfinite(accuracy):
            self.waiting.append(self._request(request.token, request.configuration, request.until))
        else:
            self.scheduler.on_trial_complete(request.token, result)

    def _request(self, trial: Any, configuration: Configuration, epoch: int) -> Request[Any]:
        until = next(rung for rung in self.cell.problem.rungs if rung > epoch)
        checkpoint = Path(self.cell.folder / "checkpoints" / f"{trial.trial_id}.pt")
        return Request(trial, configuration, until, checkpoint)


def main() -> None:
    """Search until the time is over."""
    from syne_tune.optimizer.baselines import BOHB  # training processes need no Syne Tune

    cell = Cell.read(sys.argv[1])
    rungs = cell.problem.rungs
    (cell.folder / "checkpoints").mkdir(exist_ok=True)
    scheduler = BOHB(
        space(cell.problem),
        metric=METRIC,
        time_attr=TIME,
        max_t=rungs[-1],
        do_minimize=False,
        random_seed=cell.seed,
        grace_period=rungs[0],
        reduction_factor=rungs[1] // rungs[0],
    )
    trials = Trials(cell, scheduler)
    search(cell, trials.ask, trials.tell)


if __name__ == "__main__":
    main()
