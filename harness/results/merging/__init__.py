"""`harness merge`: results folders of one study, shards or any others, become one.

    merge -> sources (read and check) -> studies (one study?) -> outcomes (one outcome a trial?), then, only if all
    agree: placing (links), tables, and accounts (provenance.json)

What comes out depends on the folders alone, not on their order, nor on how often or in which groups they are
merged. A merge that was killed is finished by the same command.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import tomli_w

from harness.errors import UsageError, few
from harness.results import columns, csv_rows, documents, part_files, run_folder, tables
from harness.results.columns import FINISHED
from harness.results.csv_rows import TextTable
from harness.results.documents import SCHEMA
from harness.results.merging import accounts, outcomes, studies
from harness.results.merging.outcomes import Choice
from harness.results.merging.placing import Placed, Placing
from harness.results.merging.sources import SourceFolder, held
from harness.settings import CORE
from harness.settings.schema import CHOSEN, OF_ARM, TUNED, TUNING
from harness.study.checker import known_settings
from harness.system import files, locks
from harness.text import count

PHASES = ("", TUNING, TUNED)
"""Folders of a tuned study's phases, the study's own first."""


@dataclass(frozen=True)
class Gap:
    """Trials that are not trained: how many, in which folder they are planned, and the command that trains them.

    `shard` is such as "3/16"; `folder` is empty where no merged folder has them.
    """

    trials: int
    shard: str
    folder: str
    command: str


@dataclass(frozen=True)
class MergedFolder:
    """What `harness.merge` made: a results folder, which `harness.read` takes.

    `statuses` counts its trials, also those of tuning/ and tuned/; `sources` are the folders, `shared` how many
    finished trials several of them have, `gaps` what is still to be trained.
    """

    folder: Path
    study: str
    sources: Sequence[Path]
    statuses: Mapping[str, int]
    shared: int
    gaps: Sequence[Gap]
    placed: Placed
    notes: Sequence[str] = ()

    def __fspath__(self) -> str:
        return str(self.folder)


@dataclass(frozen=True)
class _Phase:
    """A phase that is ready to be written: its folder, its sources, and all that was decided of it."""

    out: Path
    sources: Sequence[SourceFolder]
    tables: dict[str, Any]
    rows: TextTable
    choice: Choice
    plan: dict[str, Any]


def merge(folders: Sequence[PathLike[str] | str], out: PathLike[str] | str) -> MergedFolder:
    """Merge results folders of one study into one folder, by trial_id; what is in it already stays.

    Args:
        folders: results folders: shards of a study, runs on several machines, or merged ones.
        out: the folder to write; it may be a results folder of the study, and its trials are kept.

    Returns:
        What was merged and what is missing; `harness.read` reads it.

    Raises:
        UsageError: the folders are not of one study, data and components, are damaged, being written, or
            have two outcomes of a trial. Nothing is written then.
        MachineError: a file cannot be read or written.

    Example:
        >>> merged = harness.merge(["results/a", "results/b"], out="results/both")  # doctest: +SKIP
        >>> harness.read(merged).trials  # doctest: +SKIP
    """
    out, paths = Path(out), _distinct([Path(folder) for folder in folders])
    _check_out(out)
    sources = [path for path in paths if path.resolve() != out.resolve()]
    with held([path / phase for path in sources for phase in PHASES]), _locked(out):
        everything = [*sources, *([out] if (out / "plan.json").is_file() else [])]
        if not everything:
            raise UsageError(f"there is nothing to merge: {few([str(path) for path in paths]) or 'no folder is named'}")
        phases = [phase for name in PHASES if (phase := _read(everything, out, name))]
        _check_chosen_tables(everything)
        with nullcontext() if (out / "plan.json").is_file() else locks.locked(out):
            placing = Placing(out)
            written = [_write(phase) for phase in phases]
    raise NotImplementedError(placing, written)
