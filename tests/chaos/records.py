"""faults.csv: a row a fault, with what became of the rows of its study; later campaigns add to it."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """A fault of a round.

    `lost`, `doubled` and `different` count the rows of the whole round. `seconds` are since the round's
    start, `stacks` those finished by then; a fault of a kind that this machine does not allow has the outcome
    "not run: ..".
    """

    round: int
    work: str
    kind: str
    node: str
    seconds: float
    stacks: str
    outcome: str
    lost: int = 0
    doubled: int = 0
    different: int = 0
    ended: str = ""

    @property
    def run(self) -> bool:
        return not self.outcome.startswith("not run")


def read(path: Path) -> list[Record]:
    """Read the rows of a file; none where there is no file."""
    if not path.is_file():
        return []
    types = {field.name: {"int": int, "float": float}.get(str(field.type), str) for field in fields(Record)}
    with path.open(newline="", encoding="utf-8") as file:
        return [Record(**{name: types[name](row[name]) for name in types}) for row in csv.DictReader(file)]


def write(path: Path, records: Sequence[Record]) -> None:
    """Write the rows, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Record)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(record) for record in records)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def rounds_done(records: Iterable[Record]) -> set[int]:
    """Return the rounds whose rows are there."""
    return {record.round for record in records}


def table(records: Sequence[Record]) -> list[str]:
    """Return lines that count faults by kind, and what became of rows."""
    run = [record for record in records if record.run]
    counts = Counter(record.kind for record in run)
    lines = [f"{kind:<16} {count:>5}" for kind, count in sorted(counts.items())]
    refused = {record.kind: record.outcome for record in records if not record.run}
    lines += [f"{kind:<16} {'-':>5}  {outcome}" for kind, outcome in sorted(refused.items())]
    rounds = {record.round: record for record in run}.values()
    lost, doubled, different = (
        sum(getattr(record, name) for record in rounds) for name in ("lost", "doubled", "different")
    )
    ended = Counter(record.ended for record in rounds)
    faults = f"{len(run)} faults of {len(counts)} kinds in {len(rounds)} rounds"
    lines.append(f"{faults}: {lost} rows lost, {doubled} doubled, {different} different")
    lines += [f"  {count} rounds: {words}" for words, count in ended.items() if words != "finished"]
    return lines
