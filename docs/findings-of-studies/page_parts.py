"""Parts of a page of this folder: its numbers, its tables, its figure, and words that say a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from harness import results
from harness.results import columns, documents
from harness.settings.schema import TUNED, TUNING
from harness.text import count, duration, joined, two_decimals

MARGIN = 0.002
"""Two arms that differ by less, as a share, are called the same: the margin of these studies."""


@dataclass(frozen=True)
class Finding:
    """What a page shows.

    `words` fill its template; `tables` are written beside it as CSVs, by their names; `figure` is its figure.
    """

    words: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    figure: Figure


def points(share: float, *, sign: bool = False) -> str:
    """Write a difference of shares in points, with two decimals.

    >>> points(0.0104), points(-0.0007, sign=True)
    ('1.04', '-0.07')
    """
    return two_decimals(100 * share, sign=sign)


def ends(low: float, high: float) -> str:
    """Write an interval of a difference, given as shares, in points; "no interval" where there is none.

    >>> ends(0.008, 0.0104)
    '0.80 to 1.04'
    """
    return "no interval" if math.isnan(low) else f"{points(low)} to {points(high)}"


def judged(row: Mapping[Any, Any]) -> str:
    """Say a verdict with its difference and interval: difference, low, high (shares), verdict.

    >>> judged({"difference": 0.0092, "low": 0.008, "high": 0.0104, "verdict": "better"})
    'better by 0.92 points (0.80 to 1.04)'
    """
    difference, low, high = (float(row[name]) for name in ("difference", "low", "high"))
    if row["verdict"] == "better":
        return f"better by {points(difference)} points ({ends(low, high)})"
    if row["verdict"] == "worse":
        return f"worse by {points(-difference)} points ({ends(-high, -low)})"
    if row["verdict"] == "same within margin":
        return f"the same within {100 * MARGIN:g} points ({points(difference, sign=True)}, {ends(low, high)})"
    if math.isnan(difference):
        return f"without a verdict ({row['verdict']})"
    return f"not told apart ({points(difference, sign=True)} points, {ends(low, high)})"


def took(folders: Sequence[Path]) -> str:
    """Say how many trainings results folders hold, in all their phases, and how long their runs took, where.

    Raises:
        UsageError: one is not a results folder.
    """
    phases = [folder / phase for folder in folders for phase in ("", TUNING, TUNED)]
    found = [folder for folder in phases if (folder / "trials.csv").is_file()]
    trained = sum(int(results.read_trials(place)["status"].isin(columns.FINISHED).sum()) for place in found)
    provenances = [documents.provenance(folder) for folder in phases]
    runs = [
        (place, run) for place, one in zip(phases, provenances, strict=True) for run in one.get("runs", [])
    ]
    seconds = sum(float(run.get("seconds", 0)) for _, run in runs)
    # Of a phase whose trials are not kept, its runs say how many they were.
    trained += sum(int(run.get("trials_trained", 0)) for place, run in runs if place not in found)
    places = {f"{count(one['workers'], 'core')} ({one['cpu']})" for one in provenances if one}
    return f"{count(trained, 'training')}, {duration(seconds)} on {joined(sorted(places))}"
