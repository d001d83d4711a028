"""Sides: the two results folders of a comparison, read, checked, and what they do not share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness import documents, results
from harness.comparison.matching import SIDES
from harness.errors import UsageError
from harness.results import Results
from harness.schema import METRICS, TUNED

NEEDED = ("trial_id", "arm", "dataset", "seed", "status", "reason")
"""Columns of trials.csv without which nothing can be compared."""
MOST_TWINS = 3


@dataclass(frozen=True)
class Side:
    """A results folder, read and checked."""

    found: Results
    data: Mapping[str, str]
    """Data set -> digest of what it was trained on."""
    study: str

    @classmethod
    def read(cls, folder: Path) -> Side:
        """Raises UsageError where the folder is no results folder, damaged, or of another schema."""
        if (folder / "trials.csv").is_file():
            plan = _plan(folder)
            _check_whole(folder)
            found = results.read(folder)
            _check_trials(found, plan)
        else:
            found, plan = results.read(folder), {}  # which says that it is none
        digests = plan.get("data", {})
        return cls(found, digests if isinstance(digests, dict) else {}, str(plan.get("study")))

    def once(self) -> tuple[Side, list[str]]:
        """The side with each trial once, and in words which arms are trials of another.

        Tuned arms that chose the same settings are the same trials under two names.
        """
        trials = self.found.trials
        twins = trials.duplicated("trial_id") & trials["trial_id"].notna()
        if not twins.any():
            return self, []
        of = trials[~twins].set_index("trial_id")["arm"]
        pairs = dict.fromkeys(
            f"{arm} ({of[trial_id]})"
            for trial_id, arm in zip(trials["trial_id"][twins], trials["arm"][twins], strict=True)
        )
        listed = "; ".join(list(pairs)[:MOST_TWINS])
        more = f"; and {len(pairs) - MOST_TWINS} more" if len(pairs) > MOST_TWINS else ""
        told = (
            f"{self.found.folder}: arms that are the same trials as another, in brackets, are compared once: "
            f"{listed}{more}"
        )
        return replace(self, found=replace(self.found, trials=trials[~twins])), [told]

    def notes(self) -> list[str]:
        """What of the folder is not finished, in words."""
        counts = results.count_statuses(self.found.trials)
        waiting, failed = counts.get("", 0), counts.get("failed", 0)
        told = []
        if waiting:
            told.append(
                f"{self.found.folder} is not finished: {waiting} of {len(self.found.trials)} trials are not "
                "trained yet. Its `harness run` goes on with them"
            )
        if failed:
            told.append(
                f"{self.found.folder}: {failed} trials failed, which its trials.csv gives reasons for"
            )
        return told


def _plan(folder: Path) -> dict[str, Any]:
    path = folder / "plan.json"
    if not path.is_file():
        raise UsageError(
            f"{folder} has no plan.json, which says what data its trials saw: copy the whole results folder"
        )
    plan = documents.plan(folder)
    if plan.get("schema") != results.SCHEMA:
        raise UsageError(
            f"{folder} was written with results schema {plan.get('schema')!r}; this version reads "
            f"{results.SCHEMA}. Run its study again with this version, or compare with the one that wrote it."
        )
    return plan


def _check_whole(folder: Path) -> None:
    """Raise UsageError where a table is missing or cut off, and no parts are there to remake it from."""
    if any((folder / "parts").glob("*.zip")):
        return  # from which a table that is not whole is read instead
    advice = "Copy the whole results folder again"
    for name in results.TABLES:
        path = folder / f"{name}.csv"
        if not path.is_file():
            raise UsageError(f"{path} is missing. {advice}.")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 1))
            if file.read() != b"\n":
                raise UsageError(f"{path} is damaged: its last line is cut off. {advice}.")


def _check_trials(found: Results, plan: Mapping[str, Any]) -> None:
    trials, path = found.trials, found.folder / "trials.csv"
    lacking = [name for name in (*NEEDED, *METRICS) if name not in trials]
    if lacking:
        raise UsageError(f"{path} is damaged: it has no column {', '.join(lacking)}. Copy the folder again.")
    numbers = ["seed", *METRICS]
    wrong = [name for name in numbers if not pd.api.types.is_numeric_dtype(trials[name])]
    if wrong or trials["seed"].isna().any():
        told = ", ".join(wrong or ["seed"])
        raise UsageError(f"{path} is damaged: {told} is not a number everywhere. Copy the folder again.")
    known = set(trials["trial_id"])
    lost = [name for _, _, ids in results.stacks_of(plan) for name in ids if name not in known]
    if lost:
        raise UsageError(
            f"{path} is damaged: {len(lost)} trials of plan.json are not in it ({', '.join(lost[:3])}). "
            "`harness run` of its study remakes it from parts/; without these, copy the folder again."
        )


def folder_notes(a: Side, b: Side) -> list[str]:
    """That the folders are one, or of different studies, or hold tuned arms beside, in words."""
    told = []
    if same_folder(a.found.folder, b.found.folder):
        told.append("A and B are the same folder: that every difference is 0 says nothing")
    if a.study != b.study:
        told.append(f"the studies differ: A is {a.study!r}, B is {b.study!r}; trials of equal settings match")
    tuned = [side.found.folder / TUNED for side in (a, b)]
    there = [folder for folder in tuned if (folder / "trials.csv").is_file()]
    if there:
        where = " and ".join(map(str, there))
        told.append(
            f"tuned arms are in {where}, which this does not look into; compare those folders by themselves"
        )
    return told


def same_folder(a: Path, b: Path) -> bool:
    """Whether two paths lead to one folder."""
    return a.resolve() == b.resolve()


def same_data(a: Side, b: Side) -> tuple[Side, Side, list[str]]:
    """Both sides without the data sets that are not the same in them, and what is said of these.

    Raises:
        UsageError: no data set is left.
    """
    shared = [
        name for name in dict.fromkeys(a.found.trials["dataset"]) if name in set(b.found.trials["dataset"])
    ]
    told, left = [], []
    for name in shared:
        digests = [side.data.get(name) for side in (a, b)]
        if None in digests:
            told.append(f"data set {name!r} is not compared: a plan.json does not say which images it was")
        elif digests[0] != digests[1]:
            one, other = (str(digest)[:12] for digest in digests)
            told.append(
                f"data set {name!r} is not compared: its images differ (digest {one} in A, {other} in B)"
            )
        else:
            left.append(name)
    if not left:
        one, other = (", ".join(dict.fromkeys(side.found.trials["dataset"].astype(str))) for side in (a, b))
        why = "; ".join(told) or f"A has {one}, B has {other}"
        raise UsageError(f"the folders have no data set in common: {why}. Run both studies on the same data.")
    dropped = set(shared) - set(left)
    kept = [
        replace(
            side,
            found=replace(side.found, trials=side.found.trials[~side.found.trials["dataset"].isin(dropped)]),
        )
        for side in (a, b)
    ]
    return kept[0], kept[1], told


def provenance(a: Results, b: Results) -> pd.DataFrame:
    """what, a, b: commit, device, versions and engine, where they differ."""
    origins = [_origin(found) for found in (a, b)]
    rows = [
        (what, origins[0].get(what, ""), origins[1].get(what, ""))
        for what in dict.fromkeys([*origins[0], *origins[1]])
    ]
    return pd.DataFrame([row for row in rows if row[1] != row[2]], columns=["what", *SIDES])


def _origin(found: Results) -> dict[str, str]:
    """What made a folder; several of a kind where it was trained in several sittings."""
    runs = found.provenance.get("runs") or [found.provenance]
    told: dict[str, list[str]] = {}
    for run in runs:
        versions = {str(name): value for name, value in run.get("versions", {}).items()}
        for what, value in {"commit": run.get("commit"), "device": run.get("device"), **versions}.items():
            told.setdefault(what, []).append(str(value or "not known"))
    told["cpu"] = [str(found.provenance.get("cpu", "not known"))]
    told["engine"] = (
        sorted(set(found.trials["engine"].dropna().astype(str))) if "engine" in found.trials else []
    )
    return {what: ", ".join(dict.fromkeys(values)) for what, values in told.items()}
