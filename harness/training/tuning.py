"""Tuned comparisons: every arm tries the same number of settings, and chooses by val accuracy alone.

A study with a [tune] table is three results folders, each an ordinary one:

    <folder>/          the study as it stands: all arms at the settings they were given
    <folder>/tuning/   every arm at every setting it tries, with the tuning seeds; the test set stays closed
    <folder>/tuned/    every arm at the settings it chose, with the study's seeds, which chose nothing
    <folder>/chosen.csv   the choice of each arm, and how it was made
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import results
from harness.errors import UsageError
from harness.planning.plan import Plan
from harness.results import columns, csv_rows, documents, part_files, tables
from harness.settings.schema import CHOSEN, OF_ARM, TUNING
from harness.study.checker import GivenSettings
from harness.study.study import Study
from harness.study.trials import Arm, arms, trial_of
from harness.text import as_text

if TYPE_CHECKING:
    import pandas as pd

NO_SCORE = -math.inf
"""Score of a setting that did not finish with every seed."""


def choose(plan: Plan, folder: Path) -> dict[str, GivenSettings]:
    """Choose settings for each arm, by its name, and write chosen.csv.

    An arm takes the setting with the highest val accuracy, averaged over the tuning seeds; of equal ones the
    first. A setting with a diverged seed is not taken. An arm for which nothing is left chooses nothing.
    Where trials of `folder`/tuning are missing or failed, that is a UsageError.
    """
    import pandas as pd

    study = plan.study.in_phase("tuning")
    tried = results.read_trials(folder / TUNING).set_index("trial_id")[["status", "val_accuracy"]]
    chosen: dict[str, GivenSettings] = {}
    rows = []
    for name, tries in _tries(study, plan.arms).items():
        points = [arm.tried for arm in tries]
        scores = [_score(study, arm, tried, folder) for arm in tries]
        best = max(range(len(tries)), key=scores.__getitem__)
        finished = scores[best] > NO_SCORE
        if finished:
            chosen[name] = dict(points[best])
        rows.append(
            {"dataset": tries[0].settings["dataset"], "arm": name}
            | {key: as_text(value) if finished else "" for key, value in points[best].items()}
            | {
                "val_accuracy": scores[best] if finished else None,
                "seeds": len(study.seeds),
                "tried": len(tries),
                "unfinished": scores.count(NO_SCORE),
                "edge": edge(points[best], points) if finished else "",
            }
        )
    last = ["val_accuracy", "seeds", "tried", "unfinished", "edge"]
    table = pd.DataFrame(rows)
    table = table[[*table.columns.drop(last), *last]]
    tables.write(folder, {CHOSEN: csv_rows.written(table, part_files.SIGNIFICANT).encode()})
    return chosen


def read(folder: Path) -> pd.DataFrame:
    """Read chosen.csv: dataset, arm, tuned settings, val_accuracy, seeds, tried, unfinished, edge."""
    return columns.read(folder / CHOSEN, documents.study(folder))


def _tries(study: Study, trained: Collection[str]) -> dict[str, list[Arm]]:
    """Map the names of the trained arms to the arm at each setting that it tries."""
    tries: dict[str, list[Arm]] = {name: [] for name in trained}
    for arm in arms(study):
        if arm.labels[OF_ARM] in tries:
            tries[arm.labels[OF_ARM]].append(arm)
    return tries


def _score(study: Study, arm: Arm, tried: pd.DataFrame, folder: Path) -> float:
    """Return the mean val accuracy over the tuning seeds; NO_SCORE where one diverged."""
    ids = [trial_of(study, arm, seed).trial_id for seed in study.seeds]
    rows = tried.reindex(ids)
    missing = rows["status"][~rows["status"].isin(["ok", "diverged", "skipped"])]
    if len(missing):
        raise UsageError(
            f"{arm.name!r}: {len(missing)} of its {len(ids)} tuning trials have no result, so nothing is "
            f"chosen yet. See {folder / TUNING / 'trials.csv'}, and run the study again to train them."
        )
    return float(rows["val_accuracy"].mean()) if rows["status"].eq("ok").all() else NO_SCORE


def edge(chosen: GivenSettings, points: Sequence[GivenSettings]) -> str:
    """Say in words which chosen numbers are the lowest or highest tried; "" if none is.

    >>> edge({"lr": 1.0}, [{"lr": 0.01}, {"lr": 0.1}, {"lr": 1.0}])
    'lr is the highest tried'
    """
    edges = []
    for name, value in chosen.items():
        tried = [point[name] for point in points]
        values = [float(number) for number in tried if not isinstance(number, str | bool | list)]
        if isinstance(value, str | bool | list) or len(values) < len(tried):
            continue  # without an order
        for end, word in ((min(values), "lowest"), (max(values), "highest")):
            if value == end and min(values) < max(values):
                edges.append(f"{name} is the {word} tried")
    return ", ".join(edges)
