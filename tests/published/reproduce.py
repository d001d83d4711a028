"""Train networks of published tables anew: `nox -s published -- NAME ..`; without a name, list them.

A study of ablations/published/ is trained in results/.published/NAME, where a run that was stopped goes on.
Of each trial a row is kept in results/reference/published/NAME.csv, and the tables of docs/published.md are
written.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import published_page
import published_results
import published_rows
from published_rows import CHECKOUT, Published, Source

import harness

TRAINING = CHECKOUT / "results" / ".published"
"""Where the studies are trained; not committed."""


def train(source: Source, folder: Path, changes: Sequence[str] = ()) -> None:
    """Train a source's study, or go on with it.

    Raises:
        CalledProcessError: the command did not end well, and has said why.
    """
    place = folder.relative_to(CHECKOUT) if folder.is_relative_to(CHECKOUT) else folder
    options = [option for change in changes for option in ("--set", change)]
    command = [sys.executable, "-m", "harness", "run", str(source.study_file.relative_to(CHECKOUT))]
    subprocess.run([*command, "--results", str(place), *options], check=True, cwd=CHECKOUT)


def reproduce(source: Source, into: Path, changes: Sequence[str] = ()) -> Path:
    """Train a source's study and keep what its rows need; return the table of trials."""
    folder = TRAINING / source.name if into == published_results.KEPT else into / "training" / source.name
    train(source, folder, changes)
    results = harness.read(folder)
    seeds, curves = published_results.trials_of(results), published_results.curves_of(results)
    return published_results.keep(source.name, seeds, curves, into)


def listing(published: Published) -> list[str]:
    """Make a line for each source: its rows, the minutes that its study takes, and what is kept of it."""
    lines = [f"{'name':12} rows  minutes  trials"]
    for source in published.sources:
        seeds = published_results.kept(source.name)
        ok = int(seeds["status"].eq("ok").sum())
        trials = f"{ok} of {len(seeds)} trained" if len(seeds) else "not trained yet"
        lines.append(f"{source.name:12} {len(published.rows_of(source)):4}  {source.minutes:7g}  {trials}")
    return lines


def arguments(names: Sequence[str], given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; end with exit code 2 and words where a name is unknown."""
    parser = argparse.ArgumentParser(prog="nox -s published --", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a source, or all; none: list them")
    parser.add_argument(
        "--tables", action="store_true", help="only write docs/published.md from what is kept"
    )
    parser.add_argument("--into", type=Path, default=published_results.KEPT, help="another folder to keep in")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a changed setting, for a try into another folder")  # fmt: skip
    parsed = parser.parse_args(given)
    if unknown := [name for name in parsed.names if name not in {*names, "all"}]:
        parser.error(f"unknown {', '.join(unknown)}; allowed: all, {', '.join(names)}")
    if parsed.set and parsed.into == published_results.KEPT:
        parser.error("--set changes the study, so it needs another folder: --into FOLDER")
    return parsed


def main(given: Sequence[str] | None = None) -> None:
    """List the sources, or train those that are named and write the page's tables."""
    published = published_rows.read()
    by_name = {source.name: source for source in published.sources}
    parsed = arguments(list(by_name), given)
    if not parsed.names and not parsed.tables:
        print("\n".join(listing(published)))
        return
    names = list(by_name) if "all" in parsed.names else dict.fromkeys(parsed.names)
    for name in names:
        started = time.monotonic()
        table = reproduce(by_name[name], parsed.into.resolve(), parsed.set)
        print(f"{table}: made in {(time.monotonic() - started) / 60:.1f} minutes")
        if parsed.into == published_results.KEPT:  # after each one: a later one may be stopped
            published_page.write(published)
    if parsed.tables:
        published_page.write(published)


if __name__ == "__main__":
    main()
