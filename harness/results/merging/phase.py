"""A phase of merged folders: all that is decided before anything is written, and then the writing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from harness.errors import UsageError, few
from harness.results import documents, tables
from harness.results.documents import SCHEMA
from harness.results.kept_states import FOLDER as STATES
from harness.results.merging import accounts, outcomes, studies
from harness.results.merging.placing import LinkedFiles
from harness.results.merging.planned import PlannedRows
from harness.results.merging.sources import SourceFolder
from harness.results.merging.writing import TableWriter
from harness.results.tables import KEPT
from harness.results.targets import of_study
from harness.study import starts
from harness.system import files
from harness.text import count


class MergedPhase:
    """A results folder that is made of others of one phase of a study.

    Raises:
        UsageError: they do not belong together; nothing is written then.
    """

    def __init__(self, out: Path, sources: Sequence[SourceFolder], scratch: Path) -> None:
        studies.check_same(sources)
        studies.check_chosen(sources)
        self.out, self.sources = out, sources
        first = sources[0].plan
        self.study, self.phase = str(first["study"]), str(first.get("phase", "fixed"))
        self.choice = outcomes.choose([part for source in sources for part in source.parts])
        self.tables = studies.together(sources, out)
        self.rows = PlannedRows(sources, self.tables, self.phase, scratch)
        self.tables = studies.with_pairs(self.tables, self.rows.first_arms())
        self.placing = LinkedFiles(out)
        self.writer: TableWriter | None = None
        self.lost: list[str] = []

    def close(self) -> None:
        """Give the disk space of waiting rows back."""
        self.rows.close()
        if self.writer:
            self.writer.close()

    @property
    def shards(self) -> tuple[frozenset[int], int] | None:
        """The numbers of the shards that are together now, and their count; None where the study is whole."""
        shards = [source.shard for source in self.sources]
        if not all(shards):
            return None
        numbers = frozenset(number for shard in shards if shard for number in shard[0])
        count = next(shard[1] for shard in shards if shard)
        return None if len(numbers) == count else (numbers, count)

    def write(self) -> None:
        """Write the folder, so that a kill at any moment does no harm and the same command goes on.

        Raises:
            MachineError: something cannot be written.
        """
        files.write(self.out / "plan.json", json.dumps(self._plan(), indent=1).encode())
        files.write(self.out / "study.toml", tomli_w.dumps(_without_nothing(self.tables)).encode())
        files.write(self.out / tables.PLANNED, self.rows.packed())
        provenance = accounts.provenance(self.sources)
        files.write(self.out / "provenance.json", json.dumps(provenance, indent=1).encode())
        self._place()
        about = documents.study(self.out)["study"]
        best = about["keep_weights"] == "best"
        weights = {path.stem for path in (self.out / "weights").glob("*.safetensors")} if best else set()
        self.writer = TableWriter(self.out, self.rows, self.choice, about["metrics"], of_study(about))
        self.writer.gather(weights)
        tables.prune_weights(self.out, self.writer.weighed)
        self.writer.write()
        self._remove_others()

    def _plan(self) -> dict[str, Any]:
        """Make plan.json: its stacks are those of the parts that are kept, of trials that are planned."""
        plans = [source.plan for source in self.sources]
        data, components, merged = (
            {name: value for plan in plans for name, value in plan.get(key, {}).items()}
            for key in ("data", "components", "merged")
        )
        places = studies.arm_places(self.tables)
        merged = dict(sorted(merged.items(), key=lambda item: (places.get(item[0], len(places)), item[0])))
        content = {
            "schema": SCHEMA,
            "study": self.study,
            "phase": self.phase,
            "data": dict(sorted(data.items())),
        }
        if semantics := next((plan["semantics"] for plan in plans if "semantics" in plan), None):
            content["semantics"] = semantics
        if any("components" in plan for plan in plans):
            content["components"] = dict(sorted(components.items()))
        if shards := self.shards:
            content["shards"] = {"count": shards[1], "numbers": sorted(shards[0])}
        return content | {"merged": merged, "stacks": self._stacks()}

    def _stacks(self) -> list[dict[str, Any]]:
        """List the stacks of kept parts, in the order of their first trials."""
        place = {trial_id: i for i, trial_id in enumerate(self.rows.numbers)}
        known = {
            group: (engine, trials)
            for source in self.sources
            for group, engine, trials in documents.stacks_of(source.plan)
            if group in self.choice.parts and all(trial_id in place for trial_id in trials)
        }
        ordered = sorted(known, key=lambda group: min(place[trial_id] for trial_id in known[group][1]))
        return [{"group": g, "engine": known[g][0], "trials": list(known[g][1])} for g in ordered]

    def _place(self) -> None:
        """Put the files of the kept parts into the folder, each part after what belongs to it."""
        states = {source.path: _states(source.path) for source in self.sources}
        there = {source.path: _listed(source.path) for source in self.sources}
        kept = KEPT if self.tables["study"]["keep_weights"] == "all" else ("predictions",)
        for part in self.choice.parts.values():
            folder, present = str(part.folder), there[part.folder]
            for name, digest in part.files.items():
                if name in present:
                    self.placing.put(f"{folder}/{name}", name, digest)
                elif name.startswith(kept):
                    self.lost.append(f"{folder}/{name}")
            for path in states[part.folder].get(part.group, ()):
                self.placing.put(str(path), f"{STATES}/{path.name}")
            self.placing.put(str(part.path), f"parts/{part.name}", part.digest)
        begun = next((s.path / starts.FILE for s in self.sources if (s.path / starts.FILE).is_file()), None)
        if begun is not None:
            self.placing.put(str(begun), starts.FILE, str(self.tables.get("start", {}).get("digest", "")))

    def lost_notes(self) -> list[str]:
        """Say which predictions and weights, of those that are kept, no folder has any more."""
        if not self.lost:
            return []
        told = (
            f"lost before the merge: {count(len(self.lost), 'file')} written with a stack, so not in "
            f"{self.out} either: {few(self.lost)}. The trials' rows are whole"
        )
        return [told]

    def _remove_others(self) -> None:
        """Remove parts and predictions of stacks of which another has all trials."""
        for folder, end in (("parts", ".zip"), ("predictions", ".npz")):
            for path in (self.out / folder).glob(f"*{end}"):
                if path.stem not in self.choice.parts:
                    path.unlink()


def _without_nothing(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the keys of [study] that are not given."""
    return {**tables, "study": {key: value for key, value in tables["study"].items() if value is not None}}


def _states(folder: Path) -> dict[str, list[Path]]:
    """List the kept states of a folder by their stacks."""
    found: dict[str, list[Path]] = {}
    for path in sorted((folder / STATES).glob("*.safetensors")):
        found.setdefault(path.stem.rpartition("-")[0], []).append(path)
    return found


def _listed(folder: Path) -> frozenset[str]:
    """List the weights and predictions that a folder has."""
    return frozenset(f"{kind}/{name}" for kind in tables.KEPT for name in files.names(folder / kind))


def read(everything: Sequence[SourceFolder], out: Path, name: str, scratch: Path) -> MergedPhase | None:
    """Read a phase of the folders, by its place in each; None where none has it."""
    if name and not any((source.path / name / "plan.json").is_file() for source in everything):
        return None
    sources = [
        SourceFolder.read(source.path / name) if name else source
        for source in everything
        if not name or (source.path / name / "plan.json").is_file()
    ]
    if not sources:
        raise UsageError("there is nothing to merge")
    return MergedPhase(out / name if name else out, sources, scratch)
