"""Make folders of results/reference anew: `nox -s reference -- NAME ..`, or `-- --all`; else list them.

A folder is trained and drawn in results/.reference/NAME, where a run that was stopped goes on, and takes the
place of the committed one when it is whole. A folder that this study and these components made is left as it
is. Kept are the tables, what describes the run, the figures that README and docs show, and of one study and
one search the page; long tables are packed. Parts, predictions and weights are not.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import doc_numbers
from reference_digests import digest, record, unfinished
from reference_folders import (
    ABLATIONS,
    CHECKOUT,
    KEPT,
    PHASES,
    REFERENCE,
    Reference,
    made,
    shown_figures,
)  # fmt: skip

from harness.results import datapackage, documents, tables
from harness.results.columns import TABLES
from harness.system import signals

MAKING = CHECKOUT / "results" / ".reference"
"""As deep as results/reference, since a study.toml names its plugins from its folder."""
FILES = ("*.csv", "plan.json", "study.toml", "provenance.json", "datapackage.json", "tables/*.csv")
"""What is kept of a folder, beside figures and the page."""
PACKED = ("epochs.csv", "confusion.csv", "scores.csv")
NEXT = (
    "  next: take {name} out of OLD in tests/reference/reference_folders.py, if it is in it, and read again "
    "what README and docs say of it"
)
LONG = 100_000  # bytes of a table from which on it is packed
STOPPED = 3
"""The exit code where --minutes were over before all was made."""
LAST = 120.0
"""Seconds that a command has to end after SIGTERM, which asks it to save what it trains."""


def keep(kept: Reference, made_in: Path, to: Path, figures: Sequence[str]) -> None:
    """Copy what is kept of a results folder that was made, and describe what became of its tables.

    Of a phase that is not kept, provenance.json is: it says how long that took.

    Raises:
        FileNotFoundError: a figure that docs show was not drawn.
    """
    left = {f"{name}.csv" for name in TABLES if name not in kept.tables}
    for phase in (phase for phase in PHASES if (made_in / phase / "provenance.json").is_file()):
        _copy(made_in / phase / "provenance.json", to / phase / "provenance.json")
    for phase in kept.phases:
        for path in sorted(file for pattern in FILES for file in (made_in / phase).glob(pattern)):
            if path.name not in left:
                _copy(path, to / phase / path.relative_to(made_in / phase))
        if (to / phase / "trials.csv").is_file():
            _describe(to / phase)
    for name in [*(["report.html"] if kept.page else []), *(f"figures/{figure}" for figure in figures)]:
        _copy(made_in / name, to / name)


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def _describe(folder: Path) -> None:
    """Write what is made of the tables, pack those that are long, and describe them as they are then."""
    tables.complete(folder)
    for path in (folder / name for name in PACKED):
        if path.is_file() and path.stat().st_size > LONG:
            packed = gzip.compress(path.read_bytes(), 9, mtime=0)
            path.with_name(f"{path.name}.gz").write_bytes(packed)
            path.unlink()
    described = datapackage.content(folder, {}, documents.study(folder))
    (folder / datapackage.FILE).write_bytes(described)


def train(kept: Reference, folder: Path, changes: Sequence[str] = (), seconds: float = math.inf) -> bool:
    """Train a folder, or go on with it, and draw its page; tell whether that ended within so many seconds.

    Raises:
        CalledProcessError: the command did not end well, and has said why.
    """
    place = folder.relative_to(CHECKOUT) if folder.is_relative_to(CHECKOUT) else folder
    options = [*kept.options, *(option for change in changes for option in ("--set", change))]
    command = [sys.executable, "-m", "harness", kept.command, f"ablations/{kept.name}.toml", "--report"]
    return run([*command, "--results", str(place), *options], seconds)


def run(command: Sequence[str], seconds: float) -> bool:
    """Run a command in the checkout; where its seconds are over, ask it to end, and return False."""
    process = subprocess.Popen(command, cwd=CHECKOUT)
    try:
        code = process.wait(None if seconds == math.inf else seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        return False
    except BaseException:
        _end(process)
        raise
    if code:
        raise subprocess.CalledProcessError(code, list(command))
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(LAST)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def make(kept: Reference, into: Path, changes: Sequence[str] = (), seconds: float = math.inf) -> Path | None:
    """Make a folder anew, and put what is kept of it in place of `into`/NAME, which stays until then.

    Returns:
        The folder; None where the seconds were over before, and the next call goes on.
    """
    place = MAKING if into == REFERENCE else into / ".making"
    folder, whole, old = place / kept.name, place / f"{kept.name}.kept", place / f"{kept.name}.old"
    mark, made_of = place / f"{kept.name}.digest", digest(kept, changes)
    _go_on_or_begin(folder, mark, made_of)
    if not train(kept, folder, changes, seconds):
        return None
    shutil.rmtree(whole, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    keep(kept, folder, whole, shown_figures(kept.name) if into == REFERENCE else [])
    record(whole, made_of)
    target = into / kept.name
    if target.is_dir():
        target.replace(old)
    whole.replace(target)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(folder)
    mark.unlink()
    return target


def _go_on_or_begin(folder: Path, mark: Path, made_of: str) -> None:
    """Take away an unfinished folder of another study or other components, and mark whose the next one is."""
    if folder.is_dir() and not (mark.is_file() and mark.read_text(encoding="utf-8") == made_of):
        print(f"{folder}: begun by another form of its study or components, so it begins anew")
        shutil.rmtree(folder)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(made_of, encoding="utf-8")


def planned_seconds(kept: Reference) -> float:
    """Ask `harness plan` how long a folder's command takes on this machine, tuning included."""
    command = [sys.executable, "-m", "harness", "plan", str(ABLATIONS / f"{kept.name}.toml"), "--json"]
    answer = subprocess.run([*command, *kept.options], check=True, cwd=CHECKOUT, capture_output=True)
    plan = json.loads(answer.stdout)
    tuning = plan["tuning"] or {"seconds": 0.0, "tuned_seconds": 0.0}
    return float(plan["seconds"] + tuning["seconds"] + tuning["tuned_seconds"])


