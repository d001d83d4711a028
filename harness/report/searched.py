"""A search's results folder made ready to be reported on: its suggestions, its space, its confirmation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness import results
from harness.errors import UsageError
from harness.plots import Dimension
from harness.report.reading import Reading, prepare
from harness.selection import as_word
from harness.settings import outcome_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SUGGESTIONS, CONFIRMED = "suggestions.csv", "confirmed"
FACTS = ("number", "arm", "batch", "state", "reason", "evaluations", "seconds")
"""What suggestions.csv says of a suggestion before its objectives and parameters."""
STATES = ("complete", "pruned", "failed")
EDGE = 0.025
"""Of a parameter's range, at each end: what counts as its edge. One value in twenty lies there by chance."""
SMALLER_IS_BETTER = ("val_loss", "parameters", "training_flops")
UNTOLD = {"trial_id", "arm", "seed", "label", "objective", "eval_every"}
"""Columns before the outcome that may differ between a suggestion and its confirmation."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of the space.

    Attributes:
        name: its column in suggestions.csv.
        low: the least value; NaN where it takes names.
        high: the greatest value, likewise.
        step: between values; NaN where any value between may be suggested.
        log: whether it was drawn evenly in its logarithm.
        whole: whether it takes whole numbers only.
        names: the values of a categorical, as text; empty where it takes numbers.
        when: in words, the condition that the space declares; empty where it declares none.
    """

    name: str
    low: float = math.nan
    high: float = math.nan
    step: float = math.nan
    log: bool = False
    whole: bool = False
    names: tuple[str, ...] = ()
    when: str = ""

    @property
    def dimension(self) -> Dimension:
        """As figures lay it out."""
        kind = "category" if self.names else "log" if self.log else "linear"
        return Dimension(self.name, kind, self.low, self.high, self.names, self.whole)

    def edge(self, value: object) -> str:
        """At which end of its range a value lies, "low" or "high"; empty for one inside, and for names."""
        if self.names or pd.isna(value) or not self.low < self.high:  # type: ignore[call-overload]
            return ""
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, float(value)))  # type: ignore[arg-type]
        share = (at - low) / (high - low)
        return "low" if share <= EDGE else "high" if share >= 1 - EDGE else ""


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
        suggestions: suggestions.csv, `value` (the first objective) and `best` (boolean) added, in the order
            of their numbers.
        objectives: one, or two.
        parameters: in the space's order.
        confirmed: the folder confirmed/; None where it is not there yet or cannot be read.
        doubts: in words, what cannot be read.
    """

    reading: Reading
    told: Mapping[str, Any]
    suggestions: pd.DataFrame
    objectives: tuple[Objective, ...]
    parameters: tuple[Parameter, ...]
    confirmed: Reading | None
    doubts: Sequence[str]

    @property
    def objective(self) -> Objective:
        """The first objective: what the best is best by."""
        return self.objectives[0]

    @property
    def complete(self) -> pd.DataFrame:
        """The suggestions that were trained to their end and have every objective."""
        names = [objective.name for objective in self.objectives]
        return self.suggestions[self.suggestions["state"].eq("complete")].dropna(subset=names)

    @property
    def best(self) -> pd.Series[Any] | None:
        """The best complete suggestion by the first objective, the earliest of those that tie."""
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


def searches(reading: Reading) -> bool:
    """Whether a results folder is that of a search, not of its confirmation."""
    return reading.results.study.get("study", {}).get("phase") == "search"


def read(reading: Reading) -> Searched:
    """Read what a search left beside its trials.

    Raises:
        UsageError: suggestions.csv is not there, cannot be read, or lacks columns.
    """
    path = reading.results.folder / SUGGESTIONS
    told = reading.results.study.get("search", {})
    objectives = tuple(_objectives(told))
    needed = [*FACTS, *(objective.name for objective in objectives)]
    try:
        found = pd.read_csv(path, dtype={"arm": str, "state": str, "reason": str})
        found[needed]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}. Run the search again: it goes on from its storage and writes it"
        ) from error
    found = found.assign(reason=found["reason"].fillna("")).sort_values("number", ignore_index=True)
    parameters = tuple(_parameters(reading.results.study.get("space", {}), found, needed))
    words = {each.name: found[each.name].map(_word) for each in parameters if each.names}
    found = found.assign(**words, value=found[objectives[0].name].astype(float))
    doubts: list[str] = []
    confirmed = _confirmed(reading, doubts)
    marked = found.assign(best=_best(found, objectives))
    return Searched(reading, told, marked, objectives, parameters, confirmed, doubts)


def _objectives(told: Mapping[str, Any]) -> Iterator[Objective]:
    names, ways = (told.get(key) for key in ("objective", "direction"))
    names = [names or "val_accuracy"] if not isinstance(names, list) else names
    ways = [ways] * len(names) if not isinstance(ways, list) else ways
    for name, way in zip(names, ways, strict=False):
        usual = "minimize" if name in SMALLER_IS_BETTER else "maximize"
        yield Objective(str(name), (way or usual) == "maximize")


def _best(found: pd.DataFrame, objectives: Sequence[Objective]) -> pd.Series[bool]:
    whole = found["state"].eq("complete") & found[[each.name for each in objectives]].notna().all(axis=1)
    values = found["value"].where(whole)
    if not whole.any():
        return whole
    return pd.Series(found.index == (values.idxmax() if objectives[0].maximize else values.idxmin()))


def _confirmed(reading: Reading, doubts: list[str]) -> Reading | None:
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
    columns = [c for c in root if c in again and c not in UNTOLD and c not in outcome]
    winner = again[again["arm"].eq("winner")]
    if winner.empty:
        return None
    wanted = winner.iloc[0][columns].map(as_word)
    same = (root[columns].map(as_word) == wanted).all(axis=1)
    arms = searched.suggestions[searched.suggestions["arm"].isin(root.loc[same, "arm"])]
    complete = arms[arms["state"].eq("complete")].sort_values("best", ascending=False, kind="stable")
    return None if complete.empty else int(complete["number"].iloc[0])


# ------------------------------------------------------------------------------------------------ the space


def _parameters(
    space: Mapping[str, Any], suggestions: pd.DataFrame, known: Sequence[str]
) -> Iterator[Parameter]:
    """The columns of suggestions.csv that are parameters, each with its place in the [space] table."""
    for name in suggestions.columns:
        if name not in known:
            yield _parameter(name, _values(space, name), suggestions[name])


def _values(space: Mapping[str, Any], name: str) -> Any:
    """What the space says of a parameter: hidden.width.2 is drawn from space.hidden.width."""
    if name in space:
        return space[name]
    found: Any = space
    for part in name.split("."):
        if not isinstance(found, dict) or (part.isdigit() and part not in found):
            break
        found = found.get(part)
    return found


def _parameter(name: str, values: Any, column: pd.Series[Any]) -> Parameter:
    if isinstance(values, dict) and "values" in values:
        listed, when = values["values"], _when(values)
    else:
        listed, when = values, _when(values) if isinstance(values, dict) else ""
    if isinstance(listed, list):
        names = [str(each["name"]) if isinstance(each, dict) else as_word(each) for each in listed]
        return Parameter(name, names=tuple(dict.fromkeys(names)), when=when)
    if isinstance(values, dict) and {"low", "high"} <= set(values):
        low, high, step = (float(values.get(key, math.nan)) for key in ("low", "high", "step"))
        whole = all(isinstance(values[key], int) for key in ("low", "high")) and _whole(column)
        return Parameter(name, low, high, step, bool(values.get("log", False)), whole, when=when)
    if pd.api.types.is_numeric_dtype(column):  # not in the space: what was suggested says what can be known
        return Parameter(name, float(column.min()), float(column.max()), whole=_whole(column))
    return Parameter(name, names=tuple(dict.fromkeys(column.dropna().map(as_word))))


def _when(values: Mapping[str, Any]) -> str:
    conditions = values.get("when", {})
    return " and ".join(
        f"{name} is {' or '.join(map(as_word, allowed if isinstance(allowed, list) else [allowed]))}"
        for name, allowed in conditions.items()
    )


def _whole(column: pd.Series[Any]) -> bool:
    known = pd.to_numeric(column, errors="coerce").dropna()
    return bool(np.equal(np.mod(known, 1), 0).all())


def _word(value: object) -> Any:
    return np.nan if pd.isna(value) else as_word(value)  # type: ignore[call-overload]
