"""Our results for published rows: of each trial its accuracies at the epochs that sources report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.stats
from published_rows import CHECKOUT, INSIDE, Reading, judge

from harness import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.results import Results

KEPT = CHECKOUT / "results" / "reference" / "published"
COLUMNS = [
    "arm", "seed", "trial_id", "status", "epochs_done", "test", "val", "best_val", "best_epoch",
    "stopped_val", "stopped_epoch",
]  # fmt: skip
CURVES = ["arm", "seed", "epoch", "val"]
READ_FROM: Mapping[Reading, str] = {
    "test": "test", "val": "val", "best val": "best_val", "val where training stopped": "stopped_val",
}  # fmt: skip
"""The column of each reading."""
TOLERANCE, PATIENCE = 1e-4, 2
"""scikit-learn's `tol`, and the epochs without such an improvement that versions before 0.20 allowed."""


DRAWS = 100_000
"""Draws of a prediction of the best of several trainings."""


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


def trials_of(results: Results) -> pd.DataFrame:
    """Make a row a trial, with the columns of COLUMNS; what was not evaluated or did not happen is empty."""
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
    best = val.iloc[int(val["accuracy"].to_numpy().argmax())]
    found = {"best_val": best["accuracy"], "best_epoch": best["epoch"]}
    stopped = stop(train["loss"].tolist())
    if stopped is not None:
        epoch = train["epoch"].iloc[stopped - 1]
        found |= {
            "stopped_val": val.loc[val["epoch"].eq(epoch), "accuracy"].iloc[0], "stopped_epoch": epoch,
        }  # fmt: skip
    return found


def curves_of(results: Results) -> pd.DataFrame:
    """List val's accuracy of trained trials after each evaluated epoch, with the columns of CURVES."""
    val = results.epochs[results.epochs["split"].eq("val") & results.epochs["epoch"].gt(0)]
    ok = results.trials.loc[results.trials["status"].eq("ok"), ["trial_id", "arm", "seed"]]
    return val.merge(ok, on="trial_id").rename(columns={"accuracy": "val"})[CURVES]


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
        seeds: a row a trial, as of `trials_of`.
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


def predicted(
    seeds: pd.DataFrame, arm: str, reads: Reading, trainings: int, *, best: bool = False
) -> tuple[float, float]:
    """Give the 95 % prediction interval of so many further trainings of an arm, NaN of fewer than two seeds.

    Accuracies of seeds are taken for normal; the further trainings are evaluated on the same images, so that
    those add no error. Of a mean by Student's t (Hahn and Meeker, Statistical Intervals, 1991); of the best
    by 100,000 draws: mean and deviation as the seeds leave them open, then the trainings.

    Args:
        seeds: a row a trial, as of `trials_of`.
        arm: its name.
        reads: what of a trial counts.
        trainings: how many, from 1 on.
        best: the best of them, not their mean.
    """
    mine = seeds[seeds["arm"].eq(arm) & seeds["status"].eq("ok")]
    values = mine[READ_FROM[reads]].dropna().astype(float)
    if len(values) < 2:
        return math.nan, math.nan
    if best:
        return _of_best(values.to_numpy(), trainings)
    spread = float(values.std()) * math.sqrt(1 / trainings + 1 / len(values))
    half = float(scipy.stats.t.ppf(0.975, len(values) - 1)) * spread
    return float(values.mean()) - half, min(float(values.mean()) + half, 1.0)


def _of_best(values: NDArray[np.floating[Any]], trainings: int) -> tuple[float, float]:
    rng, left = np.random.default_rng(0), len(values) - 1
    spread = values.std(ddof=1) * np.sqrt(left / rng.chisquare(left, DRAWS))
    mean = values.mean() + spread * rng.standard_normal(DRAWS) / math.sqrt(len(values))
    # The greatest of so many uniform numbers is one of them, to the power of 1 / their number.
    highest = mean + spread * scipy.stats.norm.ppf(rng.random(DRAWS) ** (1 / trainings))
    low, high = np.quantile(highest, [0.025, 0.975])
    return float(low), min(float(high), 1.0)


def epochs_inside(curves: pd.DataFrame, arm: str, band: tuple[float, float]) -> list[float]:
    """List the epochs after which the interval of an arm's seeds lies inside a band.

    With a constant rate, a trial that ends there is the same training.
    """
    mine = curves[curves["arm"].eq(arm)]
    if mine.empty:
        return []
    by_epoch = stats.summarise(mine, ["epoch"], "val", within=(0.0, 1.0)).sort_values("epoch")
    return [
        float(row["epoch"])
        for row in by_epoch.to_dict("records")
        if judge(row["low"], row["high"], band) == INSIDE
    ]


def kept(name: str, folder: Path = KEPT) -> pd.DataFrame:
    """Read what is kept of a source's trials; no rows where it has not been trained."""
    return _read(folder / f"{name}.csv", COLUMNS)


def kept_curves(name: str, folder: Path = KEPT) -> pd.DataFrame:
    """Read what is kept of a source's accuracies on val by epoch."""
    return _read(folder / f"{name}-epochs.csv.gz", CURVES)


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=columns)


def keep(name: str, seeds: pd.DataFrame, curves: pd.DataFrame, folder: Path = KEPT) -> Path:
    """Write a source's trials and their accuracies on val, to be committed; return the table of trials."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"
    seeds.to_csv(path, index=False, lineterminator="\n")
    packed: dict[str, Any] = {"method": "gzip", "compresslevel": 9, "mtime": 0}
    curves.to_csv(folder / f"{name}-epochs.csv.gz", index=False, lineterminator="\n", compression=packed)
    return path
