"""How long a very large plan takes, and how much memory: `harness plan`, and `harness run` up to a stack.

    python tests/benchmarks/planning_size.py [--trials 1000000] [--shapes 1000,200000,1000000]

A shape is a number of arms, which share the trials. Nothing is trained. CPU seconds are those of all
processes, the peak is the largest one's.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import tomli_w
from cpu_seconds import Cost, cost_of

OUTPUTS = [("identity", "ce"), ("softmax", "mse"), ("softmax", "ql"), ("softmax", "ccql"), ("sigmoid", "mse")]
PLANS = {
    "harness plan": ["-m", "harness", "plan"],
    "harness run, up to its first stack": [__file__, "--start"],
}


class FirstStackError(Exception):
    """Raised in the place of the first stack's training."""


def study_tables(arms: int, seeds: int, dataset: str = "mnist", epochs: int = 3) -> dict[str, Any]:
    """Return the tables of a grid of so many arms, a multiple of 100."""
    return {
        "study": {"name": f"plan-{arms}", "seeds": seeds},
        "baseline": {"dataset": dataset, "epochs": epochs, "hidden": [32, 32]},
        "axes": {
            "lr": [round(1e-6 * (1 + place), 9) for place in range(arms // 100)],
            "activation": ["sigmoid", "tanh", "relu", "gelu"],
            "optimizer": ["sgd", "momentum", "nesterov", "adam", "rmsprop"],
            "output": [{"name": f"{head} + {loss}", "head": head, "loss": loss} for head, loss in OUTPUTS],
        },
    }


def start(study: Path, folder: Path) -> None:
    """Begin a run as `harness run` does, and stop it where the first stack would train."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does
    from harness.planning.plan import draw
    from harness.study.reading import load
    from harness.training import executors, runs
    from harness.training.options import RunOptions

    def stop(*_: object) -> NoReturn:
        raise FirstStackError

    with (
        mock.patch.object(executors.Workers, "run", stop),
        mock.patch.object(runs, "_consolidate"),
        suppress(FirstStackError),
    ):
        runs.train_phases(draw(load(study)), folder, RunOptions())
        raise AssertionError("a run without a stack")


def row(shape: str, what: str, cost: Cost) -> str:
    """Return a row of the table."""
    return f"| {shape} | {what} | {cost.cpu:.0f} | {cost.wall:.0f} | {cost.peak_mb:,.0f} |"


def measure(arms: int, trials: int) -> list[str]:
    """Measure a shape; return rows of the table."""
    seeds = trials // arms
    shape, rows = f"{arms:,} x {seeds:,}", []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        study = folder / "study.toml"
        study.write_bytes(tomli_w.dumps(study_tables(arms, seeds)).encode())
        for what, command in PLANS.items():
            more = [str(folder / "results")] if "--start" in command else ["--results", str(folder / "none")]
            cost = cost_of([sys.executable, *command, str(study), *more], folder, os.environ)
            rows.append(row(shape, what, cost))
            print(rows[-1], flush=True)
    return rows


def main(arguments: Sequence[str]) -> None:
    """Measure all shapes, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--shapes", default="1000,200000,1000000")
    parser.add_argument("--start", nargs=2, type=Path, metavar=("STUDY", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.start:
        start(*asked.start)
        return
    print("| arms x seeds | | CPU s | wall s | peak MB |\n|---|---|---|---|---|", flush=True)
    for arms in map(int, asked.shapes.split(",")):
        measure(arms, asked.trials)


if __name__ == "__main__":
    main(sys.argv[1:])
