"""Results folders with known numbers, in memory: grids and arms whose accuracies are given."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness import reporting
from harness.reporting import ReportData
from harness.results import Results

NOISE = np.array([0.001, -0.001, 0.0005, -0.0005, 0.0002, -0.0002, 0.0008, -0.0008])
IMAGES = 10_000


def grid(
    effects: Mapping[str, Mapping[Any, float]],
    seeds: int = 6,
    datasets: tuple[str, ...] = ("digits",),
    study: Mapping[str, Any] | None = None,
) -> ReportData:
    """A full grid: accuracy is 0.8, plus each level's effect, plus what seed and arm add by chance."""
    rows = []
    arms = list(itertools.product(*effects.values()))
    for dataset, (number, levels), seed in itertools.product(datasets, enumerate(arms), range(seeds)):
        value = 0.8 + sum(effect[level] for effect, level in zip(effects.values(), levels, strict=True))
        value += NOISE[(seed + 3 * number) % len(NOISE)]
        told = dict(zip(effects, levels, strict=True))
        name = ", ".join(f"{axis}={level}" for axis, level in told.items())
        rows.append({"arm": name, "dataset": dataset, **told, "seed": seed, "value": value})
    axes = {axis: list(levels) for axis, levels in effects.items()}
    tables = {"study": {"design": "grid"}, "baseline": {}, "axes": axes, **(study or {})}
    return reading(pd.DataFrame(rows), tables)


def arms(effects: Mapping[str, float], seeds: int = 6, study: Mapping[str, Any] | None = None) -> ReportData:
    """Arms of a one-factor study, the first of which is the baseline."""
    rows = [
        {
            "arm": arm,
            "dataset": "digits",
            "seed": seed,
            "value": 0.8 + effect + NOISE[(seed + 3 * number) % 8],
        }
        for (number, (arm, effect)), seed in itertools.product(enumerate(effects.items()), range(seeds))
    ]
    tables = {"study": {"design": "one-factor"}, "baseline": {}, **(study or {})}
    return reading(pd.DataFrame(rows), tables)


def reading(rows: pd.DataFrame, study: dict[str, Any]) -> ReportData:
    """What is made of a folder with these trials: `value` is both val and test accuracy."""
    ids = [f"t{number}" for number in range(len(rows))]
    trials = rows.drop(columns="value").assign(
        trial_id=ids, status="ok", reason="", loss="ce", head="identity", parameters=10.0,
        diverged_step=np.nan, val_accuracy=rows["value"], test_accuracy=rows["value"],
        train_accuracy=rows["value"], val_loss=1.0, train_loss=1.0,
    )  # fmt: skip
    trials = trials if "lr" in trials else trials.assign(lr=0.1)
    confusion = pd.DataFrame({"trial_id": ids, "split": "test", "label": 0, "prediction": 0, "count": IMAGES})
    epochs = pd.DataFrame(columns=["trial_id", "epoch", "split", "accuracy", "loss"])
    return reporting.prepare(Results(Path("nowhere"), trials, epochs, confusion, study, {}))


def without(of: ReportData, **conditions: Any) -> ReportData:
    """The same reading with the trials that meet all conditions diverged."""
    trials = of.results.trials
    hit = pd.Series(True, index=trials.index)
    for column, values in conditions.items():
        hit &= trials[column].isin(values if isinstance(values, list) else [values])
    empty = {name: trials[name].mask(hit) for name in ("val_accuracy", "test_accuracy")}
    trials = trials.assign(status=trials["status"].mask(hit, "diverged"), **empty)
    found = of.results
    return reporting.prepare(
        Results(found.folder, trials, found.epochs, found.confusion, found.study, found.provenance)
    )
