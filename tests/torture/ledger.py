"""What a campaign has done, in one JSON file: seeds, counts, faults; runs add up, whoever was killed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torture.oracle import Fault

MOST_KEPT = 4000  # characters of a smallest input


@dataclass
class Tally:
    """What is known of one kind: the seeds that are done, what was counted, and the faults by their words.

    `done` are ranges [first, last + 1], in order, that do not touch.
    """

    done: list[list[int]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    faults: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        return sum(end - start for start, end in self.done)

    def add(self, seed: int, counts: Mapping[str, int], faults: Iterable[Fault]) -> None:
        """A case is over."""
        self.done = _joined([*self.done, [seed, seed + 1]])
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        for fault in faults:
            known = self.faults.setdefault(fault.what, {"count": 0, "seed": seed, "smallest": fault.smallest})
            known["count"] += 1
            if len(fault.smallest) < len(known["smallest"]):
                known |= {"seed": seed, "smallest": fault.smallest[:MOST_KEPT]}

    def todo(self, first: int | None, count: int) -> Iterator[int]:
        """The seeds of `first` .. `first + count` that are not done; without a first, the next so many."""
        seed, left = first or 0, count
        while left > 0:
            fresh = not any(start <= seed < end for start, end in self.done)
            if fresh:
                yield seed
            left -= fresh or first is not None
            seed += 1


def _joined(ranges: Iterable[list[int]]) -> list[list[int]]:
    joined: list[list[int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(end, joined[-1][1])
        else:
            joined.append([start, end])
    return joined


@dataclass
class Ledger:
    """All kinds' tallies, and the checker's messages that somebody was told."""

    path: Path
    kinds: dict[str, Tally] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, path: Path) -> Ledger:
        """The ledger in a file; a new one where there is none."""
        if not path.is_file():
            return cls(path)
        content = json.loads(path.read_text(encoding="utf-8"))
        kinds = {name: Tally(**tally) for name, tally in content["kinds"].items()}
        return cls(path, kinds, set(content["reached"]))

    def tally(self, kind: str) -> Tally:
        return self.kinds.setdefault(kind, Tally())

    def write(self) -> None:
        """Write it whole or not at all."""
        kinds = {name: vars(tally) for name, tally in sorted(self.kinds.items())}
        content = json.dumps({"kinds": kinds, "reached": sorted(self.reached)}, indent=1, ensure_ascii=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.path.parent, delete=False) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(self.path)
