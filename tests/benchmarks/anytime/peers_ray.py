"""Ray Tune: random search with its asynchronous successive halving (ASHA), a worker of Ray's a core.

A trial reports every epoch and is stopped at a rung if it is worse there than two thirds of those before;
nothing is ever trained twice. ASHA's documentation says nothing of NaN: a training that diverges reports 0.
"""

from __future__ import annotations

import logging
import math
import sys
from typing import Any

import ray
from problem import WORKERS, Cell, Parameter, Problem, evaluations
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

RULE = "highest last value of all trials (ResultGrid.get_best_result)"
METRIC = "val_accuracy"


def domain(parameter: Parameter) -> Any:
    """Translate a parameter; Tune's whole numbers exclude their upper end."""
    low, high = parameter.low, parameter.high
    if parameter.whole:
        kind = tune.lograndint if parameter.log else tune.randint
        return kind(int(low), int(high) + 1)
    return tune.loguniform(low, high) if parameter.log else tune.uniform(low, high)


def space(problem: Problem) -> dict[str, Any]:
    """Translate a problem."""
    return {parameter.name: domain(parameter) for parameter in problem.parameters}


class Notes(tune.Callback):  # type: ignore[misc]
    """Writes the incumbent down whenever it changes."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.noted = cell, ("", -math.inf)
        self.last: dict[str, float] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """After each epoch of a trial."""
        del iteration, info
        self.last[trial.trial_id] = result[METRIC]
        best = max(self.last, key=self.last.__getitem__)
        if self.noted != (best, self.last[best]):
            self.noted = best, self.last[best]
            configuration = next(known.config for known in trials if known.trial_id == best)
            self.cell.note_incumbent(configuration, self.last[best], RULE)


def main() -> None:
    """Search until the time is over."""
    cell = Cell.read(sys.argv[1])
    rungs = cell.problem.rungs

    def trainable(configuration: dict[str, Any]) -> None:
        for _, accuracy in evaluations(cell, configuration, cell.problem.epochs):
            tune.report({METRIC: accuracy if math.isfinite(accuracy) else 0.0})

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space=space(cell.problem),
            tune_config=tune.TuneConfig(
                metric=METRIC,
                mode="max",
                search_alg=BasicVariantGenerator(random_state=cell.seed),
                scheduler=ASHAScheduler(
                    max_t=rungs[-1], grace_period=rungs[0], reduction_factor=rungs[1] // rungs[0]
                ),
                num_samples=-1,
                time_budget_s=max(1.0, cell.left),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=str(cell.folder / "ray"), verbose=0, callbacks=[Notes(cell)]
            ),
        ).fit()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
