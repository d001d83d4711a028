"""The two results folders of a comparison: read, checked, and reduced to the data they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness import results
from harness.comparison.matching import SIDES
from harness.errors import UsageError
from harness.results import Results, columns, documents, tables
from harness.settings.schema import METRICS, TUNED
from harness.text import listed

MOST_TWINS = 3


@dataclass(frozen=True)
class ComparedFolder:
    """A results folder, read and checked."""

    results: Results
    data: Mapping[str, str]
    """Data set -> digest of its images."""
    study: str
    """Name of the study."""

    @classmethod
    def read(cls, folder: Path) -> ComparedFolder:
        """Read a folder; raise UsageError if it is not a results folder, damaged, or of another schema."""
        if not (folder / "trials.csv").is_file():
            results.read(folder)  # which raises an error that says so
        plan = _plan(folder)
        _check_whole(folder)
        read = results.read(folder)
        _check_trials(read, plan)
        return cls(read, plan["data"], str(plan.get("study")))

    def without_twins(self) -> tuple[ComparedFolder, list[str]]:
        """Leave out repeated trials; return the folder, and a note on arms that share trials with another.

        Tuned arms that chose the same settings are the same trials under two names.
        """
        trials = self.results.trials
        twins = trials.duplicated("trial_id") & trials["trial_id"].notna()
        if not twins.any():
            return self, []
        first_arm = trials[~twins].set_index("trial_id")["arm"]
        pairs = dict.fromkeys(
            f"{arm} ({first_arm[trial_id]})"
            for trial_id, arm in zip(trials["trial_id"][twins], trials["arm"][twins], strict=True)
        )
        note = (
            f"{self.results.folder}: arms that are the same trials as another, in brackets, are compared "
            f"once: {listed(list(pairs), MOST_TWINS)}"
        )
        return self.keeping(~twins), [note]

    def keeping(self, chosen: pd.Series[bool]) -> ComparedFolder:
        """Return the folder with the chosen trials alone."""
        return replace(self, results=replace(self.results, trials=self.results.trials[chosen]))

    def notes(self) -> list[str]:
        """Say how many trials of the folder are unfinished or failed."""
        counts = results.count_statuses(self.results.trials)
        waiting, failed = counts.get("", 0), counts.get("failed", 0)
        notes = []
        if waiting:
            notes.append(
                f"{self.results.folder} is not finished: {waiting} of {len(self.results.trials)} trials are "
                "not trained yet. Run the study again to train them"
            )
        if failed:
            notes.append(f"{self.results.folder}: {failed} trials failed; its trials.csv gives the reasons")
        return notes


def _plan(folder: Path) -> dict[str, Any]:
    path = folder / "plan.json"
    if not path.is_file():
        raise UsageError(
            f"{folder} has no plan.json, which has the digests of its data: copy the whole results folder"
        )
    return documents.plan(
        folder, "Run its study again with this version, or compare with the one that wrote it."
    )


def _check_whole(folder: Path) -> None:
    """Raise UsageError if a table is missing or truncated, and there are no parts to remake it from."""
    if any((folder / "parts").glob("*.zip")):
        return  # an incomplete table is remade from them
    advice = "Copy the whole results folder again"
    for name in columns.TABLES:
        path = folder / f"{name}.csv"
        if not tables.is_there(path):
            raise UsageError(f"{path} is missing. {advice}.")
        if not path.is_file():
            continue  # packed: one that is cut cannot be unpacked
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 1))
            if file.read() != b"\n":
                raise UsageError(f"{path} is damaged: its last line is cut off. {advice}.")


def _check_trials(read: Results, plan: Mapping[str, Any]) -> None:
    path = read.folder / "trials.csv"
    try:
        columns.check_columns(read.trials.columns, METRICS)
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}. Copy the folder again.") from None
    lost = documents.lost(plan, read.trials["trial_id"])
    if lost:
        raise UsageError(
            f"{path} is damaged: {len(lost)} trials of plan.json are not in it ({', '.join(lost[:3])}). "
            "`harness run` of its study remakes it from parts/; without these, copy the folder again."
        )


def folder_notes(a: ComparedFolder, b: ComparedFolder) -> list[str]:
    """Say if the folders are the same, of different studies, or hold tuned arms that are not compared."""
    notes = []
    if same_folder(a.results.folder, b.results.folder):
        notes.append("A and B are the same folder, so every difference is 0 by construction")
    if a.study != b.study:
        notes.append(
            f"the studies differ: A is {a.study!r}, B is {b.study!r}; trials of equal settings match"
        )
    tuned = [side.results.folder / TUNED for side in (a, b)]
    there = [folder for folder in tuned if (folder / "trials.csv").is_file()]
    if there:
        where = " and ".join(map(str, there))
        notes.append(
            f"tuned arms are in {where}, which are not compared here; compare those folders by themselves"
        )
    return notes


def same_folder(a: Path, b: Path) -> bool:
    """Tell whether two paths lead to one folder."""
    return a.resolve() == b.resolve()


def same_data(a: ComparedFolder, b: ComparedFolder) -> tuple[ComparedFolder, ComparedFolder, list[str]]:
    """Leave out the data sets whose images differ; return both folders, and notes on these data sets.

    Raises:
        UsageError: no data set is left.
    """
    names = set(b.results.trials["dataset"])
    shared = [name for name in dict.fromkeys(a.results.trials["dataset"]) if name in names]
    notes, left = [], []
    for name in shared:
        digests = [side.data.get(name) for side in (a, b)]
        if None in digests:
            notes.append(f"data set {name!r} is not compared: a plan.json lacks the digest of its images")
        elif digests[0] != digests[1]:
            one, other = (str(digest)[:12] for digest in digests)
            notes.append(
                f"data set {name!r} is not compared: its images differ (digest {one} in A, {other} in B)"
            )
        else:
            left.append(name)
    if not left:
        one, other = (", ".join(dict.fromkeys(side.results.trials["dataset"].astype(str))) for side in (a, b))
        why = "; ".join(notes) or f"A has {one}, B has {other}"
        raise UsageError(f"the folders have no data set in common: {why}. Run both studies on the same data.")
    dropped = set(shared) - set(left)
    first, second = (side.keeping(~side.results.trials["dataset"].isin(dropped)) for side in (a, b))
    return first, second, notes


def provenance(a: Results, b: Results) -> pd.DataFrame:
    """Tabulate differences in commit, device, versions and engine: what, a, b."""
    origins = [_origin(folder) for folder in (a, b)]
    every = dict.fromkeys([*origins[0], *origins[1]])
    rows = [(what, *(origin.get(what, "") for origin in origins)) for what in every]
    return pd.DataFrame([row for row in rows if row[1] != row[2]], columns=["what", *SIDES])


def _origin(results: Results) -> dict[str, str]:
    """Collect the versions and machines that trained a folder, over all its runs."""
    runs = documents.trained_runs(results.provenance) or [results.provenance]
    origins: dict[str, list[str]] = {}
    for run in runs:
        versions = {str(name): value for name, value in run.get("versions", {}).items()}
        for what, value in {"commit": run.get("commit"), "device": run.get("device"), **versions}.items():
            origins.setdefault(what, []).append(str(value or "not known"))
    origins["cpu"] = [str(results.provenance.get("cpu", "not known"))]
    engines = results.trials.get("engine", pd.Series(dtype=str))
    origins["engine"] = sorted(set(engines.dropna().astype(str)))
    return {what: ", ".join(dict.fromkeys(values)) for what, values in origins.items()}
