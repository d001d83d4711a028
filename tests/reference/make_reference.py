"""Make folders of results/reference anew: `nox -s reference -- NAME ..`; without a name, list them.

A folder is trained and drawn in results/.reference/NAME, where a run that was stopped goes on, and takes the
place of the committed one when it is whole. Kept are the tables, the page, what describes the run, and the
figures that README and docs show; long tables are packed. Parts, predictions and weights are not.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from reference_folders import CHECKOUT, KEPT, PHASES, REFERENCE, Reference, made, shown_figures, stale

from harness.results import tables

MAKING = CHECKOUT / "results" / ".reference"
"""As deep as results/reference, since a study.toml names its plugins from its folder."""
FILES = (
    "*.csv", "plan.json", "study.toml", "provenance.json", "datapackage.json", "report.html", "tables/*",
)  # fmt: skip
"""What is kept of a folder, beside figures."""
PACKED = ("epochs.csv", "confusion.csv")
NEXT = (
    "  next: take {name} out of OLD in tests/reference/reference_folders.py, and read again what README and "
    "docs say of it"
)
LONG = 400_000  # bytes of a table from which on it is packed


def keep(made_in: Path, kept: Path, figures: Sequence[str]) -> None:
    """Copy what is kept of a results folder, and describe what became of its tables.

    Raises:
        FileNotFoundError: a figure that docs show was not drawn.
    """
    for phase in PHASES:
        for path in sorted(file for pattern in FILES for file in (made_in / phase).glob(pattern)):
            _copy(path, kept / phase / path.relative_to(made_in / phase))
        if (kept / phase / "trials.csv").is_file():
            tables.complete(kept / phase)
    for name in figures:
        _copy(made_in / "figures" / name, kept / "figures" / name)


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if path.name in PACKED and path.stat().st_size > LONG:
        content = gzip.compress(path.read_bytes(), 9, mtime=0)
        to.with_name(f"{to.name}.gz").write_bytes(content)
        return
    shutil.copyfile(path, to)


def train(kept: Reference, folder: Path, changes: Sequence[str] = ()) -> None:
    """Train a folder, or go on with it, and draw its page.

    Raises:
        CalledProcessError: the command did not end well, and has said why.
    """
    place = folder.relative_to(CHECKOUT) if folder.is_relative_to(CHECKOUT) else folder
    options = [*kept.options, *(option for change in changes for option in ("--set", change))]
    command = [sys.executable, "-m", "harness", kept.command, f"ablations/{kept.name}.toml", "--report"]
    subprocess.run([*command, "--results", str(place), *options], check=True, cwd=CHECKOUT)


def make(kept: Reference, into: Path, changes: Sequence[str] = ()) -> Path:
    """Make a folder anew, and put what is kept of it in place of `into`/NAME, which stays until then."""
    place = MAKING if into == REFERENCE else into / ".making"
    folder, whole, old = place / kept.name, place / f"{kept.name}.kept", place / f"{kept.name}.old"
    train(kept, folder, changes)
    shutil.rmtree(whole, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    keep(folder, whole, shown_figures(kept.name) if into == REFERENCE else [])
    target = into / kept.name
    if target.is_dir():
        target.replace(old)
    whole.replace(target)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(folder)
    return target


def listing(names: Sequence[str], *, only_stale: bool) -> list[str]:
    """Make a line for each folder: when and by which commit it was made, its minutes, in what it is stale."""
    lines = [f"{'name':20} {'made':26} minutes  state"]
    for name in names:
        reasons = stale(KEPT[name])
        if reasons or not only_stale:
            when, minutes = made(KEPT[name].folder)
            took = f"{minutes:7.1f}" if when else f"~{KEPT[name].minutes:6.1f}"
            lines.append(f"{name:20} {when or 'never':26} {took}  {'; '.join(reasons) or 'current'}")
    return lines


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; end with exit code 2 and words where a name is unknown."""
    parser = argparse.ArgumentParser(prog="nox -s reference --", description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a folder of results/reference; none: list all"
    )
    parser.add_argument("--stale", action="store_true", help="list stale folders only; make none")
    parser.add_argument("--into", type=Path, default=REFERENCE, help="another folder to make them in")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a changed setting, for a try into another folder")  # fmt: skip
    parsed = parser.parse_args(given)
    if unknown := [name for name in parsed.names if name not in KEPT]:
        sessions = "anytime, bench, gpu and validity are made by nox sessions of these names"
        parser.error(f"unknown {', '.join(unknown)}; allowed: {', '.join(KEPT)} ({sessions})")
    if parsed.set and parsed.into == REFERENCE:
        parser.error("--set changes the study, so it needs another folder: --into FOLDER")
    return parsed


def main(given: Sequence[str] | None = None) -> None:
    """List the folders, or make those that are named."""
    parsed = arguments(given)
    if parsed.stale or not parsed.names:
        print("\n".join(listing(parsed.names or list(KEPT), only_stale=parsed.stale)))
        return
    for name in parsed.names:
        started = time.monotonic()
        target = make(KEPT[name], parsed.into.resolve(), parsed.set)
        print(f"{target}: made in {(time.monotonic() - started) / 60:.1f} minutes")
        if parsed.into == REFERENCE:
            print(NEXT.format(name=name))


if __name__ == "__main__":
    main()
