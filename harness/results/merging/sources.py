"""Folders to be merged: read, held against a run that would write into them, and checked one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import UsageError, few
from harness.results import checksums, csv_rows, documents, part_files, part_summaries, tables
from harness.results.columns import FINISHED
from harness.results.csv_rows import TextTable
from harness.results.part_summaries import PartSummary
from harness.system import files, locks

AGAIN = "`harness run` of its study trains its trials again; then merge again"
MERGED_PHASES = ("fixed", "tuning", "tuned")
"""Phases of a study whose folders are merged: what a search, or a try, asks next depends on its own past."""


@dataclass(frozen=True)
class SourceFolder:
    """A results folder that is merged: its plan, its study, and its parts by name."""

    path: Path
    plan: Mapping[str, Any]
    study: Mapping[str, Any]
    parts: Sequence[PartSummary]

    @classmethod
    def read(cls, path: Path) -> SourceFolder:
        """Read a folder.

        Raises:
            UsageError: it is no results folder of a run, or is damaged, or still being trained anew.
        """
        if not (path / "plan.json").is_file():
            raise UsageError(
                f"{path} has no plan.json, so it is not a results folder that a run wrote: nothing was "
                "merged. Name results folders, such as results/<study>-shard-3-of-16"
            )
        plan, study = documents.plan(path), documents.study(path)
        _check_phase(path, plan, study)
        if old := part_files.to_renew(path):
            raise UsageError(
                f"{path} is being trained anew, and {len(old)} of its stacks are not yet: the same `harness "
                "run` without --retrain ends that; then merge again"
            )
        parts = list(_parts(path))
        _check_parts(path, parts)
        return cls(path, plan, study, parts)

    @property
    def shard(self) -> tuple[frozenset[int], int] | None:
        """The numbers of the shards whose trials it has, and their count; None of a whole study."""
        return documents.shards_of(self.plan)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Its provenance.json, {} where it has none."""
        return documents.provenance(self.path)

    @property
    def columns(self) -> list[str]:
        """The columns of its planned rows, up to seed."""
        return tables.planned_columns(self.path)

    def rows(self) -> TextTable:
        """Read the rows of its planned trials."""
        return tables.planned(self.path)


def _check_phase(path: Path, plan: Mapping[str, Any], study: Mapping[str, Any]) -> None:
    phase = plan.get("phase", "fixed")
    if phase not in MERGED_PHASES or "search" in study:
        what = "a search" if "search" in study else "tries of changes"
        raise UsageError(
            f"{path} holds {what}: what was asked next depended on what was known there, so two of them are "
            "not one. Folders of `harness run` are merged; `harness compare` puts two others side by side"
        )


def _parts(path: Path) -> Iterator[PartSummary]:
    """Read the parts of a folder as far as their trials; raise UsageError if one is damaged or changed."""
    record = checksums.read(path) or checksums.Record()
    damaged = []
    for place in part_files.paths(path):
        found = part_summaries.summary(place, record.parts.get(place.name, ""))
        if found is None:
            damaged.append(place.name)
        elif found.is_original:
            yield found
        elif (copy := part_files.read(place)) is not None:
            part_files.say_copies(path, [copy])
    if damaged:
        raise UsageError(
            f"{path}/parts: {few(damaged)} damaged, or changed after the run: nothing was merged. {AGAIN}"
        )


def _check_parts(path: Path, parts: Sequence[PartSummary]) -> None:
    """Raise UsageError if finished trials are in trials.csv alone."""
    if parts or not (path / "trials.csv").is_file():
        return
    trials = csv_rows.table(files.content_of(path / "trials.csv").decode("utf-8-sig"))
    if not set(FINISHED).isdisjoint(trials["status"]):
        raise UsageError(
            f"{path} has finished trials in trials.csv, but not the parts/ that it was made from, which are "
            "what is merged. Copy the whole folder, with parts/"
        )


@contextmanager
def held(paths: Sequence[Path]) -> Iterator[None]:
    """Keep runs from writing into folders meanwhile; raise UsageError where one does so already."""
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(locks.shared(path))
        yield
