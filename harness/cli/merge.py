"""`harness merge`: results folders of one study become one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import notes
from harness.cli import json_output
from harness.cli.json_output import json_option
from harness.text import count

if TYPE_CHECKING:
    from harness.results.merging import MergedFolder

MOST_GAPS = 8  # that are shown


@click.command("merge")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The folder that all are merged into."
)
@json_option
def merge_(folders: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Merge results folders of one study: its shards, or runs on several machines. What OUT has already stays.

    Each trial counts once. Folders of other studies, data or components are refused, and so is a trial with two
    outcomes; then nothing is written. The order of folders decides nothing, and merging again changes nothing.
    """
    from harness.results.merging import merge

    merged = merge(folders, out)
    for note in merged.notes:
        notes.warn(note)
    if as_json:
        json_output.show("merge", **_answer(merged))
    else:
        _show(merged)


def _answer(merged: MergedFolder) -> dict[str, object]:
    placed = merged.placed
    return {
        "folder": merged.folder,
        "study": merged.study,
        "sources": list(merged.sources),
        "statuses": {status or "not trained yet": n for status, n in merged.statuses.items()},
        "shared": merged.shared,
        "missing": [vars(gap) for gap in merged.gaps],
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
        what = "trials" if gap.trials is None else count(gap.trials, "trial")
        where = f"shard {gap.shard}" if gap.shard else ""
        of = " of ".join(filter(None, (where, gap.folder))) or "no folder"
        click.echo(
            f"missing: {what} of {of}: {gap.command}"
            if gap.folder or gap.shard
            else f"missing: {what} that no folder has: {gap.command}"
        )
    if len(merged.gaps) > MOST_GAPS:
        click.echo(f"  and {len(merged.gaps) - MOST_GAPS} more (--json has all)")
    if merged.gaps:
        click.echo("then merge again, into the same folder")
    click.echo(f"results: {merged.folder}/trials.csv")
