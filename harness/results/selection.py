"""Selection of trials of a results folder: by id, by conditions, or the best by validation."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Container
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import results as results_folder
from harness.errors import UsageError, did_you_mean, quoted
from harness.results.standing import arm_names
from harness.settings.schema import BASELINE, CONFIRMED, WINNER
from harness.text import NOT_APPLICABLE, as_word

if TYPE_CHECKING:
    from harness.results import Results

COMMA = re.compile(r",(?![^\[]*\])")  # outside of lists
QUOTED = re.compile(r"""\s*("(?:\\.|[^"\\])*"|'[^']*')\s*(?:,|$)""")
MOST_LISTED = 6  # values of a column, or trials, that an error lists


def shown_arms(trials: pd.DataFrame) -> dict[str, str]:
    """Map each arm to its name on figures and tables, as `standing.arm_names`."""
    first = trials[trials["arm"].eq(BASELINE)].head(1)
    return arm_names(map(str, trials["arm"]), trials.columns, lambda axis: as_word(first[axis].iloc[0]))


def where(trials: pd.DataFrame, conditions: str) -> pd.DataFrame:
    """Select the trials that meet all conditions: "activation=relu,seed=0", 'arm="ReLU, lr 0.1"'.

    Names match as they are written, numbers in any spelling. A value with a comma needs no quotes if it is
    a name in the column.

    Raises:
        UsageError: a condition is not SETTING=VALUE, names an unknown column, or no trial is left.
    """
    if not isinstance(conditions, str):
        raise UsageError(f'where = {quoted(conditions)}: allowed: a text, such as "loss=ce,seed=0"')
    while conditions.strip(" ,"):
        conditions = conditions.lstrip(" ,")
        column, equals, text = conditions.partition("=")
        column = column.strip()
        condition = conditions.partition(",")[0]
        if not equals or "," in column:
            raise UsageError(f"where {condition!r}: allowed: SETTING=VALUE, several separated by commas")
        if column not in trials:
            raise UsageError(f"where {condition!r}: no such column; {did_you_mean(column, trials.columns)}")
        words = trials[column].map(as_word)
        value, conditions = _first_value(text, set(words))
        met = _meets(words, value, numbers=trials[column].dtype.kind in "biuf")
        if not met.any():
            condition = f"{column}={value}"
            raise UsageError(f"where {condition!r}: no trial is left; {did_you_mean(value, set(words))}")
        trials = trials[met]
    return trials


def _first_value(text: str, names: Container[str]) -> tuple[str, str]:
    """Split a text into its first value, without quotes, and the conditions behind it."""
    quoted = QUOTED.match(text)
    if quoted:
        with suppress(tomllib.TOMLDecodeError):
            return str(tomllib.loads(f"value = {quoted[1]}")["value"]), text[quoted.end() :]
    ends = [*(comma.start() for comma in COMMA.finditer(text)), len(text)]
    # A whole name, commas included, comes before the shortest value.
    end = next((end for end in reversed(ends) if text[:end].strip() in names), ends[0])
    return text[:end].strip(), text[end + 1 :]


def _meets(words: pd.Series[Any], value: str, *, numbers: bool) -> pd.Series[Any]:
    """Mark the words equal to a value: numbers in any spelling; names exactly, or else without spaces."""
    if numbers:
        return words.map(_spelling).eq(_spelling(value))
    same = words.eq(value)
    return same if same.any() else words.str.replace(" ", "").eq(value.replace(" ", ""))


def _spelling(value: str) -> str:
    """Spell a number in one way: 0.10 is 0.1; leave anything else as it is."""
    try:
        return as_word(float(value))
    except ValueError:
        return value


def choose(results: Results, trial: str | None = None, conditions: str | None = None) -> pd.Series[Any]:
    """Choose one finished trial: its row of trials.csv.

    Args:
        results: a results folder, read.
        trial: its trial_id; or "best", the best by val accuracy of those that meet the conditions.
        conditions: conditions that it meets, as in `where`.

    Raises:
        UsageError: no trial fits, several do, or the one has not finished.
    """
    if trial == "best":
        rows = best(results, conditions)
        if len(rows) > 1:
            names = " or ".join(f"dataset={name}" for name in rows["dataset"])
            raise UsageError(
                f"{results.folder}: each data set has a best trial of its own; say one with where: {names}"
            )
        return rows.iloc[0]
    trials = where(results.trials, conditions or "")
    if trial is not None:
        trials = trials[trials["trial_id"].astype(str).eq(str(trial))]
        if trials.empty:
            raise UsageError(_unknown(results, trial))
    done = trials[trials["status"].eq("ok")]
    if done.empty:
        raise UsageError(f"{results.folder}: {_unfinished(trials)}. Choose another by its id or with where.")
    if len(done) > 1:
        raise UsageError(
            f"{results.folder}: {len(done)} finished trials are meant; one is needed. {_apart(done)} "
            'Say more with where, or take the best by validation: "best".'
        )
    return done.iloc[0]


