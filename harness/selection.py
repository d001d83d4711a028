"""Selection: which trials of a results folder are meant, by id, by conditions, or the best by validation."""

from __future__ import annotations

import difflib
import re
import tomllib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError, did_you_mean
from harness.settings import BASELINE
from harness.text import NOT_APPLICABLE, as_word

if TYPE_CHECKING:
    from collections.abc import Container

    import pandas as pd

    from harness.results import Results

COMMA = re.compile(r",(?![^\[]*\])")  # one in a list ends no value
QUOTED = re.compile(r"""\s*("(?:\\.|[^"\\])*"|'[^']*')\s*(?:,|$)""")
MOST_VALUES = 3  # by which the baseline is named: of more axes the name would be a paragraph
MOST_TOLD = 6  # values of a column, or trials, that an error lists


def shown_arms(trials: pd.DataFrame) -> dict[str, str]:
    """Arm -> its name where arms are shown side by side: the baseline by its values on the axes varied.

    Between lr=0.03 and lr=0.3 it is "lr=0.1 (baseline)". Its name in trials.csv stays "baseline".

    Args:
        trials: arm, and the columns of settings.
    """
    arms = {str(arm): str(arm) for arm in trials["arm"].drop_duplicates()}
    varied = dict.fromkeys(arm.partition("=")[0] for arm in arms if "=" in arm)
    axes = [axis for axis in varied if axis in trials and axis != "dataset"]
    if BASELINE in arms and 0 < len(axes) <= MOST_VALUES:
        first = trials[trials["arm"].eq(BASELINE)].iloc[0]
        values = ", ".join(f"{axis}={as_word(first[axis])}" for axis in axes)
        arms[BASELINE] = f"{values} ({BASELINE})"
    return arms


def where(trials: pd.DataFrame, conditions: str) -> pd.DataFrame:
    """The trials that meet all conditions: "activation=relu,seed=0", "hidden=[32, 32]", 'arm="ReLU, lr 0.1"'.

    Names are met as they are written, numbers in any spelling. A value with a comma needs no quotes where a
    name in the column is just that.

    Raises:
        UsageError: a condition is no SETTING=VALUE, names no column, or no trial is left.
    """
    while conditions.strip(" ,"):
        conditions = conditions.lstrip(" ,")
        column, equals, text = conditions.partition("=")
        column = column.strip()
        told = conditions.partition(",")[0]
        if not equals or "," in column:
            raise UsageError(f"--where {told!r}: allowed: SETTING=VALUE, several separated by commas")
        if column not in trials:
            raise UsageError(f"--where {told!r}: no such column; {did_you_mean(column, trials.columns)}")
        words = trials[column].map(as_word)
        value, conditions = _first_value(text, set(words))
        met = _meets(words, value, numbers=_holds_numbers(trials[column]))
        if not met.any():
            told = f"{column}={value}"
            raise UsageError(f"--where {told!r}: no trial is left; {did_you_mean(value, set(words))}")
        trials = trials[met]
    return trials


def _first_value(text: str, names: Container[str]) -> tuple[str, str]:
    """The value that a text begins with, out of its quotes, and the conditions behind it."""
    quoted = QUOTED.match(text)
    if quoted:
        with suppress(tomllib.TOMLDecodeError):
            return str(tomllib.loads(f"value = {quoted[1]}")["value"]), text[quoted.end() :]
    ends = [*(comma.start() for comma in COMMA.finditer(text)), len(text)]
    # A name as a whole, commas included, comes before the shortest value.
    end = next((end for end in reversed(ends) if text[:end].strip() in names), ends[0])
    return text[:end].strip(), text[end + 1 :]


def _holds_numbers(column: pd.Series[Any]) -> bool:
    return column.dtype.kind in "biuf"


def _meets(words: pd.Series[Any], value: str, *, numbers: bool) -> pd.Series[Any]:
    """Which words are a value: a number in any spelling; a name as it is, or else but for its spaces."""
    if numbers:
        return words.map(_spelling).eq(_spelling(value))
    same = words.eq(value)
    return same if same.any() else words.str.replace(" ", "").eq(value.replace(" ", ""))


