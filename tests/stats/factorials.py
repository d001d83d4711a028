"""Factorials whose effects are known, whole and holed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

ACTIVATION = {"sigmoid": -0.03, "tanh": 0.01, "relu": 0.02}
OPTIMIZER = {"sgd": -0.1, "adam": 0.1}
SEED = {0: -0.004, 1: 0.001, 2: 0.003}


def factorial(**changes: Any) -> pd.DataFrame:
    """A balanced grid without interplay: 0.8 + activation + optimizer + seed, on two data sets."""
    rows = [
        {
            "trial_id": f"{dataset}-{activation}-{optimizer}-{seed}",
            "arm": f"{activation}, {optimizer}",
            "dataset": dataset,
            "activation": activation,
            "optimizer": optimizer,
            "seed": seed,
            "status": "ok",
            "val_accuracy": 0.8 + a + o + s,
            "test_accuracy": 0.79 + a + o + s,
        }
        for dataset, (activation, a), (optimizer, o), (seed, s) in itertools.product(
            ["mnist", "fashion_mnist"], ACTIVATION.items(), OPTIMIZER.items(), SEED.items()
        )
    ]
    return pd.DataFrame(rows).assign(**changes)


def undo(trials: pd.DataFrame, status: str, **where: Any) -> pd.DataFrame:
    """The same trials with some that gave no result."""
    chosen = np.logical_and.reduce([trials[key].eq(value) for key, value in where.items()])
    empty = {name: trials[name].mask(chosen) for name in ("val_accuracy", "test_accuracy")}
    return trials.assign(status=trials["status"].mask(chosen, status), **empty)


AXES = ["activation", "optimizer"]
