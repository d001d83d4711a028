"""A pilot of a study: how much the differences of its contrasts vary over seeds, as far as that is known.

It is a results folder of the study, whose contrasts are looked up one by one, or the folder of `harness
noise`, which knows the baseline alone: two arms whose noise is unrelated differ by sqrt(2) times its standard
deviation, which is the worst case.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import tomli_w

from harness import results, stats
from harness.errors import UsageError, quoted
from harness.results import documents, families
from harness.results.families import KEY
from harness.settings.schema import BASELINE, TRIES, TUNED
from harness.study.contrasts import Contrasts
from harness.study.study import Study
from harness.text import count, spaced

PilotKind = Literal["study", "noise"]
OF_NOISE = "val_accuracy"
"""The metric of a noise floor: test stays closed there."""
PHASES = ("fixed", "tuned", "tries")
"""Phases of a study whose trials say how much its arms vary over seeds."""
KNOWN_WELL = 10
"""Seeds from which on a standard deviation is known to about a quarter."""
PILOT_BLOCKS = KNOWN_WELL
"""Blocks that a pilot of a study of blocks is told to have."""
MOST_LISTED = 3  # settings in which a pilot differs


@dataclass(frozen=True)
class Pilot:
    """A pilot's folder, its kind, the tables of its study.toml, and its trials."""

    folder: Path
    kind: PilotKind
    study: Mapping[str, Any] = field(repr=False)
    trials: pd.DataFrame = field(repr=False)


def find(study: Study, folder: Path, given: Path | str | None = None) -> Pilot:
    """Find the pilot of a study: the one that is named, else what is finished in its results folder.

    Raises:
        UsageError: there is none, or what is named cannot be one; says how to have one.
    """
    if given is not None:
        return read(Path(given))
    tuned = [folder / TUNED] if study.tune is not None else []
    for place in tuned if block_of(study) else (*tuned, folder, folder / TRIES):
        if (place / "trials.csv").is_file() and results.read_trials(place)["status"].eq("ok").any():
            return read(place)
    if block_of(study):
        raise UsageError(
            f"there is no pilot to say how much blocks of seeds differ: {folder / TUNED} has no finished "
            f"trial. {_fewer_blocks(study)}"
        )
    looks = " --set contrasts.looks=[]" if study.contrasts.looks else ""
    seeds = f"harness run {_typed(study)} --set seeds=10{looks}"
    raise UsageError(
        f"there is no pilot to say how much seeds differ: {folder} has no finished trial. Train some seeds "
        f"of the study, which are not lost ({seeds}), or its baseline alone (harness noise "
        f"{_typed(study)}), or name a results folder: --pilot FOLDER"
    )


def _typed(study: Study) -> str:
    """Name a study as a command takes it: by its file where it has one."""
    if study.path is None:
        return study.name
    path = study.path.resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def block_of(study: Study) -> int:
    """Return how many seeds a block of a study has that chooses by itself; 0 where seeds are counted."""
    blocks = study.tune.blocks if study.tune is not None else None
    return len(study.about.seeds) // blocks if blocks else 0


def check_units(pilot: Pilot, study: Study) -> None:
    """Raise UsageError where a pilot does not count what the study counts: seeds, or blocks of as many seeds.

    A block's mean has the choice in it, so the spread of single seeds does not say how much blocks differ.
    """
    seeds = pilot.trials.drop_duplicates("seed")
    there = int(seeds[stats.BLOCK].value_counts().max()) if stats.BLOCK in seeds else 0
    here = block_of(study)
    if there != here:
        has, counts = (
            f"blocks of {count(size, 'seed')} that choose by themselves" if size else "seeds"
            for size in (there, here)
        )
        more = f" {_fewer_blocks(study)}" if here else " Name another one: --pilot FOLDER"
        raise UsageError(
            f"the pilot {pilot.folder} counts {has}, and {study.name} counts {counts}, whose spread is "
            f"another.{more}"
        )


def _fewer_blocks(study: Study) -> str:
    """Say how a study of blocks gets a pilot: its first blocks, which are not lost."""
    size, tuning = block_of(study), len(study.tune.seeds) if study.tune else 0
    blocks = min(PILOT_BLOCKS, len(study.blocks))
    sets = f"study.seeds={blocks * size} --set tune.blocks={blocks}"
    return (
        f"Allowed: the folder tuned/ of a study with [tune] blocks of {count(size, 'seed')} (--pilot "
        f"FOLDER). The first blocks of this one are not lost: harness run {_typed(study)} --set {sets} --set "
        f"tune.seeds={blocks * (tuning // len(study.blocks))}"
    )


def read(folder: Path) -> Pilot:
    """Read a results folder as a pilot.

    Raises:
        UsageError: it is no results folder, or its trials are those of a choice.
    """
    if not (folder / "trials.csv").is_file():
        raise UsageError(
            f"--pilot {folder} is not a results folder: it has no trials.csv. Allowed: a results folder of "
            "the study, or the folder of `harness noise`, results/<study>/tries"
        )
    study = documents.study(folder)
    phase = _phase(study)
    if phase not in PHASES:
        raise UsageError(
            f"--pilot {folder} holds the {phase} trials of a study. Allowed: trials of its arms with several "
            "seeds, or of `harness noise`"
        )
    return Pilot(folder, "noise" if phase == "tries" else "study", study, results.read_trials(folder))


def _phase(study: Mapping[str, Any]) -> str:
    return str(study.get("study", {}).get("phase", "fixed"))