def listing(names: Sequence[str], *, only_stale: bool, plan: bool = False) -> list[str]:
    """Make a line for each folder: when and by which commit it was made, its minutes, why it is made anew."""
    lines = [f"{'name':20} {'made':26} took {'planned' if plan else '':>9}  state"]
    total = 0.0
    for name in names:
        reasons = unfinished(KEPT[name])
        if reasons or not only_stale:
            when, minutes = made(KEPT[name].folder)
            planned = planned_seconds(KEPT[name]) / 60 if plan and reasons else 0.0
            total += planned
            told = f"{planned:6.1f} min" if planned else ""
            state = "; ".join(reasons) or "current"
            lines.append(f"{name:20} {when or 'never':26} {minutes:4.0f} {told:>9}  {state}")
    return [*lines, f"{total:.0f} minutes of training in all, by plan"] if plan else lines


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; end with exit code 2 and words where a name is unknown."""
    parser = argparse.ArgumentParser(prog="nox -s reference --", description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a folder of results/reference; none: list all"
    )
    parser.add_argument("--all", action="store_true", help="make every folder that is not current")
    parser.add_argument("--anew", action="store_true", help="make those that are current, too")
    parser.add_argument("--minutes", type=float, default=math.inf, metavar="N",
                        help="stop after N minutes; the same command goes on")  # fmt: skip
    parser.add_argument("--stale", action="store_true", help="list stale folders only; make none")
    parser.add_argument("--plan", action="store_true", help="list, with the minutes that a plan expects")
    parser.add_argument("--numbers", action="store_true",
                        help="list the numbers in README and docs that the results do not have")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="with --numbers: write those of the results")
    parser.add_argument("--into", type=Path, default=REFERENCE, help="another folder to make them in")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a changed setting, for a try into another folder")  # fmt: skip
    parsed = parser.parse_args(given)
    if unknown := [name for name in parsed.names if name not in KEPT]:
        sessions = "anytime, bench, gpu and validity are made by nox sessions of these names"
        parser.error(f"unknown {', '.join(unknown)}; allowed: {', '.join(KEPT)} ({sessions})")
    if parsed.set and parsed.into == REFERENCE:
        parser.error("--set changes the study, so it needs another folder: --into FOLDER")
    if not parsed.minutes > 0:
        parser.error(f"--minutes {parsed.minutes:g}: allowed is a number above 0, such as 20")
    if parsed.write and not parsed.numbers:
        parser.error("--write goes with --numbers")
    return parsed


def main(given: Sequence[str] | None = None) -> None:
    """List the folders or the numbers that differ, or make the folders that are named."""
    parsed = arguments(given)
    if parsed.numbers:
        print("\n".join(doc_numbers.write() if parsed.write else doc_numbers.differences()))
        return
    names = parsed.names or list(KEPT)
    if parsed.stale or parsed.plan or not (parsed.names or parsed.all):
        print("\n".join(listing(names, only_stale=parsed.stale, plan=parsed.plan)))
        return
    make_all(names, parsed)


def make_all(names: Sequence[str], parsed: argparse.Namespace) -> None:
    """Make folders one after the other; end with STOPPED where the minutes are over before the last."""
    into, end = parsed.into.resolve(), time.monotonic() + 60 * parsed.minutes
    for name in names:
        kept = KEPT[name]
        if not (parsed.anew or unfinished(kept, into / name)):
            print(f"{into / name} is current (--anew makes it again)")
            continue
        started = time.monotonic()
        target = make(kept, into, parsed.set, end - started) if started < end else None
        if target is None:
            print(f"{name} is not finished after {parsed.minutes:g} minutes: the same command goes on")
            sys.exit(STOPPED)
        print(f"{target}: made, the last {(time.monotonic() - started) / 60:.1f} minutes of it now")
        if into == REFERENCE:
            print("\n".join([NEXT.format(name=name), *doc_numbers.differences(name)]))


def _stop(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(signals.BASE + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    main()
