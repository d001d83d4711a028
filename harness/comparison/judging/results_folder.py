"""A results folder of the harness, judged by the contrasts that its study declares, as its report is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness import results, stats
from harness.comparison.judging.observations import OF_BLOCK, OF_BLOCKS, LeftOut, Observations
from harness.errors import UsageError
from harness.results import documents, families
from harness.settings.schema import CONFIRMED, TUNED
from harness.study.contrasts import Contrasts

FORM = "results folder of the harness"
SHARED = (
    "each seed has a split of its own, so seeds share val images: tests and intervals are those of Nadeau "
    "and Bengio (2003), wider than those of seeds that share none"
)


@dataclass(frozen=True)
class StudyDifferences:
    """The differences of a study's family of contrasts.

    `differences`: as from `families.differences`, its arms in words; `doubts`: contrasts that cannot be made.
    """

    family: Contrasts
    differences: pd.DataFrame
    observations: Observations
    doubts: tuple[str, ...]


def read(folder: Path) -> StudyDifferences:
    """Read a results folder as its report does.

    Raises:
        UsageError: it is not a results folder, its [contrasts] cannot be read, or it has no contrast.
    """
    trials = results.read_trials(folder)
    judged, study, notes = _of_a_search(folder)
    trials, axes = families.varied(trials if judged == folder else results.read_trials(judged), study)
    family, said = _family(judged, study, trials, axes)
    if family.looks:
        raise UsageError(
            f"{folder} is of a study that is looked at after {', '.join(map(str, family.looks))} seeds: each "
            f"look tests at a level of its own, by which `harness report {folder}` judges it"
        )
    doubts: list[str] = []
    differences = families.differences(trials, axes, family, doubts)
    if differences.empty:
        alone = "its study has one arm, or is a search without a confirmation. Name columns: --arm, --metric"
        why = " ".join(doubts) or alone
        raise UsageError(f"{folder} has no contrast to judge: {why}")
    differences = families.shared_images(differences, trials, family, study)
    if differences["overlap"].any():
        said = [*said, SHARED]
    rows = trials.rename(columns={"dataset": "block"})[["block", "arm", "seed"]]
    rows = rows.assign(
        arm=rows["arm"].astype(str), seed=rows["seed"].astype(str), value=trials[family.metric]
    )
    rows["value"] = rows["value"].where(trials["status"].eq("ok"))
    words = {"arm": _arm_words(family), "seed": "seed", "metric": family.metric, "block": "dataset"}
    said = [*said, *_absent_shards(folder)]
    blocks = stats.BLOCK in differences
    counted, unit = ([OF_BLOCKS], OF_BLOCK) if blocks else ([], "seed")
    seen = Observations(
        rows, FORM, words, unit, left_out=tuple(_unfinished(trials)), notes=(*notes, *said, *counted, *doubts)
    )
    return StudyDifferences(family, differences.assign(arm=_in_words(differences)), seen, tuple(doubts))


def _absent_shards(folder: Path) -> list[str]:
    """Say what the verdicts lack, of a folder that does not hold all shards of its study."""
    try:
        absent = documents.absent_shards(folder)
    except UsageError:  # a damaged plan.json keeps nobody from judging trials.csv
        return []
    without = "no verdict has their trials: contrasts may lack seeds, or be missing and not corrected for"
    return [f"{absent}; {without}"] if absent else []


def _of_a_search(folder: Path) -> tuple[Path, dict[str, Any], list[str]]:
    """Return the folder to judge (of a search its confirmation, with other seeds), its study, and notes."""
    confirmed, study = folder / CONFIRMED, documents.study(folder)
    if study.get("study", {}).get("design") == "search" and (confirmed / "trials.csv").is_file():
        return confirmed, documents.study(confirmed), [f"a search: judged is its confirmation, {CONFIRMED}/"]
    tuned = (folder / TUNED / "trials.csv").is_file()
    said = f"judged are the settings given; at those that each arm chose, judge {folder / TUNED}"
    return folder, study, [said] if tuned else []


def _family(
    folder: Path, study: Mapping[str, Any], trials: pd.DataFrame, axes: Sequence[str]
) -> tuple[Contrasts, list[str]]:
    family, is_named = families.read(folder, study)
    if is_named:
        return family, []
    arms = list(dict.fromkeys(trials["arm"].astype(str)))
    family = families.default(family, trials, axes, study, arms)
    return family, ["the study names no pairs or levels to contrast: these are its design's default family"]


def _arm_words(family: Contrasts) -> str:
    axes = [levels.axis for levels in family.levels]
    return ", ".join([*(["arm"] if family.pairs else []), *axes])


def _in_words(differences: pd.DataFrame) -> list[str]:
    """Name the arms: a level with its axis, and the levels that it was judged within."""
    return [
        f"{f'{axis} ' if axis else ''}{arm}{f' ({within})' if within else ''}"
        for axis, within, arm in differences[["axis", "within", "arm"]].itertuples(index=False, name=None)
    ]


def _unfinished(trials: pd.DataFrame) -> Iterator[LeftOut]:
    statuses = trials["status"].fillna("").replace("", "not trained yet")
    for status, number in statuses[statuses.ne("ok")].value_counts().items():
        yield LeftOut(int(number), f"status is {status}")
