"""A results folder made ready to be reported on: what was varied, short names of arms, what is compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from harness import results, selection, stats
from harness.errors import UsageError
from harness.text import NOT_APPLICABLE, as_word


@dataclass(frozen=True)
class Reading:
    """A results folder made ready to be reported on.

    Attributes:
        results: what was read.
        axes: columns of `trials` that were varied, the data set aside.
        trials: `results.trials` with axes as text, `label` (the arm in short, its data set aside) and
            `objective` (loss, head and weight: what may share one loss axis).
    """

    results: results.Results
    axes: tuple[str, ...]
    trials: pd.DataFrame

    @property
    def design(self) -> str:
        """The study's design: grid, one-factor, ladder or search."""
        return str(self.results.study.get("study", {}).get("design", "grid"))

    @property
    def datasets(self) -> list[str]:
        """The data sets in the study's order."""
        return list(dict.fromkeys(self.trials["dataset"]))

    def classes(self, dataset: str) -> list[str]:
        """Class names in label order; the integers where the provenance has none."""
        facts = self.results.provenance.get("data", {}).get(dataset, {})
        seen = self.results.confusion[["label", "prediction"]].to_numpy()
        count = int(seen.max(initial=0)) + 1
        names = [str(name) for name in facts.get("classes", [])] if isinstance(facts, dict) else []
        return names if len(names) >= count else [str(label) for label in range(count)]


def read(folder: Path) -> Reading:
    """Read a results folder for reporting.

    Raises:
        UsageError: it is no results folder, or holds the tries of a study that tunes.
    """
    found = results.read(folder)
    if found.study.get("study", {}).get("phase") == "tuning":
        raise UsageError(
            f"{folder} holds the settings that arms tried to choose by; the report of "
            f"{Path(folder).resolve().parent} shows them. Draw that one"
        )
    return prepare(found)


def prepare(found: results.Results) -> Reading:
    """Add to the trials what a report needs: axes as text, short labels of arms, objectives."""
    study = found.study
    varied = [axis for axis in study.get("axes", {}) if axis in found.trials and axis != "dataset"]
    trials = found.trials.assign(**{axis: found.trials[axis].map(as_word) for axis in varied})
    axes = tuple(axis for axis in varied if len(trials[axis].unique()) > 1)
    if study.get("study", {}).get("design", "grid") == "grid" and axes:
        words = [trials[axis].map(lambda value, axis=axis: level_words(axis, value)) for axis in axes]
        label = pd.concat(words, axis=1).agg(" · ".join, axis=1)
    else:
        label = trials["arm"].astype(str)
        if study.get("study", {}).get("design") == "one-factor":
            label = label.map(selection.shown_arms(trials))
    weight = trials.get("ccql_weight", pd.Series(np.nan, index=trials.index)).map(as_word)
    weight = weight.map(lambda value: "" if value == NOT_APPLICABLE else f" (w {value})")
    objective = trials["loss"].astype(str) + " on " + trials["head"].astype(str) + weight
    return Reading(found, axes, trials.assign(label=label, objective=objective))


def where(reading: Reading, conditions: str) -> Reading:
    """The same reading with the trials that meet all conditions, written as "activation=relu,seed=0".

    Raises:
        UsageError: a condition is no SETTING=VALUE, names no column, or no trial is left.
    """
    # As the folder has them, with numbers as numbers: the reading's own axes are words.
    trials = reading.results.trials.loc[reading.trials.index]
    told = trials.assign(label=reading.trials["label"], objective=reading.trials["objective"])
    return replace(reading, trials=reading.trials.loc[selection.where(told, conditions).index])


@dataclass(frozen=True)
class Comparison:
    """Arms against their references.

    Attributes:
        name: fit for a file.
        title: what is compared.
        reference: what with, in words.
        contrasts: as from `stats.contrasts`, with `label`.
        seeds: as from `stats.paired_differences`, with `label`.
    """

    name: str
    title: str
    reference: str
    contrasts: pd.DataFrame
    seeds: pd.DataFrame


def rank(reading: Reading) -> pd.DataFrame:
    """`stats.rank_arms` with the arm's words in `label`."""
    return stats.rank_arms(reading.trials, arm="label")


def comparisons(reading: Reading) -> list[Comparison]:
    """What a one-factor design compares; a grid has main effects, a ladder `report.rungs`."""
    arms = list(dict.fromkeys(reading.trials["label"]))
    if reading.design == "grid" or len(arms) < 2:
        return []
    first = pd.DataFrame({"arm": arms[1:], "reference": arms[0]})
    return [_compare(reading, first, "baseline", "Each arm against the baseline", "the baseline")]


def _compare(reading: Reading, pairs: pd.DataFrame, name: str, title: str, reference: str) -> Comparison:
    tables = (of(reading.trials, pairs, arm="label") for of in (stats.contrasts, stats.paired_differences))
    contrasts, seeds = (table.assign(label=table["arm"].astype(str)) for table in tables)
    return Comparison(name, title, reference, contrasts, seeds)


def level_words(axis: str, level: str) -> str:
    """A level as it stands in an arm's label: a word speaks for itself, a number or a list needs its axis."""
    return level if re.match(r"[A-Za-z]", level) and level != NOT_APPLICABLE else f"{axis} {level}"