def _spelling(value: str) -> str:
    """One spelling of a number: 0.10 is 0.1; anything else as it is."""
    try:
        return as_word(float(value))
    except ValueError:
        return value


def choose(found: Results, trial: str | None = None, conditions: str | None = None) -> pd.Series[Any]:
    """The one finished trial that is meant: its row of trials.csv.

    Args:
        found: a results folder, read.
        trial: its trial_id.
        conditions: what it meets, as in `where`.

    Raises:
        UsageError: no trial is meant, several are, or the one has not finished.
    """
    trials = where(found.trials, conditions or "")
    if trial is not None:
        trials = trials[trials["trial_id"].eq(trial)]
        if trials.empty:
            raise UsageError(_unknown(found, trial))
    done = trials[trials["status"].eq("ok")]
    if done.empty:
        raise UsageError(f"{found.folder}: {_unfinished(trials)}. Choose another by its id or with --where.")
    if len(done) > 1:
        raise UsageError(
            f"{found.folder}: {len(done)} finished trials are meant; one is needed. {_apart(done)} "
            'Say more with --where, or take the best by validation: "best" (show: --trial best).'
        )
    return done.iloc[0]


def best(found: Results, conditions: str | None = None) -> pd.DataFrame:
    """Of each data set the finished trial with the best val accuracy, among those that meet the conditions.

    Where a data set has one finished trial, it is that one; test is never looked at.

    Raises:
        UsageError: a condition is wrong, nothing has finished, or nothing says which is best.
    """
    trials = where(found.trials, conditions or "")
    done = trials[trials["status"].eq("ok")]
    if done.empty:
        raise UsageError(f"{found.folder}: {_unfinished(trials)}, so there is no model to look at.")
    alone = done.groupby("dataset")["dataset"].transform("size").eq(1)
    known = done[done["val_accuracy"].notna() | alone]
    if known.empty:
        raise UsageError(
            f"{found.folder}: no trial has a val accuracy, and nothing is selected on test. {_apart(done)} "
            "Choose one by its id or with --where."
        )
    # Of trials that tie, one whose weights were kept.
    kept = {path.stem for path in (found.folder / "weights").glob("*.safetensors")}
    known = known.assign(_kept=known["trial_id"].isin(kept))
    ranked = known.sort_values(["val_accuracy", "_kept"], ascending=False, kind="stable")
    return ranked.drop_duplicates("dataset").sort_index().drop(columns="_kept")


def _unknown(found: Results, trial: str) -> str:
    ids = [str(known) for known in found.trials["trial_id"]]
    close = difflib.get_close_matches(trial, ids, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return (
        f"{found.folder} has no trial {trial!r}. {hint}"
        f"Allowed are its {len(ids)} trials, in the column trial_id of {found.folder / 'trials.csv'}."
    )


def _unfinished(trials: pd.DataFrame) -> str:
    """In words, why none of these trials can be looked at."""
    told = [
        f"trial {row['trial_id']} {_ending(row)}" for row in trials.head(MOST_TOLD).to_dict("records")
    ]  # fmt: skip
    more = f" and {len(trials) - len(told)} more" if len(trials) > len(told) else ""
    return f"no finished trial is meant: {'; '.join(told)}{more}"


def _ending(row: dict[object, object]) -> str:
    status, reason = as_word(row["status"]), as_word(row["reason"])
    if status == "diverged":
        return f"diverged ({reason}), so it predicts nothing"
    if status == NOT_APPLICABLE:
        return "is not trained yet"
    return f"was {status} ({reason})" if status == "skipped" else f"{status} ({reason})"


def _apart(trials: pd.DataFrame) -> str:
    """In words, the columns that tell trials apart, with their values."""
    told = []
    for column in [*trials.loc[:, "dataset":"seed"].columns]:
        values = list(dict.fromkeys(trials[column].map(as_word)))
        if len(values) > 1:
            more = ", ..." if len(values) > MOST_TOLD else ""
            told.append(f"{column} ({', '.join(values[:MOST_TOLD])}{more})")
    return f"What tells them apart: {'; '.join(told)}."
