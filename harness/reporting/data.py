"""A results folder as a report needs it: the varied settings, short names of arms, comparisons."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness import results, stats
from harness.errors import UsageError
from harness.results import bare, documents, families, selection
from harness.results.columns import TABLES
from harness.settings.schema import NOT_NEEDED, NOT_NEEDED_BEFORE
from harness.text import NOT_APPLICABLE, as_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class StudyFile:
    """The tables of a results folder's study.toml that a report reads, with their defaults."""

    name: str  # the study's; empty if the file has none
    hypothesis: str  # the study's; empty if the file has none
    design: str  # grid, one-factor, ladder or search
    phase: str  # fixed, tuning, tuned, search or confirmed
    metrics: Sequence[str]  # tracked metrics
    keep_predictions: Sequence[str]  # splits whose predictions are kept
    baseline: Mapping[str, Any]  # settings of all arms
    steps: Sequence[Mapping[str, Any]]  # a ladder's [[steps]]
    tunes: bool  # whether arms are tuned
    tuning_seeds: Sequence[int]  # seeds that settings are chosen with
    blocks: int  # blocks of seeds that choose by themselves; 0 where all share a choice
    tuned: Sequence[str]  # names of the settings that are tuned
    chosen: Mapping[str, Mapping[str, Any]]  # arm, with its block, -> the settings that were chosen

    @classmethod
    def of(cls, tables: Mapping[str, Any]) -> StudyFile:
        """Read the tables of study.toml, as `Results.study` holds them."""
        study, tune = tables.get("study", {}), tables.get("tune", {})
        defaults = {"name": "", "hypothesis": "", "design": "grid", "phase": "fixed"}
        return cls(
            **{name: str(study.get(name, default)) for name, default in defaults.items()},
            metrics=study.get("metrics", []), keep_predictions=study.get("keep_predictions", []),
            baseline=tables.get("baseline", {}), steps=tables.get("steps", []),
            chosen=tables.get("chosen", {}), tunes="tune" in tables,
            tuning_seeds=tune.get("seeds", []), tuned=list(tune.get("space", {})),
            blocks=int(tune.get("blocks", 0)),
        )  # fmt: skip


