"""Standings of a campaign: who came near the best first, whose incumbent is best on test, and verdicts.

Repeats pair the methods: in each, all of them train with the same seed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from harness import stats

OURS = "harness"
NEAR = 0.005
"""How far below the best accuracy of all methods counts as near it."""
MARGIN = 0.003
"""Up to which confirmed accuracies count as the same."""


def curves(folder: Path, cells: pd.DataFrame) -> dict[tuple[str, int], pd.DataFrame]:
    """Read the improvements of every cell of a campaign's folder, by (method, repeat)."""
    pairs = zip(cells["method"], cells["repeat"], strict=True)
    return {(name, repeat): pd.read_csv(folder / f"{name}-{repeat}.csv") for name, repeat in pairs}


def whole_repeats(cells: pd.DataFrame) -> pd.DataFrame:
    """Keep the repeats that all methods have finished: others would compare different seeds."""
    counts = cells.groupby("repeat")["method"].nunique()
    return cells[cells["repeat"].isin(counts.index[counts.eq(cells["method"].nunique())])]


def times(cells: pd.DataFrame, found: dict[tuple[str, int], pd.DataFrame], target: float) -> pd.DataFrame:
    """Return when each cell first had a val accuracy of at least `target`.

    Returns:
        method, repeat, status ("ok", as `stats` wants it), seconds (NaN: never), end (of the cell).
    """
    rows = []
    for row in cells.to_dict("records"):
        curve = found[row["method"], row["repeat"]]
        reached = curve.loc[curve["val_accuracy"].ge(target), "seconds"]
        seconds = float(reached.iloc[0]) if len(reached) else math.nan
        rows.append((row["method"], row["repeat"], "ok", seconds, 60 * row["minutes"]))
    return pd.DataFrame(rows, columns=["method", "repeat", "status", "seconds", "end"])


def target(found: dict[tuple[str, int], pd.DataFrame]) -> tuple[float, float]:
    """Return the best val accuracy that any method reached in any repeat, and what is near it."""
    best = max((curve["val_accuracy"].max() for curve in found.values() if len(curve)), default=math.nan)
    return best, best - NEAR


def median(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and its distribution-free interval at 95 %, or the widest there is.

    The interval is between two order statistics (David and Nagaraja 2003, section 7.1); the widest, from the
    lowest to the highest, covers the median of 5 repeats with 94 %. Infinite values, of times that were never
    reached, have their order.

    >>> median([3.0, 1.0, 2.0])
    (2.0, 1.0, 3.0)
    """
    ordered = sorted(values)
    n = len(ordered)
    if not n:
        return math.nan, math.nan, math.nan
    # The k-th lowest and highest miss the median with probability 2 P(Binomial(n, 1/2) < k).
    missed = itertools.accumulate(2 * math.comb(n, k) / 2**n for k in range(n))
    k = sum(1 for _ in itertools.takewhile(lambda share: share <= 0.05, missed))
    at = max(k - 1, 0)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return middle, ordered[at], ordered[n - 1 - at]


def confirmed_means(confirmed: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return a row a cell: method, repeat, status, test_accuracy, its mean over the fresh seeds.

    A cell of which a seed diverged has the status of that seed, and no accuracy.
    """
    kept = cells[["method", "repeat"]].merge(confirmed, on=["method", "repeat"])
    rows = []
    for (name, repeat), own in kept.groupby(["method", "repeat"], sort=False):
        bad = own.loc[own["status"].ne("ok"), "status"]
        mean = own["test_accuracy"].mean() if bad.empty else math.nan
        rows.append((name, repeat, "ok" if bad.empty else bad.iloc[0], mean))
    return pd.DataFrame(rows, columns=["method", "repeat", "status", "test_accuracy"])


def judged(values: pd.DataFrame, metric: str, margin: float | None, *, higher: bool) -> pd.DataFrame:
    """Judge the harness against every other method, paired by repeat, all as one family.

    Args:
        values: method, repeat, status, `metric`; a row a cell.
        metric: what is compared.
        margin: up to which methods count as the same; None: none does.
        higher: True if higher is better.

    Returns:
        `stats.verdicts`, with arm (the harness) and reference (the other method).
    """
    others = [name for name in values["method"].unique() if name != OURS]
    pairs = pd.DataFrame({"arm": OURS, "reference": others})
    renamed = values.rename(columns={"method": "arm", "repeat": "seed"}).assign(dataset="fashion_mnist")
    differences = stats.paired_differences(renamed, pairs, metric)
    return stats.verdicts(differences, margin=margin, higher_is_better=higher)


def log_times(reached: pd.DataFrame) -> pd.DataFrame:
    """Return `times` with log2_seconds: of times that were never reached the cell's end, which is less."""
    known = reached["seconds"].fillna(reached["end"])
    return reached.assign(log2_seconds=np.log2(known))
