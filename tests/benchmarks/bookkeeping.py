"""What a run costs its driver beside the training: CPU milliseconds of the driver's process a trial.

    python tests/benchmarks/bookkeeping.py [--trials 100000] [--arms 1000] [--workers 2] [--cluster local:2]

The engine does nothing: it returns numbers of the right shapes at once, three epochs of them. All else is a
run's own: the plan, the tasks, parts that workers write, the progress, and the tables in the end.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from planning_size import study_tables

ENGINE = '''
import numpy as np
from harness.data.batches import Budget
from harness.engines import stack_engine
from harness.engines.outcome import Evaluation, Outcome


def nothing(trials, data, device="cpu", dtype=np.float32, options=None):
    """Give numbers of a trained stack at once."""
    count, budget = len(trials), Budget.of(trials[0].arm.settings, data["train"].n)
    epochs, steps = budget.epoch_of(budget.steps), budget.steps
    outcome = Outcome(np.zeros(count, np.int64), np.full(count, 4242), epochs, steps)
    loss, accuracy = np.linspace(0.1, 0.2, count), np.linspace(0.9, 0.8, count)
    for step in budget.eval_steps:
        for split in ("train", "val"):
            y = data[split].y
            seen = Evaluation(loss, accuracy, np.tile(y, (count, 1)), np.ones((count, len(y)), np.float32))
            outcome.observe(budget.epoch_of(step), step, split, seen, last=step == budget.steps)
    y = data["test"].y
    outcome.final["test"] = Evaluation(loss, accuracy, np.tile(y, (count, 1)), np.ones((count, len(y))))
    outcome.weights = [{}] * count
    return outcome


stack_engine.train = nothing
'''
"""A plugin, so that every process which trains has it."""
PHASES = {"plan_run": "arranging, tasks", "_prepare": "plan.json, planned rows", "_execute": "stacks",
          "_consolidate": "tables in the end"}  # fmt: skip


class Times:
    """CPU seconds of this process by what it did."""

    def __init__(self) -> None:
        self.of: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that counts its seconds under a name."""

        def call(*given: Any, **named: Any) -> Any:
            before = time.process_time()
            try:
                return function(*given, **named)
            finally:
                self.of[name] = self.of.get(name, 0.0) + time.process_time() - before

        return call


def main(arguments: Sequence[str]) -> None:
    """Run, and print a table of what the driver spent."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--arms", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cluster", default="")
    asked = parser.parse_args(arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from harness.planning.plan import draw
    from harness.study.reading import load
    from harness.training import displays, folder_runs, runs
    from harness.training.options import RunOptions

    times = Times()
    for name, what in PHASES.items():
        setattr(folder_runs, name, times.timed(what, getattr(folder_runs, name)))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "nothing.py").write_text(ENGINE)
        tables = study_tables(asked.arms, asked.trials // asked.arms, "digits")
        tables["study"] |= {"plugins": ["nothing.py"], "keep_weights": "none", "keep_predictions": []}
        (folder / "study.toml").write_bytes(tomli_w.dumps(tables).encode())
        drawn = times.timed("arms, trials, checks", lambda: draw(load(folder / "study.toml")))()
        options = RunOptions(workers=asked.workers, cluster=asked.cluster, display=displays.show_progress)
        wall = time.perf_counter()
        times.timed("all of the run", runs.train_phases)(drawn, folder / "results", options)
        wall = time.perf_counter() - wall
    report(times, len(drawn.trials), wall)


def report(times: Times, trials: int, wall: float) -> None:
    """Print the table: seconds, and milliseconds a trial."""
    drawn, run = times.of["arms, trials, checks"], times.of.pop("all of the run")
    times.of["what is left"] = run - sum(times.of.values()) + drawn
    times.of["all"] = drawn + run
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{trials:,} trials, {wall:.0f} wall seconds, peak of the driver {peak:,.0f} MB\n")
    print("| the driver's | CPU s | ms a trial |\n|---|---|---|")
    for what, seconds in times.of.items():
        print(f"| {what} | {seconds:.1f} | {1000 * seconds / trials:.3f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
