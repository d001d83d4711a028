"""Compares what two versions of the harness make of the same studies, to the last digit: a tool for moves.

`python tests/same_results.py REV` runs the studies of tests/same_results_studies/ with the commit REV (in a
worktree of its own) and with this checkout, through the commands that a person types, and compares the
results folders: every CSV and the report's tables cell by cell, kept weights and predictions array by array.
Columns of seconds are left out. It ends with 1 if anything differs, and leaves both results in `--out`.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

CHECKOUT = Path(__file__).parents[1]
STUDIES = Path(__file__).parent / "same_results_studies"
SECONDS = {"group_seconds", "seconds"}
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


def differences(before: Path, after: Path) -> Iterator[str]:
    """Name each file that differs between two folders of results, and the first place where it does."""
    files = {path.relative_to(folder) for folder in (before, after) for path in _files(folder)}
    for file in sorted(files):
        if not (before / file).is_file() or not (after / file).is_file():
            yield f"{file}: only {'after' if (after / file).is_file() else 'before'}"
        elif problem := _READERS[file.suffix](before / file, after / file):
            yield f"{file}: {problem}"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix in _READERS and path.is_file())


def _compare_tables(before: Path, after: Path) -> str:
    """Say where two CSV files differ in anything but seconds; empty if nowhere."""
    tables, headers = [], []
    for path in (before, after):
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            tables.append(list(reader))
            headers.append(reader.fieldnames)
    if headers[0] != headers[1]:
        return f"columns {headers[0]}, then {headers[1]}"
    if len(tables[0]) != len(tables[1]):
        return f"{len(tables[0])} rows, then {len(tables[1])}"
    for number, (old, new) in enumerate(zip(*tables, strict=True), 2):
        for column in old:
            if column not in SECONDS and old[column] != new[column]:
                return f"line {number}, {column}: {old[column]!r}, then {new[column]!r}"
    return ""


def _compare_arrays(before: Path, after: Path) -> str:
    """Say which array of two files of kept weights or predictions differs; empty if none."""
    old, new = (_arrays(path) for path in (before, after))
    if old.keys() != new.keys():
        return f"arrays {sorted(old)}, then {sorted(new)}"
    return next((f"array {name}" for name in old if old[name].tobytes() != new[name].tobytes()), "")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return dict(arrays)
    return load_file(path)


_READERS = {".csv": _compare_tables, ".npz": _compare_arrays, ".safetensors": _compare_arrays}


def main() -> int:
    """Compare a commit with this checkout; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rev", help="the commit to compare with")
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
            problems = list(differences(*folders))
        finally:
            subprocess.run([*git, "remove", "--force", str(worktree)], check=True)
    print("\n".join([*problems, f"{files} files compared with {arguments.rev}, {len(problems)} differ"]))
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