def spread(pilot: Pilot, family: Contrasts, contrasts: pd.DataFrame) -> pd.DataFrame:
    """Add n and sd, of a pilot's differences over seeds, to contrasts (KEY); NaN of those that it lacks.

    Raises:
        UsageError: it has no contrast of the study with two seeds.
    """
    of_pilot = _of_noise(pilot, contrasts) if pilot.kind == "noise" else _of_study(pilot, family)
    found = contrasts.merge(of_pilot, on=KEY, how="left")
    found[["n", "sd"]] = found[["n", "sd"]].astype(float)
    if not found["n"].gt(1).any():
        unit = "blocks of seeds" if pilot.study.get("tune", {}).get("blocks") else "seeds"
        raise UsageError(
            f"the pilot {pilot.folder} has no contrast of this study with two finished {unit}, so no spread "
            "of one. Train more seeds there, or name another: --pilot FOLDER"
        )
    return found


def _of_study(pilot: Pilot, family: Contrasts) -> pd.DataFrame:
    if family.metric not in pilot.trials:
        raise UsageError(f"the pilot {pilot.folder} has no column {family.metric} in its trials.csv")
    trials, axes = families.varied(pilot.trials, pilot.study)
    differences = families.differences(trials, axes, family, [])
    if differences.empty:
        return pd.DataFrame(columns=[*KEY, "n", "sd"])
    differences = differences.assign(difference=differences["difference"].astype(float))
    return stats.summarise(differences, KEY, "difference", within=(-math.inf, math.inf))[[*KEY, "n", "sd"]]


def _of_noise(pilot: Pilot, contrasts: pd.DataFrame) -> pd.DataFrame:
    """Take every contrast's SD for sqrt(2) times the baseline's, on its data set."""
    names = pilot.trials["arm"].astype(str)
    own = pilot.trials[names.eq(BASELINE) | names.str.startswith(f"{BASELINE}, dataset=")]
    done = stats.finished(own, OF_NOISE)
    done = done.assign(**{OF_NOISE: done[OF_NOISE].astype(float)})
    table = stats.summarise(done, ["dataset"], OF_NOISE)[["dataset", "n", "sd"]]
    return contrasts[KEY].merge(table.assign(sd=math.sqrt(2) * table["sd"]), on="dataset")


def doubts(pilot: Pilot, study: Study, found: pd.DataFrame) -> Iterator[str]:
    """Yield what weakens a pilot, in words; `found`: as from `spread`."""
    if pilot.kind == "noise":
        yield (
            f"at worst: the spread is sqrt(2) times that of the baseline's {spaced(OF_NOISE)}, as of arms "
            "whose noise is unrelated; arms share a seed's start and batches, which mostly makes it less"
        )
    if study.tune is not None and pilot.kind == "study" and _phase(pilot.study) != "tuned":
        yield (
            "the pilot's arms are as they stand, and the study tunes them: at other settings their spread is "
            f"another. Once it is run, {TUNED}/ in its folder is the better pilot"
        )
    yield from _differing(pilot, study)
    lacking = int((~found["n"].gt(1)).sum())
    if lacking:
        unit = "blocks" if block_of(study) else "seeds"
        yield f"the pilot has fewer than two {unit} of {count(lacking, 'contrast')}: nothing is said of these"
    fewest = int(found.loc[found["n"].gt(1), "n"].min())
    if block := block_of(study):
        yield (
            f"blocks of {count(block, 'seed')} choose by themselves, so blocks are what is counted: the "
            "spread is that of their means, and the seeds needed are those of whole blocks, each of which "
            "tunes, too"
        )
    if fewest < KNOWN_WELL:
        yield (
            f"a spread over {fewest} {'blocks' if block else 'seeds'} is known roughly, and the seeds needed "
            "go with its square: plan for more than the middle, or take a larger pilot"
        )
        yield from _gone_on_from(pilot, study)


def _gone_on_from(pilot: Pilot, study: Study) -> Iterator[str]:
    """Say what a study risks that is judged with the seeds of a small pilot: they decided how many it has."""
    done = set(pilot.trials.loc[pilot.trials["status"].eq("ok"), "seed"].astype(int))
    if pilot.kind != "study" or not done.intersection(study.about.seeds):
        return
    block = block_of(study)
    others = "seeds = [100, 101, ..]" + (", and tune.seeds" if block else "")
    yield (
        "the pilot's seeds are also the study's. Where they happened to be alike, too few seeds are planned, "
        "and equal arms are called different more often than alpha (7.6 % of the time for 5 seeds). Train a "
        f"pilot of {KNOWN_WELL} {'blocks' if block else 'seeds'} or more, or give the study seeds that the "
        f"pilot has not ({others})"
    )


def _differing(pilot: Pilot, study: Study) -> Iterator[str]:
    """Say in which settings a pilot differs from the study."""
    here, there = tomllib.loads(tomli_w.dumps(study.tables())), pilot.study
    pairs = []
    for table in ("baseline",) if pilot.kind == "noise" else ("baseline", "axes"):
        now, before = here.get(table, {}), there.get(table, {})
        # A noise floor's baseline also has the levels that a grid's others are compared with.
        keys = now if pilot.kind == "noise" else {**before, **now}
        pairs += [(key, before.get(key), now.get(key)) for key in keys]
    words = [f"{key} is {_shown(a)} there, {_shown(b)} here" for key, a, b in pairs if a != b]
    more = f"; and {len(words) - MOST_LISTED} more" if len(words) > MOST_LISTED else ""
    if words:
        listed = "; ".join(words[:MOST_LISTED])
        yield f"the pilot is not quite this study, and its spread need not be, either: {listed}{more}"


def _shown(value: object) -> str:
    return "not given" if value is None else quoted(value, most=60)
