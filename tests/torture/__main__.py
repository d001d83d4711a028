"""`nox -s torture`: damage done on purpose, by the thousand, and the ledger of what came out."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import click

from torture import crews, forks, hooks, messages
from torture.kinds import Kind
from torture.ledger import Ledger, Tally

WRITE_EVERY = 5.0  # seconds between two writes of the ledger
MOST_SHOWN = 200  # messages that nobody was told


def kinds() -> dict[str, Kind]:
    """All kinds, by name, in the order in which they run."""
    from torture import caches, disks, faulty_plugins, folders, images, kills, limits, studies

    there = (
        studies.KIND,
        images.KIND,
        caches.KIND,
        folders.KIND,
        faulty_plugins.KIND,
        kills.KIND,
        disks.KIND,
        limits.KIND,
    )
    return {kind.name: kind for kind in there}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--only", multiple=True, help="A kind of damage; repeatable. All by default.")
@click.option("--count", type=click.IntRange(min=1), help="Cases of each kind; by default a long run's.")
@click.option("--seed", type=click.IntRange(min=0), help="The first seed; by default the next ones undone.")
@click.option("--short", is_flag=True, help="A few cases of each kind, as among the fast tests.")
@click.option(
    "--repeat", is_flag=True, help="Run the seeds again although they are done; nothing is counted."
)
@click.option("--workers", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/torture"), show_default=True,
              help="The folder of the ledger, counts.json.")  # fmt: skip
def main(
    only: tuple[str, ...],
    count: int | None,
    seed: int | None,
    short: bool,
    repeat: bool,
    workers: int,
    out: Path,
) -> None:
    """Damage studies, results, data and machines on purpose; say what came out that must not.

    Exit code 1 where there was a fault, in this run or in one before it.
    """
    known = kinds()
    if unknown := sorted(set(only) - set(known)):
        raise click.UsageError(f"unknown kind {unknown[0]!r}; allowed: {', '.join(known)}")
    ledger = Ledger.of(out.absolute() / "counts.json")
    if repeat:
        ledger = Ledger(Path(os.devnull))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that it leaves no folder and no process behind
    forks.warm()
    hooks.install()
    with forks.scratch() as folder:
        for name in only or known:
            kind = known[name]
            cases = count or (kind.short if short else kind.target)
            _run(kind, list(ledger.tally(name).todo(seed, cases)), ledger, folder, workers, short=short)
    _tell(ledger, only or tuple(known))
    if any(tally.faults for tally in ledger.kinds.values()):
        sys.exit(1)


def _run(kind: Kind, seeds: list[int], ledger: Ledger, folder: Path, workers: int, *, short: bool) -> None:
    """Run a kind's seeds; the ledger is written now and then, and at the end, whatever ends it."""
    tally, start, written = ledger.tally(kind.name), time.monotonic(), time.monotonic()
    if not seeds:
        return
    place = folder / kind.name
    place.mkdir()
    prepared = kind.prepare(place, short)
    kept = ledger.path.parent != Path(os.devnull).parent
    try:
        for over in crews.cases(kind, seeds, folder, prepared, workers):
            tally.add(over.seed, over.counts, over.faults)
            ledger.reached |= set(over.reached)
            if kept and time.monotonic() - written > WRITE_EVERY:
                ledger.write()
                written = time.monotonic()
                click.echo(_progress(kind, tally, start), err=True)
    finally:
        if kept:
            ledger.write()
    click.echo(f"{_progress(kind, tally, start)}", err=True)


def _progress(kind: Kind, tally: Tally, start: float) -> str:
    seconds = time.monotonic() - start
    return f"{kind.name}: {tally.cases:,} {kind.title}, {len(tally.faults)} kinds of fault, {seconds:.0f} s"


def _tell(ledger: Ledger, names: tuple[str, ...]) -> None:
    """Print the counts, and the smallest input of every fault."""
    for name in names:
        tally = ledger.tally(name)
        counted = ", ".join(f"{count:,} {what}" for what, count in sorted(tally.counts.items()))
        click.echo(
            f"{name}: {tally.cases:,} cases ({counted or 'nothing counted'}), {len(tally.faults)} faults"
        )
        for what, known in sorted(tally.faults.items(), key=lambda item: -int(item[1]["count"])):
            click.echo(f"  FAULT {what}: {known['count']:,} times; smallest with --seed {known['seed']}:")
            click.echo("".join(f"    {line}\n" for line in str(known["smallest"]).splitlines()), nl=False)
    unreached = sorted(set(messages.templates()) - ledger.reached)
    total = len(messages.templates())
    click.echo(f"messages of the checker: {total - len(unreached)} of {total} were told")
    for name in unreached[:MOST_SHOWN]:
        click.echo(f"  nobody was told: {name}")


if __name__ == "__main__":
    main()
