"""The common trainer of incumbents: the harness, with seeds that no method has seen, and test is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from own_cell import settings_of
from problem import WORKERS, Problem

from harness import results, study
from harness.training import runs

FIRST_SEED = 5000
"""The first of the seeds that confirm: the same ones for all methods and repeats."""


def confirm(
    problem: Problem, row: Mapping[str, Any], seeds: int, folder: Path, overrides: Sequence[str] = ()
) -> pd.DataFrame:
    """Train a cell's incumbent for all epochs with fresh seeds, going on where it stopped.

    Args:
        problem: of the cell.
        row: of cells.csv.
        seeds: how many.
        folder: a results folder for it.
        overrides: of the study, as `--set` takes them.

    Returns:
        method, repeat, seed, status, val_accuracy, test_accuracy; a row a seed.
    """
    chosen = problem.checked({parameter.name: row[parameter.name] for parameter in problem.parameters})
    tables = {
        "study": {"name": "anytime_incumbent", "seeds": [FIRST_SEED + i for i in range(seeds)]},
        "baseline": {
            "dataset": "fashion_mnist", "optimizer": "adam", "epochs": problem.epochs, **settings_of(chosen)
        },
    }  # fmt: skip
    runs.train(study.parse(tables, overrides), folder, workers=WORKERS)
    trials = results.read(folder).trials
    columns = ["seed", "status", "val_accuracy", "test_accuracy"]
    return trials[columns].assign(method=row["method"], repeat=row["repeat"])[["method", "repeat", *columns]]
