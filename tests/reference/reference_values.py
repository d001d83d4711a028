"""Numbers of the committed results, as README and docs say them: shares in percent, differences in points."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import pandas as pd
from reference_folders import REFERENCE

from harness import results, stats

PERCENT = 100.0
Where = Mapping[str, Any]
"""Column -> the value that rows have, or a list of values."""


class Interval(NamedTuple):
    """A mean with the limits of its 95 % interval."""

    mean: float
    low: float
    high: float


@cache
def trials(folder: str) -> pd.DataFrame:
    """Read the finished trials of a folder below results/reference."""
    return stats.finished(results.read_trials(REFERENCE / folder), "val_accuracy")


@cache
def table(path: str) -> pd.DataFrame:
    """Read a CSV below results/reference."""
    return pd.read_csv(REFERENCE / path)


def rows(frame: pd.DataFrame, where: Where) -> pd.DataFrame:
    """Select rows.

    Raises:
        ValueError: there are none.
    """
    for column, wanted in where.items():
        frame = frame[frame[column].isin(wanted if isinstance(wanted, list) else [wanted])]
    if frame.empty:
        raise ValueError(f"no rows where {dict(where)}")
    return frame


def row(frame: pd.DataFrame, where: Where) -> pd.Series[Any]:
    """Select the one row of a table.

    Raises:
        ValueError: there is none, or there are several.
    """
    found = rows(frame, where)
    if len(found) > 1:
        raise ValueError(f"{len(found)} rows where {dict(where)}")
    return found.iloc[0]


def trained_in(folder: str) -> list[float]:
    """Give the seconds by the clock for which a folder's trials trained, of its runs together."""
    provenance = json.loads((REFERENCE / folder / "provenance.json").read_text(encoding="utf-8"))
    return [sum(run["seconds"] for run in provenance["runs"])]


def by_seed(folder: str, measure: str, where: Where) -> pd.Series[float]:
    """Average a column of trials.csv within each seed, over the arms that a condition selects."""
    return rows(trials(folder), where).groupby("seed")[measure].mean()


def mean(folder: str, measure: str, where: Where, scale: float = PERCENT) -> Interval:
    """Average a column of trials.csv over seeds."""
    return interval(by_seed(folder, measure, where) * scale)


def difference(folder: str, measure: str, of: Where, less: Where) -> Interval:
    """Subtract one group of arms from another, seed by seed, in points."""
    return interval((by_seed(folder, measure, of) - by_seed(folder, measure, less)).dropna() * PERCENT)


def interval(values: pd.Series[float]) -> Interval:
    """Give the mean of a value a seed, with its Student-t interval."""
    frame = pd.DataFrame({"group": 0, "value": values.to_numpy(dtype=float)})
    summary = stats.summarise(frame, ["group"], "value").iloc[0]
    return Interval(float(summary["mean"]), float(summary["low"]), float(summary["high"]))


def verdicts(folder: str, name: str = "verdicts", **where: object) -> pd.DataFrame:
    """Read the verdicts of a folder's tables, differences in points."""
    scaled = ["difference", "low", "high"]
    frame = rows(table(f"{folder}/tables/{name}.csv"), where)
    return frame.assign(**{column: frame[column] * PERCENT for column in scaled})


def verdict(folder: str, name: str = "verdicts", **where: object) -> Interval:
    """Read one verdict's difference, in points."""
    found = row(verdicts(folder, name), where)
    return Interval(float(found["difference"]), float(found["low"]), float(found["high"]))


def spread(values: Iterable[float]) -> tuple[float, float]:
    """Give the least and the greatest value."""
    listed = list(values)
    return min(listed), max(listed)


def curve(folder: str, split: str, measure: str, where: Where) -> pd.Series[float]:
    """Average a learning curve over seeds: epoch -> mean."""
    chosen = rows(trials(folder), where)["trial_id"]
    epochs = results.read(REFERENCE / folder).epochs
    there = epochs[epochs["trial_id"].isin(chosen) & epochs["split"].eq(split)]
    return there.groupby("epoch")[measure].mean()


def shares(folder: str, axes: list[str], measure: str) -> Callable[[str, str], float]:
    """Analyse the variance of a grid: (data set, term) -> percent; "interactions" are those of two axes."""
    found = stats.anova(trials(folder), axes, measure)

    def share(dataset: str, term: str) -> float:
        terms = found[found["dataset"].eq(dataset)].set_index("term")["share"]
        pairs = [name for name in terms.index if ":" in name]
        return float(terms[pairs].sum() if term == "interactions" else terms[term]) * PERCENT

    return share
