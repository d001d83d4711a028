"""A search's results folder made ready to be reported on: its suggestions, its space, its confirmation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness import columns, results, standing, stats
from harness.errors import UsageError
from harness.parameters import Parameter
from harness.report.reading import ReportData, prepare
from harness.report.spaces import names_of, parameters
from harness.settings import outcome_columns
from harness.text import as_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SUGGESTIONS, CONFIRMED = "suggestions.csv", "confirmed"
FACTS = ("number", "arm", "batch", "state", "reason", "evaluations", "seconds")
"""What suggestions.csv says of a suggestion before its objectives and parameters."""
STATES = ("complete", "pruned", "failed")
SMALLER_IS_BETTER = ("val_loss", "parameters", "training_flops")
UNTOLD = {"trial_id", "arm", "seed", "label", "objective", "eval_every"}
"""Columns before the outcome that may differ between a suggestion and its confirmation."""


@dataclass(frozen=True)
class Objective:
    """What a search searched by.

    Attributes:
        name: its column in suggestions.csv.
        maximize: whether more is better.
    """

    name: str
    maximize: bool

    @property
    def share(self) -> bool:
        """Whether it is an accuracy, told in % and in points."""
        return self.name.endswith("accuracy")


@dataclass(frozen=True)
class Searched:
    """A search's results folder.

    Attributes:
        reading: the folder, read; every trial of every suggestion, test sealed.
        told: its [search] table.
        suggestions: suggestions.csv, `value` (the leading objective) and `best` (boolean) added, in the order
            of their numbers.
        objectives: one, or two.
        parameters: in the order in which they are drawn.
        confirmed: the folder confirmed/; None where it is not there yet or cannot be read.
        doubts: in words, what cannot be read.
    """

    reading: ReportData
    told: Mapping[str, Any]
    suggestions: pd.DataFrame
    objectives: tuple[Objective, ...]
    parameters: tuple[Parameter, ...]
    confirmed: ReportData | None
    doubts: Sequence[str]

    @property
    def objective(self) -> Objective:
        """What the best is best by: the objective that says how well a network does."""
        return _leading(self.objectives)

    @property
    def complete(self) -> pd.DataFrame:
        """The suggestions that were trained to their end and have every objective."""
        names = [objective.name for objective in self.objectives]
        return self.suggestions[self.suggestions["state"].eq("complete")].dropna(subset=names)

    @property
    def best(self) -> pd.Series[Any] | None:
        """The best complete suggestion, the earliest of those that tie."""
        found = self.suggestions[self.suggestions["best"]]
        return None if found.empty else found.iloc[0]

    @property
    def sampler(self) -> str:
        """The sampler's name."""
        return str(self.told.get("sampler", "tpe"))

    @property
    def pruner(self) -> str:
        """The pruner's name; "none" where nothing is pruned."""
        pruner = self.told.get("pruner", "none")
        return str(pruner.get("name", "none") if isinstance(pruner, dict) else pruner)

    @property
    def seeds(self) -> int:
        """How many search seeds a suggestion has."""
        seeds = self.told.get("seeds", 1)
        return len(seeds) if isinstance(seeds, list) else int(seeds)


def searches(reading: ReportData) -> bool:
    """Whether a results folder is that of a search, not of its confirmation."""
    return bool(reading.results.study.get("study", {}).get("phase") == "search")


def read(reading: ReportData) -> Searched:
    """Read what a search left beside its trials.

    Raises:
        UsageError: suggestions.csv is not there, cannot be read, or lacks columns.
    """
    path = reading.results.folder / SUGGESTIONS
    told = reading.results.study.get("search", {})
    objectives = tuple(_objectives(told))
    needed = [*FACTS, *(objective.name for objective in objectives)]
    try:
        standing.check(path.parent, path.name)
        found = columns.read(path, reading.results.study)
        found[needed]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}. Run the search again: it goes on from its storage and writes it"
        ) from error
    found = found.sort_values("number", ignore_index=True)
    space = parameters(reading.results.study.get("space", {}), found.drop(columns=needed))
    words = {each.name: found[each.name].map(_word) for each in space if names_of(each)}
    found = found.assign(**words, value=found[_leading(objectives).name].astype(float))
    doubts: list[str] = []
    confirmed = _confirmed(reading, doubts)
    marked = found.assign(best=_best(found, objectives))
    return Searched(reading, told, marked, objectives, space, confirmed, doubts)


def _objectives(told: Mapping[str, Any]) -> Iterator[Objective]:
    names, ways = (told.get(key) for key in ("objective", "direction"))
    names = [names or "val_accuracy"] if not isinstance(names, list) else names
    ways = [ways] * len(names) if not isinstance(ways, list) else ways
    for name, way in zip(names, ways, strict=False):
        usual = "minimize" if name in SMALLER_IS_BETTER else "maximize"
        yield Objective(str(name), (way or usual) == "maximize")


def _leading(objectives: Sequence[Objective]) -> Objective:
    return next((each for each in objectives if each.name.startswith("val_")), objectives[0])


def _best(found: pd.DataFrame, objectives: Sequence[Objective]) -> pd.Series[bool]:
    """Which suggestion is the best; one that diverged is none, even where it counts as a declared value."""
    whole = found["state"].eq("complete") & found["reason"].eq("")
    first = _leading(objectives)
    order = [first, *(each for each in objectives if each != first)]
    values = found[[each.name for each in order]].where(whole)
    # As the search chooses its winner.
    best = stats.ranked(values, [each.maximize for each in order])[:1]
    return pd.Series(np.isin(np.arange(len(found)), best), found.index)


def _confirmed(reading: ReportData, doubts: list[str]) -> ReportData | None:
    folder = reading.results.folder / CONFIRMED
    if not (folder / "trials.csv").is_file():
        return None
    try:
        return prepare(results.read(folder))
    except UsageError:
        doubts.append(f"The folder {CONFIRMED}/ cannot be read, so the winner's confirmation is not shown.")
        return None


def confirmed_number(searched: Searched) -> int | None:
    """The number of the suggestion whose settings the arm "winner" of confirmed/ has; None if none has."""
    if searched.confirmed is None:
        return None
    root, again = searched.reading.trials, searched.confirmed.trials
    outcome = set(outcome_columns(searched.reading.results.study.get("study", {}).get("metrics", [])))
    columns = [str(c) for c in root if c in again and c not in UNTOLD and c not in outcome]
    winner = again[again["arm"].eq("winner")]
    if winner.empty:
        return None
    wanted = winner.iloc[0][columns].map(as_word)
    same = (root[columns].map(as_word) == wanted).all(axis=1)
    arms = searched.suggestions[searched.suggestions["arm"].isin(root.loc[same, "arm"])]
    complete = arms[arms["state"].eq("complete")].sort_values("best", ascending=False, kind="stable")
    return None if complete.empty else int(complete["number"].iloc[0])


def _word(value: object) -> Any:
    return np.nan if pd.isna(value) else as_word(value)  # type: ignore[call-overload]
