"""Gaps of a merged folder: the trials that are not trained, and the commands that train them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.results.merging import studies

if TYPE_CHECKING:
    from harness.results.merging.phase import MergedPhase
    from harness.results.merging.sources import SourceFolder

DECIDING = {"--set", "--plugin", "--engine", "--bits"}
"""Options of `harness run` that decide which trials it trains, and their bits."""


@dataclass(frozen=True)
class Gap:
    """Trials that are not trained: how many, and the command that trains them.

    `shard` is such as "3/16", empty where there are none; `folder` is the one in which they are planned,
    empty where no folder has them. `trials` is None where that cannot be known without the folder.
    """

    trials: int | None
    shard: str
    folder: str
    command: str


def of(phase: MergedPhase) -> Iterator[Gap]:
    """Yield the gaps of a phase: of folders that are not finished, of shards and of rows that are nowhere."""
    writer, rows = phase.writer, phase.rows
    waiting = Counter(rows.by[number] for number in writer.gaps) if writer else Counter()
    for place, trials in sorted(waiting.items()):
        source = phase.sources[place]
        yield Gap(trials, _shard(source), str(source.path), _command(phase, _shard(source), source.path))
    missing = _nowhere(phase)
    if shards := phase.shards:
        absent = sorted(set(range(1, shards[1] + 1)) - shards[0])
        for number in absent:
            alone = missing if len(absent) == 1 else None
            yield Gap(alone, f"{number}/{shards[1]}", "", _command(phase, f"{number}/{shards[1]}", None))
    elif missing:
        yield Gap(missing, "", "", _command(phase, "", phase.out))


def together(found: Iterable[Gap]) -> list[Gap]:
    """Join the gaps that one command closes, such as those of the phases of a study."""
    joined: dict[str, Gap] = {}
    for gap in found:
        before = joined.get(gap.command)
        if before is None:
            joined[gap.command] = gap
            continue
        known = before.trials is not None and gap.trials is not None
        joined[gap.command] = replace(
            before, trials=(before.trials or 0) + (gap.trials or 0) if known else None
        )
    return list(joined.values())


def _nowhere(phase: MergedPhase) -> int | None:
    """Count the trials of the study that no folder has planned; None where only a plan could tell."""
    if phase.phase == "tuning":
        return None
    same = {
        name for source in phase.sources for names in source.plan.get("merged", {}).values() for name in names
    }
    arms = [arm for arm in studies.arm_places(phase.tables) if arm not in same]
    return max(0, len(arms) * len(studies.seeds_of(phase.tables, phase.phase)) - len(phase.rows.ids))


def _shard(source: SourceFolder) -> str:
    """Name the one shard that a folder is, if it is one."""
    if source.shard is None or len(source.shard[0]) > 1:
        return ""
    return f"{next(iter(source.shard[0]))}/{source.shard[1]}"


def _study(phase: MergedPhase) -> list[str]:
    """Return the study's file, and the options that decide its trials, as the runs of the folders had them.

    The study's name where the runs came from Python.
    """
    runs = [run for source in phase.sources for run in source.provenance.get("runs", [])]
    named = [words for run in runs if (words := _words(run.get("command", "")))]
    return min(named, default=[phase.study])


def _words(command: str) -> list[str]:
    """Take the file of a study, and the options that decide its trials, from a recorded command."""
    try:
        words = shlex.split(command)
    except ValueError:  # a record of an earlier version, without quotes
        words = command.split()
    kept = [
        [word] if "=" in word else words[place : place + 2]
        for place, word in enumerate(words)
        if word.partition("=")[0] in DECIDING
    ]
    options = [word for option in kept for word in option]
    file = next((word for word in words if word.endswith(".toml") and word not in options), "")
    return [file, *options] if file else []


def _command(phase: MergedPhase, shard: str, folder: Path | None) -> str:
    """Write the command that trains what is missing."""
    words = ["harness", "run", *_study(phase)]
    words += ["--shard", shard] if shard else []
    if folder is not None:
        folder = folder.parent if phase.phase in {"tuning", "tuned"} else folder
        words += ["--results", str(folder)]
    return shlex.join(words)