@dataclass(frozen=True)
class ReportData:
    """A results folder with everything that a report derives from its tables.

    `trials`: `results.trials` without arms of a fixed seed (which `seed_sources` has) and without those that
    no look needed (`needless`), with axes as text, `label` (the arm in short, without its data set) and
    `objective` (loss, head and weight: losses of one objective may share an axis).
    """

    results: results.Results  # the folder as it was read
    axes: tuple[str, ...]  # columns of `trials` that were varied, except for the data set
    trials: pd.DataFrame

    @property
    def study(self) -> StudyFile:
        """The folder's study.toml."""
        return StudyFile.of(self.results.study)

    @property
    def design(self) -> str:
        """The study's design: grid, one-factor, ladder or search."""
        return self.study.design

    @cached_property
    def spreads(self) -> pd.DataFrame:
        """The distance between each axis' best and worst level, as `stats.axis_spreads` gives it."""
        return stats.axis_spreads(self.trials, self.axes)

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """The arms of each data set in order, as `stats.rank_arms` gives them."""
        return stats.rank_arms(self.trials, arm="label")

    @property
    def datasets(self) -> list[str]:
        """The data sets in the study's order."""
        return list(dict.fromkeys(self.trials["dataset"]))

    def by_dataset(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with its rows in the order of the study's data sets, else as they are."""
        place = {dataset: place for place, dataset in enumerate(self.datasets)}
        return table.sort_values(
            "dataset", key=lambda names: names.map(place), kind="stable", ignore_index=True
        )

    def of(self, dataset: str) -> pd.DataFrame:
        """Return the trials on a data set."""
        return self.trials[self.trials["dataset"].eq(dataset)]

    def finished(self, dataset: str) -> pd.DataFrame:
        """Return the trials on a data set that have status `ok`."""
        return self.trials[self.trials["dataset"].eq(dataset) & self.trials["status"].eq("ok")]

    def classes(self, dataset: str) -> list[str]:
        """Return the class names in label order; the integers where the provenance has none."""
        facts = self.results.provenance.get("data", {}).get(dataset, {})
        labels = self.results.confusion[["label", "prediction"]].to_numpy()
        count = int(labels.max(initial=0)) + 1
        names = [str(name) for name in facts.get("classes", [])] if isinstance(facts, dict) else []
        return names if len(names) >= count else [str(label) for label in range(count)]

    @cached_property
    def needless(self) -> pd.Series[int]:
        """Count of trials that were not needed since a look had decided all contrasts, by their reason."""
        trials = self.results.trials.drop_duplicates("trial_id")
        return trials.loc[_is_needless(trials), "reason"].value_counts(sort=False)

    @cached_property
    def absent_shards(self) -> str:
        """A text on the study's shards that the folder does not hold; empty where it is whole."""
        return documents.absent_shards(self.results.folder)

    def require_predictions(self) -> None:
        """Raise a UsageError if the folder holds no predictions."""
        if not any((self.results.folder / "predictions").glob("*.npz")):
            raise UsageError(
                "this results folder holds no predictions; it was copied without them, or keep_predictions "
                "under [study] is empty"
            )

    def reason(self, error: Exception) -> str:
        """Return an error's text without its full stop and, since pages are passed on, the folder's place."""
        folder = str(self.results.folder)
        return str(error).replace(f"{folder}/", "").replace(folder, "the results folder").rstrip(".")


def read(folder: Path) -> ReportData:
    """Read a results folder for reporting.

    Raises:
        UsageError: it is not a results folder, or it holds the tuning trials of a study.
    """
    folder_results = results.read(folder)
    phase = StudyFile.of(folder_results.study).phase
    if phase == "tries":
        raise UsageError(
            f"{folder} holds tries of a study, without test; its tries.csv has the verdicts, its trials.csv "
            "the trials. Make a study of what is worth a report, and run it"
        )
    if phase == "tuning":
        study = Path(folder).resolve().parent
        raise UsageError(
            f"{folder} holds the tuning trials of a study; the report of {study} has them; write that one"
        )
    return prepare(folder_results)


def read_tables(folder: Path, names: Sequence[str] = TABLES) -> ReportData:
    """Read a results folder, or tables that lie alone in a folder, without study.toml (`bare.read`).

    Raises:
        UsageError: it is no such folder, or a table is missing, empty, damaged, or lacks a column.
    """
    return prepare(bare.read(folder, names))


def prepare(folder_results: results.Results) -> ReportData:
    """Add to the trials what a report needs: axes as text, short labels of arms, objectives."""
    study = StudyFile.of(folder_results.study)
    trials, axes = families.varied(folder_results.trials, folder_results.study)
    trials = trials[~_is_needless(trials)]
    if study.design == "grid" and axes:
        words = [trials[axis].map(lambda value, axis=axis: level_words(axis, value)) for axis in axes]
        label = pd.concat(words, axis=1).agg(" · ".join, axis=1)
    else:
        label = trials["arm"].astype(str)
        if study.design == "one-factor":
            label = label.map(selection.shown_arms(trials))
    weight = trials.get("ccql_weight", pd.Series(np.nan, index=trials.index)).map(as_word)
    weight = weight.map(lambda value: "" if value == NOT_APPLICABLE else f" (w {value})")
    objective = trials["loss"].astype(str) + " on " + trials["head"].astype(str) + weight
    return ReportData(folder_results, tuple(axes), trials.assign(label=label, objective=objective))


def _is_needless(trials: pd.DataFrame) -> pd.Series[bool]:
    """Tell which trials a study did not need since a look had decided every contrast."""
    if "reason" not in trials:
        return pd.Series(False, index=trials.index)
    needless = trials["reason"].astype(str).str.startswith((NOT_NEEDED, NOT_NEEDED_BEFORE))
    return trials["status"].eq("skipped") & needless


def where(reading: ReportData, conditions: str) -> ReportData:
    """Keep the trials that meet all conditions, written as "activation=relu,seed=0".

    Raises:
        UsageError: a condition is not SETTING=VALUE or names an unknown column, or no trial is left.
    """
    # Conditions are tested on numbers, as the folder has them: the axes of `reading` are text.
    trials = reading.results.trials.loc[reading.trials.index]
    named = trials.assign(label=reading.trials["label"], objective=reading.trials["objective"])
    return replace(reading, trials=reading.trials.loc[selection.where(named, conditions).index])


def rank(reading: ReportData) -> pd.DataFrame:
    """Rank arms as `stats.rank_arms` does, with their short names in `label`."""
    return reading.ranking.copy()


def against_baseline(reading: ReportData) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Compare the arms of a one-factor design with its baseline; None for other designs or a single arm.

    Returns:
        `stats.contrasts` and `stats.paired_differences`, both with `label`.
    """
    arms = list(dict.fromkeys(reading.trials["label"]))
    if reading.design == "grid" or len(arms) < 2:
        return None
    pairs = pd.DataFrame({"arm": arms[1:], "reference": arms[0]})
    contrasts, seeds = (
        compare(reading.trials, pairs, arm="label").assign(label=lambda table: table["arm"].astype(str))
        for compare in (stats.contrasts, stats.paired_differences)
    )
    return contrasts, seeds


def level_words(axis: str, level: str) -> str:
    """Name a level as an arm's label does: a word stands alone; a number, a list or a truth needs its axis.

    >>> level_words("norm", "batch"), level_words("lr", "0.1"), level_words("skip", "true")
    ('batch', 'lr 0.1', 'skip true')
    """
    alone = re.match(r"[A-Za-z]", level) and level not in {NOT_APPLICABLE, "true", "false"}
    return level if alone else f"{axis} {level}"
