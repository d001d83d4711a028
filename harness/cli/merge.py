"""`harness merge`: results folders of one study become one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import notes
from harness.cli import json_output
from harness.cli.json_output import json_option
from harness.settings.schema import TUNED
from harness.text import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.results.merging import MergedFolder
    from harness.results.merging.gaps import Gap

MOST_GAPS = 8  # that are shown
MOST_JUDGED = 100_000
"""Trials of a folder, at most, whose contrasts are looked at once more: some seconds."""


@click.command("merge")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The results folder to make.")
@json_option
def merge_(folders: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Merge results folders of one study: its shards, or runs on several machines. What --out has stays.

    Each trial counts once. Folders of other studies, data or components are refused, and so is a trial with
    two outcomes; then nothing is written. The order of the folders decides nothing.
    """
    from harness.results.merging import merge

    merged = merge(folders, out)
    for note in (*merged.notes, *_kinds(merged)):
        notes.warn(note)
    if as_json:
        json_output.show("merge", **_answer(merged))
    else:
        _show(merged)


def _kinds(merged: MergedFolder) -> Iterator[str]:
    """Say of which contrasts not all pairs of trials were made on one kind of processor."""
    if merged.one_machine:
        return
    if sum(merged.statuses.values()) > MOST_JUDGED:
        yield "`harness report` says in how many seeds both arms of a contrast are of one kind of processor"
        return
    from harness.reporting import computation

    for name in ("", TUNED):
        if (merged.folder / name / "trials.csv").is_file():
            told = computation.of_folder(merged.folder / name)
            if told:
                yield f"{name or 'processors'}: {told}".removesuffix(".")


def _answer(merged: MergedFolder) -> dict[str, Any]:
    from harness.cli.answers import counted

    placed = merged.placed
    return {
        "folder": merged.folder,
        "study": merged.study,
        "sources": list(merged.sources),
        "statuses": counted(merged.statuses),
        "shared": merged.shared,
        "missing": [
            {"trials": g.trials, "shard": g.shard or None, "folder": g.folder or None, "command": g.command}
            for g in merged.gaps
        ],
        "linked": placed.linked,
        "copied": placed.copied,
        "copied_bytes": placed.copied_bytes,
    }


def _show(merged: MergedFolder) -> None:
    """Show what was merged, and what is missing."""
    told = ", ".join(f"{n:,} {status or 'not trained yet'}" for status, n in merged.statuses.items())
    trials = count(sum(merged.statuses.values()), "trial")
    click.echo(f"{merged.study}: {count(len(merged.sources), 'folder')}, {trials}: {told or 'none'}")
    if merged.shared:
        click.echo(f"{count(merged.shared, 'trial')} in several folders, with equal outcomes: counted once")
    for gap in merged.gaps[:MOST_GAPS]:
        click.echo(f"missing: {_words(gap)}\n  {gap.command}")
    if len(merged.gaps) > MOST_GAPS:
        click.echo(f"and {len(merged.gaps) - MOST_GAPS} more are missing (--json has all)")
    folder = shlex.quote(str(merged.folder))
    if merged.gaps:
        click.echo(f"then merge what they make: harness merge FOLDER --out {folder}")
    click.echo(f"results: {merged.folder}/trials.csv\nverdicts: harness report {folder}")


def _words(gap: Gap) -> str:
    """Say of a gap how many trials it has, and where they are planned."""
    what = "trials" if gap.trials is None else count(gap.trials, "trial")
    if gap.folder:
        return f"{what} of {gap.folder}" + (f" (shard {gap.shard})" if gap.shard else "")
    if gap.shard:
        return f"shard {gap.shard}" + (f", {what}" if gap.trials is not None else "")
    return f"{what} that no folder has"
