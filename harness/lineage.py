"""Earlier runs of a results folder: whether a study goes on with their trials, or is another of that name."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from harness import documents, results
from harness.errors import UsageError, quoted
from harness.plan import Plan

DECIDING = ("axes", "steps")
"""The tables that make a study what it is: with others, none of whose trials is there, it is another one."""
MOST_TOLD = 3  # differences that an error lists


def check(folder: Path, plan: Plan, known: Mapping[str, Any]) -> None:
    """Raise UsageError where the finished trials in a folder are those of another study of the same name.

    A study that has grown, or lost some of its arms, shares trials with what it was; one whose components
    were changed, or its baseline (`--set epochs=2`), varies the same as before: these go on, with `notes`.

    Args:
        folder: the results folder.
        plan: what is to be trained into it.
        known: the plan that an earlier run left there, as `results.check_same` gives it.
    """
    there = _ids(known)
    if plan.study.about.phase != "fixed" or not there or there & {trial.trial_id for trial in plan.trials}:
        return
    finished = there & set(results.finished(folder, with_old=True))
    unlike = _differences(folder, plan) if finished else []
    if unlike:
        raise UsageError(
            f"{folder} holds {len(finished)} finished trials of another study called {plan.study.name!r}, "
            f"none of this one's: {'; '.join(unlike)}. This one's tables would take the others' place. "
            "Give this study another name, or choose another folder with --results"
        )


def notes(plan: Plan, known: Mapping[str, Any], finished: Collection[str]) -> list[str]:
    """Say how many finished trials of an earlier run the study does not have any more."""
    if plan.study.about.phase != "fixed":
        return []
    dropped = (_ids(known) & set(finished)) - {trial.trial_id for trial in plan.trials}
    told = (
        f"{len(dropped)} finished trials of an earlier run are not in this study any more: they leave its "
        "tables; their parts and weights stay, and the study as it was finds them again"
    )
    return [told] if dropped else []


def _ids(known: Mapping[str, Any]) -> set[str]:
    """The trials of an earlier plan."""
    return {trial_id for _, _, ids in results.stacks_of(known) for trial_id in ids}


def _differences(folder: Path, plan: Plan) -> list[str]:
    """Say what differs between a folder's study and this one; nothing where the same is varied."""
    there, here = documents.study(folder), tomllib.loads(tomli_w.dumps(plan.study.tables(folder)))
    if all(there.get(table) == here.get(table) for table in DECIDING):
        return []
    pairs = [("seeds", there["study"].get("seeds"), here["study"].get("seeds"))]
    for table in (*DECIDING, "baseline"):
        before, now = there.get(table, {}), here.get(table, {})
        if isinstance(before, dict) and isinstance(now, dict):
            pairs += [(f"{table}.{key}", before.get(key), now.get(key)) for key in {**before, **now}]
        else:
            pairs.append((table, before, now))
    told = [f"{name} is {_shown(a)} there, {_shown(b)} here" for name, a, b in pairs if a != b]
    return told[:MOST_TOLD] + ([f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else [])


def _shown(value: object) -> str:
    return "not given" if value is None else quoted(value, most=60)
