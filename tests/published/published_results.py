"""Our results for published rows: of each trial its accuracies at the epochs that sources report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from published_rows import CHECKOUT, Reading

import harness
from harness import stats

if TYPE_CHECKING:
    from harness.results import Results

KEPT = CHECKOUT / "results" / "reference" / "published"
COLUMNS = [
    "arm", "seed", "trial_id", "status", "epochs_done", "test", "val", "best_val", "best_epoch",
    "stopped_val", "stopped_epoch",
]  # fmt: skip
READ_FROM: Mapping[Reading, str] = {
    "test": "test", "val": "val", "best val": "best_val", "val where training stopped": "stopped_val",
}  # fmt: skip
"""The column of each reading."""
TOLERANCE, PATIENCE = 1e-4, 2
"""scikit-learn's `tol`, and the epochs without such an improvement that versions before 0.20 allowed."""


def stop(losses: Sequence[float], tolerance: float = TOLERANCE, patience: int = PATIENCE) -> int | None:
    """Count the epochs after which scikit-learn's MLPClassifier stops; None where it has not stopped.

    It stops when the train loss has not fallen by the tolerance, against the least one before, for more
    than `patience` epochs in a row.

    Args:
        losses: the train loss of each epoch.
        tolerance: what a loss has to fall by to count.
        patience: epochs in a row that may pass without that.
    """
    least, without = math.inf, 0
    for epoch, loss in enumerate(losses, start=1):
        without = without + 1 if loss > least - tolerance else 0
        least = min(least, loss)
        if without > patience:
            return epoch
    return None


def of_folder(folder: Path) -> pd.DataFrame:
    """Read a results folder: a row a trial, with the columns of COLUMNS; accuracies in 0..1."""
    return of_results(harness.read(folder))


def of_results(results: Results) -> pd.DataFrame:
    """Make a row a trial of results; what was not evaluated, or did not happen, is empty."""
    trained = results.epochs[results.epochs["epoch"] > 0]
    curves = {str(trial_id): curve for trial_id, curve in trained.groupby("trial_id")}
    nothing = trained.iloc[:0]
    rows = [
        {
            "arm": trial["arm"], "seed": trial["seed"], "trial_id": trial["trial_id"],
            "status": trial["status"], "epochs_done": trial["epochs_done"],
            "test": trial["test_accuracy"], "val": trial["val_accuracy"],
            **_of_curve(curves.get(str(trial["trial_id"]), nothing)),
        }
        for trial in results.trials.to_dict("records")
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_curve(curve: pd.DataFrame) -> dict[str, Any]:
    """Find val's best epoch, and the epoch where scikit-learn stops, in a trial's evaluations."""
    val, train = (
        curve[curve["split"].eq(split)].sort_values("epoch").reset_index(drop=True)
        for split in ("val", "train")
    )
    if val.empty:
        return {}
    best = val.loc[val["accuracy"].idxmax()]
    found = {"best_val": best["accuracy"], "best_epoch": best["epoch"]}
    stopped = stop(train["loss"].tolist())
    if stopped is not None:
        epoch = train["epoch"].iloc[stopped - 1]
        found |= {
            "stopped_val": val.loc[val["epoch"].eq(epoch), "accuracy"].iloc[0], "stopped_epoch": epoch,
        }  # fmt: skip
    return found


@dataclass(frozen=True)
class Measured:
    """Mean and 95 % interval of an arm's seeds, of `n` that have a value among `of` that were planned."""

    mean: float
    low: float
    high: float
    n: int
    of: int


def measured(seeds: pd.DataFrame, arm: str, reads: Reading) -> Measured:
    """Summarise an arm by Student's t over its seeds; NaN where there is nothing to summarise.

    Args:
        seeds: a row a trial, of `of_folder` or its CSV.
        arm: its name.
        reads: what of a trial counts.
    """
    column = READ_FROM[reads]
    mine = seeds[seeds["arm"].eq(arm)]
    ok = mine[mine["status"].eq("ok") & mine[column].notna()]
    if ok.empty:
        return Measured(math.nan, math.nan, math.nan, 0, len(mine))
    row = stats.summarise(ok.assign(arm=arm), ["arm"], column, within=(0.0, 1.0)).iloc[0]
    return Measured(float(row["mean"]), float(row["low"]), float(row["high"]), int(row["n"]), len(mine))


def kept(name: str, folder: Path = KEPT) -> pd.DataFrame:
    """Read what is kept of a source's trials; no rows where it has not been trained."""
    path = folder / f"{name}.csv"
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=COLUMNS)


def keep(name: str, seeds: pd.DataFrame, folder: Path = KEPT) -> Path:
    """Write a source's trials, a row each, to be committed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"
    seeds.to_csv(path, index=False, lineterminator="\n")
    return path
