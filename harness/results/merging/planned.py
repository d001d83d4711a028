"""The planned trials of merged folders: one row a trial and arm, in the order of the study."""

from __future__ import annotations

import gzip
import io
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.results import csv_rows
from harness.results.csv_rows import TextTable
from harness.results.merging.sources import SourceFolder
from harness.results.merging.studies import arm_places, seeds_of, tried_places
from harness.results.row_store import RowStore
from harness.settings import CORE
from harness.settings.schema import OF_ARM
from harness.study.checker import known_settings

PLANNED_ENDS = ("status", "reason")


class PlannedRows:
    """The rows of planned trials, numbered as they were read; `order` has the numbers in the study's order.

    Attributes:
        columns: those before the outcome: trial_id to seed.
        ids: each row's trial_id.
        order: the row numbers in the order of the study.
        skipped: status and reason of rows that are not trained, by number.
        by: the place of the first folder that planned a row, by its number.
    """

    def __init__(
        self, sources: Sequence[SourceFolder], tables: Mapping[str, Any], phase: str, scratch: Path
    ) -> None:
        self._lines = RowStore(scratch)
        self.ids: list[str] = []
        self.skipped: dict[int, tuple[str, str]] = {}
        self.by = array("i")
        self._number: dict[tuple[str, int], int] = {}
        self._arms: dict[str, int] = {}
        self._arm_of, self._seed_of = array("q"), array("q")
        self._tried: dict[str, tuple[str, int]] = {}
        self._datasets: dict[str, str] = {}
        try:
            self.columns = _columns([source.columns for source in sources])
            for place, source in enumerate(sources):
                self._add(source.rows(), place)
            self.order = self._ordered(tables, phase)
            self._check_ids(sources)
        except BaseException:
            self.close()
            raise
        self.numbers: dict[str, int] = {}
        for number in self.order.tolist():
            self.numbers.setdefault(self.ids[number], number)

    def close(self) -> None:
        """Give the disk space back."""
        self._lines.close()

    @property
    def arms(self) -> list[str]:
        """The arms, in the order of the study."""
        names = list(self._arms)
        return list(dict.fromkeys(names[self._arm_of[number]] for number in self.order.tolist()))

    def first_arms(self) -> list[str]:
        """List the arms of the first row's data set."""
        arms = self.arms
        return [arm for arm in arms if self._datasets[arm] == self._datasets[arms[0]]]

    def dataset(self, number: int) -> str:
        """Return the data set of a row."""
        return self._datasets[self._names[self._arm_of[number]]]

    def seed(self, number: int) -> int:
        """Return the seed of a row."""
        return self._seed_of[number]

    def cells(self, numbers: Iterable[int]) -> TextTable:
        """Give whole rows, as far as they were planned."""
        text = b"".join([",".join(self.columns).encode(), b"\n", *(self._lines[n] + b"\n" for n in numbers)])
        return csv_rows.table(text.decode())

    def line(self, number: int) -> bytes:
        """Give a row's cells as text of a CSV, without an end."""
        return self._lines[number]

    def packed(self) -> bytes:
        """Write the rows as planned.csv.gz has them."""
        packed = io.BytesIO()
        with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=1, mtime=0) as file:
            file.write(csv_rows.lines([[*self.columns, *PLANNED_ENDS]])[0] + b"\n")
            for some in _chunks(self.order.tolist()):
                file.write(b"".join(self._lines[n] + b"," + self._end(n) + b"\n" for n in some))
        return packed.getvalue()

    def _end(self, number: int) -> bytes:
        return csv_rows.lines([list(self.skipped[number])])[0] if number in self.skipped else b","

    def _add(self, rows: TextTable, place: int) -> None:
        known = rows.only(self.columns)
        of_arms = rows[OF_ARM] if OF_ARM in rows else [""] * len(rows)
        tried = tried_places(rows["arm"], of_arms)
        lines, texts = csv_rows.lines(known.rows), dict[int, bytes]()
        cells = zip(
            rows["trial_id"], rows["arm"], of_arms, tried, rows["dataset"], rows["seed"], rows["status"],
            rows["reason"], lines, strict=True,
        )  # fmt: skip
        for trial_id, arm, of_arm, tries, dataset, seed, status, reason, line in cells:
            one = self._arms.setdefault(arm, len(self._arms))
            before = self._number.setdefault((trial_id, one), len(self.ids))
            if before < len(self.ids):
                continue
            texts[before] = line
            self.ids.append(sys.intern(trial_id))
            self.by.append(place)
            self._arm_of.append(one)
            self._seed_of.append(int(seed))
            self._datasets.setdefault(arm, dataset)
            self._tried.setdefault(arm, (of_arm or arm, tries))
            if status == "skipped":
                self.skipped[before] = (status, reason)
        self._lines.put(texts)

    def _ordered(self, tables: Mapping[str, Any], phase: str) -> np.ndarray[Any, Any]:
        """Order the rows by arm, as the study lists them, then by seed."""
        places, self._names = arm_places(tables), list(self._arms)

        def key(arm: str) -> tuple[int, str, int, str]:
            name, tries = self._tried[arm]
            return places.get(name, len(places)), name, tries, arm

        ranks = {arm: rank for rank, arm in enumerate(sorted(self._names, key=key))}
        listed = seeds_of(tables, phase)
        others = sorted(set(self._seed_of) - set(listed))
        seeds = {seed: rank for rank, seed in enumerate([*listed, *others])}
        of_arm = np.array([ranks[name] for name in self._names], np.int64)[np.array(self._arm_of, np.int64)]
        self._keys = of_arm * len(seeds) + np.fromiter(
            (seeds[s] for s in self._seed_of), np.int64, len(self.ids)
        )
        return np.argsort(self._keys, kind="stable")

    def _check_ids(self, sources: Sequence[SourceFolder]) -> None:
        """Raise UsageError where an arm and a seed are two trials: something that ids record differs."""
        ordered = self._keys[self.order]
        for place in np.flatnonzero(ordered[1:] == ordered[:-1]).tolist():
            one, other = int(self.order[place]), int(self.order[place + 1])
            arm, seed = self._names[self._arm_of[one]], self._seed_of[one]
            raise UsageError(
                f"arm {arm!r} with seed {seed} is trial {self.ids[one]} in {sources[self.by[one]].path} and "
                f"trial {self.ids[other]} in {sources[self.by[other]].path}: its data, the code of its "
                "components or the version of what training means differ. Nothing was merged; train both "
                "with one version"
            )


def _columns(headers: Sequence[Sequence[str]]) -> list[str]:
    """Put the columns of planned rows together: one order for all, whatever components were loaded where."""
    first = list(headers[0])
    if all(list(header) == first for header in headers):
        return first
    every = dict.fromkeys(name for header in headers for name in header)
    known = {
        name: place for place, name in enumerate([*CORE, *(n for n in known_settings() if n not in CORE)])
    }
    ends = ("trial_id", "arm", "seed")
    settings = [name for name in every if name not in ends]
    # Linked axes stand before the settings.
    linked = [
        name for name in settings if name not in known and settings.index(name) < settings.index("dataset")
    ]
    others = sorted(set(settings) - set(linked), key=lambda name: (known.get(name, len(known)), name))
    return ["trial_id", "arm", *linked, *others, "seed"]


def _chunks(numbers: Sequence[int], size: int = 10_000) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
