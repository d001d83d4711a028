"""The results folder of a search, read for its report: its suggestions, its space, its confirmation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
from pydantic import ValidationError

from harness import results, stats
from harness.errors import UsageError
from harness.reporting import contrasts
from harness.reporting.data import ReportData, prepare
from harness.reporting.search.space import parameters
from harness.results import columns, finalists, tables
from harness.results.finalists import Finalists
from harness.settings.schema import CONFIRMED, FINALISTS, WINNER, WINNERS, outcome_columns
from harness.study.contrasts import Contrasts
from harness.study.searches import SAMPLED_BY, STATES, SUGGESTIONS, Objective, Sampler, Search
from harness.study.space import Parameter, layers_of
from harness.text import as_word, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.reporting.contrasts import Verdicts

COMPLETE, PRUNED, FAILED = STATES
MAY_DIFFER = {"trial_id", "arm", "seed", "label", "objective", "eval_every"}
"""Columns before the outcome that may differ between a suggestion and its confirmation."""


@dataclass(frozen=True)
class SearchData:
    """The results folder of a search.

    `suggestions`: suggestions.csv in the order of the numbers, with `value` (the leading objective) and
    `best` (boolean).
    """

    reading: ReportData  # the folder, read; every trial of every suggestion, test sealed
    settings: Search  # its [search] table
    suggestions: pd.DataFrame
    parameters: tuple[Parameter, ...]  # the parameters in the order in which they are drawn
    confirmed: ReportData | None  # the folder confirmed/; None if it is not there yet or cannot be read
    doubts: Sequence[str]  # in words, what cannot be read
    finalists: Finalists | None = None  # None if the folder finalists/ is not there or cannot be read
    opened: int | None = None  # the suggestion that winners.csv has of as many suggestions as there are

    @property
    def objective(self) -> Objective:
        """The objective that decides which suggestion is the best."""
        return self.settings.ranking[0]

    @property
    def samplers(self) -> list[str]:
        """The names of those who asked for the suggestions: several where a later run had another sampler."""
        if SAMPLED_BY not in self.suggestions:
            return [self.settings.own or self.settings.sampler]
        return list(self.suggestions[SAMPLED_BY].unique())

    @property
    def asked_by(self) -> str:
        """The samplers in words; before the first suggestion, the one that was to ask for it."""
        ours = get_args(Sampler)
        return joined([
            f"the sampler {name}" if name in ours else f"an Optuna study outside ({name})"
            for name in self.samplers or [self.settings.own or self.settings.sampler]
        ])  # fmt: skip

    @property
    def complete(self) -> pd.DataFrame:
        """The suggestions that were trained to their end and have every objective."""
        complete = self.suggestions[self.suggestions["state"].eq(COMPLETE)]
        return complete.dropna(subset=self.settings.objective)

    @property
    def best(self) -> pd.Series[Any] | None:
        """The best complete suggestion, the earliest of those that tie."""
        best = self.suggestions[self.suggestions["best"]]
        return None if best.empty else best.iloc[0]

    @property
    def chosen(self) -> pd.Series[Any] | None:
        """The winner that the finalists picked, or else the best complete suggestion.

        Of a folder that was kept without its finalists it is the one that test was opened for.
        """
        picked = self.opened if self.finalists is None else self.finalists.picked
        rows = self.suggestions[self.suggestions["number"].eq(-1 if picked is None else picked)]
        return self.best if rows.empty else rows.iloc[0]

    def layers(self, suggestion: pd.Series[Any]) -> dict[str, list[int]]:
        """Return the lists that a suggestion's depth and its one width stand for, as `space.layers_of`."""
        drawn = {str(name): value for name, value in suggestion.dropna().items()}
        return layers_of(self.reading.results.study.get("space", {}), drawn)

    @property
    def went_on(self) -> bool:
        """True if the search's best suggestions are others than the finalists that were trained."""
        if self.finalists is None:
            return False
        eligible = self.suggestions[_eligible(self.suggestions)]
        ranking = self.settings.ranking
        values = eligible[[objective.name for objective in ranking]]
        best = stats.ranked(values, [objective.maximize for objective in ranking])[: self.settings.finalists]
        return set(eligible["number"].iloc[best]) != set(self.finalists.table["number"])

    @cached_property
    def judged(self) -> Verdicts | None:
        """The winner, judged against the baseline with fresh seeds; None without a confirmation."""
        confirmed = self.confirmed
        return None if confirmed is None else contrasts.judge(confirmed, contrasts.read_family(confirmed))

    @property
    def seeds(self) -> int:
        """The number of search seeds that a suggestion has."""
        return len(self.settings.seeds)


def is_search(reading: ReportData) -> bool:
    """Tell whether a results folder is that of a search, not of its confirmation."""
    return bool(reading.results.study.get("study", {}).get("phase") == "search")