def best(results: Results, conditions: str | None = None) -> pd.DataFrame:
    """Select each data set's finished trial with the best val accuracy, among those that meet conditions.

    The only finished trial of a data set is its best; test accuracies are never used.

    Raises:
        UsageError: a condition is wrong, no trial has finished, or there are no val accuracies.
    """
    trials = where(results.trials, conditions or "")
    done = trials[trials["status"].eq("ok")]
    if done.empty:
        raise UsageError(f"{results.folder}: {_unfinished(trials)}, so there is no model to look at.")
    alone = done.groupby("dataset")["dataset"].transform("size").eq(1)
    known = done[done["val_accuracy"].notna() | alone]
    if known.empty:
        raise UsageError(
            f"{results.folder}: no trial has a val accuracy, and nothing is selected on test. {_apart(done)} "
            "Choose one by its id or with where."
        )
    # Of trials that tie, one whose weights were kept.
    kept = {path.stem for path in (results.folder / "weights").glob("*.safetensors")}
    known = known.assign(_kept=known["trial_id"].isin(kept))
    ranked = known.sort_values(["val_accuracy", "_kept"], ascending=False, kind="stable")
    return ranked.drop_duplicates("dataset").sort_index().drop(columns="_kept")


def confirmed_winner(results: Results, conditions: str | None) -> tuple[Results, str | None]:
    """Replace a search's folder by its winner's confirmed results and condition, unless there are conditions.

    Raises:
        UsageError: the winner is not confirmed yet.
    """
    if conditions or results.study["study"].get("phase") != "search":
        return results, conditions
    if not (results.folder / CONFIRMED / "trials.csv").is_file():
        raise UsageError(
            f"{results.folder}: the best of these suggestions is not confirmed yet. Run `harness search "
            f"STUDY --results {results.folder}` with the file of the study, which confirms it{_one(results)}"
        )
    confirmed = results_folder.read(results.folder / CONFIRMED)
    # If the search found nothing better than the baseline's own settings, they are the winner.
    return confirmed, f"arm={WINNER if confirmed.trials['arm'].eq(WINNER).any() else BASELINE}"


def _one(results: Results) -> str:
    """Say how a suggestion that has finished is chosen; nothing where none has."""
    finished = results.trials.loc[results.trials["status"].eq("ok"), "arm"]
    if finished.empty:
        return ""
    arm = str(finished.iloc[0])
    return (
        ". Until then none can be exported, as test is closed for them. To continue one, or to have its "
        f"network (harness.module_of), choose it: --where 'arm=\"{arm}\"', in Python where='arm=\"{arm}\"'"
    )


def _unknown(results: Results, trial: object) -> str:
    ids = [str(known) for known in results.trials["trial_id"]]
    close = difflib.get_close_matches(str(trial), ids, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return (
        f"{results.folder} has no trial {trial!r}. {hint}"
        f"Allowed are its {len(ids)} trials, in the column trial_id of {results.folder / 'trials.csv'}."
    )


def _unfinished(trials: pd.DataFrame) -> str:
    """Say why none of these trials can be used."""
    listed = [
        f"trial {row['trial_id']} {_ending(row)}" for row in trials.head(MOST_LISTED).to_dict("records")
    ]
    more = f" and {len(trials) - len(listed)} more" if len(trials) > len(listed) else ""
    return f"no finished trial is meant: {'; '.join(listed)}{more}"


def _ending(row: dict[object, object]) -> str:
    status, reason = as_word(row["status"]), as_word(row["reason"])
    if status == "diverged":
        return f"diverged ({reason}), so it predicts nothing"
    if status == NOT_APPLICABLE:
        return "is not trained yet"
    return f"was {status} ({reason})" if status == "skipped" else f"{status} ({reason})"


def _apart(trials: pd.DataFrame) -> str:
    """List the columns in which trials differ, with their values."""
    listed = []
    for column in trials.loc[:, "dataset":"seed"].columns:
        values = list(dict.fromkeys(trials[column].map(as_word)))
        if len(values) > 1:
            more = ", ..." if len(values) > MOST_LISTED else ""
            listed.append(f"{column} ({', '.join(values[:MOST_LISTED])}{more})")
    return f"They differ in: {'; '.join(listed)}."
