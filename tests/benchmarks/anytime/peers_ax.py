"""Ax: Bayesian optimization as its Client chooses it, and its early stopping by percentile, by ask and tell.

A trial goes on from a checkpoint from rung to rung, where Ax is told its accuracy and may stop it; with Ax's
default it could not before the 11th epoch. A training that diverges is abandoned, and Ax suggests it no more.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from typing import Any

from asking import Request, search
from problem import Cell, Configuration, Parameter

RULE = "highest observed value of the complete trials (Client.get_best_parameterization without its model)"
METRIC = "val_accuracy"


def domain(parameter: Parameter) -> Any:
    """Translate a parameter; Ax rounds whole numbers from a continuous range of the same scale."""
    from ax.api.configs import RangeParameterConfig

    return RangeParameterConfig(
        name=parameter.name,
        bounds=(parameter.low, parameter.high),
        parameter_type="int" if parameter.whole else "float",
        scaling="log" if parameter.log else "linear",
    )


class Trials:
    """Asks Ax for trials, and trains each from rung to rung until Ax stops it."""

    def __init__(self, cell: Cell, client: Any) -> None:
        self.cell, self.client = cell, client
        self.waiting: deque[Request[int]] = deque()
        self.noted: tuple[int, float] | None = None

    def ask(self) -> Request[int] | None:
        """Return a trial that goes on, or else a new one; None if Ax waits for results."""
        if self.waiting:
            return self.waiting.popleft()
        for index, configuration in self.client.get_next_trials(max_trials=1).items():
            return self._request(index, dict(configuration), 0)
        return None

    def tell(self, request: Request[int], accuracy: float) -> None:
        """Report a rung; go on unless Ax stops the trial."""
        index = request.token
        if not math.isfinite(accuracy):
            self.client.mark_trial_abandoned(index)
            return
        data = {METRIC: accuracy}
        if request.until == self.cell.problem.epochs:
            self.client.complete_trial(index, raw_data=data, progression=request.until)
            self._note()
        else:
            self.client.attach_data(index, raw_data=data, progression=request.until)
            if self.client.should_stop_trial_early(index):
                self.client.mark_trial_early_stopped(index)
            else:
                self.waiting.append(self._request(index, request.configuration, request.until))

    def _request(self, index: int, configuration: Configuration, epoch: int) -> Request[int]:
        until = next(rung for rung in self.cell.problem.rungs if rung > epoch)
        return Request(index, configuration, until, self.cell.folder / "checkpoints" / f"{index}.pt")

    def _note(self) -> None:
        configuration, outcome, index, _ = self.client.get_best_parameterization(use_model_predictions=False)
        value = outcome[METRIC]
        accuracy = float(value[0] if isinstance(value, tuple) else value)
        if self.noted != (index, accuracy):
            self.noted = index, accuracy
            self.cell.note_incumbent(configuration, accuracy, RULE)


def main() -> None:
    """Search until the time is over."""
    from ax.api.client import Client  # training processes need no Ax
    from ax.early_stopping.strategies import PercentileEarlyStoppingStrategy

    cell = Cell.read(sys.argv[1])
    (cell.folder / "checkpoints").mkdir(exist_ok=True)
    client = Client(random_seed=cell.seed)
    client.configure_experiment(parameters=[domain(parameter) for parameter in cell.problem.parameters])
    client.configure_optimization(objective=METRIC)
    client.set_early_stopping_strategy(PercentileEarlyStoppingStrategy(min_progression=cell.problem.rungs[0]))
    trials = Trials(cell, client)
    search(cell, trials.ask, trials.tell)


if __name__ == "__main__":
    main()