def read(reading: ReportData) -> SearchData:
    """Read the suggestions and the confirmation of a search.

    Raises:
        UsageError: suggestions.csv is missing, cannot be read or lacks columns; or [search] cannot be read.
    """
    search = _read_settings(reading)
    path = reading.results.folder / SUGGESTIONS
    optional = {SAMPLED_BY}
    try:
        tables.check_unchanged(path.parent, path.name)
        table = columns.read(path, reading.results.study)
        needed = [name for name in search.columns if name in table or name not in optional]
        table[needed]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}. Run the search again: it continues from its storage and "
            "writes the file"
        ) from error
    table = table.sort_values("number", ignore_index=True)
    space = parameters(reading.results.study.get("space", {}), table.drop(columns=needed))
    # An empty text is of a suggestion to which the parameter does not apply.
    names = {
        p.name: table[p.name].mask(table[p.name].astype(str).eq("")).map(as_word, na_action="ignore")
        for p in space
        if not p.numeric
    }
    value = table[search.ranking[0].name].astype(float)
    table = table.assign(**names, value=value, best=_best(table, search))
    doubts: list[str] = []
    confirmed = _confirmed(reading, doubts)
    found = _finalists(reading, table, search, doubts)
    return SearchData(
        reading, search, table, space, confirmed, doubts, found, _opened(reading, table, search)
    )


def _read_settings(reading: ReportData) -> Search:
    try:
        return Search.model_validate(reading.results.study.get("search", {}))
    except ValidationError as error:
        raise UsageError(
            f"{reading.results.folder / 'study.toml'}: [search] cannot be read "
            f"({error.errors()[0]['msg']}). Restore the file, or run the search again"
        ) from error


def _best(table: pd.DataFrame, search: Search) -> pd.Series[bool]:
    """Mark the best suggestion, as the search chooses its winner: one that diverged cannot be it."""
    values = table[[objective.name for objective in search.ranking]].where(_eligible(table))
    best = stats.ranked(values, [objective.maximize for objective in search.ranking])[:1]
    return pd.Series(np.isin(np.arange(len(table)), best), table.index)


def _eligible(table: pd.DataFrame) -> pd.Series[bool]:
    return table["state"].eq(COMPLETE) & table["reason"].eq("")


def _opened(reading: ReportData, table: pd.DataFrame, search: Search) -> int | None:
    """Read for which suggestion test was opened; None if others were asked for since, or nobody knows."""
    path = reading.results.folder / WINNERS
    if search.finalists < 2 or not path.is_file():
        return None
    try:
        tables.check_unchanged(path.parent, path.name)
        last = columns.read(path, reading.results.study).iloc[-1]
        return int(last["number"]) if int(last["suggestions"]) == len(table) else None
    except (OSError, ValueError, KeyError, IndexError, UsageError):
        return None


def _finalists(
    reading: ReportData, table: pd.DataFrame, search: Search, doubts: list[str]
) -> Finalists | None:
    if search.finalists < 2:  # there may be some of an earlier run, which picked another winner
        return None
    try:
        family = Contrasts.model_validate(reading.results.study.get("contrasts", {}))
        return finalists.read(reading.results.folder, table, search, family)
    except (UsageError, ValidationError):
        doubts.append(f"The folder {FINALISTS}/ cannot be read, so the finalists are not shown.")
        return None


def _confirmed(reading: ReportData, doubts: list[str]) -> ReportData | None:
    folder = reading.results.folder / CONFIRMED
    if not (folder / "trials.csv").is_file():
        return None
    try:
        return prepare(results.read(folder))
    except UsageError:
        doubts.append(f"The folder {CONFIRMED}/ cannot be read, so the winner's confirmation is not shown.")
        return None


def confirmed_number(search: SearchData) -> int | None:
    """Return the number of the suggestion whose settings were confirmed; None if there is none."""
    if search.confirmed is None:
        return None
    trials, confirmed = search.reading.trials, search.confirmed.trials
    outcome = set(outcome_columns(search.reading.results.study.get("study", {}).get("metrics", [])))
    settings = [str(c) for c in trials if c in confirmed and c not in MAY_DIFFER and c not in outcome]
    winner = confirmed[confirmed["arm"].eq(WINNER)]
    if winner.empty:
        return None
    wanted = winner.iloc[0][settings].map(as_word)
    same = (trials[settings].map(as_word) == wanted).all(axis=1)
    arms = search.suggestions[search.suggestions["arm"].isin(trials.loc[same, "arm"])]
    complete = arms[arms["state"].eq(COMPLETE)].sort_values("best", ascending=False, kind="stable")
    return None if complete.empty else int(complete["number"].iloc[0])
