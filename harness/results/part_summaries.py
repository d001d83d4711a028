"""Parts without their numbers: which trials one has, how they ended, and the files that belong to it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.results import checksums, csv_rows, part_files
from harness.results.columns import TABLES
from harness.system import files


@dataclass(frozen=True)
class PartSummary:
    """The trials of a part as it tells of them, without their numbers.

    Attributes:
        path: where it is.
        digest: its SHA-256.
        statuses: its trials' statuses, by trial_id.
        columns, curves: the columns of its trials and epochs.
        stacks: as a Part's.
        listed: the text of its files.json; of a million weights, objects would take three times as much.
        counts: the bytes of its confusion.csv, unpacked.
    """

    path: Path
    digest: str
    statuses: Mapping[str, str]
    columns: tuple[str, ...]
    curves: tuple[str, ...]
    stacks: tuple[str, ...] = ()
    listed: str = "{}"
    counts: int = 0

    @property
    def files(self) -> dict[str, str]:
        """The weights and predictions written with it, by name, with their SHA-256."""
        return {part_files.inside(name): str(one) for name, one in files.json_value(self.listed).items()}

    @property
    def name(self) -> str:
        """Its file name."""
        return self.path.name

    @property
    def group(self) -> str:
        """Name of its stack."""
        return self.path.stem

    @property
    def folder(self) -> Path:
        """The results folder that it is in."""
        return self.path.parent.parent

    @property
    def is_original(self) -> bool:
        """Tell whether it has the name that a run gave it."""
        return self.stacks in {(), (self.group,)}

    def read(self, names: Sequence[str] = TABLES) -> dict[str, str]:
        """Read some of its tables; raise UsageError if it has changed since it was looked at."""
        content = files.content_of(self.path)
        if checksums.digest(content) != self.digest:
            raise UsageError(f"{self.path} changed while it was read: run the same command again")
        texts = files.members(content, [f"{name}.csv" for name in names])
        return {name: texts[f"{name}.csv"] for name in names}


def summary(path: Path, digest: str = "") -> PartSummary | None:
    """Read what a part says of its trials; None if it is damaged or changed.

    With the `digest` that its run recorded nothing else of it need be looked at; without, all is checked.

    Raises:
        MachineError: it cannot be read now, and may be whole.
    """
    if not digest and part_files.read(path) is None:
        return None
    try:
        content = files.content_of(path)
        found = checksums.digest(content)
        if found != (digest or found):
            return None
        texts = files.members(content, ["trials.csv", part_files.DIGESTS])
        trials = csv_rows.table(texts["trials.csv"])
        part_files.check_ids(trials)
        listed = texts.get(part_files.DIGESTS, "{}")
        tracked, counts = files.first_line(content, "epochs.csv"), files.size_of(content, "confusion.csv")
        for name in files.json_value(listed):
            part_files.inside(name)
    except (*files.DAMAGE, AttributeError):
        return None
    stacks = tuple(dict.fromkeys(trials["group"])) if "group" in trials else ()
    ids = map(sys.intern, trials["trial_id"])  # which plans and rows have, too
    statuses = dict(zip(ids, map(sys.intern, trials["status"]), strict=True))
    header = tuple(csv_rows.header(tracked))
    return PartSummary(path, found, statuses, tuple(trials.columns), header, stacks, listed, counts)
