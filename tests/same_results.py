"""Compares what two versions of the harness make of the same studies: a tool for moves and for new engines.

`python tests/same_results.py REV` runs the studies of tests/same_results_studies/ with the commit REV (in a
worktree of its own) and with this checkout, through the commands that a person types, and compares the
results folders: every CSV and the report's tables cell by cell, kept weights and predictions array by array.
Columns of seconds are left out. It ends with 1 if anything differs, and leaves both results in `--out`.

By default nothing may differ, to the last digit. With `--tolerance T`, numbers may, by T times the larger one
or by T, and trials are told apart by their places in trials.csv: their ids and stacks may be others. Then
predictions, which lie in files of stacks, are not compared; confusion.csv counts them.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

CHECKOUT = Path(__file__).parents[1]
STUDIES = Path(__file__).parent / "same_results_studies"
SECONDS = {"group_seconds", "seconds"}
STACKS = {"group", "group_size"}
MADE_BY = {"kernels", "host"}
"""Columns that say what computed a trial: of another version, other kernels, and earlier ones have none."""
TRIAL = re.compile(r"t[0-9a-f]{12}")
SUFFIXES = {".csv", ".npz", ".safetensors"}
COMMANDS = (  # name of the results folder, command, study, options
    ("components", "run", "components", ()),
    ("loop", "run", "grid", ("--engine", "loop")),
    ("numpy", "run", "grid", ("--engine", "numpy")),
    ("grid", "run", "grid", ()),
    ("ladder", "run", "ladder", ()),
    ("tuned", "run", "tuned", ()),
    ("search", "search", "search", ()),
)


def train(package: Path, out: Path) -> None:
    """Run every study with the harness that lies in `package`, each into a folder of its own below `out`."""
    for name, command, study, options in COMMANDS:
        print(f"{package.name}: {name}", flush=True)
        subprocess.run(
            [
                sys.executable, "-m", "harness", command, str(STUDIES / f"{study}.toml"), "--results",
                str(out / name), "--device", "cpu", "--workers", "2", "--report", *options,
            ],
            cwd=out, env={**os.environ, "PYTHONPATH": str(package)}, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip


@dataclass
class Comparison:
    """Two folders of results, each of several studies, and how far their numbers may be apart."""

    before: Path
    after: Path
    tolerance: float = 0.0
    places: dict[Path, dict[str, str]] = field(default_factory=dict)
    """Of a study's folder: its trials' ids, and their places."""

    def differences(self) -> Iterator[str]:
        """Name each file that differs between the folders, and the first place where it does."""
        old, new = ({self._named(path, folder): path for path in _files(folder)} for folder in self._both)
        stacked = "/predictions/" if self.tolerance else "\0"
        for name in sorted(name for name in old | new if stacked not in name):
            if name not in old or name not in new:
                yield f"{name}: only {'after' if name in new else 'before'}"
            elif problem := self._compared(old[name], new[name]):
                yield f"{name}: {problem}"

    @property
    def _both(self) -> tuple[Path, Path]:
        return self.before, self.after

    def _named(self, path: Path, folder: Path) -> str:
        name = path.relative_to(folder)
        return self._placed(str(name), folder / name.parts[0])

    def _placed(self, text: str, study: Path) -> str:
        """Replace trials' ids by their places, if numbers may differ."""
        if not self.tolerance:
            return text
        if study not in self.places:
            tables = map(_table, sorted(study.rglob("trials.csv")))
            ids = [row["trial_id"] for _, rows in tables for row in rows]
            self.places[study] = {name: f"trial {place}" for place, name in enumerate(dict.fromkeys(ids))}
        return TRIAL.sub(lambda found: self.places[study].get(found[0], found[0]), text)

    def _compared(self, before: Path, after: Path) -> str:
        compare: Callable[[Path, Path], str] = self._tables if before.suffix == ".csv" else self._arrays
        return compare(before, after)

    def _study(self, path: Path) -> Path:
        folder = next(folder for folder in self._both if path.is_relative_to(folder))
        return folder / path.relative_to(folder).parts[0]

    def _tables(self, before: Path, after: Path) -> str:
        """Say where two CSV files differ in anything but seconds; empty if nowhere."""
        headers, tables = zip(*map(_table, (before, after)), strict=True)
        shared, now = ([name for name in header if name not in MADE_BY] for header in headers)
        if shared != now:
            return f"columns {headers[0]}, then {headers[1]}"
        if len(tables[0]) != len(tables[1]):
            return f"{len(tables[0])} rows, then {len(tables[1])}"
        left_out = SECONDS | (STACKS if self.tolerance else set())
        studies = [self._study(path) for path in (before, after)]
        for number, (old, new) in enumerate(zip(*tables, strict=True), 2):
            for column in filter(lambda name: name not in left_out, shared):
                if not self._same(*map(self._placed, (old[column], new[column]), studies)):
                    return f"line {number}, {column}: {old[column]!r}, then {new[column]!r}"
        return ""

    def _same(self, old: str, new: str) -> bool:
        if old == new or not self.tolerance:
            return old == new
        try:
            a, b = float(old), float(new)
        except ValueError:
            return False
        return bool(np.isclose(a, b, rtol=self.tolerance, atol=self.tolerance, equal_nan=True))

    def _arrays(self, before: Path, after: Path) -> str:
        """Say which array of two files of kept weights or predictions differs; empty if none."""
        old, new = (_arrays(path) for path in (before, after))
        if old.keys() != new.keys():
            return f"arrays {sorted(old)}, then {sorted(new)}"
        return next((f"array {name}" for name in old if not self._same_array(old[name], new[name])), "")

    def _same_array(self, old: np.ndarray, new: np.ndarray) -> bool:
        if not self.tolerance or old.shape != new.shape or old.dtype != new.dtype:
            return old.dtype == new.dtype and old.shape == new.shape and old.tobytes() == new.tobytes()
        if old.dtype.kind == "f":
            return np.allclose(old, new, rtol=self.tolerance, atol=self.tolerance, equal_nan=True)
        if old.dtype.kind in "US":  # ids
            return True
        return bool((old != new).mean() <= self.tolerance)  # predicted classes


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())


def _table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    return list(reader.fieldnames or []), rows


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return dict(arrays)
    return load_file(path)


def main() -> int:
    """Compare a commit with this checkout; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rev", help="the commit to compare with")
    parser.add_argument("--tolerance", type=float, default=0.0, help="how far numbers may be apart")
    parser.add_argument("--out", type=Path, help="an empty folder for both versions' results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        worktree = Path(temporary) / "before"
        git = ["git", "-C", str(CHECKOUT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(worktree), arguments.rev], check=True)
        try:
            out = arguments.out or Path(temporary)
            folders = [out / "results-before", out / "results-after"]
            for package, folder in zip((worktree, CHECKOUT), folders, strict=True):
                folder.mkdir(parents=True)
                train(package, folder)
            files = sum(1 for _ in _files(folders[1]))
            before, after = folders
            problems = list(Comparison(before, after, arguments.tolerance).differences())
        finally:
            subprocess.run([*git, "remove", "--force", str(worktree)], check=True)
    print("\n".join([*problems, f"{files} files compared with {arguments.rev}, {len(problems)} differ"]))
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
