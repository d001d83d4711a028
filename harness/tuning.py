"""Tuned comparisons: every arm tries the same number of settings, and chooses by val accuracy alone.

A study with a [tune] table is three results folders, each an ordinary one:

    <folder>/          the study as it stands: all arms at the settings they were given
    <folder>/tuning/   every arm at every setting it tries, with the tuning seeds; the test set stays closed
    <folder>/tuned/    every arm at the settings it chose, with the study's seeds, which chose nothing
    <folder>/chosen.csv   what each arm chose, and how
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness import columns, csv_rows, documents, results
from harness.checking import Settings
from harness.errors import UsageError
from harness.settings import CHOSEN, OF_ARM, TUNING
from harness.study import Study
from harness.text import as_text
from harness.trials import Arm, arms, trial, trials

NOTHING = -math.inf  # the score of a setting that did not finish with every seed


def choose(study: Study, folder: Path) -> dict[str, Settings]:
    """What each arm chose, by its name; writes chosen.csv.

    An arm takes the setting with the highest val accuracy, averaged over the tuning seeds; of equal ones the
    first. A setting with a diverged seed is not taken. An arm for which nothing is left chooses nothing.

    Args:
        study: one with a [tune] table.
        folder: the study's results folder, with its tuning/ finished.

    Raises:
        UsageError: trials of the tuning phase are missing or failed.
    """
    found = results.read_trials(folder / TUNING)
    tried = found.set_index("trial_id")[["status", "val_accuracy"]]
    chosen: dict[str, Settings] = {}
    rows = []
    for name, tries in _tries(study).items():
        points = [arm.tried for arm in tries]
        scores = [_score(study, arm, tried, folder) for arm in tries]
        best = max(range(len(tries)), key=scores.__getitem__)
        finished = scores[best] > NOTHING
        if finished:
            chosen[name] = dict(points[best])
        rows.append(
            {"dataset": tries[0].settings["dataset"], "arm": name}
            | {key: as_text(value) if finished else "" for key, value in points[best].items()}
            | {
                "val_accuracy": scores[best] if finished else None,
                "seeds": len(study.in_phase("tuning").seeds),
                "tried": len(tries),
                "unfinished": scores.count(NOTHING),
                "edge": edge(points[best], points) if finished else "",
            }
        )
    results.write_tables(folder, {CHOSEN: _csv(rows)})
    return chosen


def read(folder: Path) -> pd.DataFrame:
    """chosen.csv: dataset, arm, a column a tuned setting, val_accuracy, seeds, tried, unfinished, edge."""
    return columns.read(folder / CHOSEN, documents.study(folder))


def _tries(study: Study) -> dict[str, list[Arm]]:
    """The name of each arm that is trained, and the arm at each setting that it tries."""
    tries: dict[str, list[Arm]] = {one.arm.name: [] for one in trials(study)[0]}
    for arm in arms(study.in_phase("tuning")):
        if arm.labels[OF_ARM] in tries:
            tries[arm.labels[OF_ARM]].append(arm)
    return tries


def _score(study: Study, arm: Arm, tried: pd.DataFrame, folder: Path) -> float:
    """Mean val accuracy over the tuning seeds; NOTHING where one diverged."""
    ids = [trial(study, arm, seed).trial_id for seed in study.in_phase("tuning").seeds]
    seen = tried.reindex(ids)
    missing = seen["status"][~seen["status"].isin(["ok", "diverged", "skipped"])]
    if len(missing):
        raise UsageError(
            f"{arm.name!r}: {len(missing)} of its {len(ids)} tuning trials have no result, so nothing is "
            f"chosen yet. See {folder / TUNING / 'trials.csv'}, and run the study again to train them."
        )
    return float(seen["val_accuracy"].mean()) if seen["status"].eq("ok").all() else NOTHING


def _csv(rows: list[dict[str, Any]]) -> bytes:
    table = pd.DataFrame(rows)
    last = ["val_accuracy", "seeds", "tried", "unfinished", "edge"]
    table = table[[*table.columns.drop(last), *last]]
    return csv_rows.written(table, results.SIGNIFICANT).encode()


def edge(chosen: Settings, points: Sequence[Settings]) -> str:
    """Which chosen numbers are the lowest or highest that was tried, in words; empty where none is.

    >>> edge({"lr": 1.0}, [{"lr": 0.01}, {"lr": 0.1}, {"lr": 1.0}])
    'lr is the highest tried'
    """
    told = []
    for name, value in chosen.items():
        if isinstance(value, str | bool | list):
            continue  # without an order
        values = [float(point[name]) for point in points]  # type: ignore[arg-type]
        for end, word in ((min(values), "lowest"), (max(values), "highest")):
            if value == end and min(values) < max(values):
                told.append(f"{name} is the {word} tried")
    return ", ".join(told)
