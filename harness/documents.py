"""What a results folder says of itself, read and checked: plan.json, study.toml, provenance.json, its tables.

One reader a file: whatever lies there, what comes back has the types that everything else counts on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pandas as pd
from pydantic import ValidationError

from harness import files, notes
from harness.about import About
from harness.csv_rows import CONFUSION
from harness.errors import UsageError
from harness.schema import EPOCHS, METRICS
from harness.stacks import Engine

NEEDED = ("trial_id", "arm", "dataset", "seed", "status", "reason")
"""Columns of trials.csv without which nothing can be said of a trial."""
STATUSES = ("ok", "diverged", "pruned", "failed", "skipped", "")
TABLES_OF_STUDY: Mapping[str, type] = {
    "study": dict, "baseline": dict, "axes": dict, "steps": list, "contrasts": dict, "tune": dict,
    "search": dict, "space": dict, "chosen": dict, "datasets": dict,
}  # fmt: skip
MOVE = "Move the folder away and run again"
AGAIN = "Copy the whole results folder again, or run its study again, which goes on in it"


# ------------------------------------------------------------------------------------------------- plan.json


def plan(folder: Path) -> dict[str, Any]:
    """plan.json: schema, study, phase, data (data set -> digest) and stacks (group, engine, trials).

    Raises:
        UsageError: it cannot be read, or is not what a run writes.
    """
    path = folder / "plan.json"
    try:
        content = files.json_table(path)
        if content.get("schema") == 1:  # another version's may look otherwise; who reads it says so
            _check_plan(content)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}. {MOVE}.") from error
    return content


def _check_plan(content: dict[str, Any]) -> None:
    """Raise ValueError where a plan holds what no run writes, such as a name that leads out of the folder."""
    data = content.setdefault("data", {})
    if not isinstance(data, dict) or not all(isinstance(digest, str) for digest in data.values()):
        raise ValueError(f"data = {_short(data)}; allowed: the digest of each data set")
    stacks = content.setdefault("stacks", [])
    if not isinstance(stacks, list) or not all(isinstance(stack, dict) for stack in stacks):
        raise ValueError(f"stacks = {_short(stacks)}; allowed: a list of objects")
    for i, stack in enumerate(stacks):
        group, engine, trials = (stack.get(key) for key in ("group", "engine", "trials"))
        if not files.is_name(group):
            raise ValueError(f"stacks[{i}].group = {_short(group)}; allowed: a name of letters and digits")
        if engine not in get_args(Engine):
            raise ValueError(f"stacks[{i}].engine = {_short(engine)}; allowed: {', '.join(get_args(Engine))}")
        if not isinstance(trials, list) or not trials or not all(map(files.is_name, trials)):
            raise ValueError(f"stacks[{i}].trials = {_short(trials)}; allowed: a list of trial_ids")
    # A search that asks for a suggestion again, whose worker died, has its stack twice, with the same trials.
    named = {(stack["group"], tuple(stack["trials"])) for stack in stacks}
    if len({group for group, _ in named}) < len(named):
        raise ValueError("two stacks have one name")


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


# ------------------------------------------------------------------------------------------------ study.toml


def study(folder: Path) -> dict[str, Any]:
    """study.toml: its tables, with every key of [study] that has a default.

    Raises:
        UsageError: it cannot be read, or is not what a run writes.
    """
    path = folder / "study.toml"
    try:
        tables = files.toml_table(path)
        _check_study(tables)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}. {AGAIN}: results folder {folder} says there what it is of"
        ) from error
    return tables


def _check_study(tables: dict[str, Any]) -> None:
    """Raise ValueError where the tables of a study are not of their types; fills in what [study] lacks."""
    for name, kind in TABLES_OF_STUDY.items():
        if name in tables:
            _check_each("", [(name, tables[name])], kind)
    for name in ("chosen", "datasets"):
        _check_each(f"{name}.", tables.get(name, {}).items(), dict)
    _check_each("axes.", tables.get("axes", {}).items(), list)
    _check_each("steps.", enumerate(tables.get("steps", [])), dict)
    about = tables.get("study", {})
    known = {key: value for key, value in about.items() if key in About.model_fields}
    try:
        full = About.model_validate(known).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["study", *map(str, first["loc"])])
        raise ValueError(f"{key}: {first['msg']}") from None
    if "seeds" not in about:
        raise ValueError("study.seeds is missing")
    tables["study"] = {**full, "metrics": full["metrics"] or [], **about}


def _check_each(name: str, entries: Any, kind: type) -> None:
    for key, value in entries:
        if not isinstance(value, kind) or (kind is list and not value):
            allowed = "a table" if kind is dict else "a list, not empty"
            raise ValueError(f"{name}{key} = {_short(value)}; allowed: {allowed}")


# ------------------------------------------------------------------------------------------- provenance.json


def provenance(folder: Path) -> dict[str, Any]:
    """provenance.json, without what is not of its type, which is said; {} where there is none."""
    path = folder / "provenance.json"
    if not path.exists():
        return {}
    try:
        content = files.json_table(path)
    except (OSError, ValueError) as error:
        notes.warn(f"{path} cannot be read ({error}): where these numbers come from is not known")
        return {}
    sound = {key: value for key, value in content.items() if _is_sound(key, value)}
    if len(sound) < len(content):
        odd = ", ".join(key for key in content if key not in sound)
        notes.warn(f"{path} is damaged: its {odd} cannot be read, and is left out")
    return sound


def _is_sound(key: str, value: object) -> bool:
    """Whether an entry of provenance.json has its type."""
    if key == "runs":
        return isinstance(value, list) and all(map(_is_run, value))
    if key == "data":
        return isinstance(value, dict) and all(map(_is_data, value.values()))
    if key == "metrics":
        return isinstance(value, dict) and all(map(_is_texts, value.values()))
    if key == "versions":
        return isinstance(value, dict) and _is_texts(list(value.values()))
    return value is None or isinstance(value, str | int | float)


def _is_run(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_sound(key, entry) for key, entry in value.items() if key not in {"runs", "data", "metrics"}
    )


def _is_data(value: object) -> bool:
    return isinstance(value, dict) and _is_texts(value.get("classes", []))


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


# ---------------------------------------------------------------------------------------------------- tables


def check_table(name: str, frame: pd.DataFrame) -> None:
    """Raise ValueError, in words, where trials, epochs or confusion is not what a run writes."""
    needed = {"trials": NEEDED, "epochs": EPOCHS, "confusion": CONFUSION}[name]
    lacking = [column for column in needed if column not in frame]
    if lacking:
        raise ValueError(f"it has no column {', '.join(lacking)}")
    numbers = {
        "trials": ["seed", *(metric for metric in METRICS if metric in frame)],
        "epochs": EPOCHS[1:3] + EPOCHS[4:],
        "confusion": CONFUSION[2:],
    }[name]
    wrong = [c for c in numbers if len(frame) and not pd.api.types.is_numeric_dtype(frame[c])]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} is not a number everywhere")
    odd = [value for value in frame["trial_id"].unique() if not files.is_name(value)]
    if odd:
        raise ValueError(f"a trial_id is {_short(odd[0])}")
    if name == "trials":
        _check_trials(frame)
    elif name == "confusion":
        _check_counts(frame[CONFUSION[2:]])


def _check_trials(frame: pd.DataFrame) -> None:
    if frame["seed"].isna().any():
        raise ValueError("seed is not a number everywhere")
    if not frame["status"].fillna("").isin(STATUSES).all():
        odd = frame["status"][~frame["status"].fillna("").isin(STATUSES)].iloc[0]
        raise ValueError(f"a status is {_short(odd)}; allowed: {', '.join(filter(None, STATUSES))}")
    groups = list(frame["group"].dropna().unique()) if "group" in frame else []
    odd = [group for group in groups if group != "" and not files.is_name(group)]  # empty: not trained yet
    if odd:
        raise ValueError(f"a group is {_short(odd[0])}")
    twice = frame[frame.duplicated(["trial_id", "arm"])]
    if len(twice):
        raise ValueError(f"the row of trial {twice['trial_id'].iloc[0]} is there twice")


def _check_counts(counts: pd.DataFrame) -> None:
    """Raise ValueError where labels, predictions or counts are no whole numbers from 0 on."""
    if len(counts) and not (all(kind.kind in "iu" for kind in counts.dtypes) and (counts >= 0).all().all()):
        raise ValueError("label, prediction or count is no whole number everywhere")
    if len(counts) and counts[["label", "prediction"]].to_numpy().max() >= MOST_CLASSES:
        raise ValueError(f"a label or prediction is {MOST_CLASSES} or more")


MOST_CLASSES = 2**16
"""Classes of a data set, as predictions can count them."""


def lost(plan: Mapping[str, Any], trials: Sequence[str]) -> list[str]:
    """The trial_ids of a plan's stacks that are not among these."""
    there = set(trials)
    return [name for stack in plan.get("stacks", []) for name in stack["trials"] if name not in there]
