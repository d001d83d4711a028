"""Tables of merged folders, written row by row: a study of a million trials does not fit into memory.

The rows are those that `tables` makes of the same parts; they wait in files without a name until their order
in the plan is known.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.results import csv_rows, derived, tables, targets
from harness.results.columns import FINISHED, TABLES
from harness.results.csv_rows import CONFUSION, TextTable
from harness.results.merging.outcomes import Choice
from harness.results.merging.planned import PlannedRows
from harness.results.part_files import Part
from harness.results.part_summaries import PartSummary
from harness.results.row_store import RowStore
from harness.settings.schema import EPOCHS, PARENT, SCORES, STACKS, outcome_columns
from harness.study.targets import Target
from harness.system.files import DraftFile

MOST_COUNTS = 2**28
"""Most bytes of confusion.csv that is written; more of it stays in the parts."""
MADE = (*TABLES, *derived.DERIVED)
AT_ONCE = 10_000  # rows that are written at once


class TableWriter:
    """Writes the tables of a merged folder from the parts that are kept.

    Attributes:
        left: tables that stay in the parts, because they would be too large.
        statuses: how many rows have each status.
        computed: how many finished trials have each (kernels, host).
        hosts: the hosts on which the finished trials of each data set and seed were trained.
        weighed: trial_id, dataset, status and val_accuracy of trials that have weights, in the plan's order.
        gaps: the numbers of planned rows whose trials are not trained.
    """

    def __init__(
        self, folder: Path, rows: PlannedRows, choice: Choice, metrics: Sequence[str], until: Target | None
    ) -> None:
        self._folder, self._rows, self._choice, self._until = folder, rows, choice, until
        parts = choice.parts.values()
        named = {name for part in parts for name in part.curves}
        tracked = [*metrics, *sorted(named - {*EPOCHS, *metrics})]
        parents = [PARENT] if any(PARENT in part.columns for part in parts) else []
        self._names = [*outcome_columns(tracked), *targets.columns(until), *parents]
        self._headers = {"epochs": [*EPOCHS, *tracked], "confusion": CONFUSION}
        self.left = [] if sum(part.counts for part in parts) <= MOST_COUNTS else ["confusion"]
        self.statuses: Counter[str] = Counter()
        self.computed: Counter[tuple[str, str]] = Counter()
        self.hosts: dict[tuple[str, int], set[str]] = {}
        self.weighed = TextTable(["trial_id", "dataset", "status", "val_accuracy"])
        self.gaps: list[int] = []
        self._stores = {name: RowStore(folder) for name in MADE if name not in self.left}
        self._accuracies: dict[str, str] = {}

    def close(self) -> None:
        """Give the disk space of the waiting rows back."""
        for store in self._stores.values():
            store.close()

    def gather(self, weights: Container[str] = ()) -> None:
        """Read the rows of all parts; `weights` are the trials that have weights in the folder."""
        places = np.empty(len(self._rows.ids), np.int64)
        places[self._rows.order] = np.arange(len(places))
        for part in self._choice.parts.values():
            self._add(part, places, weights)
        for number in self._rows.order.tolist():
            trial_id = self._rows.ids[number]
            if trial_id in self._accuracies:
                cells = [trial_id, self._rows.dataset(number), "ok", self._accuracies[trial_id]]
                self.weighed.rows.append(cells)

    def _add(self, part: PartSummary, places: NDArray[np.int64], weights: Container[str]) -> None:
        """Keep the rows of the trials that a part gives."""
        numbers, owners, group = self._rows.numbers, self._choice.owners, part.group
        texts = part.read([name for name in TABLES if name not in self.left])
        outcomes = csv_rows.table(texts["trials"])
        outcomes = targets.with_times(outcomes, [Part(part.name, "", "", texts["epochs"], "")], self._until)
        given = [
            row
            for row in outcomes.only(["trial_id", *self._names]).rows
            if owners[row[0]] == group and row[0] in numbers
        ]
        given.sort(key=lambda row: places[numbers[row[0]]])
        ended = TextTable(["trial_id", *self._names], given).in_lines()
        self._keep_ends(ended, weights)
        wanted = {row[0]: numbers[row[0]] for row in given}
        self._keep_runs("scores", derived.scores(ended).written(), wanted)
        for name, header in self._headers.items():
            if name in texts:
                self._keep_runs(name, csv_rows.with_columns(texts[name], header), wanted)
        if given:
            planned = self._rows.cells(wanted.values())
            both = [[*a, *b[1:]] for a, b in zip(planned.rows, ended.rows, strict=True)]
            stack = derived.stacks(TextTable([*planned.columns, *self._names], both))
            first = wanted[given[0][0]]
            lines = csv_rows.lines(stack.rows)  # one, as its trials are of one stack
            self._stores["stacks"].put({first: b"".join(line + b"\n" for line in lines)})

    def _keep_ends(self, ended: TextTable, weights: Container[str]) -> None:
        """Keep the ends of rows of trials.csv, and count what computed them."""
        status, kernels, host, accuracy = (
            ended.columns.index(name) for name in ("status", "kernels", "host", "val_accuracy")
        )
        lines = csv_rows.lines([row[1:] for row in ended.rows])
        numbers = (self._rows.numbers[row[0]] for row in ended.rows)
        self._stores["trials"].put(dict(zip(numbers, lines, strict=True)))
        for row in ended.rows:
            if row[status] in FINISHED:
                self.computed[row[kernels], row[host]] += 1
                number = self._rows.numbers[row[0]]
                seed = (self._rows.dataset(number), self._rows.seed(number))
                self.hosts.setdefault(seed, set()).add(row[host])
            if row[status] == "ok" and row[0] in weights:
                self._accuracies[row[0]] = row[accuracy]

    def _keep_runs(self, name: str, text: str, wanted: Mapping[str, int]) -> None:
        """Keep the rows of a table, those of one trial together."""
        store, runs = self._stores[name], dict[str, str]()
        for run in csv_rows.RUN.finditer(text, text.index("\n") + 1):
            if run[1] in wanted:
                runs[run[1]] = runs.get(run[1], "") + run[0]
        store.put({wanted[trial_id]: rows.encode() for trial_id, rows in runs.items()})

    def write(self) -> None:
        """Write all tables of the folder, and checksums of them and of the parts."""
        order, numbers = self._rows.order.tolist(), self._rows.numbers
        firsts = list(numbers.values())
        drafts: dict[str, DraftFile] = {}
        try:
            for name, header in (
                ("stacks", STACKS), ("scores", SCORES), ("confusion", CONFUSION),
                ("epochs", self._headers["epochs"]),
            ):  # fmt: skip
                if name in self._stores:
                    drafts[f"{name}.csv"] = self._draft(name, header, self._stores[name].texts(firsts))
            header = [*self._rows.columns, *self._names]
            drafts["trials.csv"] = self._draft("trials", header, self._trials(order))
            key = ["trial_id"] if len(numbers) == len(order) else ["trial_id", "arm"]
            tables.write(self._folder, drafts, self._choice.parts.values(), key, self.left)
        finally:
            for draft in drafts.values():
                draft.drop()

    def _draft(self, name: str, header: Sequence[str], texts: Iterator[bytes]) -> DraftFile:
        draft = DraftFile(self._folder / f"{name}.csv")
        try:
            draft.write(csv_rows.lines([header])[0] + b"\n")
            while some := b"".join(itertools.islice(texts, AT_ONCE)):
                draft.write(some)
        except BaseException:
            draft.drop()
            raise
        self._stores[name].close()
        return draft

    def _trials(self, order: Sequence[int]) -> Iterator[bytes]:
        """Give the rows of trials.csv, and count them."""
        ids, numbers, ends = self._rows.ids, self._rows.numbers, self._stores["trials"]
        parts, owners, skipped = self._choice.parts, self._choice.owners, self._rows.skipped
        waiting = self._line([""] * len(self._names))
        for number in order:
            trial_id = ids[number]
            end = ends[numbers[trial_id]]
            status = parts[owners[trial_id]].statuses[trial_id] if end else ""
            if number in skipped:
                cells = csv_rows.table(f"{','.join(self._names)}\n{end.decode()}").rows if end else []
                status, end = (
                    "skipped",
                    self._line(cells[0] if cells else [""] * len(self._names), *skipped[number]),
                )
            elif not end:
                end = waiting
            self.statuses[status] += 1
            if status in {"", "failed"}:
                self.gaps.append(number)
            yield self._rows.line(number) + b"," + end + b"\n"

    def _line(self, cells: Sequence[str], before: str = "", why: str = "") -> bytes:
        return csv_rows.lines([tables.with_reason(cells, self._names, before, why)])[0]
