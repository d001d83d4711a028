"""The phases of a study that tunes, as its results folder holds them, and whether they belong together.

Beside the fixed-setting study, a results folder then holds tuning/ (every arm at every setting tried, with
tuning seeds, test empty), chosen.csv (what each arm chose on val) and tuned/ (each arm at its choice, with
the study's own seeds). tuning/ and tuned/ are results folders themselves. A root that was trained again with
other settings leaves the old ones behind: results that must not be set beside the new ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import columns, csv_rows, results, standing
from harness.errors import UsageError
from harness.settings import CHOSEN, TUNED, TUNING
from harness.text import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from harness.results import Results

FACTS = ["dataset", "arm", "val_accuracy", "seeds", "tried", "unfinished", "edge"]
"""What chosen.csv says of each arm beside the settings that it chose."""
SHARED = ("baseline", "axes", "steps", "tune", "datasets")
"""Tables of study.toml that are the same in every phase of a study."""


@dataclass(frozen=True)
class Phases:
    """What a results folder holds of a tuned comparison.

    Attributes:
        tuning: the folder tuning/; None where it is not there, or not of this study.
        tuned: the folder tuned/, likewise.
        chosen: chosen.csv; without rows where it is not there, or not of this study.
        doubts: in words, what of it cannot be read.
        strange: in words, why what is there is not of this study; empty where it is.
    """

    tuning: Results | None
    tuned: Results | None
    chosen: pd.DataFrame
    doubts: Sequence[str]
    strange: str


def read(root: Results) -> Phases | None:
    """Read what a results folder holds of a tuned comparison; None where the study has none."""
    found: dict[str, Results] = {}
    doubts: list[str] = []
    for name in (TUNING, TUNED):
        if (root.folder / name / "trials.csv").is_file():
            try:
                found[name] = results.read(root.folder / name)
            except UsageError:
                doubts.append(f"The folder {name}/ cannot be read, so the tuned comparison lacks it.")
    chosen = _chosen(root, doubts)
    planned = "tune" in root.study and root.study.get("study", {}).get("phase", "fixed") == "fixed"
    if not (found or doubts or planned) and chosen.empty:
        return None
    strange = _strange(root, found, chosen)
    if strange:
        return Phases(None, None, chosen.iloc[:0], doubts, strange)
    return Phases(found.get(TUNING), found.get(TUNED), chosen, doubts, "")


def _chosen(root: Results, doubts: list[str]) -> pd.DataFrame:
    """What chosen.csv holds; no rows, and a doubt, where it cannot be read."""
    path = root.folder / CHOSEN
    if path.is_file():
        try:
            standing.check(path.parent, path.name)
            chosen = columns.read(path, root.study)
            return chosen[[*FACTS, *(name for name in chosen if name not in FACTS)]]
        except (OSError, ValueError, KeyError) as error:
            doubts.append(f"{CHOSEN} cannot be read ({error}), so what the arms chose is not shown.")
    return pd.DataFrame(columns=FACTS)


def _strange(root: Results, found: Mapping[str, Results], chosen: pd.DataFrame) -> str:
    """Why what was found is not of the study in the root; empty where it is."""
    if "tune" not in root.study:
        there = [*(f"{name}/" for name in found), *([CHOSEN] if len(chosen) else [])]
        names = " and ".join(filter(None, (", ".join(there[:-1]), *there[-1:])))
        if not there:
            return ""
        are = "are" if len(there) > 1 else "is"
        return f"This study tunes nothing: {names} beside it {are} of an earlier one, and ignored."
    told = []
    for name, phase in found.items():
        differing = list(_differing(root, phase))
        if differing:
            told.append(f"{name}/ is of a study with other settings ({', '.join(differing)})")
    if not told and TUNED in found and len(chosen) and _other_choice(found[TUNED], root.folder / CHOSEN):
        told.append(f"{TUNED}/ was trained with other choices than {CHOSEN} has")
    doubt = "so there are no tuned verdicts. Run the study again"
    return f"In this folder, {' and '.join(told)}, {doubt}." if told else ""


def _differing(root: Results, phase: Results) -> Iterator[str]:
    """What of the study's tables differs between two of its phases, by name."""
    first, second = (_tables(each) for each in (root, phase))
    for table in first:
        here, there = first[table], second[table]
        if here == there:
            continue
        if isinstance(here, dict) and isinstance(there, dict):
            names = [name for name in {**here, **there} if here.get(name) != there.get(name)]
            yield f"{table}: {', '.join(names)}"
        else:
            yield table


def _tables(found: Results) -> dict[str, Any]:
    """What all phases of a study share, places of data as seen from anywhere."""
    tables = {table: found.study.get(table, {}) for table in SHARED}
    tables["datasets"] = {
        name: {**facts, "path": os.path.abspath(found.folder / str(facts.get("path", "")))}  # noqa: PTH100
        for name, facts in tables["datasets"].items()
    }
    return tables | {"seeds": found.study.get("study", {}).get("seeds")}


def _other_choice(tuned: Results, path: Path) -> bool:
    """Whether tuned/ was trained with other choices than chosen.csv has."""
    text = csv_rows.read(path)
    names = [name for name in text if name not in FACTS]
    chose = {
        row["arm"]: {name: row[name] for name in names if row[name] != ""} for row in text.to_dict("records")
    }
    trained = {
        arm: {name: as_text(value) for name, value in settings.items()}
        for arm, settings in tuned.study.get("chosen", {}).items()
    }
    return {arm: settings for arm, settings in chose.items() if settings} != trained
