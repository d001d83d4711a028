"""suggestions.csv: a row a suggestion, whatever became of it; made anew from the storage's trials."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from harness import columns, csv_rows, documents, files, results, standing, stats
from harness.documents import say
from harness.errors import UsageError
from harness.parameters import Space
from harness.searches import COLUMNS, STATES, SUGGESTIONS, Search
from harness.searching.asking import REACHED, REASON, SECONDS, arm_of
from harness.searching.pruners import BATCH
from harness.searching.stages import DIED
from harness.settings import CONFIRMED, WINNERS
from harness.text import as_text

DIVERGED = "diverged"
STATE_NAMES = dict(zip((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL), STATES, strict=True))
"""The word of suggestions.csv for each of Optuna's final states."""


def table(trials: Sequence[FrozenTrial], search: Search, space: Space) -> pd.DataFrame:
    """The suggestions as text: COLUMNS, the objectives, and the parameters, empty if not drawn."""
    names = [parameter.name for parameter in space.parameters]
    rows = [
        {
            "number": number,
            "arm": arm_of(number),
            "batch": trial.user_attrs[BATCH],
            "state": STATE_NAMES[trial.state],
            "reason": trial.user_attrs.get(REASON, ""),
            "evaluations": trial.user_attrs[REACHED],
            "seconds": f"{trial.user_attrs[SECONDS]:.2f}",
            **_values(trial, search),
            **{name: as_text(trial.params.get(name)) for name in names},
        }
        for number, trial in enumerate(trials)
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, *search.objective, *names])


def _values(trial: FrozenTrial, search: Search) -> dict[str, Any]:
    """The objectives; of a pruned one what it reached; nothing where it failed."""
    if trial.state == TrialState.COMPLETE:
        return {name: f"{v:.7g}" for name, v in zip(search.objective, trial.values, strict=True)}
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        last = max(trial.intermediate_values)
        return {search.objective[0]: f"{trial.intermediate_values[last]:.7g}"}
    return {}


def write(folder: Path, trials: Sequence[FrozenTrial], search: Search, space: Space) -> None:
    """Write suggestions.csv into a search's results folder."""
    content = csv_rows.written(table(trials, search, space))
    results.write_tables(folder, {SUGGESTIONS: content.encode()})


def read(folder: Path) -> pd.DataFrame:
    """suggestions.csv of a search's results folder; names are text, whatever they look like."""
    return columns.read(folder / SUGGESTIONS, documents.study(folder))


def note_winner(folder: Path, number: int, suggestions: int, opened: Callable[[], Sequence[int]]) -> None:
    """Write down for which suggestion the test set is opened, after how many; once for each winner.

    Args:
        folder: the search's results folder.
        number: the winner's.
        suggestions: how many there are.
        opened: tells for which suggestions test was opened before, where winners.csv does not: what has been
            trained in confirmed/. After how many suggestions that was is not known then.
    """
    try:
        before = winners(folder)
    except UsageError as error:
        say(f"{error}: it is made anew from what is in {CONFIRMED}/")
        before = pd.DataFrame({"number": list(opened())})
        before["suggestions"] = ""
    if not len(before) or int(before["number"].iloc[-1]) != number:
        row = pd.DataFrame({"number": [number], "suggestions": [suggestions]})
        before = pd.concat([before[before["number"].ne(number)], row])
    results.write_tables(folder, {WINNERS: before.to_csv(index=False, lineterminator="\n").encode()})


def winners(folder: Path) -> pd.DataFrame:
    """The suggestions that test was opened for, in turn: number, and how many suggestions there were then.

    Raises:
        UsageError: winners.csv is not what the search wrote.
        MachineError: it cannot be read now.
    """
    path = folder / WINNERS
    if not path.is_file():
        return pd.DataFrame({"number": [], "suggestions": []}, dtype=int)
    try:
        standing.check(folder, WINNERS)
        table = pd.read_csv(io.BytesIO(files.content_of(path)), dtype={"number": int})
        sound = list(table) == ["number", "suggestions"] and table["number"].ge(0).all()
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if not sound:
        raise UsageError(f"{path} cannot be read: allowed are the columns number and suggestions, from 0 on")
    return table


def ranked(trials: Sequence[FrozenTrial], search: Search) -> list[int]:
    """Return the numbers of the complete suggestions, best first by the first objective on val.

    With two objectives that on validation comes first; the other decides between equal ones. A suggestion
    that diverged and counts as the declared worst value is not ranked.
    """
    objectives = [search.objectives.index(objective) for objective in search.ranking]
    values = [[_value(trial, i) for i in objectives] for trial in trials]
    return list(map(int, stats.ranked(values, [objective.maximize for objective in search.ranking])))


def _value(trial: FrozenTrial, objective: int) -> float:
    """Return the value of an objective; NaN of a trial that is not complete or diverged."""
    complete = trial.state == TrialState.COMPLETE and REASON not in trial.user_attrs
    return float(trial.values[objective]) if complete else math.nan  # noqa: PD011 (Optuna's, no frame's)


def best(trials: Sequence[FrozenTrial], search: Search) -> int | None:
    """The number of the best complete suggestion; the first of equal ones; None if there is none."""
    return next(iter(ranked(trials, search)), None)


def counted(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """State -> how many suggestions ended so."""
    return dict(Counter(STATE_NAMES[trial.state] for trial in trials))


def died(trials: Sequence[FrozenTrial]) -> tuple[list[int], list[int]]:
    """The numbers of suggestions whose worker died: not asked for since, and asked for again since."""
    last = {json.dumps(trial.params, sort_keys=True): number for number, trial in enumerate(trials)}
    left = set(last.values())
    numbers = [number for number, trial in enumerate(trials) if DIED in trial.user_attrs.get(REASON, "")]
    return [n for n in numbers if n in left], [n for n in numbers if n not in left]


def failures(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """Reason -> how many suggestions failed for it, and were not asked for since; steps and seeds aside."""
    since = set(died(trials)[1])
    failed = (trial for n, trial in enumerate(trials) if trial.state == TrialState.FAIL and n not in since)
    told = (trial.user_attrs.get(REASON, "") for trial in failed)
    return dict(Counter(DIVERGED if " diverged: " in reason else reason for reason in told))
