"""suggestions.csv: a row a suggestion, whatever its outcome; written anew from the storage's trials."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from harness import notes, stats
from harness.errors import UsageError
from harness.results import columns, csv_rows, documents, tables
from harness.searching import ask_tell
from harness.searching.ask_tell import REACHED, REASON, SECONDS, arm_of
from harness.searching.pruners import BATCH
from harness.settings.schema import CONFIRMED, WINNERS
from harness.study.searches import REFUSED, SAMPLED_BY, STATES, SUGGESTIONS, Search
from harness.study.space import Space
from harness.system import files
from harness.text import as_text
from harness.training.executors import DIED

DIVERGED = "diverged"
STATE_NAMES = dict(zip((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL), STATES, strict=True))
"""The word of suggestions.csv for each of Optuna's final states."""


def table(trials: Sequence[FrozenTrial], search: Search, space: Space) -> pd.DataFrame:
    """Tabulate the suggestions as text: `Search.columns`, and the parameters, empty if not drawn."""
    names = [parameter.name for parameter in space.parameters]
    rows = [
        {
            "number": number,
            "arm": arm_of(number),
            SAMPLED_BY: trial.user_attrs[SAMPLED_BY],
            "batch": trial.user_attrs[BATCH],
            "state": STATE_NAMES[trial.state],
            "reason": trial.user_attrs.get(REASON, ""),
            "evaluations": trial.user_attrs[REACHED],
            "seconds": f"{trial.user_attrs[SECONDS]:.2f}",
            **_costs(trial, search),
            **_objectives(trial, search),
            **{name: as_text(trial.params.get(name)) for name in names},
        }
        for number, trial in enumerate(trials)
    ]
    return pd.DataFrame(rows, columns=[*search.columns, *names])


def _costs(trial: FrozenTrial, search: Search) -> dict[str, str]:
    """Return as text the costs that have a bound, and the number of points before it that broke one."""
    if not search.constraints:
        return {}
    costs = {name: f"{value:.7g}" for name, value in trial.user_attrs.get(ask_tell.COSTS, {}).items()}
    return {REFUSED: str(len(trial.user_attrs.get(ask_tell.REFUSED, []))), **costs}


def _objectives(trial: FrozenTrial, search: Search) -> dict[str, str]:
    """Return the objectives as text; the last value of a pruned suggestion; nothing of a failed one."""
    if trial.state == TrialState.COMPLETE:
        return {name: f"{value:.7g}" for name, value in zip(search.objective, trial.values, strict=True)}
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        last = max(trial.intermediate_values)
        return {search.objective[0]: f"{trial.intermediate_values[last]:.7g}"}
    return {}


def write(folder: Path, trials: Sequence[FrozenTrial], search: Search, space: Space) -> None:
    """Write suggestions.csv into a search's results folder."""
    content = csv_rows.written(table(trials, search, space))
    tables.write(folder, {SUGGESTIONS: content.encode()})


def read(folder: Path) -> pd.DataFrame:
    """Read suggestions.csv of a search's results folder; names stay text, even if they look like numbers."""
    return columns.read(folder / SUGGESTIONS, documents.study(folder))


def note_winner(folder: Path, number: int, suggestions: int, opened: Callable[[], Sequence[int]]) -> None:
    """Record in winners.csv the suggestion for which the test set is opened, and how many there are.

    Each winner is recorded once. If winners.csv cannot be read, `opened` gives those of before, trained in
    confirmed/; how many suggestions there were then is not known.
    """
    try:
        openings = winners(folder)
    except UsageError as error:
        notes.warn(f"{error}: it is written anew from {CONFIRMED}/")
        openings = pd.DataFrame({"number": list(opened())})
        openings["suggestions"] = ""
    if not len(openings) or int(openings["number"].iloc[-1]) != number:
        row = pd.DataFrame({"number": [number], "suggestions": [suggestions]})
        openings = pd.concat([openings[openings["number"].ne(number)], row])
    tables.write(folder, {WINNERS: openings.to_csv(index=False, lineterminator="\n").encode()})


def winners(folder: Path) -> pd.DataFrame:
    """Return the suggestions that test was opened for, in turn: number, and how many suggestions there were.

    Raises UsageError if winners.csv was changed since the search wrote it, MachineError if the disk fails.
    """
    path = folder / WINNERS
    if not path.is_file():
        return pd.DataFrame({"number": [], "suggestions": []}, dtype=int)
    try:
        tables.check_unchanged(folder, WINNERS)
        openings = pd.read_csv(io.BytesIO(files.content_of(path)), dtype={"number": int})
        sound = list(openings) == ["number", "suggestions"] and openings["number"].ge(0).all()
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if not sound:
        raise UsageError(f"{path} cannot be read: allowed are the columns number and suggestions, from 0 on")
    return openings


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
    """Return the number of the best complete suggestion, the first of equal ones; None without one."""
    return next(iter(ranked(trials, search)), None)


def reached(trials: Sequence[FrozenTrial], search: Search) -> int | None:
    """Return the number of the first complete suggestion that reaches the target; None without one."""
    if not search.until:
        return None
    values = ({name: _value(trial, place) for place, name in enumerate(search.objective)} for trial in trials)
    return next((number for number, one in enumerate(values) if search.is_reached(one)), None)


def counted(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """Count the suggestions by state."""
    return dict(Counter(STATE_NAMES[trial.state] for trial in trials))


def refused(trials: Sequence[FrozenTrial], folder: Path) -> int:
    """Count the points of a search that were drawn, broke a constraint, and were not trained."""
    between = sum(len(trial.user_attrs.get(ask_tell.REFUSED, [])) for trial in trials)
    return between + documents.refused_after(documents.provenance(folder))


def died(trials: Sequence[FrozenTrial]) -> tuple[list[int], list[int]]:
    """Return the numbers of suggestions whose worker died: those never repeated, and those repeated since."""
    last = {json.dumps(trial.params, sort_keys=True): number for number, trial in enumerate(trials)}
    final = set(last.values())
    numbers = [number for number, trial in enumerate(trials) if DIED in trial.user_attrs.get(REASON, "")]
    return [n for n in numbers if n in final], [n for n in numbers if n not in final]


def failures(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """Count the failed suggestions that were not repeated by reason, whatever the step or the seed."""
    repeated = set(died(trials)[1])
    failed = (t for n, t in enumerate(trials) if t.state == TrialState.FAIL and n not in repeated)
    reasons = (trial.user_attrs.get(REASON, "") for trial in failed)
    return dict(Counter(DIVERGED if " diverged: " in reason else reason for reason in reasons))
